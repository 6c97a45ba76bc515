"""Calls that are accepted now and made later."""

import json
import time
from datetime import datetime, timedelta, timezone

from e2e.program import CANCELLED, COMPLETED, FAILED, PATIENCE, Served, wait_for
from e2e.test_restart import Restart
from sojourn.client import Client

RECEIVED = 1


def in_seconds(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def time_of(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Later(Served):
    def test_a_call_is_made_when_its_time_has_come(self):
        run_at = in_seconds(1)
        task = self.server.run("counter", "increment", {"key": "a"}, wait=False, run_at=run_at)
        self.assertEqual((task["status"], task["seq"], time_of(task["run_at"])), (RECEIVED, 0, time_of(run_at)))
        self.assertEqual(self.server.task(task["id"]), task)
        session = self.server.session(task["session_id"])
        self.assertEqual((session["status"], "worker_id" in session), ("active", False))
        self.assertGreater(time_of(session["expires_at"]), time_of(run_at) + timedelta(seconds=50))
        done = self.server.final_task(task["id"])
        self.assertEqual((done["status"], done["output"]["current"], done["seq"]), (COMPLETED, 1, 1))
        self.assertGreaterEqual(time_of(done["started_at"]), time_of(run_at))
        self.assertEqual(done["run_at"], task["run_at"])

    def test_a_stream_begins_before_its_time_and_ends_with_its_end(self):
        task = self.server.run("counter", "increment", {"key": "a"}, wait=False, run_at=in_seconds(0.5))
        with self.server.stream(task["id"]) as stream:
            lines = list(stream)
        self.assertEqual(lines[0]["status"], RECEIVED)
        self.assertEqual((lines[-1]["status"], lines[-1]["output"]["current"]), (COMPLETED, 1))

    def test_a_call_is_cancelled_before_its_time(self):
        task = self.server.run("counter", "increment", {"key": "a"}, wait=False, run_at=in_seconds(3600))
        with self.server.stream(task["id"]) as stream:
            self.assertEqual(stream.next()["status"], RECEIVED)
            self.assertEqual(self.server.post(f"/tasks/{task['id']}/cancel").data["status"], CANCELLED)
            self.assertEqual(list(stream)[-1]["status"], CANCELLED)
        self.assertEqual(self.server.event_types(task["session_id"])[-2:], ["call.scheduled", "call.cancelled"])

    def test_the_command_line_puts_a_call_off(self):
        words = ["run", "counter", "--input", '{"key": "a"}', "--run-at"]
        done = self.server.command(*words, in_seconds(0.5), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        task = json.loads(done.stdout)
        self.assertEqual(task["status"], RECEIVED)
        self.assertEqual(self.server.final_task(task["id"])["status"], COMPLETED)
        done = self.server.command(*words, "tomorrow")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("run_at", done.stderr)

    def test_bad_times_are_refused_by_the_fields_name(self):
        for run_at in ("2030-01-01T00:00:00", "tomorrow", 5, "2999-01-01T00:00:00Z", "2026-02-30T00:00:00Z"):
            with self.subTest(run_at=run_at):
                answer = self.server.ask_run("counter", input={"key": "a"}, wait=False, run_at=run_at)
                self.assertEqual(self.refused(answer, 400, "invalid_request", "run_at")["details"]["field"], "run_at")
        answer = self.server.ask_run("counter", input={"key": "a"}, wait=True, run_at=in_seconds(1))
        self.refused(answer, 400, "invalid_request", "run_at", "wait")

    def test_the_python_client_puts_a_call_off_and_waits_for_it(self):
        with Client(self.server.url) as client, client.session("counter") as session:
            run_at = datetime.now(timezone.utc) + timedelta(seconds=0.5)
            self.assertEqual(session.run({"key": "a"}, run_at=run_at).output["current"], 1)
            self.assertGreaterEqual(datetime.now(timezone.utc), run_at)
            task = client.run({"session": session.id, "input": {"key": "a"}, "run_at": run_at}, wait=False)
            self.assertEqual(client.wait(task).output["current"], 2)
            with self.assertRaisesRegex(ValueError, "time zone"):
                session.run({"key": "a"}, run_at=datetime(2030, 1, 1))

    def test_a_call_with_files_is_not_put_off_for_longer_than_they_stay(self):
        announced = self.server.post("/files", {"files": [{"filename": "a.txt"}]}).data[0]
        self.server.ask("PUT", announced["upload_url"].removeprefix(self.server.url), b"text")
        body = {"input": {"file": announced["uri"]}, "wait": False}
        self.refused(self.server.ask_run("tests/probe", "echo", run_at=in_seconds(86_000), **body), 400,
                     "invalid_request", "run_at", "files")
        done = self.server.final_task(self.server.run("tests/probe", "echo", run_at=in_seconds(0.3), **body)["id"])
        self.assertEqual(done["output"]["file"]["filename"], "a.txt")


class LaterAndRestarted(Restart):
    def test_what_was_accepted_is_made_after_a_crash_and_only_once(self):
        gate = self.fifo()
        begun = self.server.run("tests/probe", "hold", {"gate": gate.path}, wait=False, run_at=in_seconds(0))
        gate.wait_until_read()
        session = self.server.new_session("counter")
        ahead = self.server.run("counter", "increment", {"key": "a"}, session=session, wait=False, run_at=in_seconds(3600))
        soon = in_seconds(3)
        due = self.server.run("counter", "increment", {"key": "a"}, session=session, wait=False, run_at=soon)
        own = self.server.run("counter", "increment", {"key": "a"}, session=None, wait=False, run_at=soon)
        self.crash()
        wait_for(lambda: datetime.now(timezone.utc) > time_of(due["run_at"]), "the time of a call")
        self.verified()
        self.server.start()
        for task in (due, own):
            done = self.server.final_task(task["id"])
            self.assertEqual((done["status"], done["output"]["current"]), (COMPLETED, 1))
        self.assertEqual(self.server.over(own["session_id"])["status"], "ended")
        self.assertEqual(self.server.final_task(begun["id"])["status"], FAILED)
        self.assertEqual(self.server.task(ahead["id"])["status"], RECEIVED)
        self.assertEqual(self.server.session(session)["call_count"], 1)
        self.server.stop()
        self.verified()

    def test_a_stream_of_a_call_to_come_does_not_hold_up_the_end_and_goes_on_after_it(self):
        task = self.server.run("counter", "increment", {"key": "a"}, wait=False, run_at=in_seconds(1))
        with self.server.stream(task["id"]) as stream:
            self.assertEqual(stream.next()["status"], RECEIVED)
            start = time.monotonic()
            self.server.stop()
            self.assertLess(time.monotonic() - start, PATIENCE)
        self.server.start()
        with self.server.stream(task["id"]) as stream:
            self.assertEqual(list(stream)[-1]["status"], COMPLETED)
