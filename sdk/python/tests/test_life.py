from __future__ import annotations

import os
import subprocess
import sys
import time

from sojourn import Error, testing

from .programs import WorkerTest


class Setup(WorkerTest):
    def test_that_raises_answers_open_with_its_error(self):
        for text, code, words in (
            ("def setup(self): raise OSError('no model')", "app_error", "OSError: no model"),
            ("def __init__(self): raise OSError('no model')", "app_error", "OSError: no model"),
            ("async def setup(self): raise Error('unavailable', 'later', True)", "unavailable", "later"),
        ):
            with self.subTest(text=text):
                worker = self.started(text)
                worker.hello()
                with self.assertRaises(Error) as caught:
                    worker.open()
                self.assertEqual((caught.exception.code, caught.exception.message), (code, words))
                self.assertEqual(worker.process.wait(10), 1)

    def test_that_raises_cleans_up_what_it_acquired(self):
        worker = self.started(
            """
            def setup(self, session):
                session.resources.add("r", "print", lambda: print("cleaned"))
                raise OSError
            def unload(self): print("unloaded")
            """
        )
        worker.hello()
        self.assertRaises(Error, worker.open)
        worker.process.wait(10)
        self.assertIn("cleaned", worker.output())
        self.assertNotIn("unloaded", worker.output())

    def test_commits_its_state_with_the_first_call_that_succeeds(self):
        worker = self.start(
            """
            def setup(self): self.session.state["made"] = 1
            def run(self, input): return 1 // input
            """
        )
        self.assertRaises(Error, worker.call, "run", 0)
        self.assertEqual(worker.call("run", 1).state_set, {"made": 1})
        self.assertEqual(worker.call("run", 1).state_set, {})


class Restore(WorkerTest):
    APP = """
    def setup(self, session, input): self.by = ["setup", input]
    def restore(self, session, input): self.by = ["restore", input, session.state["a"]]
    def run(self): return self.by
    """

    def test_begins_a_restored_session_in_place_of_setup(self):
        worker = self.start(self.APP, state={"a": 1}, setup="s", restored=True)
        self.assertEqual(worker.call().output, ["restore", "s", 1])

    def test_is_not_for_a_new_session(self):
        self.assertEqual(self.start(self.APP, setup="s").call().output, ["setup", "s"])

    def test_where_there_is_none_is_setup(self):
        worker = self.start("def setup(self): self.a = 7\ndef run(self): return self.a", restored=True)
        self.assertEqual(worker.call().output, 7)

    def test_that_raises_answers_open_with_its_error(self):
        path = self.program("def restore(self): raise Error('unavailable', 'lost')\ndef run(self): pass")
        with self.assertRaises(Error) as caught:
            testing.start(path, restored=True)
        self.assertEqual(caught.exception.code, "unavailable")


class OnCancel(WorkerTest):
    def test_runs_beside_a_sync_function_and_can_wake_it(self):
        worker, output = self.cancelled(
            """
            def setup(self): self.stop = threading.Event(); self.calls = 0
            def run(self, session): session.log.info("runs"); return self.stop.wait(20)
            def on_cancel(self, session): self.calls += 1; assert session.cancel_requested; self.stop.set()
            def count(self): return self.calls
            """
        )
        self.assertIs(output, True)
        self.assertEqual(worker.call("count").output, 1)

    def test_may_be_async_beside_a_sync_function(self):
        _, output = self.cancelled(
            """
            def setup(self): self.stop = threading.Event()
            def run(self, session): session.log.info("runs"); return self.stop.wait(20)
            async def on_cancel(self): await asyncio.sleep(0); self.stop.set()
            """
        )
        self.assertIs(output, True)

    def test_runs_on_the_loop_of_an_async_function_that_is_then_cancelled(self):
        worker, output = self.cancelled(
            """
            async def run(self, session): session.log.info("runs"); self.loop = asyncio.get_running_loop(); await self.loop.create_future()
            async def on_cancel(self): self.same = asyncio.get_running_loop() is self.loop
            def look(self): return self.same
            """
        )
        self.assertEqual(output, "cancelled")
        self.assertIs(worker.call("look").output, True)

    def test_that_returns_true_lets_an_async_function_stop_by_itself(self):
        _, output = self.cancelled(
            """
            async def run(self, session): self.stop = asyncio.Event(); session.log.info("runs"); await self.stop.wait(); return "tidy"
            def on_cancel(self): self.stop.set(); return True
            """
        )
        self.assertEqual(output, "tidy")

    def test_that_raises_is_told_of_and_cancels_all_the_same(self):
        worker, output = self.cancelled(
            """
            async def run(self, session): session.log.info("runs"); await asyncio.sleep(20)
            def on_cancel(self): raise OSError("jammed")
            def well(self): return 1
            """
        )
        self.assertEqual(output, "cancelled")
        self.assertEqual(worker.call("well").output, 1)
        self.assertIn("jammed", worker.output())

    def test_that_would_wait_for_the_server_is_refused(self):
        worker, output = self.cancelled(
            """
            def setup(self): self.stop = threading.Event()
            def run(self, session): session.log.info("runs"); self.stop.wait(20); return self.code
            def on_cancel(self, session):
                try: session.checkpoint()
                except Error as error: self.code = error.code
                self.stop.set()
            """
        )
        self.assertEqual(output, "invalid_request")

    def test_is_not_called_for_a_call_that_is_over(self):
        worker = self.start("def run(self): pass\ndef on_cancel(self): print('called')")
        request_id = worker.begin()
        worker.finish(request_id)
        worker.send({"type": "cancel", "request_id": request_id})
        worker.call()
        self.assertNotIn("called", worker.output())


