from __future__ import annotations

from sojourn import Error

from .programs import WorkerTest


class Progress(WorkerTest):
    def test_is_sent_at_once_and_in_order(self):
        worker = self.start(
            """
            def run(self, session):
                session.emit({"done": 1})
                session.emit_delta("x")
                session.log.warning("half ü", step=2, odd={1})
                session.emit({"done": 2})
                return "end"
            """
        )
        result = worker.call()
        request = {"request_id": "task_1"}
        self.assertEqual(
            result.before,
            [
                {"type": "progress", "output": {"done": 1}, **request},
                {"type": "progress", "delta": "x", **request},
                {
                    "type": "log",
                    "level": "warning",
                    "message": "half ü",
                    "fields": {"step": 2, "odd": "{1}"},
                    **request,
                },
                {"type": "progress", "output": {"done": 2}, **request},
            ],
        )

    def test_that_json_cannot_hold_is_refused(self):
        worker = self.start("def run(self): self.session.emit([{1}])")
        with self.assertRaises(Error) as caught:
            worker.call()
        self.assertEqual((caught.exception.code, caught.exception.details["pointer"]), ("not_serializable", "/0"))


class Log(WorkerTest):
    def test_has_four_levels_and_works_outside_calls(self):
        worker = self.started(
            """
            def setup(self, session):
                for level in ("debug", "info", "warning", "error"): getattr(session.log, level)(level.upper())
                session.log.info("x" * 9000, long=["x" * 9000])
            """
        )
        worker.hello()
        worker.send({"type": "open", "session": "s", "context": {}, "state": {}})
        for level in ("debug", "info", "warning", "error"):
            self.assertEqual(
                worker.expect("log"), {"type": "log", "level": level, "message": level.upper(), "fields": {}}
            )
        line = worker.expect("log")
        self.assertEqual(line["message"], "x" * 8192 + " ... (cut)")
        self.assertEqual(line["fields"], {"long": '["' + "x" * 8190 + " ... (cut)"})


class Record(WorkerTest):
    def test_refuses_what_the_journal_would(self):
        worker = self.start(
            """
            def run(self, session, input):
                session.record(*input)
            def many(self, session):
                for n in range(1001): session.record("a.b")
            def heavy(self, session):
                for n in range(40): session.record("a.b", {"a": "x" * 250_000})
            def look(self): return "well"
            """
        )
        for type in ("", "A", "a b", "x" * 65, "call.completed", "session.x", "log", "logged", None, 1):
            with self.subTest(type=type), self.assertRaises(Error) as caught:
                worker.call("run", [type])
            self.assertEqual(caught.exception.code, "invalid_request")
        for function, input in (("run", ["a.b", {"a": "x" * 262_144}]), ("many", None), ("heavy", None)):
            with self.subTest(function=function), self.assertRaises(Error) as caught:
                worker.call(function, input)
            self.assertEqual(caught.exception.code, "too_large")
        self.assertRaises(Error, worker.call, "run", ["a.b", [1]])
        self.assertEqual(worker.call("look").events, [])


