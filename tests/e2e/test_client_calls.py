"""The Python client against the real server: calls, sessions, streams, and answers that get lost on the way."""

import asyncio
import socket
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

from e2e.program import Served, wait_for

from sojourn.client import (
    AppNotFound, AsyncClient, AsyncSessionManager, CallFailed, CallTimeout, Cancelled, Client, IdempotencyMismatch,
    QueueFull, SessionEnded, SessionExpired, SessionGone, SessionManager, SessionNotFound, TimedOut, WorkerLost,
    errors,
)


class WithClient(Served):
    def setUp(self):
        self.client = Client(self.server.url)
        self.addCleanup(self.client.close)


class Calls(WithClient):
    def test_waits_or_not(self):
        task = self.client.run({"app": "counter", "input": {"key": "a"}})
        self.assertEqual(task.output, {"key": "a", "previous": 0, "current": 1})
        task = self.client.run({"app": "counter", "input": {"key": "a"}, "wait": False})
        self.assertFalse(task.is_over)
        self.assertEqual(self.client.wait(task).output["current"], 1)
        self.assertEqual(self.client.task(task.id), self.client.wait(task.id))

    def test_failures_have_the_class_of_their_code(self):
        session = self.client.session("tests/probe")
        for function, kind, code in (("fail", errors.AppError, "app_error"),
                                     ("refuse", errors.InvalidRequest, "invalid_request"),
                                     ("unserializable", errors.NotSerializable, "not_serializable")):
            with self.subTest(function=function), self.assertRaises(kind) as caught:
                session.run({"x": 1}, function)
            self.assertIsInstance(caught.exception, CallFailed)
            self.assertEqual((caught.exception.code, caught.exception.task["session_id"]), (code, session.id))
        self.assertEqual(caught.exception.details["pointer"], "/a/1")
        with self.assertRaises(AppNotFound):
            self.client.run({"app": "nope"})
        with self.assertRaises(errors.FunctionNotFound):
            session.run(None, "nope")
        with self.assertRaises(errors.AppMismatch):
            self.client.run({"app": "counter", "session": session.id})
        with self.assertRaises(errors.TooLarge):
            session.run("x" * 9_000_000)
        with self.assertRaises(errors.TaskNotFound):
            self.client.task("task_00000000000000000000000000")
        with self.assertRaises(errors.TaskNotFound):
            self.client.wait("nope")
        with self.assertRaises(CallTimeout):
            session.run(None, "wait_for_cancel", call_timeout=1)

    def test_warm_session_has_its_worker_before_its_first_call(self):
        with self.client.session("tests/probe", warm=True) as session:
            self.assertIn("worker_id", session.info())
        with self.client.session("tests/probe") as session:
            self.assertNotIn("worker_id", session.info())

    def test_tells_what_a_call_said(self):
        task = self.client.run({"app": "tests/probe", "function": "say"})
        self.assertIn("to the log", [line["content"] for line in self.client.logs(task)])
        self.assertEqual(self.client.logs(task.id, 1_000), [])

    def test_cancelled_while_it_runs_and_when_it_is_over(self):
        with self.client.session("tests/probe") as session:
            task = session.run(None, "wait_for_cancel", wait=False)
            with self.client.stream(task) as stream:
                self.assertEqual(next(stream.outputs()), {"waiting": True})
            self.client.cancel(task)
            with self.assertRaises(Cancelled) as caught:
                self.client.wait(task)
            self.assertIsInstance(caught.exception, CallFailed)
            self.assertEqual(self.client.cancel(task)["status_text"], "cancelled")
            self.assertEqual(session.run("still there").output, "still there")

    def test_time_that_is_up_ends_the_waiting_and_not_the_call(self):
        gate = self.fifo()
        with self.client.session("tests/probe") as session:
            with self.assertRaises(TimedOut):
                session.run({"gate": gate.path}, "hold", timeout=0.5, idempotency_key="k")
            gate.wait_until_read()
            task = session.run({"gate": gate.path}, "hold", idempotency_key="k", wait=False)
            with self.assertRaises(TimedOut) as caught:
                self.client.wait(task, timeout=0.1)
            self.assertEqual(caught.exception.task["id"], task.id)
            gate.open()
            self.assertEqual(self.client.wait(task).output, {"held": ""})

    def test_queue_that_is_full(self):
        gate = self.fifo()
        with self.client.session("tests/probe") as session:
            session.run({"gate": gate.path}, "hold", wait=False)
            gate.wait_until_read()
            for number in range(30):
                session.run(number, wait=False)
            with Client(self.server.url, retries=0) as impatient, self.assertRaises(QueueFull) as caught:
                impatient.attach(session.id).run("too many")
            self.assertEqual((caught.exception.status, caught.exception.retryable), (429, True))
            with ThreadPoolExecutor(1) as threads:
                patient = threads.submit(session.run, "in time")
                gate.open()
                self.assertEqual(patient.result().output, "in time")

    def test_streams_partial_outputs_over_both_forms(self):
        for sse in (False, True):
            gate = self.fifo()
            with self.client.session("tests/probe") as session, session.stream({"gate": gate.path}, "emit") as first:
                gate.wait_until_read()
                outputs = self.client.stream(first.task, sse=sse).outputs()
                for number in range(3):
                    gate.write(str(number))
                    self.assertEqual(next(outputs)["seen"][-1], str(number))
                gate.open()
                self.assertEqual(list(outputs), [{"seen": ["0", "1", "2"], "done": True}])
                self.assertEqual(first.result().output["done"], True)

    def test_many_threads_call_one_session_in_some_order(self):
        with self.client.session("session-test") as session, ThreadPoolExecutor(8) as threads:
            found = threads.map(lambda _: session.run({"key": "n"}, "increment").output["current"], range(100))
            self.assertEqual(sorted(found), list(range(1, 101)))


