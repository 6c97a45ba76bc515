"""The life of sessions: sleep and waking."""

from .program import Served, is_alive, link_apps, process_status, wait_for, write_app

APP = "tests/sleeper"


FORKED_SLEEPER = """
from sojourn import App, serve

class Sleeper(App):
    def setup(self):
        self.made_by = "setup"

    def restore(self):
        self.made_by = "restore"

    def run(self, session, input):
        if input == "acquire":
            held = session.folder / "held"
            note = {"path": str(held)}
            session.resources.add("held", "folder", held.rmdir, cleanup_note=note)
            held.mkdir()
        session.state["times"] = session.state.get("times", 0) + 1
        return [session.state["times"], self.made_by]

    def unload(self, session):
        with open(session.folder / "unloaded", "a") as file:
            file.write("once")

if __name__ == "__main__":
    serve(Sleeper)
"""


class Sleep(Served):
    @classmethod
    def make_apps(cls, apps):
        link_apps(apps)
        write_app(apps, "forked-sleeper", FORKED_SLEEPER, "prefork = true\nrecover = true\nsleep_after = 1")

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
        session, process = self.sleeper()
        self.asleep(session)
        wait_for(lambda: self.server.get("/readyz").body["live_sessions"] == 0, "all sessions to leave memory")
        self.assertEqual(self.server.delete(f"/sessions/{session}").status, 204)
        self.assertEqual(self.server.over(session)["status"], "ended")
        self.assertEqual(self.server.event_types(session)[-1], "session.ended")
        self.assertFalse(is_alive(process))
        verified = self.server.command("audit", "verify", session)
        self.assertEqual(verified.returncode, 0, verified.stdout)

    def test_its_worker_cleans_up_before_it(self):
        session = self.server.run("forked-sleeper", input="acquire")["session_id"]
        folder = next(self.folder.glob(f"data/sessions/*/{session}"))
        self.asleep(session)
        self.assertFalse((folder / "held").exists())
        self.assertEqual((folder / "unloaded").read_text(), "once")
        self.assertIn("resource.added", self.server.event_types(session))

    def test_wakes_as_a_fork_that_restores(self):
        session = self.server.run("forked-sleeper")["session_id"]
        worker = self.server.worker(session)
        process = (worker, process_status(worker)[1])
        for times in (2, 3):
            self.asleep(session)
            self.assertFalse(is_alive(process))
            self.assertEqual(self.server.output("forked-sleeper", session=session), [times, "restore"])
        starts = [event["data"]["start"] for event in self.server.events(session) if event["type"] == "worker.started"]
        self.assertEqual(starts, ["fork"] * 3)

    def test_is_put_off_by_a_keepalive_that_does_not_wake_it(self):
        session, process = self.sleeper()
        before = self.asleep(session)
        kept = self.server.post(f"/sessions/{session}/keepalive").data
        self.assertTrue(kept["asleep"])
        self.assertGreater(kept["expires_at"], before["expires_at"])
        self.assertFalse(is_alive(process))
        self.assertEqual(self.server.event_types(session)[-1], "session.keepalive")
        self.assertEqual(self.server.output(APP, "add", 1, session=session), {"sum": 2, "restored": True})

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

    def test_goes_on_after_a_server_that_was_killed(self):
        session, _ = self.sleeper()
        self.asleep(session)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.server.output(APP, "add", 5, session=session), {"sum": 6, "restored": True})
        self.assertNotIn("call.failed", self.server.event_types(session))


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

    def test_runs_for_a_session_that_is_ended_in_its_sleep(self):
        for restarts in (False, True):
            session = self.server.run(APP, "add", 1)["session_id"]
            wait_for(lambda: self.server.session(session)["asleep"], "a session that sleeps")
            if restarts:  # a server that has seen no worker of the app yet
                self.server.stop()
                self.server.start()
            self.server.delete(f"/sessions/{session}")
            self.assertEqual(self.told(session), "ended")
            self.assertEqual(self.server.event_types(session)[-3:], ["worker.started", "worker.closed", "session.ended"])

    def test_does_not_run_when_the_server_stops(self):
        session = self.server.run(APP, "add", 1)["session_id"]
        self.server.stop()
        self.assertIsNone(self.told(session))
        self.server.start()


class WarmUp(Served):
    @classmethod
    def make_apps(cls, apps):
        link_apps(apps)
        write_app(apps, "broken", "import sys\nsys.exit('there is no such model')\n")
        write_app(apps, "mending", "import sys\nsys.exit('there is no such model')\n", "recover = true")

    def test_first_call_finds_its_worker(self):
        session = self.server.post("/sessions", {"app": APP, "warm": True, "wait": True}).data
        self.assertEqual((session["call_count"], session["asleep"]), (0, False))
        self.assertEqual(self.server.event_types(session["id"]), ["session.created", "worker.started"])
        pid = self.server.output(APP, "pid", session=session["id"])
        self.assertEqual(session["worker_id"], f"pid-{pid}")

    def test_without_wait_the_answer_comes_at_once(self):
        session = self.server.new_session(APP, warm=True)
        wait_for(lambda: "worker_id" in self.server.session(session), "its worker")
        self.server.output(APP, "pid", session=session)
        self.assertEqual(self.server.event_types(session).count("worker.started"), 1)

    def test_program_that_does_not_start_is_told(self):
        for app, status in (("broken", "ended"), ("mending", "active")):
            with self.subTest(app):
                error = self.refused(self.server.post("/sessions", {"app": app, "warm": True, "wait": True}),
                                     500, "worker_start_failed")
                self.assertIn("there is no such model", error["details"]["stderr"])
                session = error["details"]["session_id"]
                wait_for(lambda: self.server.session(session)["status"] == status, f"a session that is {status}")
                self.assertIn("worker.start_failed", self.server.event_types(session))

    def test_retry_with_its_key_starts_no_other(self):
        body = {"app": APP, "warm": True, "wait": True}
        first, again = (self.server.post("/sessions", body, **{"Idempotency-Key": self.id()}).data for _ in range(2))
        self.assertEqual((again["id"], again["worker_id"]), (first["id"], first["worker_id"]))

    def test_command_line_prints_the_id_of_a_warm_session(self):
        made = self.server.command("sessions", "create", APP, "--warm")
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        self.assertIn("worker_id", self.server.session(made.stdout.strip()))
        refused = self.server.command("sessions", "create", "broken", "--warm")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("did not start", refused.stderr)


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