class Checkpoint(WorkerTest):
    APP = """
    def run(self, session, input):
        session.state["a"] = 1
        session.record("half.done")
        session.checkpoint()
        session.state["a"] = 2
        session.record("all.done", {"n": 2})
        if input: raise ValueError
    def catch(self, session):
        session.state["b"] = 1
        try:
            session.checkpoint()
        except Error as error:
            return [error.code, error.message]
    def look(self): return dict(self.session.state)
    """

    def test_commits_in_the_middle(self):
        worker = self.start(self.APP)
        result = worker.call()
        checkpoint = result.before[0]
        self.assertEqual(checkpoint["state_set"], {"a": 1})
        self.assertEqual(checkpoint["events"], [{"type": "half.done", "data": {}}])
        self.assertEqual((result.state_set, result.events), ({"a": 2}, [{"type": "all.done", "data": {"n": 2}}]))

    def test_does_not_wait_until_the_watcher_would_look_by_itself(self):
        head = """
        import sojourn.watcher
        sojourn.watcher.GRACE = 60
        """
        worker = self.start(head + self.APP.replace("\n    ", "\n        "))
        worker.call()
        self.assertEqual(worker.state, {"a": 2})

    def test_is_what_a_failing_call_falls_back_to(self):
        worker = self.start(self.APP)
        self.assertRaises(Error, worker.call, "run", True)
        self.assertEqual(worker.call("look").output, {"a": 1})
        self.assertEqual(worker.state, {"a": 1})

    def test_leaves_the_event_loop_of_an_async_function_free(self):
        worker = self.start(
            """
            async def run(self, session):
                session.state["a"] = 1
                session.record("half.done")
                saving = asyncio.create_task(session.checkpoint_async())
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # it has been sent
                session.emit("free")
                session.state["a"], session.state["b"] = 2, 2
                session.record("all.done")
                await saving
                return "end"
            """
        )
        result = worker.call()
        self.assertEqual([frame["type"] for frame in result.before], ["checkpoint", "progress"])
        self.assertEqual(result.before[0]["state_set"], {"a": 1})
        self.assertEqual(result.state_set, {"a": 2, "b": 2})  # what changed while it was saved is not lost
        self.assertEqual([event["type"] for event in result.events], ["all.done"])

    def test_is_over_before_a_cancel_of_its_async_function(self):
        worker = self.start(
            """
            async def run(self, session):
                session.state["a"] = 1
                await session.checkpoint_async()
            def look(self): return dict(self.session.state)
            """
        )
        request_id = worker.begin()
        checkpoint = worker.expect("checkpoint")
        worker.send({"type": "cancel", "request_id": request_id})
        worker.send({"type": "ping", "n": 1})
        worker.expect("pong")
        worker.send({"type": "saved", "request_id": checkpoint["request_id"]})
        with self.assertRaises(Error) as caught:
            worker.finish(request_id)
        self.assertEqual(caught.exception.code, "cancelled")
        self.assertEqual(worker.call("look").output, {"a": 1})

    def test_beside_another_is_refused(self):
        worker = self.start(
            """
            async def run(self, session):
                first = asyncio.create_task(session.checkpoint_async())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                try: await session.checkpoint_async()
                except Error as error: session.emit(error.code)
                await first
            """
        )
        request_id = worker.begin()
        worker.expect("checkpoint")
        self.assertEqual(worker.expect("progress")["output"], "conflict")
        worker.send({"type": "saved", "request_id": request_id})
        worker.finish(request_id)

    def test_that_could_not_be_saved_raises(self):
        worker = self.start(self.APP)
        request_id = worker.begin("catch")
        worker.expect("checkpoint")
        worker.send({"type": "saved", "request_id": request_id, "error": {"code": "store_full", "message": "full"}})
        result = worker.finish(request_id)
        self.assertEqual(result.output, ["store_full", "full"])
        self.assertEqual(result.state_set, {"b": 1})  # still to be committed

    def test_of_too_much_is_refused_and_smaller_ones_go_through(self):
        worker = self.start(
            """
            def run(self, session, input):
                for key in "abcde":
                    session.state[key] = "x" * 4_000_000
                    if input: session.checkpoint()
                session.checkpoint()
            def emit(self, session): session.emit("x" * (8 * 1024 * 1024))
            """
        )
        for function in ("run", "emit"):
            with self.subTest(function=function), self.assertRaises(Error) as caught:
                worker.call(function)
            self.assertEqual(caught.exception.code, "too_large")
        self.assertEqual(worker.state, {})
        worker.call("run", True)
        self.assertEqual(len(worker.state), 5)

    def test_fails_when_the_server_goes_away(self):
        worker = self.start("def run(self):\n    try: self.session.checkpoint()\n    except Error as e: print(e)")
        worker.begin()
        worker.expect("checkpoint")
        worker.hang_up()
        self.assertEqual(worker.process.wait(10), 0)
        self.assertIn("the server is gone", worker.output())


