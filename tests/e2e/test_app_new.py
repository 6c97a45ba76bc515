"""What `sojourn app new` writes builds, passes its test, and is an app: in C++ against what `cmake --install` put elsewhere."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from e2e.program import SOURCE, clean_environment, command

BUILD = Path(os.environ.get("SOJOURN_BUILD", str(SOURCE / "build" / "release")))
COMPILING = 600  # seconds; a slow machine under load


class AppNew(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sojourn-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def done(self, *words, cwd=None, environment=None):
        done = subprocess.run([*map(str, words)], cwd=cwd or self.folder, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=COMPILING, env={**clean_environment(), **(environment or {})})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def checks_of(self, program, app):
        report = json.loads(self.done(program, "app", "check", app, "--json"))
        return [(check["name"], check["result"]) for check in report["checks"]]

    def test_in_cpp_builds_elsewhere_and_passes_its_test(self):
        prefix = self.folder / "prefix"
        self.done("cmake", "--install", BUILD, "--prefix", prefix)
        program = prefix / "bin" / "sojourn"
        told = json.loads(self.done(program, "app", "new", "bolt-check", "--lang", "cpp", "--json"))
        app = self.folder / "bolt-check"
        self.assertEqual((told["name"], told["folder"]), ("bolt-check", "bolt-check"))
        for words in told["next"][1:4]:
            output = self.done(*words.split(), cwd=app)
        self.assertIn("100% tests passed", output)
        self.assertEqual({result for _, result in self.checks_of(program, app)}, {"PASS"})
        self.done(program, "app", "pack", app)
        names = [name for name, _ in self.checks_of(program, self.folder / "bolt-check-1.0.0.tar")]
        self.assertEqual(names, ["manifest", "files", "start", "info", "close", "output"])

    def test_in_python_passes_its_test_wherever_it_is(self):
        made = command("app", "new", "bolt_check", "--lang", "python", "--folder", self.folder / "a", cwd=self.folder)
        self.assertEqual(made.returncode, 0, made.stderr)
        app = (self.folder / "a").rename(self.folder / "elsewhere")
        self.assertIn("class BoltCheck(steps.Algorithm)", (app / "algorithm.py").read_text())
        ran = subprocess.run(["/usr/bin/python3", "-m", "unittest"], cwd=app, capture_output=True, text=True,
                             env={**clean_environment(), "PYTHONPATH": "lib"}, timeout=60)
        self.assertIn("Ran 3 tests", ran.stderr)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        report = json.loads(command("app", "check", app, "--json").stdout)
        self.assertEqual(report["summary"], {"status": "PASS", "passed": 5, "failed": 0})

    def test_takes_no_name_that_no_app_may_have_and_no_folder_that_is_used(self):
        for name in ("", "Bolt", "9bolt", "a/b", "..", "a b", "x" * 65):
            with self.subTest(name=name):
                self.assertEqual(command("app", "new", name, "--lang", "python", cwd=self.folder).returncode, 2)
        (self.folder / "bolt").mkdir()
        (self.folder / "bolt" / "mine").write_text("mine")
        refused = command("app", "new", "bolt", "--lang", "cpp", cwd=self.folder)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("bolt is there already", refused.stderr)
        self.assertEqual([file.name for file in (self.folder / "bolt").iterdir()], ["mine"])


if __name__ == "__main__":
    unittest.main()