class WhileACallRuns(WorkerTest):
    WAITING = """
    def run(self, session, input):
        session.log.info("running")
        end = time.monotonic() + 10
        while not session.cancel_requested and not os.path.exists("go") and time.monotonic() < end: time.sleep(0.001)
        return session.cancel_requested
    async def later(self, session):
        session.log.info("running")
        try:
            await asyncio.sleep(10)
        finally:
            session.log.info("tidied")
    def short(self): return self.session.cancel_requested
    """

    def test_a_ping_is_answered_and_a_cancel_is_seen(self):
        worker = self.start(self.WAITING)
        request_id = worker.begin()
        worker.expect("log")
        for number in (1, 2.5):
            worker.send({"type": "ping", "n": number})
            self.assertEqual(worker.expect("pong")["n"], number)
        worker.send({"type": "cancel", "request_id": request_id})
        self.assertIs(worker.finish(request_id).output, True)
        self.assertIs(worker.call("short").output, False)

    def test_a_cancel_of_another_call_changes_nothing(self):
        worker = self.start(self.WAITING)
        request_id = worker.begin()
        worker.expect("log")
        worker.send({"type": "cancel", "request_id": "another"})
        worker.send({"type": "ping", "n": 1})
        worker.expect("pong")
        (worker.folder / "go").touch()
        self.assertIs(worker.finish(request_id).output, False)

    def test_a_cancel_ends_an_async_function_the_way_of_asyncio(self):
        worker = self.start(self.WAITING)
        request_id = worker.begin("later")
        worker.expect("log")
        worker.send({"type": "cancel", "request_id": request_id})
        self.assertEqual(worker.expect("log")["message"], "tidied")
        with self.assertRaises(Error) as caught:
            worker.finish(request_id)
        self.assertEqual(caught.exception.code, "cancelled")
        self.assertIs(worker.call("short").output, False)

    def test_a_close_waits_for_the_end_of_the_call(self):
        worker = self.start(self.WAITING)
        request_id = worker.begin()
        worker.expect("log")
        worker.send({"type": "close", "reason": "server_stopping"})
        worker.send({"type": "cancel", "request_id": request_id})
        worker.finish(request_id)
        self.assertEqual(worker.expect("closed")["failures"], [])
        self.assertEqual(worker.process.wait(10), 0)

    def test_a_server_that_goes_away_cancels_it_and_the_worker_cleans_up(self):
        worker = self.start(self.WAITING + "\n    def unload(self): print('unloaded')")
        worker.begin()
        worker.expect("log")
        worker.hang_up()
        self.assertEqual(worker.process.wait(10), 0)
        self.assertIn("unloaded", worker.output())

    def test_a_ping_is_answered_in_a_long_setup(self):
        worker = self.started("def setup(self): self.session.log.info('loading'); time.sleep(0.3)")
        worker.hello()
        worker.send({"type": "open", "session": "s", "context": {}, "state": {}})
        worker.expect("log")
        worker.send({"type": "ping", "n": 1})
        worker.expect("pong")
        worker.expect("ready")