class CallApp(WorkerTest):
    def test_returns_what_the_other_app_returned_or_raises_as_it_failed(self):
        worker = self.start("def run(self, session, input): return session.call_app('other', 'add', input)")
        request_id = worker.begin("run", [1, 2])
        call = worker.expect("app_call")
        self.assertEqual((call["app"], call["function"], call["input"]), ("other", "add", [1, 2]))
        self.assertEqual(call["request_id"], request_id)
        worker.send({"type": "ping", "n": 1})
        worker.expect("pong")
        worker.send({"type": "app_result", "call_id": call["call_id"], "output": 3})
        self.assertEqual(worker.finish(request_id).output, 3)

        request_id = worker.begin("run", 0)
        call_id = worker.expect("app_call")["call_id"]
        self.assertNotEqual(call_id, call["call_id"])
        error = {"code": "queue_full", "message": "busy", "retryable": True, "details": {"n": 1}}
        worker.send({"type": "app_result", "call_id": call_id, "error": error})
        with self.assertRaises(Error) as caught:
            worker.finish(request_id)
        for name, value in error.items():
            self.assertEqual(getattr(caught.exception, name), value)

    def test_leaves_the_event_loop_free_when_called_on_a_thread(self):
        worker = self.start(
            """
            async def run(self, session):
                calls = [asyncio.to_thread(session.call_app, "other", "run", n) for n in (1, 2)]
                return await asyncio.gather(*calls)
            """
        )
        request_id = worker.begin()
        calls = sorted((worker.expect("app_call") for _ in range(2)), key=lambda call: call["input"])
        for call in reversed(calls):
            worker.send({"type": "app_result", "call_id": call["call_id"], "output": call["input"] * 10})
        self.assertEqual(worker.finish(request_id).output, [10, 20])


class OutsideACall(WorkerTest):
    def test_a_thread_that_a_call_left_behind_sends_nothing_of_it(self):
        worker = self.start(
            """
            def run(self, session):
                def late():
                    emit = session.emit
                    while True:
                        try:
                            emit(1)
                        except Error:
                            session.log.info("refused")
                            return
                threading.Thread(target=late, daemon=True).start()
                time.sleep(0.01)
            """
        )
        for _ in range(5):
            before = worker.call().before
            self.assertEqual({frame["type"] for frame in before}, {"progress"})
            self.assertEqual(len({frame["request_id"] for frame in before}), 1)
            self.assertEqual(worker.expect("log").get("request_id"), None)

    def test_what_belongs_to_a_call_is_refused(self):
        for text in ("emit(1)", "emit_delta(1)", "record('a.b')", "checkpoint()", "end()", "call_app('x')"):
            with self.subTest(text=text):
                worker = self.started(f"def setup(self): self.session.{text}")
                worker.hello()
                with self.assertRaises(Error) as caught:
                    worker.open()
                self.assertIn("only while a call runs", caught.exception.message)


