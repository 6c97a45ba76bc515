"""Apps tried by `sojourn app check`, without a server."""

import json
import tempfile
import unittest
from pathlib import Path

from e2e.program import SOURCE, clean_environment, command, command_of, processes, write_app

APP = """
import sys, time
from sojourn import App, serve

class X(App):
    def run(self, input):
        if input == "print":
            print("hello")
        if input == "hang":
            time.sleep(1000)
        return {"got": input}

    def info(self):
        return INFO

    execute = run

serve(X)
"""


class AppCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sojourn-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def check(self, app, *words):
        """The exit code, and {name: (result, message)}."""
        done = command("app", "check", app, "--json", *words)
        report = json.loads(done.stdout)
        checks = {check["name"]: (check["result"], check["message"]) for check in report["checks"]}
        failed = [name for name, (result, _) in checks.items() if result == "FAIL"]
        self.assertEqual(report["summary"], {"status": "FAIL" if failed else "PASS", "failed": len(failed),
                                             "passed": len(checks) - len(failed)})
        self.assertEqual(done.returncode, 1 if failed else 0, done.stderr)
        return failed, checks

    def app(self, info='{"name": "x", "version": "1", "steps": [{"index": 1, "name": "a"}]}', program=APP, manifest=""):
        write_app(self.folder, "x", program.replace("INFO", info), manifest)
        toml = self.folder / "x" / "app.toml"
        toml.write_text(toml.read_text().replace('functions = ["run"]', 'functions = ["run", "info", "execute"]'))
        return self.folder / "x"

    def test_an_app_that_is_well_passes(self):
        failed, checks = self.check(SOURCE / "apps" / "counter", "--input", '{"key": "a"}')
        self.assertEqual(failed, [])
        self.assertEqual(list(checks), ["manifest", "start", "call", "close", "output"])
        self.assertEqual(checks["call"][1], '{"key":"a","previous":0,"current":1}')
        done = command("app", "check", SOURCE / "apps" / "counter")
        self.assertEqual([line.split()[:2] for line in done.stdout.splitlines()],
                         [["PASS", name] for name in ("manifest", "start", "close", "output")])

    def test_an_algorithm_is_asked_what_it_is(self):
        failed, checks = self.check(SOURCE / "apps" / "coin-inspection-python")
        self.assertEqual((failed, checks["info"]), ([], ("PASS", "coin-inspection-python 1.0.0, 3 steps")))

    def test_each_fault_is_told_by_its_name(self):
        for name, arguments, words, message in (
            ("info", {"info": '{"name": "x", "version": "1", "steps": [{"index": 0, "name": "a"}]}'}, (),
             "get_info: steps[0].index: must be 1"),
            ("info", {"info": "5"}, (), "must be an object"),
            ("start", {"program": "raise SystemExit('no model')"}, (), "exited with status 1"),
            ("manifest", {"manifest": "recover = 5"}, (), "recover"),
            ("output", {}, ("--input", '"print"'), "hello"),
            ("call", {"manifest": "call_timeout = 1"}, ("--input", '"hang"'), "call_timeout"),
            ("call", {}, ("--input", "1", "--function", "none"), "none"),
        ):
            with self.subTest(name=name, message=message):
                self.setUp()
                failed, checks = self.check(self.app(**arguments), *words)
                self.assertIn(name, failed)
                self.assertIn(message, checks[name][1])

    def test_whoever_names_the_description_is_told_to_name_its_folder(self):
        done = command("app", "check", SOURCE / "apps" / "counter" / "app.toml")
        self.assertEqual(done.returncode, 1)
        self.assertIn("app.toml' is no archive: name the folder that holds it", done.stdout)

    def test_what_the_program_of_a_failure_said_last_is_shown(self):
        for program, words, said in (("raise SystemExit('no model')", (), "no model\n"),
                                     (APP.replace("if input ==", "if input and 1 / 0 =="), ("--input", "1"),
                                      "ZeroDivisionError: division by zero\n")):
            with self.subTest(said=said):
                self.setUp()
                app = self.app(program=program)
                done = command("app", "check", app, *words)
                self.assertEqual(done.returncode, 1)
                self.assertTrue(done.stderr.endswith(said), done.stderr)
                failed = [check for check in json.loads(command("app", "check", app, *words, "--json").stdout)["checks"]
                          if check["result"] == "FAIL"]
                self.assertEqual([check["last_words"] for check in failed], [done.stderr])

    def test_leaves_no_process_and_no_folder_behind(self):
        scratch = self.folder / "scratch"
        scratch.mkdir()
        app = self.app()
        before = set(processes())
        done = command("app", "check", app, environment={**clean_environment(), "TMPDIR": str(scratch)})
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(list(scratch.iterdir()), [])
        self.assertEqual([pid for pid in set(processes()) - before if str(app) in command_of(pid)], [])

    def test_a_folder_without_an_app_and_bad_input_are_refused(self):
        failed, checks = self.check(self.folder)
        self.assertEqual(failed, ["manifest"])
        self.assertEqual(command("app", "check", self.folder, "--input", "{").returncode, 2)


if __name__ == "__main__":
    unittest.main()