class OnEnd(WorkerTest):
    APP = """
    def run(self): return None
    async def on_end(self, session, reason): print("over:", reason, session.id)
    def unload(self): print("unloaded")
    """

    def said(self, reason):
        worker = self.start(self.APP)
        worker.call()
        worker.send({"type": "close", "reason": reason})
        self.assertEqual(worker.expect("closed")["failures"], [])
        worker.process.wait(10)
        return [line for line in worker.output().splitlines() if line != "served"]

    def test_greeting_says_that_there_is_one(self):
        self.assertIn("on_end", self.started(self.APP).hello()["capabilities"])

    def test_runs_before_unload_where_the_session_is_over(self):
        for reason in ("ended", "expired"):
            said = self.said(reason)
            self.assertEqual([said[0].split()[:2], said[1:]], [["over:", reason], ["unloaded"]])

    def test_does_not_run_where_the_session_may_go_on(self):
        for reason in ("sleeping", "server_stopping", "lost"):
            self.assertEqual(self.said(reason), ["unloaded"])

    def test_that_raises_is_told_and_unload_runs_all_the_same(self):
        worker = self.start(
            """
            def run(self): return None
            def on_end(self): raise OSError("no way out")
            def unload(self): print("unloaded")
            """
        )
        failures = [{"id": "on_end", "kind": "app", "message": "OSError: no way out"}]
        worker.send({"type": "close", "reason": "ended"})
        self.assertEqual(worker.expect("closed")["failures"], failures)
        worker.process.wait(10)
        self.assertIn("unloaded", worker.output())

    def test_is_no_function(self):
        worker = self.start(self.APP)
        with self.assertRaises(Error) as caught:
            worker.call("on_end")
        self.assertEqual(caught.exception.code, "function_not_found")


class Between(WorkerTest):
    def test_pings_are_answered_also_where_an_event_loop_runs(self):
        for word in ("def", "async def"):
            worker = self.start(f"{word} run(self): ...")
            worker.call()
            worker.send({"type": "ping", "n": 7})
            self.assertEqual(worker.expect("pong")["n"], 7)
            worker.send({"type": "cancel", "request_id": "over"})
            worker.call()

    def test_what_breaks_the_protocol_is_told_and_ends_the_worker(self):
        for data, words in (
            (b"\0\0\0\0", "a frame of 0 bytes"),
            (b"\x7f\xff\xff\xff", "a frame of 2147483647 bytes"),
            (b"\0\0\0\x02{]", "no JSON"),
            (b"\0\0\0\x04    ", "no JSON"),
            (b'\0\0\0\x1e{"type":"ping"}{"type":"ping"}', "more than one JSON value"),
            (b"\0\1\0\0" + b"[" * 65536, "no JSON"),
            (b'\0\0\0\x12{"type":"x","n":1}', "an unexpected frame 'x'"),
            (b"\0\0\0\x02[]", 'no object with a "type"'),
            (b'\0\0\0\x0f{"type":"call"}', "without the text 'request_id'"),
            (b'\0\0\0\x04"\xff\xff"', "no JSON"),
        ):
            with self.subTest(words=words):
                worker = self.start("def run(self): ...\ndef unload(self): print('unloaded')")
                worker.send_raw(data)
                error = worker.expect("error")
                self.assertNotIn("request_id", error)
                self.assertEqual(error["code"], "protocol_error")
                self.assertIn(words, error["message"])
                self.assertEqual(worker.process.wait(10), 1)
                self.assertIn("unloaded", worker.output())

    def test_prints_appear_at_once_and_untouched(self):
        worker = self.start("def run(self): print('out \\ud800'); print('err', file=sys.stderr)")
        worker.call()
        self.assertEqual(worker.output(), "out \\ud800\nerr\n")

    def test_a_process_that_the_app_forks_does_not_hold_the_socket(self):
        worker = self.start(
            """
            def run(self):
                child = os.fork()
                if child == 0:
                    try: os.fstat(3)
                    except OSError: os._exit(0)
                    os._exit(1)
                return os.waitpid(child, 0)[1]
            """
        )
        self.assertEqual(worker.call().output, 0)


