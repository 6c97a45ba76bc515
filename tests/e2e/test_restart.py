"""What a server that comes back knows: after kill -9, and after a graceful stop."""

import os
import shutil
import signal
import tempfile
import threading
import unittest
from pathlib import Path

from e2e.program import COMPLETED, FAILED, Gate, Program, command, is_alive, link_apps, stop_if_running, wait_for


class Restart(unittest.TestCase):
    flags = ()

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "apps").mkdir()
        link_apps(self.folder / "apps")
        self.server = Program(self.folder / "apps", self.folder / "data", *self.flags)
        self.addCleanup(self.server.log_file.close)
        self.server.start()
        self.addCleanup(stop_if_running, self.server)

    def fifo(self):
        path = self.folder / "gate"
        os.mkfifo(path)
        gate = Gate(path)
        self.addCleanup(gate.open)
        return gate

    def crash(self):
        self.assertGreater(len(self.server.left()), 1)  # it and its supervisor at least, and they are found
        self.server.kill()

    def verified(self):
        done = command("audit", "verify", "--all", "--data", self.server.data)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class AfterACrash(Restart):
    def test_state_goes_on_and_memory_fails_honestly(self):
        counter = self.server.new_session("counter")
        kept = self.server.run("counter", "increment", {"key": "a", "amount": 41}, session=counter)
        memory = self.server.new_session("session-test")
        said = self.server.run("session-test", "set_value", {"key": "k", "value": "v"}, session=memory)
        fresh = self.server.new_session("session-test")
        ended = self.server.run("tests/probe", "end")
        wait_for(lambda: self.server.session(ended["session_id"])["status"] == "ended", "its end")
        self.crash()
        self.verified()
        self.server.start()

        self.assertEqual(self.server.task(kept["id"]), kept)
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"}, session=counter)["current"], 42)

        answer = self.server.ask_run("session-test", "get_value", {"key": "k"}, session=memory)
        self.assertEqual((answer.status, answer.body["code"]), (500, "WORKER_LOST"))
        self.assertIn(f"session failed: {memory}", answer.body["detail"])
        self.assertIn("new session", answer.error["advice"])
        session = self.server.session(memory)
        self.assertEqual((session["status"], session["error"]["code"]), ("ended", "WORKER_LOST"))
        self.assertEqual(self.server.task(said["id"]), said)
        self.assertEqual(self.server.event_types(memory)[-1], "session.failed")

        # One that had no call has lost nothing; one that was over stays over.
        self.assertEqual(self.server.output("session-test", "get_all", session=fresh)["call_count"], 1)
        self.assertEqual(self.server.session(ended["session_id"])["status"], "ended")
        self.server.stop()
        self.verified()

    def test_call_in_flight_is_failed_and_nothing_of_it_is_half_applied(self):
        gate = self.fifo()
        session = self.server.new_session("tests/probe")
        self.server.output("tests/probe", "set", {"a": 1}, session=session)
        running = self.server.run("tests/probe", "hold", {"gate": gate.path}, session=session, wait=False)
        queued = self.server.run("tests/probe", "set", {"a": 2}, session=session, wait=False)
        gate.wait_until_read()
        self.crash()
        self.server.start()
        for task in (running, queued):
            failed = self.server.task(task["id"])
            self.assertEqual((failed["status"], failed["error_info"]["code"]), (FAILED, "WORKER_LOST"))
        seen = self.server.output("tests/probe", "state", session=session)
        self.assertEqual(seen, {"state": {"a": 1}, "restored": True})
        self.server.stop()
        self.verified()

    def test_checkpoint_is_there_after_a_crash(self):
        session = self.server.new_session("tests/probe")
        self.server.run("tests/probe", "checkpoint_then_fail", session=session)
        self.crash()
        self.server.start()
        self.assertEqual(self.server.get(f"/sessions/{session}/state").data, {"before": 1})

    def test_same_idempotency_key_gives_the_same_task(self):
        session = self.server.new_session("counter")

        def call(input):
            return self.server.ask_run("counter", "increment", input, session=session,
                                       headers={"Idempotency-Key": "k"})

        first = call({"key": "a"}).data
        self.crash()
        self.server.start()
        self.assertEqual(call({"key": "a"}).data, first)
        self.assertEqual(call({"key": "b"}).status, 422)
        self.assertEqual(self.server.get(f"/sessions/{session}/state").data, {"a": 1})

    def test_same_idempotency_key_gives_the_session_it_opened(self):
        def call():
            return self.server.ask_run("counter", "increment", {"key": "a"}, session="new",
                                       headers={"Idempotency-Key": "k"}).data

        first = call()
        self.crash()
        self.server.start()
        self.assertEqual(call(), first)
        self.assertEqual([session["id"] for session in self.server.get("/sessions").data], [first["session_id"]])

    def test_process_that_left_its_group_is_ended_too(self):
        daemon = self.server.output("tests/probe", "fork")
        self.assertIn(daemon, [pid for pid, _ in self.server.family()])
        self.crash()

    def test_resources_of_a_dead_server_are_released_at_the_next_start(self):
        session = self.server.new_session("tests/probe")
        self.server.output("tests/probe", "acquire", {"names": ["one"]}, session=session)
        (path,) = self.server.data.glob(f"sessions/*/{session}/one")
        os.kill(self.server.worker(session), signal.SIGSTOP)  # or it would clean up itself when the server goes
        self.crash()
        self.assertTrue(path.is_dir())
        self.server.start()
        self.assertFalse(path.exists())
        told = [(event["type"], event["data"]["id"]) for event in self.server.events(session)[-2:]]
        self.assertEqual(told, [("resource.leaked", "closure"), ("resource.released", "one")])

    def test_idle_session_expires_though_no_server_ran(self):
        session = self.server.new_session("counter", session_timeout=1)
        self.crash()
        self.server.start()
        wait_for(lambda: self.server.session(session)["status"] == "expired", "the expiry")

    def test_crash_of_the_supervisor_does_not_end_the_server(self):
        session = self.server.new_session("counter")
        self.server.output("counter", "increment", {"key": "a"}, session=session)
        supervisor, *workers = self.server.family()
        os.kill(supervisor[0], signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, workers)), "the end of its workers")
        wait_for(lambda: "worker_id" not in self.server.session(session), "the server to see it")
        self.assertEqual(self.server.get("/healthz").status, 200)
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"}, session=session)["current"], 2)


