import csv
import hashlib
import json
import math
import statistics
import unittest
from pathlib import Path

from sojourn import Error, testing

APP = Path(__file__).parent
WEATHER = APP / "datasets" / "weather.csv"


class DataProcessorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = testing.start(APP)

    @classmethod
    def tearDownClass(cls):
        cls.worker.kill()

    def run_app(self, **input):
        return self.worker.call("run", input).output

    def load(self, name, text):
        path = self.worker.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.run_app(action="load", dataset=name)

    def analyze(self, type, **more):
        return self.run_app(action="analyze", type=type, **more)

    def refused(self, words, **input):
        with self.assertRaises(Error) as caught:
            self.run_app(**input)
        self.assertEqual(caught.exception.code, "invalid_request")
        self.assertIn(words, caught.exception.message)
        return caught.exception.details


class Weather(DataProcessorTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.loaded = cls.worker.call("run", {"action": "load", "dataset": "weather"}).output
        with WEATHER.open() as lines:
            cls.rows = list(csv.DictReader(lines))
        cls.temp_max = [float(row["temp_max"]) for row in cls.rows]

    def test_data_is_what_its_readme_says(self):
        digest = hashlib.sha256(WEATHER.read_bytes()).hexdigest()
        self.assertIn(digest, (APP / "datasets" / "README.md").read_text())

    def test_load_tells_what_it_read(self):
        self.assertEqual((self.loaded["dataset"], self.loaded["rows"]), ("weather.csv", 2922))
        kinds = {column["name"]: column["type"] for column in self.loaded["columns"]}
        self.assertEqual((kinds["date"], kinds["wind"], kinds["weather"]), ("date", "number", "text"))
        self.assertEqual(self.loaded["preview"][0]["date"], "2012-01-01")
        self.assertGreater(self.loaded["memory_bytes"], 100_000)

    def test_summary_agrees_with_the_rows(self):
        columns = self.analyze("summary")["columns"]
        facts = columns["temp_max"]
        low, middle, high = statistics.quantiles(self.temp_max, n=4, method="inclusive")
        for name, value in (
            ("mean", statistics.fmean(self.temp_max)),
            ("std", statistics.stdev(self.temp_max)),
            ("min", min(self.temp_max)),
            ("max", max(self.temp_max)),
            ("q25", low),
            ("median", middle),
            ("q75", high),
        ):
            self.assertAlmostEqual(facts[name], value, places=9, msg=name)
        self.assertEqual((columns["date"]["first"], columns["date"]["last"]), ("2012-01-01", "2015-12-31"))
        suns = sum(row["weather"] == "sun" for row in self.rows)
        self.assertEqual(columns["weather"]["most_common"][0], {"value": "sun", "count": suns})

    def test_correlations_agree_with_the_rows(self):
        output = self.analyze("correlations")
        temp_min = [float(row["temp_min"]) for row in self.rows]
        self.assertAlmostEqual(
            output["pearson"]["temp_max"]["temp_min"], statistics.correlation(self.temp_max, temp_min), places=9
        )
        self.assertEqual(output["strongest"][0]["columns"], ["temp_max", "temp_min"])
        self.assertGreater(output["spearman"]["temp_max"]["temp_min"], 0.9)
        self.assertEqual(output["strongest"][0]["rows"], 2922)

    def test_outliers_name_rows(self):
        rain = self.analyze("outliers", columns=["precipitation", "date"])["columns"]["precipitation"]
        values = [float(row["precipitation"]) for row in self.rows]
        self.assertEqual(rain["iqr"]["count"], sum(value > rain["iqr"]["upper"] for value in values))
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        self.assertEqual(rain["z_score"]["count"], sum(abs(value - mean) > 3 * deviation for value in values))
        most = rain["examples"][0]
        self.assertEqual((most["value"], values[most["row"]]), (max(values), max(values)))
        self.assertEqual(most["values"]["date"], self.rows[most["row"]]["date"])

    def test_trends_fit_a_line_and_cover_each_month(self):
        output = self.analyze("trends")
        line = output["columns"]["temp_max"]
        self.assertEqual((output["over"], output["first"]), ("date", "2012-01-01"))
        self.assertAlmostEqual(line["slope_per_year"], line["slope_per_day"] * 365.2425)
        self.assertEqual(len(output["monthly"]), 48)
        july = [float(row["temp_max"]) for row in self.rows if row["date"].startswith("2013-07")]
        month = output["monthly"][18]
        self.assertEqual((month["month"], month["rows"], month["temp_max"]["max"]), ("2013-07", len(july), max(july)))
        self.assertAlmostEqual(month["temp_max"]["mean"], statistics.fmean(july))

    def test_columns_may_be_chosen(self):
        self.assertEqual(list(self.analyze("summary", columns=["wind"])["columns"]), ["wind"])
        for bad in ([], "wind", ["wind", "x"], [["wind"]]):
            details = self.refused('"columns" is a list of', action="analyze", type="summary", columns=bad)
            self.assertIn("wind", details["columns"])


class Files(DataProcessorTest):
    def test_of_each_kind_are_read(self):
        rows = [{"n": 1, "day": "2024-01-01"}, {"n": 2, "day": "2024-01-02T12:00:00Z"}]
        for name, text in (
            ("a.csv", "n,day\n1,2024-01-01\n2,2024-01-02T12:00:00Z\n"),
            ("a.tsv", "n\tday\n1\t2024-01-01\n2\t2024-01-02T12:00:00Z\n"),
            ("rows.json", json.dumps(rows)),
            ("columns.json", json.dumps({key: [row[key] for row in rows] for key in rows[0]})),
            ("deep/a.jsonl", "\n".join(map(json.dumps, rows)) + "\n"),
        ):
            with self.subTest(name=name):
                loaded = self.load(name, text)
                self.assertEqual([column["type"] for column in loaded["columns"]], ["number", "date"])
                self.assertEqual(
                    loaded["preview"], [{"n": 1, "day": "2024-01-01"}, {"n": 2, "day": "2024-01-02T12:00:00"}]
                )
                self.assertAlmostEqual(self.analyze("trends")["columns"]["n"]["slope_per_day"], 1 / 1.5)

    def test_that_cannot_be_read_say_why(self):
        self.load("good.csv", "a\n1\n")
        for name, data, words in (
            ("bad.csv", b"", "no readable CSV file"),
            ("bytes.csv", b"a\n\xff\xfe\n", "no readable CSV file"),
            ("ragged.csv", b"a,b\n1,2,3\n4,5\n1,2,3,4\n", "no readable CSV file"),
            ("bad.json", b"{", "no readable JSON file"),
            ("number.json", b"5", "neither a list of rows"),
            ("empty.json", b"[]", "holds no columns"),
            ("bad.jsonl", b"{}\nx\n", "no readable JSONL file"),
            ("a.exe", b"a", "of no kind that can be read"),
        ):
            with self.subTest(name=name):
                (self.worker.folder / name).write_bytes(data)
                self.refused(words, action="load", dataset=name)
        self.assertEqual(self.analyze("summary")["dataset"], "good.csv")  # what was loaded stays

    def test_parquet_and_excel_need_what_reads_them(self):
        for name, package in (("a.parquet", "pyarrow"), ("a.xlsx", "openpyxl")):
            (self.worker.folder / name).write_bytes(b"PK\x03\x04 or PAR1, but broken")
            with self.subTest(name=name), self.assertRaises(Error) as caught:
                self.run_app(action="load", dataset=name)
            self.assertEqual(caught.exception.code, "invalid_request")
            self.assertRegex(caught.exception.message, f"cannot be read here: .*{package}|no readable")

    def test_outside_the_session_are_not_reached(self):
        (self.worker.folder / "link.csv").symlink_to("/etc/hostname")
        (self.worker.folder / "out").symlink_to("/etc")
        for name in ("../x.csv", "a/../../x.csv", "/etc/passwd", "link.csv", "out/hostname", "a\0.csv"):
            with self.subTest(name=name):
                self.refused("outside the session's folder", action="load", dataset=name)

    def test_odd_values_come_out_as_plain_json(self):
        rows = [
            {"n": 1, "same": 5, "mixed": 1, "deep": {"a": [1]}, "flag": True},
            {"n": None, "same": 5, "mixed": "x", "deep": None, "flag": False},
            {"n": math.inf, "same": 5, "mixed": None, "deep": [2], "flag": True},
        ]
        loaded = self.load("odd.json", json.dumps(rows))
        self.assertEqual(
            [column["type"] for column in loaded["columns"]], ["number", "number", "text", "text", "boolean"]
        )
        self.assertEqual(loaded["preview"][0]["deep"], '{"a": [1]}')
        facts = self.analyze("summary")["columns"]
        self.assertEqual((facts["n"]["missing"], facts["n"]["std"], facts["n"]["max"]), (2, None, 1.0))
        self.assertEqual(facts["flag"]["most_common"][0], {"value": True, "count": 2})
        self.assertIsNone(self.analyze("correlations")["pearson"]["n"]["same"])
        self.assertEqual(self.analyze("outliers")["columns"]["same"]["z_score"]["count"], 0)
        self.assertEqual(self.analyze("trends")["columns"]["same"]["slope_per_row"], 0.0)
        self.assertIsNone(self.analyze("trends")["columns"]["n"]["slope_per_row"])

    def test_without_rows_or_numbers_are_answered_all_the_same(self):
        self.load("head.csv", "a,b\n")
        self.assertEqual(self.analyze("summary")["rows"], 0)
        self.load("text.csv", "a,b\nx,y\n")
        for type in ("correlations", "outliers", "trends"):
            self.refused("column", action="analyze", type=type)
        self.load("nothing.json", '{"n": [], "m": []}')
        for type in ("summary", "correlations", "outliers", "trends"):
            with self.subTest(type=type):
                try:
                    self.analyze(type)
                except Error as error:
                    self.assertEqual(error.code, "invalid_request")


class BadInput(DataProcessorTest):
    def test_is_told_what_is_possible(self):
        self.refused('{"action": "load"', action=None)
        self.assertEqual(self.refused("unknown action 'x'", action="x"), {"actions": ["load", "analyze"]})
        for bad in ([1], {"a": 1}):
            self.refused("unknown action", action=bad)
        types = ["summary", "correlations", "outliers", "trends"]
        for bad in ("x", None, ["summary"], {}):
            self.assertEqual(self.refused("unknown type", action="analyze", type=bad), {"types": types})
        self.refused("first call", action="analyze", type="summary")
        for bad in ("rainfall", None, "", 5, ["weather"]):
            details = self.refused("weather.csv", action="load", dataset=bad)
            self.assertEqual(details, {"datasets": ["weather.csv"]})
        for bad in (None, "load", [1]):
            with self.assertRaises(Error) as caught:
                self.worker.call("run", bad)
            self.assertEqual(caught.exception.code, "invalid_request")


if __name__ == "__main__":
    unittest.main()
