"""What seed 004 shows in Python runs as it is written there; only import and address differ."""

import contextlib
import io
import os
import re
import unittest
from unittest import mock

from e2e.program import SOURCE, Served, wait_for, write_app

IMPORTS = {
    "from inferencesh import inference": "from sojourn.client import Client as inference",
    "from inferencesh import async_inference": "from sojourn.client import AsyncClient as async_inference",
}
APPS = ("my-app", "ml-inference", "browser-automation", "chat-with-memory", "data-processor")

# Does for all of the seed's apps what shows that calls reach the same warm worker.
STAND_IN = """
from sojourn import App, serve

class StandIn(App):
    def setup(self):
        self.seen = []

    def run(self, session, input):
        self.seen.append(input.get("action", "message"))
        if input.get("action") == "cleanup":
            session.end()
        return {"seen": self.seen, "response": f"{len(self.seen)}: {input.get('message')}"}

serve(StandIn)
"""


def blocks():
    text = (SOURCE / "tests" / "e2e" / "seed_004.md").read_text()
    return dict(re.findall(r"^## ([^\n]*)\n\n```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))


class Seed(Served):
    @classmethod
    def make_apps(cls, folder):
        for name in APPS:
            write_app(folder, name, STAND_IN)

    def setUp(self):
        patch = mock.patch.dict(os.environ, {"SOJOURN_URL": self.server.url})
        patch.start()
        self.addCleanup(patch.stop)
        self.names = {"data_batch": ["one", "two"], "__name__": "seed"}
        self.run_block("Creating a Session")
        self.addCleanup(self.names["client"].close)

    def run_block(self, head):
        """Runs what the seed has under this head; what it printed, line by line."""
        code = blocks()[head]
        for theirs, ours in IMPORTS.items():
            code = code.replace(theirs, ours)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"seed 004, {head}", "exec"), self.names)
        return printed.getvalue().splitlines()

    def seen(self):
        return self.names["result"]["output"]["seen"]

    def test_every_block_of_the_seed_is_run_here(self):
        with open(__file__, encoding="utf-8") as file:
            text = file.read()
        for head in blocks():
            self.assertIn(f'self.run_block("{head}")', text)

    def test_creating_and_using_a_session(self):
        self.assertTrue(self.names["session_id"].startswith("sess_"))
        self.run_block("Using an Existing Session")
        self.assertEqual(self.seen(), ["initialize", "process"])

    def test_session_timeout(self):
        self.run_block("Session Timeout")
        self.assertEqual(self.server.session(self.names["result"]["session_id"])["idle_timeout"], 300)

    def test_use_cases(self):
        printed = self.run_block("Model Loading")
        self.assertEqual(len(printed), 2)
        self.assertEqual(self.seen(), ["load_model", "predict", "predict"])
        self.run_block("Browser Automation")
        self.assertEqual(self.seen(), ["start", "click", "type", "screenshot"])
        printed = self.run_block("Stateful Conversations")
        self.assertEqual(printed[2], "Assistant: 4: How is it different from classical computing?")
        printed = [line.partition(":")[0] for line in self.run_block("Data Processing Pipeline")]
        self.assertEqual(printed, ["summary", "correlations", "outliers", "trends"])

    def test_status_of_a_session_that_expired(self):
        self.assertEqual(self.run_block("Check Session Status"), [])
        self.names["session_id"] = self.server.new_session("my-app", session_timeout=1)
        wait_for(lambda: self.server.session(self.names["session_id"])["status"] == "expired", "the time-out")
        self.assertEqual(self.run_block("Check Session Status"), ["Session expired, creating new one"])

    def test_explicit_close(self):
        self.run_block("Explicit Session Close")
        self.assertEqual(self.server.over(self.names["session_id"])["status"], "ended")

    def test_recovery_pattern(self):
        self.run_block("Session Recovery Pattern")
        manager, first = self.names["manager"], self.names["manager"].session_id
        self.assertEqual(self.seen(), ["init", "process"])
        self.server.delete(f"/sessions/{first}")
        again = manager.run({"action": "process", "data": "..."})
        self.assertNotEqual(again["session_id"], first)
        self.assertEqual(again["output"]["seen"], ["init", "process"])

    def test_async_sessions(self):
        self.run_block("Async Sessions")
        newest = self.server.get("/sessions?app=my-app&limit=1").data[0]
        self.assertEqual((newest["call_count"], newest["idle_timeout"]), (11, 300))


if __name__ == "__main__":
    unittest.main()