class Sessions(WithClient):
    def test_made_with_all_it_can_have(self):
        session = self.client.session("counter", session_timeout=30, lifetime=3600, context={"team": "red"},
                                      labels={"env": self.id()}, metadata={"n": 1}, user_id="ann")
        info = session.info()
        self.assertEqual((info["idle_timeout"], info["lifetime"], info["user_id"]), (30, 3600, "ann"))
        self.assertEqual((info["context"], info["metadata"]), ({"team": "red"}, {"n": 1}))
        self.assertGreater(session.keepalive()["expires_at"], info["expires_at"])
        others = [self.client.session(labels={"env": self.id()}) for _ in range(2)]
        listed = [one["id"] for one in self.client.sessions(labels={"env": self.id()}, status="active")]
        self.assertEqual(sorted(listed), sorted(one.id for one in [session, *others]))
        session.end()
        session.end()
        listed = [one["id"] for one in self.client.sessions(app="counter", status="ended", user_id="ann")]
        self.assertEqual(listed, [session.id])
        self.assertIn("counter", [app["name"] for app in self.client.apps()])

    def test_state_from_outside(self):
        session = self.client.session("counter")
        session.set_state("a", 41)
        session.set_state("ü ö", [None, {"x": 1.5}])
        self.assertEqual(session.run({"key": "a"}).output["current"], 42)
        self.assertEqual(session.state(), {"a": 42, "ü ö": [None, {"x": 1.5}]})
        session.delete_state("a")
        session.delete_state("a")
        self.assertEqual([session.get_state("a"), session.get_state("a", 5)], [None, 5])
        self.assertEqual(session.get_state("ü ö"), [None, {"x": 1.5}])
        types = [entry["event"]["type"] for entry in session.events()]
        self.assertEqual(types, self.server.event_types(session.id))
        self.assertEqual([entry["event"]["type"] for entry in session.events(start=len(types))], types[-1:])
        with self.assertRaises(SessionNotFound):
            self.client.attach("sess_20200101_000000_000000").get_state("a")

    def test_over_in_each_way(self):
        ended = self.client.session("counter")
        ended.end()
        expired = self.client.session("counter", session_timeout=1)
        failed = self.client.session("session-test")
        failed.run()
        self.server.kill_worker(failed.id)
        self.server.over(expired.id)
        never = self.client.attach("sess_20200101_000000_000000")
        for session, kind, status, word in (
            (ended, SessionEnded, 410, "ended"), (expired, SessionExpired, 410, "session not found"),
            (failed, WorkerLost, 500, "SIGKILL"), (never, SessionNotFound, 404, "session not found"),
        ):
            for ask in (session.run, session.keepalive):
                with self.subTest(session=word, ask=ask.__name__), self.assertRaises(kind) as caught:
                    ask()
                self.assertIsInstance(caught.exception, SessionGone)
                self.assertNotIsInstance(caught.exception, CallFailed)
                self.assertEqual((caught.exception.status, caught.exception.retryable), (status, False))
                self.assertIn(word, str(caught.exception))
                self.assertTrue(caught.exception.advice)
            if session is not never:
                session.end()  # nothing more to do
                self.assertNotEqual(session.info()["status"], "active")

    def test_block_ends_its_session(self):
        with self.assertRaises(ZeroDivisionError), self.client.session("counter") as session:
            session.run({"key": "a"})
            raise ZeroDivisionError
        self.assertEqual(session.info()["end_reason"], "ended by request")


