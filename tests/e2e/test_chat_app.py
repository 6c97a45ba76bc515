"""A conversation through the real server: it outlives its worker and the server, and streams."""

import sys

from e2e.program import CANCELLED, SOURCE, Served, wait_for

APP = "chat-with-memory"
sys.path.insert(0, str(SOURCE / "apps" / APP))
from stand_in import StandIn  # noqa: E402


class ChatApp(Served):
    @classmethod
    def make_apps(cls, folder):
        (folder / APP).symlink_to(SOURCE / "apps" / APP)

    def setUp(self):
        self.model = self.enterContext(StandIn())
        self.id = self.server.new_session(APP, setup={"endpoint": self.model.url, "model": "stand-in"})

    def say(self, message, **fields):
        return self.server.run(APP, "chat", {"message": message}, session=self.id, **fields)

    def test_the_conversation_outlives_worker_and_server(self):
        self.say("one")
        self.server.kill_worker(self.id)
        self.assertIn("Before it: ['one']", self.say("two")["output"]["response"])
        self.server.kill()
        self.server.start()
        self.assertIn("Before it: ['one', 'two']", self.say("three")["output"]["response"])

    def test_the_answer_streams(self):
        self.model.fault = "slow"
        task = self.say("one", wait=False)["id"]
        with self.server.stream(task) as stream:
            stream.wait_for_line(lambda line: line.get("event") == "delta")
            self.server.post(f"/tasks/{task}/cancel")
            last = [line for line in stream][-1]
        self.assertEqual((last["status"], last["output"]), (CANCELLED, None))
        self.assertTrue(self.model.hung_up.wait(60))
        self.model.fault = None
        self.assertEqual(self.say("two")["output"]["history"], 2)
        self.assertNotIn("worker.lost", self.server.event_types(self.id))

    def test_a_fault_of_the_endpoint_is_a_failed_task_with_its_code(self):
        self.model.fault = 429
        error = self.say("one")["error_info"]
        self.assertEqual((error["code"], error["retryable"]), ("app_error", True))
        self.assertEqual((error["details"]["code"], error["details"]["retry_after"]), ("endpoint_busy", 7))
        unset = self.server.run(APP, "chat", {"message": "one"})
        self.assertEqual(unset["error_info"]["details"]["code"], "endpoint_not_set")

    def test_a_worker_killed_in_mid_answer_leaves_the_conversation_as_it_was(self):
        self.say("one")
        self.model.fault = "slow"
        task = self.say("two", wait=False)["id"]
        with self.server.stream(task) as stream:
            stream.wait_for_line(lambda line: line.get("event") == "delta")
            self.server.kill_worker(self.id)
            wait_for(lambda: self.server.task(task)["status_text"] == "failed", "the failure of the call")
        self.model.fault = None
        self.assertIn("Before it: ['one']", self.say("three")["output"]["response"])