class Stopping(Restart):
    flags = ("--drain-grace", "600")

    def stop_in_a_call(self):
        """A server that was asked to stop while a call runs: (its answer to be, the thread that waits for it)."""
        self.gate = self.fifo()
        self.session = self.server.new_session("tests/probe")
        answers = []
        self.waiter = threading.Thread(
            target=lambda: answers.append(self.server.run("tests/probe", "hold", {"gate": self.gate.path},
                                                          session=self.session)))
        self.waiter.start()
        self.addCleanup(self.waiter.join)
        self.gate.wait_until_read()
        self.server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in self.server.log(), "the server to see the signal")
        return answers

    def ended_well(self):
        self.server.ended_well()
        self.verified()

    def test_running_call_finishes_and_new_ones_are_refused(self):
        answers = self.stop_in_a_call()
        # Those who watch it can see that it stops, and what is done can still be read.
        for answer in self.server.get("/readyz"), self.server.ask_run("tests/probe", "echo"):
            self.assertEqual((answer.status, answer.body["code"], answer.headers["Retry-After"]),
                             (503, "unavailable", "1"))
        self.assertEqual(self.server.get("/healthz").status, 200)
        self.assertEqual(self.server.session(self.session)["status"], "active")
        self.gate.open()
        self.waiter.join()
        self.assertEqual((answers[0]["status"], answers[0]["output"]), (COMPLETED, {"held": ""}))
        self.ended_well()
        self.server.start()
        self.assertEqual(self.server.session(self.session)["status"], "active")
        self.assertEqual(self.server.task(answers[0]["id"]), answers[0])

    def test_follower_is_told_the_end_while_it_stops(self):
        gate = self.fifo()
        task = self.server.run("tests/probe", "hold", {"gate": gate.path}, wait=False)
        gate.wait_until_read()
        with self.server.stream(task["id"]) as stream:
            stream.next()
            self.server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: "stopping" in self.server.log(), "the server to see the signal")
            gate.open()
            self.assertEqual(list(stream)[-1]["status"], COMPLETED)
        self.ended_well()

    def test_calls_past_the_grace_fail_honestly(self):
        self.server.stop()
        self.server.flags = ("--drain-grace", "0")
        self.server.start()
        answers = self.stop_in_a_call()
        self.ended_well()
        self.waiter.join()
        self.assertEqual((answers[0]["status"], answers[0]["error_info"]["code"]), (FAILED, "WORKER_LOST"))

    def test_signal_right_after_the_start(self):
        for _ in range(5):
            self.server.stop()
            self.server.start()

    def test_second_signal_does_not_wait(self):
        answers = self.stop_in_a_call()
        self.server.process.send_signal(signal.SIGTERM)
        self.ended_well()
        self.waiter.join()
        self.assertEqual((answers[0]["status"], answers[0]["error_info"]["code"]), (FAILED, "WORKER_LOST"))

    def test_graceful_stop_keeps_state_and_fails_memory(self):
        counter = self.server.new_session("counter")
        self.server.output("counter", "increment", {"key": "a"}, session=counter)
        memory = self.server.new_session("session-test")
        self.server.output("session-test", "get_all", session=memory)
        self.server.stop()
        self.verified()
        self.server.start()
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"}, session=counter)["current"], 2)
        self.assertEqual(self.server.ask_run("session-test", session=memory).body["code"], "WORKER_LOST")


if __name__ == "__main__":
    unittest.main()
