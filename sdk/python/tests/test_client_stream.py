"""Following a call over streams that break off, lie or stay silent."""

from __future__ import annotations

import json
import unittest
from typing import Any

from sojourn.client import AppNotFound, CallFailed, Cancelled, ConnectionFailed, TimedOut, errors

from .bad_server import Step, WithAsyncClient, WithBlockingClient, chunk, refusal, stream, task

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEAT = {"type": "heartbeat"}


def partial(output: Any) -> dict:
    return {"data": {"id": "task_1", "status": 7, "output": output}, "fields": ["status", "output"]}


def delta(seq: int, value: Any) -> dict:
    return {"event": "delta", "data": {"delta": value, "seq": seq}}


class Following:
    server: Any
    client: Any

    def follow(self: Any, *script: Step, sse: bool = False, timeout: Any = None, **options: Any) -> Any:
        self.last = self.server(*script)
        return self.client(self.last.url, **options).stream("task_1", sse=sse, timeout=timeout)

    def test_tells_each_change_and_ends_with_the_call(self: Any) -> None:
        lines = [task(7), partial(1), BEAT, delta(4, "x"), {"event": "new"}, {}, partial(1), task(10, output=2)]
        for sse in (False, True):
            updates = list(self.follow(stream(*lines, then="hold", sse=sse), sse=sse))
            told = [(update.changed, update.task.output, update.delta, update.seq) for update in updates]
            both = ("status", "output")
            self.assertEqual(told, [
                (("status",), None, None, None), (both, 1, None, None), ((), 1, "x", 4), (both, 1, None, None),
                (both, 2, None, None),
            ])
            self.assertEqual(updates[0].task["status"], 7)
            self.assertEqual(updates[-1].task, task(10, output=2))
        accepts = self.last.asked[0].headers["Accept"]
        self.assertEqual(accepts, "text/event-stream")

    def test_outputs_and_deltas_alone(self: Any) -> None:
        lines = [task(7), partial(1), delta(2, "a"), delta(3, None), partial(None), task(10, output=2)]
        step = stream(*lines, then="hold")
        self.assertEqual(list(self.follow(step).outputs()), [1, None, 2])
        self.assertEqual(list(self.follow(step).deltas()), ["a", None])
        self.assertEqual(self.follow(step).result().output, 2)

    def test_failure_is_told_and_then_raised(self: Any) -> None:
        failed = task(12, error="stopped", error_info={"code": "cancelled", "message": "stopped"})
        followed = self.follow(stream(task(7), failed))
        self.assertEqual([next(followed).task["status"] for _ in range(2)], [7, 12])
        with self.assertRaises(Cancelled) as caught:
            next(followed)
        self.assertIsInstance(caught.exception, CallFailed)
        self.assertRaises(CallFailed, followed.result)

    def test_lost_connection_is_replaced_and_nothing_told_twice(self: Any) -> None:
        seen = [task(7), partial(1), delta(2, "a")]
        again = [task(7, output=1), delta(2, "a"), delta(3, "b"), task(10, output=1)]
        for lost in (
            stream(*seen),
            stream(*seen, then="reset"),
            Step(HEAD + chunk(b"".join(json.dumps(line).encode() + b"\n" for line in seen) + b'{"da'), "close"),
            Step(stream(*seen).data + b"0\r\n\r\n"),
        ):
            with self.subTest(lost=lost):
                updates = list(self.follow(lost, refusal("unavailable", 503, True), stream(*again, then="hold")))
                self.assertEqual([update.task.output for update in updates], [None, 1, 1, 1, 1])
                self.assertEqual([update.delta for update in updates if update.seq], ["a", "b"])
                self.assertEqual(len(self.last.asked), 3)

    def test_last_event_id_is_told_to_the_next_connection(self: Any) -> None:
        def event(line: Any, number: int) -> bytes:
            return b": note\r\nevent: update\r\nid: %d\r\ndata: %s\r\n\r\n" % (number, json.dumps(line).encode())

        first = Step(HEAD + chunk(event(task(7), 1) + event(partial(1), 2) + b"id: 3\r\ndata: {"), "close")
        followed = self.follow(first, stream(task(10, output=2), sse=True, then="hold"), sse=True)
        self.assertEqual(followed.result().output, 2)
        self.assertNotIn("Last-Event-ID", self.last.asked[0].headers)
        self.assertEqual(self.last.asked[1].headers["Last-Event-ID"], "3")

    def test_stream_that_never_holds_is_given_up_and_says_what_it_knew(self: Any) -> None:
        for step in (stream(task(7)), Step(HEAD, "close"), Step(b"", "reset")):
            followed = self.follow(step, retries=3)
            with self.subTest(step=step), self.assertRaises(ConnectionFailed) as caught:
                followed.result()
            self.assertEqual(caught.exception.task["id"], "task_1")
            self.assertLessEqual(len(self.last.asked), 4)
            self.assertRaises(RuntimeError, followed.result)

    def test_silent_stream_counts_as_lost(self: Any) -> None:
        done = stream(task(10, output=1), then="hold")
        followed = self.follow(Step(HEAD, "hold"), done, read_timeout=1.0)
        self.assertEqual(followed.result().output, 1)
        with self.assertRaises(TimedOut) as caught:
            self.follow(stream(task(7), then="hold"), read_timeout=0.1, retries=0).result()
        self.assertEqual(caught.exception.task["status"], 7)
        with self.assertRaises(TimedOut):
            self.follow(stream(task(7), then="hold"), timeout=0.1).result()

    def test_lines_of_no_sojourn_server_are_refused(self: Any) -> None:
        for line in (b"<html>", b"5", b"[" * 100_000):
            with self.subTest(line=line[:9]), self.assertRaises(ConnectionFailed) as caught:
                self.follow(stream(task(7), line, then="hold")).result()
            self.assertFalse(caught.exception.retryable)
            self.assertEqual(len(self.last.asked), 1)

    def test_refusal_is_raised_as_what_it_is(self: Any) -> None:
        with self.assertRaises(errors.TaskNotFound):
            self.follow(refusal("task_not_found", 404)).result()
        with self.assertRaises(AppNotFound):
            list(self.follow(refusal("app_not_found", 404)))

    def test_long_line_in_small_pieces_is_put_together(self: Any) -> None:
        text = json.dumps(task(10, output="x" * 300_000)).encode() + b"\n"
        pieces = b"".join(chunk(text[start : start + 7000]) for start in range(0, len(text), 7000))
        self.assertEqual(len(self.follow(Step(HEAD + pieces + b"0\r\n\r\n")).result().output), 300_000)

    def test_leaving_early_closes_the_connection(self: Any) -> None:
        followed = self.follow(stream(task(7), partial(1), then="hold"))
        with followed:
            next(followed)
        self.assertRaises(RuntimeError, next, followed)
        self.assertEqual(followed.task["status"], 7)

    def test_waiting_follows_and_raises(self: Any) -> None:
        server = self.server(stream(task(7)), stream(task(10, output=3), then="hold"))
        self.assertEqual(self.client(server.url).wait("task_1").output, 3)
        self.assertEqual(self.client(server.url).wait(task(7)).output, 3)
        server = self.server(stream(task(11, error="bad")))
        with self.assertRaises(errors.AppError):
            self.client(server.url).wait("task_1")


class Blocking(Following, WithBlockingClient):
    pass


class Asynchronous(Following, WithAsyncClient):
    pass


if __name__ == "__main__":
    unittest.main()
