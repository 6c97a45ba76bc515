"""Algorithms in shared libraries: served by a worker of their own, and refused with the reason where they cannot be."""

import os
import subprocess
import unittest
from pathlib import Path

from e2e.program import FAILED, SOURCE, Served

BUILD = Path(os.environ.get("SOJOURN_BUILD", str(SOURCE / "build" / "release")))
HOST = BUILD / "sojourn-algorithm"
FUNCTIONS = '["info", "pre_execute", "execute", "reset", "detect"]'

# A mark and numbers as sojourn/steps/library.hpp has them, but another version; and one without the mark.
OLDER = "const struct { unsigned mark, version, rest[8]; } sojourn_algorithm = {0x534A4E41, 999};"
FOREIGN = "const int sojourn_algorithm[32] = {1};"
UNRESOLVED = "extern void nobody_has_this(void); void (*called)(void) = nobody_has_this;"


def compile(folder, name, source):
    library = folder / f"{name}.so"
    subprocess.run(["clang-19", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=source, text=True, check=True)
    return library


class Libraries(Served):
    @classmethod
    def make_apps(cls, folder):
        text = folder / "text.so"
        text.write_text("no library")
        for name, library in {
            "gauge": BUILD / "examples" / "gauge.so",
            "refusing": BUILD / "tests" / "e2e" / "refusing_algorithm.so",
            "missing": folder / "missing.so",
            "text": text,
            "older": compile(folder, "older", OLDER),
            "foreign": compile(folder, "foreign", FOREIGN),
            "empty": compile(folder, "empty", ""),
            "unresolved": compile(folder, "unresolved", UNRESOLVED),
        }.items():
            (folder / name).mkdir()
            (folder / name / "app.toml").write_text(
                f'name = "{name}"\ncommand = ["{HOST}", "{library}"]\nfunctions = {FUNCTIONS}\nrecover = true\n'
            )

    def test_one_is_served_and_its_session_spans_its_steps(self):
        session = self.server.new_session("gauge")

        def step(index, reading):
            return self.server.output("gauge", "execute", {"step_index": index, "pid": "bolt",
                                                           "user_params": {"reading": reading}}, session=session)

        self.assertEqual(step(1, 500.0)["data"]["result_status"], "OK")
        judged = step(2, 520.0)["data"]
        self.assertEqual((judged["result_status"], judged["mm"]), ("NG", 10.4))

    def test_what_it_throws_keeps_its_code(self):
        task = self.server.run("gauge", "execute", {"step_index": 1, "pid": "bolt", "user_params": {"reading": 0}})
        for words in ("the sensor sees nothing", "image_load_failed"):
            self.assertIn(words, str(task))

    def test_it_is_loaded_in_its_worker_only(self):
        session = self.server.new_session("gauge")
        self.server.output("gauge", "info", session=session)
        worker = self.server.worker(session)
        self.assertIn("gauge.so", Path(f"/proc/{worker}/maps").read_text())
        self.assertNotIn("gauge.so", Path(f"/proc/{self.server.process.pid}/maps").read_text())

    def test_one_that_cannot_be_used_is_refused_with_the_reason(self):
        for app, words in (
            ("missing", "missing.so: cannot open shared object file"),
            ("text", "text.so: file too short"),
            ("empty", "it exports no sojourn_algorithm"),
            ("foreign", "it exports no sojourn_algorithm"),
            ("older", "compiled for another Sojourn (version 999,"),
            ("unresolved", "undefined symbol: nobody_has_this"),
            ("refusing", "no camera is plugged in"),
        ):
            with self.subTest(app=app):
                task = self.server.run(app, "detect", {})
                self.assertEqual(task["status"], FAILED)
                self.assertIn(words, str(task))
        self.assertEqual(self.server.ask("GET", "/healthz").status, 200)


if __name__ == "__main__":
    unittest.main()
