from __future__ import annotations

import time

from sojourn import Error

from .programs import WorkerTest


class Hello(WorkerTest):
    def test_names_the_functions_in_the_order_of_the_source(self):
        worker = self.started(
            """
            not_one = 1
            def run(self): ...
            def second(self, input): ...
            async def third(self, session, input): ...
            def setup(self): ...
            def unload(self): ...
            def on_cancel(self): ...
            def restore(self): ...
            def _hidden(self): ...
            @staticmethod
            def tool(): ...
            @property
            def place(self): ...
            class Inner: ...
            """
        )
        hello = worker.hello()
        self.assertEqual(hello["functions"], ["run", "second", "third"])
        self.assertEqual((hello["protocol"], hello["app"]), (1, "main"))
        self.assertRegex(hello["sdk"], r"^sojourn-python/\d+\.\d+\.\d+$")
        self.assertEqual(hello["capabilities"], ["progress", "checkpoint", "cancel", "resources", "app_call", "spare"])

    def test_refuses_another_protocol(self):
        worker = self.started("def run(self): ...")
        worker.send({"type": "hello", "protocol": 2, "server": "x"})
        error = worker.expect("error")
        self.assertEqual(error["code"], "protocol_error")
        self.assertIn("protocol 2", error["message"])
        self.assertIsNone(worker.receive())
        self.assertEqual(worker.process.wait(10), 1)

    def test_refuses_methods_that_cannot_be_functions(self):
        for method, words in (
            ("def run(self, a, b): ...", "X.run has a parameter 'b'"),
            ("def run(self, session, a, b): ...", "parameter 'b'"),
            ("def run(self, input, *, key): ...", "parameter 'key'"),
            ("def run(): ...", "lacks the parameter self"),
            ("def run(self): ...\ndef setup(self): yield 1", "X.setup is a generator"),
            ("def run(self): ...\nasync def on_end(self): yield 1", "X.on_end is a generator"),
        ):
            with self.subTest(method=method):
                worker = self.started(method)
                self.assertEqual(worker.process.wait(10), 1)
                self.assertIn(words, worker.output())


