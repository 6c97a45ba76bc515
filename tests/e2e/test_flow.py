"""A flow served as an app: it runs, tells how far it is, and its calls can be seen afterwards, also where it failed."""

import json
import os
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from e2e.program import FAILED, SOURCE, Served

BUILD = Path(os.environ.get("SOJOURN_BUILD", str(SOURCE / "build" / "release")))
NODES = {"report", "walk", "look at", "read", "count", "find marks", "hash", "rank", "summarise"}


class Flow(Served):
    @classmethod
    def make_apps(cls, folder):
        (folder / "repo-report").symlink_to(BUILD / "apps" / "repo-report")

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def tree(self, files):
        for number in range(files):
            (self.folder / f"{number}.py").write_text(f"print({number})\n", encoding="utf-8")
        return str(self.folder)

    def test_a_run_is_streamed_and_its_calls_are_seen(self):
        task = self.server.run("repo-report", input=self.tree(20), wait=False)
        with self.server.stream(task["id"]) as stream:
            seen = [line.get("data", line) for line in stream]
        self.assertIn("20 files; Python 20", seen[-1]["output"])
        [run] = self.server.get(f"/sessions/{task['session_id']}/flow").data
        self.assertEqual((run["task"], run["function"], run["left_out"]), (task["id"], "report", 0))
        self.assertEqual({call["node"] for call in run["calls"]}, NODES)
        self.assertEqual(len(run["calls"]), 4 + 20 * 5)
        self.assertTrue(all(call["status"] == "Completed" for call in run["calls"]))

    def test_the_program_draws_a_run(self):
        session = self.server.run("repo-report", input=self.tree(20))["session_id"]
        shown = self.server.command("flow", "show", session).stdout.splitlines()
        self.assertTrue(shown[0].startswith("report"), shown[0])
        picture = self.folder / "run.svg"
        self.server.command("flow", "show", session, "--svg", str(picture))
        bars = ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}rect")
        self.assertEqual(len(list(bars)), 4 + 20 * 5)
        run = json.loads(self.server.command("flow", "show", session, "--json").stdout)
        self.assertEqual(len(run["calls"]), 4 + 20 * 5)

    def test_a_run_that_failed_is_seen_too(self):
        session = self.server.new_session("repo-report")
        good = self.server.run("repo-report", input=self.tree(1), session=session)
        bad = self.server.run("repo-report", input="/nowhere/at/all", session=session)
        self.assertEqual(bad["status"], FAILED)
        runs = self.server.get(f"/sessions/{session}/flow").data
        self.assertEqual([run["task"] for run in runs], [good["id"], bad["id"]])
        self.assertEqual([call["status"] for call in runs[1]["calls"]], ["Failed", "Failed"])
        self.assertIn("/nowhere/at/all", runs[1]["calls"][1]["error"])
        self.assertIn("FAILED", self.server.command("flow", "show", session).stdout)
        self.assertNotIn("FAILED", self.server.command("flow", "show", session, "--task", good["id"]).stdout)

    def test_what_is_not_there_is_refused(self):
        session = self.server.new_session("repo-report")
        shown = self.server.command("flow", "show", session, check=False)
        self.assertEqual((shown.returncode, shown.stdout), (1, ""))
        self.assertIn("no flow has run", shown.stderr)
        self.assertEqual(self.server.command("flow", "show", "sess_20260115_103045_a1b2c3", check=False).returncode, 1)


if __name__ == "__main__":
    unittest.main()