class Recovery(WithClient):
    def test_lost_session_is_rebuilt_before_the_next_call(self):
        def rebuild(session):
            session.run({"key": "table", "value": "loaded"}, "set_value")

        with SessionManager(self.client, "session-test", timeout=60, rebuild=rebuild) as manager:
            self.assertEqual(manager.run({"key": "table"}, "get_value").output["value"], "loaded")
            for lose in (self.server.kill_worker, lambda id: self.client.attach(id).end()):
                lost = manager.session_id
                lose(lost)
                with ThreadPoolExecutor(8) as threads:
                    found = list(threads.map(lambda _: manager.run({"key": "table"}, "get_value"), range(20)))
                self.assertEqual({task.output["value"] for task in found}, {"loaded"})
                self.assertEqual({task.session_id for task in found}, {manager.session_id})
                self.assertNotEqual(manager.session_id, lost)
        active = self.client.sessions(app="session-test", status="active")
        self.assertEqual(list(active), [])

    def test_call_that_was_lost_on_its_way_is_not_run_again(self):
        manager = SessionManager(self.client, "tests/probe")
        self.addCleanup(manager.end)
        session = manager.ensure_session()
        with self.assertRaises(WorkerLost) as caught:
            manager.run({"code": 3}, "leave")
        self.assertEqual(caught.exception.task["session_id"], session)
        self.assertEqual(manager.run("goes on").session_id, session)  # the app recovers

    def test_rebuild_that_fails_leaves_no_session(self):
        manager = SessionManager(self.client, "session-test", rebuild=lambda session: session.run(7, "set_value"))
        self.assertRaises(CallFailed, manager.run)
        self.assertIsNone(manager.session_id)
        self.assertEqual(list(self.client.sessions(app="session-test", status="active")), [])

    def test_the_same_from_asyncio(self):
        async def rebuild(session):
            await session.run({"key": "table", "value": "loaded"}, "set_value")

        async def use():
            async with AsyncClient(self.server.url) as client:
                async with AsyncSessionManager(client, "session-test", rebuild=rebuild) as manager:
                    lost = await manager.ensure_session()
                    await client.attach(lost).end()
                    found = await asyncio.gather(*(manager.run({"key": "table"}, "get_value") for _ in range(20)))
                    self.assertEqual({task.output["value"] for task in found}, {"loaded"})
                    self.assertEqual({task.session_id for task in found}, {manager.session_id})
                    self.assertNotEqual(manager.session_id, lost)

        asyncio.run(use())


