"""Loads a table once, keeps it in the worker's memory, and analyses it as often as asked."""

import time

from correlations import correlations
from outliers import outliers
from plain import plain
from reading import dataset_names, kind_of, read_dataset
from summary import summary
from trends import trends

from sojourn import App, Error, serve

ANALYSES = {"summary": summary, "correlations": correlations, "outliers": outliers, "trends": trends}
LOAD = '{"action": "load", "dataset": NAME}'
ANALYZE = '{"action": "analyze", "type": TYPE}'
PREVIEW_ROWS = 3


class DataProcessor(App):
    def setup(self):
        self.name = None
        self.table = None

    def run(self, input):
        if not isinstance(input, dict):
            raise refused(f"the input is an object: {LOAD} or {ANALYZE}")
        actions = {"load": self._load, "analyze": self._analyze}
        action = input.get("action")
        if not isinstance(action, str) or action not in actions:
            raise refused(f"unknown action {action!r}: use {LOAD} or {ANALYZE}", actions=list(actions))
        return plain(actions[action](input))

    def _load(self, input):
        begun = time.perf_counter()
        name, table = read_dataset(input.get("dataset"), self.session.folder)
        self.name, self.table = name, table
        self.session.log.info("loaded", dataset=name, rows=len(table))
        return {
            "dataset": name,
            "rows": len(table),
            "columns": [
                {"name": column, "type": kind_of(table[column]), "missing": table[column].isna().sum()}
                for column in table
            ],
            "memory_bytes": table.memory_usage(deep=True).sum(),
            "seconds": round(time.perf_counter() - begun, 6),
            "preview": table.head(PREVIEW_ROWS).to_dict("records"),
        }

    def _analyze(self, input):
        kind = input.get("type")
        if not isinstance(kind, str) or kind not in ANALYSES:
            raise refused(f"unknown type {kind!r}: use one of {', '.join(ANALYSES)}", types=list(ANALYSES))
        if self.table is None:
            raise refused(f"no data set is loaded in this session; first call {LOAD}", datasets=dataset_names())
        return {"dataset": self.name, "type": kind, **ANALYSES[kind](self._chosen(input.get("columns")))}

    def _chosen(self, columns):
        if columns is None:
            return self.table
        there = list(self.table.columns)
        if not isinstance(columns, list) or not columns or any(column not in there for column in columns):
            raise refused(f'"columns" is a list of some of: {", ".join(there)}', columns=there)
        return self.table[list(dict.fromkeys(columns))]


def refused(message, **details):
    return Error("invalid_request", message, False, details)


if __name__ == "__main__":
    serve(DataProcessor)
