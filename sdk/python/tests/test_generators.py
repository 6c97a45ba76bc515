from __future__ import annotations

from sojourn import Error

from .programs import WorkerTest


class Generators(WorkerTest):
    def shown(self, result):
        return [frame["output"] for frame in result.before if frame["type"] == "progress"]

    def test_show_what_they_yield_and_give_what_they_yielded_last(self):
        worker = self.start(
            """
            def run(self, input):
                for n in range(input): yield {"done": n + 1}
            async def later(self, input):
                for n in range(input):
                    await asyncio.sleep(0)
                    yield {"done": n + 1}
            """
        )
        for function in ("run", "later"):
            with self.subTest(function=function):
                result = worker.call(function, 3)
                self.assertEqual(self.shown(result), [{"done": 1}, {"done": 2}, {"done": 3}])
                self.assertEqual(result.output, {"done": 3})
                self.assertIsNone(worker.call(function, 0).output)

    def test_give_what_they_return_where_they_return_something(self):
        worker = self.start("def run(self): yield 'half'; return 'whole'")
        result = worker.call()
        self.assertEqual((self.shown(result), result.output), (["half"], "whole"))

    def test_change_state_and_record_as_other_functions_do(self):
        worker = self.start(
            """
            def run(self, session):
                for word in ("a", "b"):
                    session.state[word] = len(session.state)
                    session.record("word.said", {"word": word})
                    yield word
            """
        )
        result = worker.call()
        self.assertEqual((result.state_set, len(result.events)), ({"a": 0, "b": 1}, 2))

    def test_that_raise_fail_the_call_and_have_the_apps_lines_only(self):
        worker = self.start(
            """
            def run(self): yield 1; raise ValueError("sync")
            async def later(self): yield 1; raise ValueError("async")
            """
        )
        for function, word in (("run", "sync"), ("later", "async")):
            with self.subTest(function=function), self.assertRaises(Error) as caught:
                worker.call(function)
            self.assertEqual(caught.exception.message, f"ValueError: {word}")
            self.assertNotIn("generators.py", caught.exception.details["traceback"])

    def test_that_yield_what_json_cannot_hold_fail_and_are_closed(self):
        worker = self.start(
            """
            def setup(self): self.closed = []
            def run(self):
                try: yield {1}
                finally: self.closed.append("run")
            async def later(self):
                try: yield {1}
                finally: self.closed.append("later")
            def look(self): return self.closed
            """
        )
        for function in ("run", "later"):
            with self.subTest(function=function), self.assertRaises(Error) as caught:
                worker.call(function)
            self.assertEqual(caught.exception.code, "not_serializable")
        self.assertEqual(worker.call("look").output, ["run", "later"])


class CancelledGenerators(WorkerTest):
    def test_end_at_their_next_yield_and_clean_up(self):
        for kind in ("def", "async def"):
            with self.subTest(kind=kind):
                worker, output = self.cancelled(
                    f"""
                    {kind} run(self):
                        try:
                            while True: yield 1
                        finally: self.closed = True
                    def look(self): return self.closed
                    """,
                    once="progress",
                )
                self.assertEqual(output, "cancelled")
                self.assertIs(worker.call("look").output, True)

    def test_end_by_themselves_where_on_cancel_says_so(self):
        for kind in ("def", "async def"):
            with self.subTest(kind=kind):
                _, output = self.cancelled(
                    f"""
                    {kind} run(self, session):
                        while not session.cancel_requested: yield 1
                        yield "tidy"
                    def on_cancel(self): return True
                    """,
                    once="progress",
                )
                self.assertEqual(output, "tidy")