class Resources(WorkerTest):
    """The server's answer to a note is what the app waits for, wherever it notes from."""

    NOTE = """
    def note(self, id="r"):
        try:
            self.session.resources.add(id, "file", lambda: None, cleanup_note={"path": "/x"})
        except Error as error:
            return error.code
        return id in self.session.resources
    def run(self): return self.note()
    def plain(self): self.session.resources.add("p", "file", lambda: None)
    async def later(self):
        async def work():
            while not os.path.exists("go"): await asyncio.sleep(0.001)
            self.result = self.note()
        self.task = asyncio.create_task(work())
    def in_thread(self):
        self.thread = threading.Thread(target=lambda: (self.go.wait(), setattr(self, "result", self.note())))
        self.go = threading.Event()
        self.thread.start()
    def open_gate(self): self.go.set()
    def look(self):
        if hasattr(self, "thread"): self.thread.join()
        return self.result
    def held(self): return [resource.id for resource in self.session.resources]
    """

    def test_with_a_note_are_there_once_it_is_durable(self):
        worker = self.start(self.NOTE)
        request_id = worker.begin()
        number = worker.expect("resource")["n"]
        worker.send({"type": "ping", "n": 1})
        worker.expect("pong")  # and no result yet
        worker.send({"type": "noted", "n": number})
        self.assertIs(worker.finish(request_id).output, True)

    def test_whose_note_could_not_be_kept_are_refused(self):
        worker = self.start(self.NOTE)
        request_id = worker.begin()
        number = worker.expect("resource")["n"]
        worker.send({"type": "noted", "n": number, "error": {"code": "store_full", "message": "full"}})
        self.assertEqual(worker.expect("resource"), {"type": "resource", "op": "release", "id": "r"})
        self.assertEqual(worker.finish(request_id).output, "store_full")
        self.assertEqual(worker.call("held").output, [])

    def test_without_a_note_are_not_waited_for(self):
        worker = self.start(self.NOTE)
        self.assertNotIn("n", worker.call("plain").before[0])

    def test_are_noted_by_a_background_task_between_calls_and_the_next_call_is_served(self):
        worker = self.start(self.NOTE)
        worker.call("later")
        (worker.folder / "go").touch()
        number = worker.expect("resource")["n"]
        waiting = worker.begin("look")  # comes while the task waits
        worker.send({"type": "noted", "n": number})
        self.assertIs(worker.finish(waiting).output, True)

    def test_are_noted_by_a_thread_between_calls(self):
        worker = self.start(self.NOTE)
        worker.call("in_thread")
        worker.call("open_gate")
        number = worker.expect("resource")["n"]
        worker.send({"type": "noted", "n": number})
        self.assertIs(worker.call("look").output, True)

    def test_of_a_worker_whose_server_is_gone_are_refused_and_it_ends(self):
        worker = self.start(self.NOTE)
        worker.begin()
        worker.expect("resource")
        worker.hang_up()
        self.assertEqual(worker.process.wait(20), 0)


class CallAppAsync(WorkerTest):
    APP = """
    async def run(self, session):
        return await asyncio.gather(*(session.call_app_async("other", input=n) for n in range(3)))
    async def wait(self, session):
        return await session.call_app_async("other")
    def look(self): return "well"
    """

    def test_may_be_many_at_once_answered_in_any_order(self):
        worker = self.start(self.APP)
        request_id = worker.begin()
        asked = [worker.expect("app_call") for _ in range(3)]
        for frame in reversed(asked):
            worker.send({"type": "app_result", "call_id": frame["call_id"], "output": frame["input"] * 10})
        self.assertEqual(worker.finish(request_id).output, [0, 10, 20])

    def test_is_given_up_when_its_function_is_cancelled(self):
        worker = self.start(self.APP)
        request_id = worker.begin("wait")
        call_id = worker.expect("app_call")["call_id"]
        worker.send({"type": "cancel", "request_id": request_id})
        with self.assertRaises(Error) as caught:
            worker.finish(request_id)
        self.assertEqual(caught.exception.code, "cancelled")
        worker.send({"type": "app_result", "call_id": call_id, "output": 1})  # too late: nobody waits any more
        self.assertEqual(worker.call("look").output, "well")

    def test_raises_as_the_other_app_fails(self):
        worker = self.start(self.APP)
        request_id = worker.begin("wait")
        call_id = worker.expect("app_call")["call_id"]
        worker.send({"type": "app_result", "call_id": call_id, "error": {"code": "app_error", "message": "no"}})
        with self.assertRaises(Error) as caught:
            worker.finish(request_id)
        self.assertEqual((caught.exception.code, caught.exception.message), ("app_error", "no"))
