"""Finds a data set and reads it into a table whose columns are numbers, dates, booleans or text."""

import json
from pathlib import Path

import numpy
import pandas
from pandas.api import types

from sojourn import Error

DATASETS = Path(__file__).resolve().parent / "datasets"
MOST_BYTES = 512 * 1024 * 1024
DATE_PATTERN = r"\d{4}-\d{2}-\d{2}([T ].*)?$"


def dataset_names():
    return sorted(path.name for path in DATASETS.iterdir() if path.suffix in READERS)


def kind_of(column):
    if types.is_bool_dtype(column):
        return "boolean"
    if types.is_numeric_dtype(column):
        return "number"
    return "date" if types.is_datetime64_any_dtype(column) else "text"


def columns_of(table, kind):
    return [column for column in table if kind_of(table[column]) == kind]


def read_dataset(name, session_folder):
    """The full name and the table of a data set: one of this app's, or a file in the session's folder."""
    path = find(name, Path(session_folder))
    if path.stat().st_size > MOST_BYTES:
        raise Error("too_large", f"{path.name} has more than {MOST_BYTES} bytes", False)
    try:
        table = READERS[path.suffix.lower()](path)
    except ImportError as error:
        raise refused(f"{path.name} cannot be read here: {error}") from error
    except Error:
        raise
    except Exception as error:
        raise refused(f"{path.name} is no readable {path.suffix[1:].upper()} file: {error}") from error
    if not len(table.columns):
        raise refused(f"{path.name} holds no columns")
    return path.name, tidy(table)


def find(name, session_folder):
    if not isinstance(name, str) or not name:
        raise refused(f'"dataset" is a name: {", ".join(dataset_names())}, or a path in the session\'s folder')
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise refused(f"the data set {name!r} would lie outside the session's folder")
    by_name = {path.name: path for path in DATASETS.iterdir() if path.suffix in READERS}
    by_name.update({path.stem: path for path in by_name.values()})
    if name in by_name:
        return by_name[name]
    folder = session_folder.resolve()
    path = (folder / name).resolve()
    if folder not in path.parents:  # a link may lead out
        raise refused(f"the data set {name!r} would lie outside the session's folder")
    if not path.is_file():
        raise refused(f"there is no data set {name!r}; there is: {', '.join(dataset_names())}")
    if path.suffix.lower() not in READERS:
        raise refused(f"{name} is of no kind that can be read: {', '.join(sorted(READERS))}")
    return path


def read_json(path):
    value = json.loads(path.read_text())
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return pandas.DataFrame.from_records(value)
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        return pandas.DataFrame(value)
    raise refused(f"{path.name} is neither a list of rows (objects) nor an object of columns (lists)")


def read_json_lines(path):
    with path.open() as lines:
        return pandas.DataFrame.from_records([json.loads(line) for line in lines if line.strip()])


def read_csv(path):
    return pandas.read_csv(path)


def read_tsv(path):
    return pandas.read_csv(path, sep="\t")


READERS = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".xlsx": pandas.read_excel,
    ".xls": pandas.read_excel,
    ".ods": pandas.read_excel,
    ".parquet": pandas.read_parquet,
}


def tidy(table):
    """Infinite numbers count as missing, text that holds only dates becomes dates, and other cells become text."""
    table.columns = [str(column) for column in table.columns]
    if not table.columns.is_unique:
        raise refused("two columns have the same name")
    for name in table.columns:
        column = table[name]
        if types.is_float_dtype(column):
            table[name] = column.replace([numpy.inf, -numpy.inf], numpy.nan)
        elif column.dtype == object:
            table[name] = tidy_objects(column)
        elif kind_of(column) == "text":  # categories, durations and whatever else a reader makes
            table[name] = column.astype(object).map(str, na_action="ignore")
    return table


def tidy_objects(column):
    texts = column.map(lambda cell: cell if isinstance(cell, str) else as_text(cell), na_action="ignore")
    there = texts.dropna()
    if len(there) and there.str.match(DATE_PATTERN).all():
        dates = pandas.to_datetime(texts, errors="coerce", utc=True).dt.tz_localize(None)
        if dates.notna().sum() == len(there):
            return dates
    return texts


def as_text(cell):
    return json.dumps(cell, default=str) if isinstance(cell, (list, dict, bool)) else str(cell)


def refused(message):
    return Error("invalid_request", message, False, {"datasets": dataset_names()})
