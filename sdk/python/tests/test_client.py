"""The client against servers that misbehave; each test with the blocking and with the asynchronous one."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import unittest
import warnings
from typing import Any

from sojourn.client import (
    AsyncClient,
    CallFailed,
    ConnectionFailed,
    Error,
    QueueFull,
    SessionExpired,
    SessionGone,
    TimedOut,
    WorkerLost,
    errors,
)
from sojourn.client.suspending import within

from .bad_server import Step, WithAsyncClient, WithBlockingClient, page, refusal, reply, stream, task

IN_SESSION = {"session": "sess_1", "input": {"a": 1}}
NEW = {"app": "a", "session": "new"}


class Behaviour:
    """What both clients do."""

    server: Any
    client: Any

    # What is sent.

    def test_sends_what_the_server_wants_to_know(self: Any) -> None:
        server = self.server(reply(task()))
        self.client(server.url + "/below/", api_key="sjn_x").run(IN_SESSION, idempotency_key="schlüssel")
        asked = server.asked[0]
        self.assertEqual((asked.method, asked.target), ("POST", "/below/apps/run"))
        self.assertEqual(asked.body, {**IN_SESSION, "wait": True})
        self.assertEqual(asked.headers["Host"], f"127.0.0.1:{server.port}")
        self.assertEqual(asked.headers["Authorization"], "Bearer sjn_x")
        self.assertEqual(asked.headers["X-API-Version"], "2")
        self.assertEqual(asked.headers["Content-Type"], "application/json")
        self.assertEqual(asked.headers["Idempotency-Key"].encode("latin-1").decode(), "schlüssel")

    def test_a_cancel_may_be_answered_by_where_the_call_stands_alone(self: Any) -> None:
        status = {"id": "task_1", "status": 8, "status_text": "cancelling", "updated_at": "2026-11-21T11:00:21Z"}
        self.assertEqual(self.client(self.server(reply(status)).url).cancel("task_1"), status)

    def test_each_call_has_a_key_of_its_own(self: Any) -> None:
        server = self.server(reply(task()))
        client = self.client(server.url)
        for request in (IN_SESSION, IN_SESSION, NEW, {"app": "a"}):
            client.run(request)
        keys = [asked.headers.get("Idempotency-Key") for asked in server.asked]
        self.assertEqual((len(set(keys)), None in keys), (4, False))
        self.client(server.url, retries=0).run(IN_SESSION)
        self.assertNotIn("Idempotency-Key", server.asked[-1].headers)

    def test_names_within_paths_stay_within_them(self: Any) -> None:
        server = self.server(reply({"id": "s", "status": "active"}))
        self.client(server.url).attach("a/../b?c#d \r\nX: y").info()
        self.assertEqual(server.asked[0].target, "/sessions/a%2F..%2Fb%3Fc%23d%20%0D%0AX%3A%20y")
        self.assertRaises(ValueError, self.client(server.url).attach("").info)
        self.assertRaises(ValueError, self.client(server.url).run, IN_SESSION, idempotency_key="a\r\nX: y")

    def test_what_json_cannot_hold_is_refused_before_it_is_sent(self: Any) -> None:
        server = self.server(reply(task()))
        for value in ({1, 2}, float("nan"), b"bytes"):
            self.assertRaises(errors.NotSerializable, self.client(server.url).run, {"app": "a", "input": value})
        self.assertEqual(server.asked, [])

    # Connections.

    def test_one_connection_serves_many_requests(self: Any) -> None:
        server = self.server(reply(task()), reply(task(), Connection="close"), reply(task()))
        client = self.client(server.url)
        for _ in range(4):
            client.task("task_1")
        self.assertEqual([asked.connection for asked in server.asked], [1, 1, 2, 2])

    def test_connection_that_the_server_closed_meanwhile_is_not_used(self: Any) -> None:
        server = self.server(reply(task()))
        client = self.client(server.url)
        client.session("a")
        server.drop_idle()
        client.session("a")  # would not be asked again
        self.assertEqual(([asked.connection for asked in server.asked], self.pauses), ([1, 2], []))

    def test_connection_with_more_than_was_asked_for_is_not_used_again(self: Any) -> None:
        right = reply(task(note="right"))
        server = self.server(Step(reply(task()).data + reply(task(note="smuggled")).data), right)
        client = self.client(server.url)
        client.task("task_1")
        self.assertEqual(client.task("task_1")["note"], "right")
        self.assertEqual(server.connections, 2)

    def test_answers_that_others_than_sojourn_may_give(self: Any) -> None:
        whole = reply(task()).data
        body = whole.partition(b"\r\n\r\n")[2]
        early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
        pieces = b"3 ; a=b\r\n" + body[:3] + b"\r\n%X\r\n" % len(body[3:]) + body[3:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
        for step in (
            Step(early + whole),
            Step(b"HTTP/1.0 200 OK\r\n\r\n" + body, "close"),
            Step(b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + pieces),
        ):
            with self.subTest(step=step):
                client = self.client(self.server(step).url)
                self.assertEqual([client.task("task_1"), client.task("task_1")], [task(), task()])

    def test_what_is_no_answer_of_http_is_said(self: Any) -> None:
        for data, word in (
            (b"", "closed without"),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "SSH-2.0"),
            (b"HTTP/1.1 twohundred\r\n\r\n", "twohundred"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "no colon"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", "-1"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}", "2, 3"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", "0x2"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}}}\r\n0\r\n\r\n", "longer"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "broke off"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "broke off"),
            (b"HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "KiB"),
        ):
            with self.subTest(data=data[:80]), self.assertRaises(ConnectionFailed) as caught:
                self.client(self.server(Step(data, "close")).url, retries=0).apps()
            self.assertIn(word, str(caught.exception))

    # What is asked again.

    def test_lost_answers_of_what_may_be_done_twice_are_asked_for_again(self: Any) -> None:
        right = reply([])
        half, begun = Step(right.data[:-1], "close"), Step(right.data[:9], "reset")
        for lost in (Step(b"", "close"), Step(b"", "reset"), half, begun):
            with self.subTest(lost=lost):
                server = self.server(lost, right)
                self.assertEqual(self.client(server.url).apps(), [])
                self.assertEqual(len(server.asked), 2)

    def test_lost_answers_of_what_would_run_twice_are_not(self: Any) -> None:
        server = self.server(Step(b"", "close"), reply(task()))
        with self.assertRaises(ConnectionFailed) as caught:
            self.client(server.url).session("a")
        self.assertTrue(caught.exception.retryable)
        self.assertEqual(len(server.asked), 1)

    def test_lost_answer_of_a_call_is_asked_for_by_its_key(self: Any) -> None:
        following = stream(task(7), task(output=5), then="keep")
        for request in (IN_SESSION, NEW, {"app": "a"}):
            server = self.server(Step(b"", "close"), refusal("unavailable", 503, True), reply(task(7)), following)
            self.assertEqual(self.client(server.url).run(request).output, 5)
            first, *others, follow = server.asked
            self.assertEqual(follow.target, "/tasks/task_1/stream")
            keys = {asked.headers["Idempotency-Key"] for asked in others}
            self.assertEqual(keys, {first.headers["Idempotency-Key"]})
            self.assertEqual(first.body, {**request, "wait": True})
            self.assertEqual([asked.body for asked in others], [{**request, "wait": False}] * 2)

    def test_call_whose_answer_is_held_back_in_silence_is_followed(self: Any) -> None:
        server = self.server(Step(b"", "hold"), reply(task(7)), stream(task(10, output=5), then="keep"))
        client = self.client(server.url, read_timeout=1.0)
        self.assertEqual(client.run(IN_SESSION).output, 5)
        self.assertEqual([asked.method for asked in server.asked], ["POST", "POST", "GET"])

    def test_refused_as_too_busy_is_asked_again_also_where_it_would_run_twice(self: Any) -> None:
        for code, status in (("queue_full", 429), ("unavailable", 503)):
            server = self.server(refusal(code, status, True, Retry_After="2"), reply(task()))
            self.client(server.url).session("a")
            self.assertEqual([asked.body for asked in server.asked], [{"app": "a"}] * 2)
        for pause in self.pauses:
            self.assertTrue(2.0 <= pause <= 2.1, pause)

    def test_retry_after_may_be_a_date_or_nonsense(self: Any) -> None:
        for told in ("Fri, 21 Nov 1997 11:00:00 GMT", "soon", "-5", "0"):
            server = self.server(refusal("unavailable", 503, True, Retry_After=told), reply([]))
            with self.subTest(told=told):
                self.assertEqual(self.client(server.url).apps(), [])
        for told in ("Fri, 21 Nov 2436 11:00:00 GMT", "61", "9" * 300):  # nobody waits for that
            server = self.server(refusal("unavailable", 503, True, Retry_After=told))
            with self.subTest(told=told), self.assertRaises(errors.Unavailable):
                self.client(server.url).apps()
            self.assertEqual(len(server.asked), 1)

    def test_attempts_are_counted_and_pauses_grow(self: Any) -> None:
        server = self.server(refusal("queue_full", 429, True))
        with self.assertRaises(QueueFull) as caught:
            self.client(server.url, retries=8).run(IN_SESSION)
        self.assertEqual((caught.exception.status, caught.exception.advice, caught.exception.details),
                         (429, "Do.", {"n": 1}))
        self.assertEqual(len(server.asked), 9)
        for number, pause in enumerate(self.pauses):
            longest = min(5.0, 0.1 * 2**number)
            self.assertTrue(longest / 2 <= pause <= longest, self.pauses)
        self.assertEqual(len(self.pauses), 8)

    def test_other_refusals_are_final(self: Any) -> None:
        for code, status, retryable in (
            ("queue_full", 429, False), ("store_read_only", 503, False), ("store_full", 507, True),
            ("conflict", 409, True), ("internal_error", 500, False), ("SESSION_EXPIRED", 410, False),
        ):
            server = self.server(refusal(code, status, retryable))
            with self.subTest(code=code), self.assertRaises(Error) as caught:
                self.client(server.url).run(IN_SESSION)
            self.assertEqual((caught.exception.code, caught.exception.status), (code, status))
            self.assertEqual(caught.exception.retryable, retryable)
            self.assertEqual(len(server.asked), 1)

    def test_nothing_listens_and_then_something_does(self: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        client = self.client(f"http://127.0.0.1:{port}", retries=3)
        with self.assertRaises(ConnectionFailed) as caught:
            client.session("a")
        self.assertIn("refused", str(caught.exception))
        self.assertEqual(len(self.pauses), 3)
        self.on_pause = lambda: [self.server(reply(task()), port=port)] and setattr(self, "on_pause", lambda: None)
        self.assertEqual(client.session("a").id, "task_1")

    # Time.

    def test_silence_and_slowness_have_an_end(self: Any) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        for step, times in (
            (Step(b"", "hold"), {"read_timeout": 0.05}),
            (Step(head, "hold"), {"read_timeout": 0.05}),
            (Step(b"", "hold"), {"timeout": 0.05}),
            (Step(head + b"[", "hold"), {"timeout": 0.05}),
        ):
            server = self.server(step)
            with self.subTest(step=step, times=times), self.assertRaises(TimedOut) as caught:
                self.client(server.url, retries=0, **times).apps()
            self.assertIsInstance(caught.exception, TimeoutError)
            self.assertEqual(caught.exception.code, "connection_failed")

    def test_whole_time_counts_for_all_attempts(self: Any) -> None:
        server = self.server(Step(b"", "hold"))
        self.assertRaises(TimedOut, self.client(server.url, retries=1000, read_timeout=0.02, timeout=0.3).apps)
        self.assertLess(len(server.asked), 17)
        server = self.server(refusal("unavailable", 503, True, Retry_After="30"))
        self.assertRaises(errors.Unavailable, self.client(server.url, timeout=20).apps)
        self.assertEqual(len(server.asked), 1)

    def test_connecting_has_an_end_of_its_own(self: Any) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                self.addCleanup(one.close)
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            client = self.client(f"http://127.0.0.1:{full.getsockname()[1]}", retries=1, connect_timeout=0.05)
            with self.assertRaises(TimedOut) as caught:
                client.session("a")
        self.assertIn("no connection", str(caught.exception))
        self.assertEqual(len(self.pauses), 1)  # it surely did not arrive

    # Others than Sojourn.

    def test_pages_of_proxies_are_told_as_what_they_are(self: Any) -> None:
        html = "<html><title>502 Bad Gateway</title></html>"
        for status in (502, 503, 504):
            server = self.server(page(html, status))
            with self.assertRaises(ConnectionFailed) as caught:
                self.client(server.url, retries=2).apps()
            self.assertEqual(len(server.asked), 3)
            self.assertEqual((caught.exception.status, caught.exception.retryable), (status, True))
            self.assertIn("Bad Gateway", str(caught.exception))
            with self.assertRaises(ConnectionFailed):
                self.client(server.url, retries=2).session("a")  # a proxy may say so after it was done
            self.assertEqual(len(server.asked), 4)
        server = self.server(page(html, 403))
        self.assertRaises(ConnectionFailed, self.client(server.url).apps)
        self.assertEqual(len(server.asked), 1)

    def test_answers_that_make_no_sense_are_refused(self: Any) -> None:
        for text in ("{", "", "nul", "<html>", "[" * 100_000, "5", "[]", "{}", '{"id": "x"}', '{"error": 5}'):
            server = self.server(page(text))
            with self.subTest(text=text[:20]), self.assertRaises(ConnectionFailed) as caught:
                self.client(server.url).task("task_1")
            self.assertFalse(caught.exception.retryable)
            self.assertEqual(len(server.asked), 1)
        halves = ('{"error": 5}', '{"error": {"code": 1, "message": "x"}}', '{"error": {"code": "x"}}')
        for text in ("{", "", "5", *halves):
            with self.subTest(text=text), self.assertRaises(ConnectionFailed):
                self.client(self.server(page(text, 400)).url).task("task_1")

    def test_redirects_are_not_followed(self: Any) -> None:
        elsewhere = self.server(reply([]))
        for status in (301, 302, 307, 308):
            server = self.server(page("", status, Location=elsewhere.url + "/apps"))
            with self.assertRaises(ConnectionFailed) as caught:
                self.client(server.url, api_key="sjn_secret").apps()
            self.assertIn(elsewhere.url, str(caught.exception))
        self.assertEqual(elsewhere.asked, [])  # above all it did not see the key

    def test_codes_of_newer_servers_are_errors_all_the_same(self: Any) -> None:
        with self.assertRaises(Error) as caught:
            self.client(self.server(refusal("from_the_future", 418)).url).apps()
        self.assertEqual((type(caught.exception), caught.exception.code), (Error, "from_the_future"))
        failed = task(11, error_info={"code": "from_the_future", "message": "m"})
        with self.assertRaises(CallFailed) as caught:
            self.client(self.server(reply(failed)).url).run(IN_SESSION)
        self.assertEqual((type(caught.exception), caught.exception.code), (CallFailed, "from_the_future"))

    # Failures of calls.

    def test_failed_call_is_a_call_that_failed_and_of_its_code(self: Any) -> None:
        info = {"code": "WORKER_LOST", "message": "killed", "retryable": True, "details": {"signal": "SIGKILL"}}
        client = self.client(self.server(reply(task(11, error="killed", error_info=info))).url)
        with self.assertRaises(WorkerLost) as caught:
            client.run(IN_SESSION)
        error = caught.exception
        self.assertIsInstance(error, CallFailed)
        self.assertIsInstance(error, SessionGone)
        self.assertEqual((str(error), error.code, error.status), ("killed", "WORKER_LOST", 500))
        self.assertEqual((error.retryable, error.details), (True, {"signal": "SIGKILL"}))
        self.assertEqual(error.task["session_id"], "sess_1")
        self.assertTrue(error.advice)
        self.assertEqual(client.task("task_1")["status"], 11)  # to look at it raises nothing

    def test_refused_call_is_none_that_failed(self: Any) -> None:
        with self.assertRaises(SessionExpired) as caught:
            self.client(self.server(refusal("SESSION_EXPIRED", 410)).url).run(IN_SESSION)
        self.assertNotIsInstance(caught.exception, CallFailed)
        self.assertIsNone(caught.exception.task)

    def test_warm_session_is_asked_for_again_by_its_key_after_a_lost_answer(self: Any) -> None:
        server = self.server(Step(b"", "close"), reply({"id": "sess_1", "status": "active"}, 201))
        self.assertEqual(self.client(server.url).session("a", warm=True).id, "sess_1")
        self.assertEqual([asked.body for asked in server.asked], [{"app": "a", "warm": True, "wait": True}] * 2)
        self.assertEqual(len({asked.headers["Idempotency-Key"] for asked in server.asked}), 1)

    # Ends.

    def test_session_ends_with_its_block_and_hides_no_error(self: Any) -> None:
        made = reply({"id": "sess_1", "status": "active"}, 201)
        gone = Step(b"HTTP/1.1 204 No Content\r\n\r\n")
        for end in (gone, refusal("SESSION_ENDED", 410), refusal("WORKER_LOST", 500), refusal("internal_error", 500)):
            server = self.server(made, end)
            with self.assertRaises(ZeroDivisionError), self.client(server.url).session("a"):
                raise ZeroDivisionError
            self.assertEqual((server.asked[1].method, server.asked[1].target), ("DELETE", "/sessions/sess_1"))
        with self.assertRaises(errors.InternalError), self.client(self.server(made, end).url).session("a"):
            pass

    def test_closed_client_says_so(self: Any) -> None:
        server = self.server(reply([]))
        client = self.client(server.url)
        client.apps()
        client.close()
        self.assertRaises(RuntimeError, client.apps)

    def test_lists_are_read_page_by_page(self: Any) -> None:
        link = '</sessions?cursor=a%2Fb&limit=1000&label.x=%C3%BC>; rel="next"'
        server = self.server(reply([{"id": 1}, {"id": 2}], Link=link), reply([{"id": 3}]))
        found = self.client(server.url + "/below").sessions(app="n/a", labels={"x": "ü"})
        self.assertEqual([session["id"] for session in found], [1, 2, 3])
        self.assertEqual([asked.target for asked in server.asked], [
            "/below/sessions?app=n%2Fa&label.x=%C3%BC&limit=1000",
            "/below/sessions?cursor=a%2Fb&limit=1000&label.x=%C3%BC",
        ])
        events = [[{"event": {"seq": 1}}, {"event": {"seq": 2}}], [{"event": {"seq": 3}}], []]
        server = self.server(*map(reply, events))
        self.assertEqual(len(list(self.client(server.url).attach("s").events())), 3)
        self.assertEqual([asked.target for asked in server.asked],
                         [f"/sessions/s/events?from={start}&limit=1000" for start in (1, 3, 4)])


class Blocking(Behaviour, WithBlockingClient):
    def test_many_threads_use_one_client(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        server = self.server(reply(task()))
        client = self.client(server.url)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: client.task("task_1"), range(200)))
        self.assertEqual(found, [task()] * 200)
        self.assertLessEqual(server.connections, 8)

    def test_forked_child_opens_its_own_connection(self) -> None:
        server = self.server(reply([]))
        client = self.client(server.url)
        client.apps()
        child = os.fork()
        if child == 0:
            os._exit(0 if client.apps() == [] else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        client.apps()
        self.assertEqual([asked.connection for asked in server.asked], [1, 2, 1])


class Asynchronous(Behaviour, WithAsyncClient):
    def test_cancelled_task_closes_its_connection_and_harms_no_other(self) -> None:
        server = self.server(Step(b"", "hold"), reply([]))

        async def ask() -> None:
            async with AsyncClient(server.url) as client:
                waiting = asyncio.ensure_future(client.apps())
                while not server.asked:
                    await asyncio.sleep(0)
                waiting.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await waiting
                self.assertEqual(await client.apps(), [])

        asyncio.run(ask())
        self.assertEqual([asked.connection for asked in server.asked], [1, 2])

    def test_cancellation_at_the_moment_of_an_answer_is_not_lost(self) -> None:
        async def ask() -> None:
            answer = asyncio.get_running_loop().create_future()
            waiting = asyncio.ensure_future(within(60, answer))
            await asyncio.sleep(0)
            answer.set_result("came")
            waiting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await waiting

        asyncio.run(ask())

    def test_many_tasks_use_one_client_and_loops_come_and_go(self) -> None:
        server = self.server(reply(task()))
        client = AsyncClient(server.url)

        async def ask() -> None:
            found = await asyncio.gather(*(client.task("task_1") for _ in range(50)))
            self.assertEqual(found, [task()] * 50)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a loop that ends leaves connections behind
            asyncio.run(ask())
            asyncio.run(ask())
            asyncio.run(client.close())
            gc.collect()


if __name__ == "__main__":
    unittest.main()