class Close(WorkerTest):
    def test_cleans_up_newest_first_and_reports_each_failure(self):
        worker = self.start(
            """
            def run(self, session):
                session.resources.add("first", "file", lambda: print("first"), cost=5, cleanup_note={"path": "/x"})
                session.resources.add("bad", "thread", self._bad)
                session.resources.add("later", "page", self._later)
                session.resources.add("gone", "file", lambda: print("never"))
                return [session.resources.release("gone"), session.resources.release("gone"), len(session.resources)]
            def _bad(self): raise OSError("stuck")
            async def _later(self):
                await asyncio.sleep(0)
                print("later")
            def unload(self): print("unload"); raise ValueError("half")
            """
        )
        result = worker.call()
        self.assertEqual(result.output, [True, False, 3])
        self.assertEqual(
            result.before[0],
            {"type": "resource", "op": "add", "id": "first", "kind": "file", "cost": 5, "cleanup": {"path": "/x"}, "n": 1},
        )
        self.assertEqual(result.before[-1], {"type": "resource", "op": "release", "id": "gone"})
        worker.send({"type": "close", "reason": "ended"})
        self.assertEqual(
            worker.expect("closed")["failures"],
            [
                {"id": "unload", "kind": "app", "message": "ValueError: half"},
                {"id": "bad", "kind": "thread", "message": "OSError: stuck"},
            ],
        )
        self.assertEqual(worker.process.wait(10), 0)
        said = [
            line for line in worker.output().splitlines() if line in ("unload", "later", "first", "never", "served")
        ]
        self.assertEqual(said, ["unload", "later", "first", "served"])

    def test_interrupts_a_clean_up_at_its_deadline(self):
        worker = self.start(
            """
            def setup(self, session):
                import sojourn.resources
                sojourn.resources.CLEANUP_SECONDS = 0.05
                session.resources.add("last", "print", lambda: print("cleaned"))
                session.resources.add("slow", "sleep", lambda: time.sleep(20))
                session.resources.add("slow later", "sleep", lambda: asyncio.sleep(20))
            """
        )
        begun = time.monotonic()
        worker.send({"type": "close", "reason": "ended"})
        failures = worker.expect("closed")["failures"]
        self.assertEqual([failure["id"] for failure in failures], ["slow later", "slow"])
        self.assertIn("not done after 0.05 s", failures[0]["message"])
        self.assertLess(time.monotonic() - begun, 5)
        worker.process.wait(10)
        self.assertIn("cleaned", worker.output())

    def test_refuses_bad_resources(self):
        worker = self.start(
            """
            def run(self, session):
                add, refused = session.resources.add, []
                add("a", "k", print)
                for arguments in (("a", "k", print), ("", "k", print), ("b", 1, print), ("b", "k", 3),
                                  ("b", "k", print, 1.5), ("b", "k", print, 1, {2})):
                    try: add(*arguments)
                    except (Error, TypeError) as error: refused.append(str(error))
                return [len(session.resources), refused]
            """
        )
        held, refused = worker.call().output
        self.assertEqual((held, len(refused)), (1, 6), refused)

    def test_follows_when_the_server_goes_away(self):
        worker = self.start(
            """
            def unload(self): print('unloaded')
            def run(self): self.session.resources.add('r', 'k', lambda: print('r'))
            """
        )
        worker.call()
        worker.hang_up()
        self.assertEqual(worker.process.wait(10), 0)
        self.assertEqual(worker.output(), "unloaded\nr\nserved\n")

    def test_before_open_needs_no_app(self):
        worker = self.started("def run(self): ...")
        worker.hello()
        self.assertEqual(worker.close(), [])


class WithoutAServer(WorkerTest):
    def test_tells_how_apps_are_run(self):
        for extra in ({}, {"SOJOURN_PROTOCOL": "1"}):
            done = subprocess.run(
                [sys.executable, str(self.program("def run(self): ..."))],
                env={"PYTHONPATH": os.pathsep.join(sys.path), **extra},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=20,
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("sojourn serve --apps", done.stderr)
            self.assertNotIn("Traceback", done.stderr)

    def test_hello_may_never_come(self):
        worker = self.started("def run(self): ...")
        worker.hang_up()
        self.assertEqual(worker.process.wait(10), 1)
        self.assertIn("before it said hello", worker.output())

    def test_start_raises_what_setup_raised(self):
        with self.assertRaises(Error):
            testing.start(self.program("def setup(self): raise OSError"))
