"""Sessions over HTTP: how they begin, live, end and expire, and what the same Idempotency-Key gives."""

import unittest
from datetime import datetime

from e2e.program import COMPLETED, FAILED, Served, process_status, wait_for


class Sessions(Served):
    def test_first_call_creates_a_session_and_the_next_goes_on(self):
        task = self.server.run("session-test", "increment", {"key": "n"}, session="new")
        again = self.server.run("session-test", "increment", {"key": "n"}, session=task["session_id"])
        self.assertEqual(again["session_id"], task["session_id"])
        self.assertEqual((again["seq"], again["output"]["previous"]), (2, 1))

    def test_created_session_tells_what_it_was_given(self):
        answer = self.server.post("/sessions", {
            "app": "counter", "session_timeout": 120, "context": {"who": "a"}, "labels": {"team": "red"},
            "metadata": {"m": 1}, "user_id": "ann"})
        self.assertEqual(answer.status, 201)
        session = answer.data
        self.assertEqual((session["status"], session["app_id"], session["call_count"]), ("active", "counter", 0))
        self.assertEqual((session["idle_timeout"], session["user_id"]), (120, "ann"))
        self.assertEqual((session["context"], session["labels"]), ({"who": "a"}, {"team": "red"}))
        self.assertEqual(self.server.session(session["id"]), session)

    def test_session_tells_of_its_calls_and_worker(self):
        id = self.server.new_session("counter")
        self.server.output("counter", "increment", {"key": "a"}, session=id)
        session = self.server.session(id)
        self.assertEqual((session["status"], session["call_count"], session["idle_timeout"]), ("active", 1, 60))
        self.assertRegex(session["worker_id"], r"^pid-\d+$")
        self.assertGreater(session["expires_at"], session["last_call_at"])
        self.assertEqual(self.server.event_types(id), ["session.created", "worker.started", "call.completed"])

    def test_list_is_an_array_with_the_next_page_in_a_link(self):
        ids = [self.server.new_session("counter", labels={"list": "here"}) for _ in range(5)]
        path, listed, pages = "/sessions?label.list=here&limit=2", [], 0
        while path:
            answer = self.server.get(path)
            self.assertIsInstance(answer.data, list)
            listed += [session["id"] for session in answer.data]
            pages += 1
            link = answer.headers["Link"]
            if link:
                self.assertRegex(link, r'^</sessions\?cursor=[^>]*>; rel="next"$')
            path = link and link[1 : link.index(">")]
        self.assertEqual((listed, pages), (list(reversed(ids)), 3))

    def test_list_filters(self):
        id = self.server.post("/sessions", {"app": "session-test", "user_id": "filter"}).data["id"]
        self.assertEqual([s["id"] for s in self.server.get("/sessions?user_id=filter&status=active").data], [id])
        self.server.delete(f"/sessions/{id}")
        self.assertEqual(self.server.get("/sessions?user_id=filter&status=active").data, [])
        self.assertEqual([s["id"] for s in self.server.get("/sessions?user_id=filter&app=session-test").data], [id])

    def test_delete_ends_it_and_its_worker(self):
        id = self.server.new_session("session-test")
        self.server.output("session-test", "get_all", session=id)
        pid = self.server.worker(id)
        self.assertIsNotNone(process_status(pid))
        answer = self.server.delete(f"/sessions/{id}")
        self.assertEqual((answer.status, answer.text), (204, b""))
        self.assertIsNone(process_status(pid))
        session = self.server.session(id)
        self.assertEqual((session["status"], session["end_reason"]), ("ended", "ended by request"))
        self.assertIsNone(session["expires_at"])
        self.assertEqual(self.server.event_types(id)[-2:], ["worker.closed", "session.ended"])
        self.refused(self.server.delete(f"/sessions/{id}"), 410, "SESSION_ENDED", f"session ended: {id}")

    def test_delete_cancels_what_runs_and_waits(self):
        gate = self.fifo()
        id = self.server.new_session("tests/probe")
        running = self.server.run("tests/probe", "wait_for_cancel", session=id, wait=False)
        queued = self.server.run("tests/probe", "hold", {"gate": gate.path}, session=id, wait=False)
        wait_for(lambda: self.server.session(id)["busy"], "a running call")
        self.assertEqual(self.server.delete(f"/sessions/{id}").status, 204)
        for task in (running, queued):
            self.assertEqual(self.server.task(task["id"])["error_info"]["code"], "cancelled")

    def test_app_ends_its_session(self):
        task = self.server.run("tests/probe", "end")
        self.assertEqual((task["status"], task["output"]), (COMPLETED, "bye"))
        id = task["session_id"]
        session = self.server.over(id)
        self.assertEqual((session["status"], session["end_reason"]), ("ended", "the app ended it"))
        self.assertEqual(self.server.get(f"/sessions/{id}/state").data, {"last": "word"})
        self.refused(self.server.ask_run("tests/probe", session=id), 410, "SESSION_ENDED", f"session ended: {id}")

    def test_idle_session_expires(self):
        task = self.server.run("session-test", "get_all", session_timeout=1)
        id = task["session_id"]
        wait_for(lambda: self.server.session(id)["status"] == "expired", "the expiry")
        words = f"session expired: {id} (session not found)"
        self.refused(self.server.ask_run("session-test", session=id), 410, "SESSION_EXPIRED", words)
        self.refused(self.server.post(f"/sessions/{id}/keepalive"), 410, "SESSION_EXPIRED", words)
        self.refused(self.server.delete(f"/sessions/{id}"), 410, "SESSION_EXPIRED", words)
        self.assertEqual(self.server.task(task["id"])["output"], task["output"])
        self.assertEqual(self.server.event_types(id)[-1], "session.expired")
        # It was idle for its whole time-out.
        created, *_, expired = self.server.events(id)
        self.assertGreaterEqual(seconds(expired["time"]) - seconds(created["time"]), 1)

    def test_keepalive_moves_the_expiry(self):
        id = self.server.new_session("counter")
        before = self.server.session(id)["expires_at"]
        kept = self.server.post(f"/sessions/{id}/keepalive").data
        self.assertEqual(kept["id"], id)
        self.assertGreater(kept["expires_at"], before)
        self.assertEqual(kept["call_count"], 0)
        self.assertEqual(self.server.event_types(id), ["session.created", "session.keepalive"])

    def test_state_is_read_and_written_from_outside(self):
        id = self.server.new_session("tests/probe")
        self.server.output("tests/probe", "set", {"a": 1}, session=id)
        self.assertEqual(self.server.ask("PUT", f"/sessions/{id}/state/b%20c", b'{"x": [1.5, null]}').status, 204)
        self.assertEqual(self.server.get(f"/sessions/{id}/state/b%20c").data, {"x": [1.5, None]})
        seen = self.server.output("tests/probe", "state", session=id)["state"]
        self.assertEqual(seen, {"a": 1, "b c": {"x": [1.5, None]}})
        self.assertEqual(self.server.delete(f"/sessions/{id}/state/a").status, 204)
        self.refused(self.server.get(f"/sessions/{id}/state/a"), 404, "not_found", "state['a']")
        self.assertEqual(self.server.output("tests/probe", "state", session=id)["state"], {"b c": {"x": [1.5, None]}})

    def test_session_without_an_app_keeps_state(self):
        id = self.server.post("/sessions").data["id"]
        self.assertEqual(self.server.ask("PUT", f"/sessions/{id}/state/a", b"1").status, 204)
        self.assertEqual(self.server.get(f"/sessions/{id}/state").data, {"a": 1})
        self.refused(self.server.ask_run("counter", session=id), 400, "APP_MISMATCH", id)