class Calls(WorkerTest):
    def test_pass_what_the_signature_asks_for(self):
        worker = self.start(
            """
            def setup(self, session, setup): self.made = [session.id, setup]
            def nothing(self): return self.made
            def with_input(self, anything, more=1, *args, key=2, **rest): return [anything, more]
            def with_session(self, session): return [session.id, session is self.session]
            def with_both(self, session, input): return [session.id, input]
            def with_default(self, input="default"): return input
            async def later(self, input):
                await asyncio.sleep(0)
                return input
            """,
            session="sess_1",
            setup={"model": "small"},
        )
        for function, output in (
            ("nothing", ["sess_1", {"model": "small"}]),
            ("with_input", ["in", 1]),
            ("with_session", ["sess_1", True]),
            ("with_both", ["sess_1", "in"]),
            ("with_default", "in"),
            ("later", "in"),
        ):
            with self.subTest(function=function):
                self.assertEqual(worker.call(function, "in").output, output)

    def test_show_the_session(self):
        worker = self.start(
            """
            def __init__(self): self.early = self.session.id
            def run(self, session):
                return [self.early, session.context, session.setup, str(session.folder), os.getcwd(),
                        session.restored, session.app_version, session.cancel_requested, dict(session.state)]
            """,
            session="s",
            context={"user": ["u"]},
            setup=3,
            state={"a": 1},
            restored=True,
            app_version="1.2",
        )
        folder = str(worker.folder)
        self.assertEqual(
            worker.call().output, ["s", {"user": ["u"]}, 3, folder, folder, True, "1.2", False, {"a": 1}]
        )

    def test_commit_their_state_changes_and_events_with_the_result(self):
        worker = self.start(
            """
            def run(self, session, input):
                session.state["count"] = session.state.get("count", 0) + input
                session.state.pop("old", None)
                session.record("count.raised", {"by": input})
                return session.state["count"]
            def look(self): return dict(self.session.state)
            """,
            state={"old": True, "kept": 1},
        )
        result = worker.call("run", 2)
        self.assertEqual((result.output, result.state_set, result.state_deleted), (2, {"count": 2}, ["old"]))
        self.assertEqual(result.events, [{"type": "count.raised", "data": {"by": 2}}])
        second = worker.call("run", 3)
        self.assertEqual((second.state_set, second.state_deleted), ({"count": 5}, []))
        self.assertEqual(worker.call("look").output, {"kept": 1, "count": 5})
        self.assertEqual(worker.call("look").state_set, {})

    def test_see_what_was_changed_outside(self):
        worker = self.start("def run(self): return dict(self.session.state)", state={"a": 1, "b": 2})
        result = worker.call(state_set={"a": 5}, state_deleted=["b"])
        self.assertEqual((result.output, result.state_set), ({"a": 5}, {}))

    def test_that_raise_drop_their_changes_and_fail_alone(self):
        worker = self.start(
            """
            def run(self, session, input):
                session.state["a"] = input
                session.record("never.seen")
                session.end()
                if input == 2: self.deeper()
                return session.state["a"]
            def deeper(self): raise KeyError("no such thing \\ud800")
            """
        )
        worker.call("run", 1)
        with self.assertRaises(Error) as caught:
            worker.call("run", 2)
        error = caught.exception
        self.assertEqual((error.code, error.retryable), ("app_error", False))
        self.assertEqual(error.message, "KeyError: 'no such thing \\ud800'")
        self.assertEqual(error.details["type"], "KeyError")
        lines = error.details["traceback"].splitlines()
        self.assertIn("in run", lines[1])
        self.assertIn("in deeper", error.details["traceback"])
        self.assertNotIn("worker.py", error.details["traceback"])
        result = worker.call("run", 3)
        self.assertEqual((result.output, result.state_set, len(result.events)), (3, {"a": 3}, 1))

    def test_in_async_code_fail_the_same_way(self):
        worker = self.start("async def run(self): await asyncio.sleep(0); raise ValueError('later')")
        with self.assertRaises(Error) as caught:
            worker.call()
        self.assertEqual(caught.exception.message, "ValueError: later")
        self.assertIn("in run", caught.exception.details["traceback"])

    def test_that_raise_an_error_of_the_sdk_keep_its_fields(self):
        worker = self.start(
            """
            def run(self, input):
                raise Error("busy", "try later", retryable=True, details={"n": 1, "odd": {2}})
            """
        )
        with self.assertRaises(Error) as caught:
            worker.call()
        error = caught.exception
        self.assertEqual((error.code, error.message, error.retryable), ("busy", "try later", True))
        self.assertEqual(error.details, {"n": 1, "odd": "{2}"})

    def test_that_return_what_json_cannot_hold_say_where(self):
        worker = self.start(
            """
            def run(self): self.session.state["a"] = 1; return {"rows": [1, {2}]}
            def state(self): self.session.state["a"] = float("nan")
            def large(self): return "x" * (8 * 1024 * 1024)
            def look(self): return dict(self.session.state)
            """
        )
        for function, code, pointer in (("run", "not_serializable", "/rows/1"), ("state", "not_serializable", "")):
            with self.subTest(function=function), self.assertRaises(Error) as caught:
                worker.call(function)
            self.assertEqual(caught.exception.code, code)
            self.assertEqual(caught.exception.details["pointer"], pointer)
            self.assertEqual("traceback" in caught.exception.details, function == "state")
        with self.assertRaises(Error) as caught:
            worker.call("large")
        self.assertEqual(caught.exception.code, "too_large")
        self.assertEqual(worker.call("look").output, {})

    def test_of_an_unknown_function_are_told_the_known_ones(self):
        worker = self.start("def run(self): ...\ndef setup(self): ...\ndef _x(self): ...")
        for name in ("walk", "setup", "_x", "session", "__init__"):
            with self.subTest(name=name), self.assertRaises(Error) as caught:
                worker.call(name)
            self.assertEqual(caught.exception.code, "function_not_found")
            self.assertEqual(caught.exception.details, {"functions": ["run"]})

    def test_share_one_event_loop_whose_tasks_go_on_between_calls(self):
        worker = self.start(
            """
            async def setup(self):
                self.loop = asyncio.get_running_loop()
                self.ticks = 0
                self.ticked = asyncio.create_task(self._tick())
            async def _tick(self):
                while True:
                    await asyncio.sleep(0.001)
                    self.ticks += 1
            async def run(self): return [self.loop is asyncio.get_running_loop(), self.ticks]
            """
        )
        same, ticks = worker.call().output
        self.assertTrue(same)
        time.sleep(0.1)  # real time: the task runs in another process
        self.assertGreater(worker.call().output[1], ticks + 3)
        self.assertEqual(worker.close(), [])

    def test_carry_large_values_both_ways(self):
        worker = self.start("def run(self, input): self.session.state['a'] = input[:2000000]; return input")
        text = "é" * 4_000_000
        result = worker.call("run", text)
        self.assertEqual(result.output, text)
        self.assertEqual(result.state_set, {"a": text[:2_000_000]})

    def test_may_end_the_session(self):
        worker = self.start("def run(self, input):\n    if input: self.session.end()")
        self.assertEqual((worker.call().end, worker.call("run", 1).end, worker.call().end), (False, True, False))


class Exits(WorkerTest):
    def test_exit_the_process_after_cleaning_up(self):
        for text, code in (
            ("sys.exit(7)", 7),
            ("raise KeyboardInterrupt", -2),
            ("os.kill(os.getpid(), 15); time.sleep(10)", 143),
        ):
            with self.subTest(text=text):
                worker = self.start(
                    f"""
                    def run(self, session):
                        session.resources.add("r", "print", lambda: print("cleaned"))
                        {text}
                    """
                )
                worker.begin()
                self.assertEqual(worker.expect("resource")["op"], "add")
                self.assertIsNone(worker.receive())
                self.assertEqual(worker.process.wait(10), code)
                self.assertIn("cleaned", worker.output())
