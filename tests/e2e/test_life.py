"""The life of sessions: sleep and waking."""

from .program import Served, is_alive, process_status, wait_for, write_app

APP = "tests/sleeper"


class Sleep(Served):
    def asleep(self, session):
        return wait_for(lambda: (seen := self.server.session(session))["asleep"] and seen, "a session that sleeps")

    def sleeper(self):
        """A session with its worker's process, which then goes to sleep."""
        task = self.server.run(APP, "pid")
        process = (task["output"], process_status(task["output"])[1])
        self.server.run(APP, "add", 1, session=task["session_id"])
        return task["session_id"], process

    def test_takes_no_process_and_its_call_goes_on_with_the_state(self):
        session, process = self.sleeper()
        seen = self.asleep(session)
        self.assertEqual((seen["status"], seen["busy"], "worker_id" in seen), ("active", False, False))
        self.assertFalse(is_alive(process))
        self.assertEqual(self.server.output(APP, "add", 2, session=session), {"sum": 3, "restored": True})
        self.assertFalse(self.server.session(session)["asleep"])
        self.assertNotEqual(self.server.output(APP, "pid", session=session), process[0])
        events = [(event["type"], event["data"].get("reason"), event["data"].get("restored"))
                  for event in self.server.events(session) if event["type"].startswith("worker.")]
        self.assertEqual(events, [("worker.started", None, False), ("worker.closed", "sleeping", None),
                                  ("worker.started", None, True)])

    def test_leaves_memory_and_is_ended_in_it(self):
        session, _ = self.sleeper()
        self.asleep(session)
        wait_for(lambda: self.server.get("/readyz").body["live_sessions"] == 0, "all sessions to leave memory")
        self.assertEqual(self.server.delete(f"/sessions/{session}").status, 204)
        self.assertEqual(self.server.over(session)["status"], "ended")

    def test_expires_in_it(self):
        session = self.server.run(APP, "add", 1, session_timeout=2)["session_id"]
        self.asleep(session)
        self.assertEqual(self.server.over(session)["status"], "expired")
        self.refused(self.server.ask_run(APP, "add", 1, session=session), 410, "SESSION_EXPIRED")

    def test_goes_on_under_the_next_server(self):
        session, _ = self.sleeper()
        self.asleep(session)
        self.server.stop()
        self.server.start()
        self.assertTrue(self.server.session(session)["asleep"])
        self.assertEqual(self.server.output(APP, "add", 5, session=session), {"sum": 6, "restored": True})


class OnEnd(Served):
    def told(self, session):
        """What the session's app was told of its end."""
        found = [file.read_text() for file in self.folder.glob(f"data/sessions/*/{session}/over")]
        return found[0] if found else None

    def test_runs_at_the_end_of_a_session_and_not_when_it_sleeps(self):
        session = self.server.run(APP, "add", 1)["session_id"]
        wait_for(lambda: self.server.session(session)["asleep"], "a session that sleeps")
        self.assertIsNone(self.told(session))
        self.server.run(APP, "add", 1, session=session)
        self.server.delete(f"/sessions/{session}")
        self.assertEqual(self.told(session), "ended")

    def test_does_not_run_when_the_server_stops(self):
        session = self.server.run(APP, "add", 1)["session_id"]
        self.server.stop()
        self.assertIsNone(self.told(session))
        self.server.start()


BURNER = """
import time
from sojourn import App, serve

class Burner(App):
    def run(self):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

if __name__ == "__main__":
    serve(Burner)
"""


class Usage(Served):
    @classmethod
    def make_apps(cls, apps):
        write_app(apps, "cold", BURNER, "recover = true")
        write_app(apps, "forked", BURNER, "recover = true\nprefork = true")

    def test_adds_up_calls_and_every_worker_also_one_that_was_killed(self):
        for app in ("cold", "forked"):
            with self.subTest(app):
                session = self.server.run(app, input="abc")["session_id"]
                now = self.server.session(session)["usage"]
                self.assertEqual((now["calls"], now["bytes_in"], now["bytes_out"], now["cpu_ms"]), (1, 5, 4, 0))
                self.assertGreaterEqual(now["call_ms"], 50)
                self.server.kill_worker(session)
                self.server.output(app, session=session)
                self.server.delete(f"/sessions/{session}")
                over = self.server.session(session)["usage"]
                self.assertEqual(over["calls"], 2)
                self.assertGreaterEqual(over["cpu_ms"], 100)
                self.assertGreaterEqual(over["worker_ms"], over["call_ms"])
                self.assertGreater(over["peak_memory_bytes"], 5_000_000)
                self.assertEqual(self.server.events(session)[-1]["data"]["usage"], over)
