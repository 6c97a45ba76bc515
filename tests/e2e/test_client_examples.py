"""The examples of the Python client do what they say, on a real server with the project's apps."""

import subprocess
import sys
import unittest

from e2e.program import PATIENCE, SOURCE, Served

PRINTS = {
    "analyses": [
        "loaded 2922 rows",
        "summary: dataset, type, rows, duplicate_rows, columns",
        "correlations: dataset, type, pearson, spearman, strongest",
        "outliers: dataset, type, rules, columns",
        "trends: dataset, type, over, first, last, columns, monthly",
    ],
    "session_manager": [
        "loaded 2922 rows into a new session",
        "strongest: temp_max and temp_min, r = 0.926",
        "strongest: temp_max and temp_min, r = 0.926",
        "loaded 2922 rows into a new session",
        "strongest: temp_max and temp_min, r = 0.926",
    ],
    "async_workflow": ["sum: 45"],
}


class Examples(Served):
    def test_each_prints_what_it_should_and_leaves_no_session(self):
        folder = SOURCE / "examples" / "python"
        self.assertEqual(sorted(path.stem for path in folder.glob("*.py")), sorted(PRINTS))
        environment = {**self.server.environment, "PYTHONPATH": str(SOURCE / "sdk" / "python"),
                       "SOJOURN_URL": self.server.url}
        for name, lines in PRINTS.items():
            with self.subTest(example=name):
                done = subprocess.run([sys.executable, "-W", "error", folder / f"{name}.py"], env=environment,
                                      capture_output=True, text=True, timeout=PATIENCE, check=False)
                self.assertEqual((done.stdout.splitlines(), done.stderr), (lines, ""))
                self.assertEqual(self.server.get("/sessions?status=active").data, [])


if __name__ == "__main__":
    unittest.main()