class Asynchronous(Served):
    def test_calls_streams_and_sessions(self):
        async def use():
            async with AsyncClient(self.server.url) as client:
                async with await client.session("counter", labels={"a": "b"}, warm=True) as session:
                    self.assertIn("worker_id", await session.info())
                    found = await asyncio.gather(*(session.run({"key": "n"}) for _ in range(50)))
                    self.assertEqual(sorted(task.output["current"] for task in found), list(range(1, 51)))
                    await session.set_state("n", 7)
                    self.assertEqual((await session.state(), await session.get_state("x")), ({"n": 7}, None))
                    listed = [one["id"] async for one in client.sessions(labels={"a": "b"})]
                    self.assertEqual(listed, [session.id])
                    events = [entry["event"]["type"] async for entry in session.events()]
                    self.assertEqual(events[0], "session.created")
                with self.assertRaises(SessionEnded):
                    await session.run({"key": "n"})
                async with await client.session("tests/probe") as session:
                    stream = await session.stream(None, "wait_for_cancel")
                    async for output in stream.outputs():
                        self.assertEqual(output, {"waiting": True})
                        await client.cancel(stream.task)
                        break
                    with self.assertRaises(Cancelled):
                        await stream.result()

        asyncio.run(use())

    def test_cancelled_task_leaves_its_call_running_and_ends_its_session(self):
        gate = self.fifo()

        async def use():
            async with AsyncClient(self.server.url) as client:
                async with await client.session("tests/probe") as session:
                    seen.append(session.id)
                    await session.run({"gate": gate.path}, "hold")

        async def cancel():
            using = asyncio.ensure_future(use())
            await asyncio.get_running_loop().run_in_executor(None, gate.wait_until_read)
            using.cancel()
            await asyncio.gather(using, return_exceptions=True)
            self.assertTrue(using.cancelled())

        seen = []
        asyncio.run(cancel())
        self.assertEqual(self.server.over(seen[0])["status"], "ended")


class Forgetful:
    """Stands before the server, and swallows the answers to the first requests."""

    def __init__(self, server, swallow):
        self.server, self.swallow = server, swallow
        self.before_retry = lambda: None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, socket.create_connection((self.server.host, self.server.port)) as beyond:
                beyond.sendall(connection.recv(65536))
                answer = beyond.recv(65536)
                self.swallow -= 1
                if self.swallow < 0:
                    connection.sendall(answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                else:
                    self.before_retry()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class LostAnswers(Served):
    def forgetful(self, swallow):
        between = Forgetful(self.server, swallow)
        self.addCleanup(between.close)
        return between

    def test_call_whose_answers_are_lost_runs_once(self):
        session = self.server.new_session("counter")
        with Client(self.forgetful(3).url) as client:
            self.assertEqual(client.attach(session).run({"key": "a"}).output["current"], 1)
        self.assertEqual(self.server.session(session)["call_count"], 1)

    def test_call_that_opens_a_session_opens_one_and_runs_once(self):
        for number, session in enumerate(("new", None)):
            label = {"for": f"{self.id()} {number}"}
            with Client(self.forgetful(2).url) as client:
                task = client.run({"app": "counter", "input": {"key": "a"}, "session": session, "labels": label})
                self.assertEqual(task.output["current"], 1)
            with Client(self.server.url) as client:
                opened = list(client.sessions(labels=label))
            self.assertEqual([(one["id"], one["call_count"]) for one in opened], [(task.session_id, 1)])

    def test_call_runs_once_though_the_server_is_killed_before_the_retry(self):
        session = self.server.new_session("counter")
        between = self.forgetful(1)
        between.before_retry = lambda: [self.server.kill(), self.server.start()]
        with Client(between.url) as client:
            self.assertEqual(client.attach(session).run({"key": "a"}).output["current"], 1)
            self.assertEqual(client.attach(session).run({"key": "a"}).output["current"], 2)

    def test_key_of_ones_own_is_good_over_many_runs(self):
        session = self.server.new_session("counter")
        for _ in range(2):
            with Client(self.server.url) as client:
                task = client.attach(session).run({"key": "a"}, idempotency_key="order-7")
                self.assertEqual(task.output["current"], 1)
        with Client(self.server.url) as client, self.assertRaises(IdempotencyMismatch):
            client.attach(session).run({"key": "b"}, idempotency_key="order-7")

    def test_client_outlasts_a_server_that_starts_anew(self):
        with Client(self.server.url, retries=20) as client, client.session("counter") as session:
            session.run({"key": "a"})
            self.server.kill()
            self.server.listen = f"127.0.0.1:{self.server.port}"
            anew = threading.Thread(target=self.server.start)
            anew.start()
            self.assertEqual(session.run({"key": "a"}).output["current"], 2)
            anew.join()


if __name__ == "__main__":
    unittest.main()