class Idempotency(Served):
    def call(self, session, key, input, wait=True):
        return self.server.ask_run("counter", "increment", input, session=session, wait=wait,
                                   headers={"Idempotency-Key": key})

    def test_same_key_gives_the_same_task(self):
        session = self.server.new_session("counter")
        first = self.call(session, "k 1", {"key": "a"}).data
        self.assertEqual(self.call(session, "k 1", {"key": "a"}).data, first)
        self.assertEqual(self.call(session, "k 1", {"key": "a"}, wait=False).data["id"], first["id"])
        self.assertEqual(self.call(session, "k 2", {"key": "a"}).data["output"]["current"], 2)

    def test_same_key_opens_one_session(self):
        first = self.call("new", "opening", {"key": "a"}).data
        self.assertEqual(self.call("new", "opening", {"key": "a"}).data, first)
        self.refused(self.call("new", "opening", {"key": "b"}), 422, "idempotency_mismatch")

    def test_same_key_with_another_request_is_refused(self):
        session = self.server.new_session("counter")
        first = self.call(session, "k", {"key": "a"}).data
        error = self.refused(self.call(session, "k", {"key": "b"}), 422, "idempotency_mismatch")
        self.assertEqual(error["details"]["task"], first["id"])
        self.assertEqual(self.server.get(f"/sessions/{session}/state").data, {"a": 1})

    def test_key_of_a_call_that_still_runs(self):
        gate = self.fifo()
        session = self.server.new_session("tests/probe")
        ask = lambda: self.server.run("tests/probe", "hold", {"gate": gate.path}, session=session, wait=False,
                                      headers={"Idempotency-Key": "k"})
        first = ask()
        gate.wait_until_read()
        again = ask()
        self.assertEqual(again["id"], first["id"])
        gate.open()
        self.assertEqual(self.server.final_task(first["id"])["status"], COMPLETED)
        self.assertEqual(self.server.session(session)["call_count"], 1)

    def test_keys_belong_to_their_session(self):
        tasks = {self.call(self.server.new_session("counter"), "k", {"key": "a"}).data["id"] for _ in range(2)}
        self.assertEqual(len(tasks), 2)

    def test_failed_call_is_not_run_again(self):
        session = self.server.new_session("tests/probe")
        ask = lambda: self.server.run("tests/probe", "fail", 1, session=session, headers={"Idempotency-Key": "k"})
        first = ask()
        self.assertEqual(first["status"], FAILED)
        self.assertEqual(ask(), first)

    def test_key_of_a_session_that_is_over(self):
        # Who missed the answer of the call that ended it must not take it for lost.
        session = self.server.new_session("tests/probe")
        ask = lambda function: self.server.ask_run("tests/probe", function, session=session,
                                                   headers={"Idempotency-Key": "k"})
        first = ask("end").data
        wait_for(lambda: self.server.session(session)["status"] == "ended", "the session's end")
        self.assertEqual(ask("end").data, first)
        self.refused(ask("echo"), 422, "idempotency_mismatch")
        other = self.server.ask_run("tests/probe", session=session, headers={"Idempotency-Key": "other"})
        self.refused(other, 410, "SESSION_ENDED")

    def test_key_that_is_too_long_is_refused(self):
        answer = self.call(self.server.new_session("counter"), "k" * 257, {"key": "a"})
        self.refused(answer, 400, "invalid_request", "256")


def seconds(time):
    return datetime.fromisoformat(time).timestamp()


if __name__ == "__main__":
    unittest.main()
