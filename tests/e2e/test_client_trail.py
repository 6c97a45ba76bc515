"""The Python client against the real server: stages, steps and artefacts of a session."""

import asyncio
import unittest
from unittest import mock

from e2e.program import Served

from sojourn.client import AsyncClient, Client, SessionNotFound, StageNotAllowed, StepNotStarted, calls, errors


class Trail(Served):
    def setUp(self):
        self.client = Client(self.server.url)
        self.addCleanup(self.client.close)
        self.session = self.client.session(lifecycle="impact-assessment", user_id="ann")

    def test_stages(self):
        self.assertEqual(self.session.stage()["allowed"], ["error", "requirement_submitted"])
        moved = self.session.move_stage("requirement_submitted", "it came")
        self.assertEqual((moved["stage"], moved["lifecycle"]), ("requirement_submitted", "impact-assessment"))
        with self.assertRaises(StageNotAllowed) as caught:
            self.session.move_stage("completed")
        self.assertEqual(caught.exception.details["allowed"], ["error", "matches_found"])
        [event] = [entry["event"] for entry in self.session.events() if entry["event"]["type"] == "session.stage"]
        self.assertEqual(event["data"]["reason"], "it came")

    def test_step_is_completed_or_failed_with_its_block(self):
        with self.session.step("search") as data:
            data["found"] = 3
        with self.assertRaisesRegex(ZeroDivisionError, "division"), self.session.step("search"):
            1 / 0
        with self.session.step("search"):
            pass
        self.session.report_step("modules", 1250, data={"n": 1})
        self.session.report_step("modules", 1, failed=True, error="no")
        steps = self.session.steps()
        self.assertEqual((steps["steps_completed"], steps["timing"]["modules_ms"]), (["search", "modules"], 1250))
        self.assertEqual([(one["step"], one["attempt"], one["status"]) for one in steps["attempts"]],
                         [("search", 1, "completed"), ("search", 2, "failed"), ("search", 3, "completed"),
                          ("modules", 1, "completed"), ("modules", 2, "failed")])
        self.assertEqual(steps["attempts"][1]["error"], {"type": "ZeroDivisionError", "message": "division by zero"})
        told = {entry["event"]["type"]: entry["event"]["data"] for entry in self.session.events(2)}
        self.assertEqual(told["step.completed"]["data"], {"n": 1})
        with self.assertRaises(StepNotStarted), self.session.step("twice"):
            self.server.post(f"/sessions/{self.session.id}/steps/twice/finish")

    def test_steps_of_several_pages(self):
        for number in range(5):
            self.session.report_step("s", number)
        for size in (2, 5, 100):
            with mock.patch.object(calls, "PAGE", size):
                self.assertEqual([one["number"] for one in self.session.steps()["attempts"]], [1, 2, 3, 4, 5])

    def test_artefacts(self):
        path = "step1_input/Änderung 1.txt"
        stored = self.session.put_artifact(path, b"first", "text/plain")
        self.assertEqual((stored["path"], stored["attempt"], stored["content_type"]), (path, 1, "text/plain"))
        self.session.put_artifact(path, b"second")
        self.session.put_artifact("empty", b"")
        self.assertEqual([(one["path"], one["attempt"]) for one in self.session.artifacts()], [("empty", 1), (path, 2)])
        self.assertEqual(self.session.get_artifact(path), b"second")
        self.assertEqual(self.session.get_artifact(path, 1), b"first")
        self.assertEqual(self.session.get_artifact("empty"), b"")
        self.assertRaises(errors.NotFound, self.session.get_artifact, "nothing")
        self.assertRaises(errors.InvalidRequest, self.session.put_artifact, "../out", b"")
        self.assertRaises(ValueError, self.session.put_artifact, "", b"")
        self.assertRaises(ValueError, self.session.put_artifact, "a", b"x", "text/plain\r\nX: y")
        self.assertRaises(SessionNotFound, self.client.attach("sess_20200101_000000_abcdef").artifacts)

    def test_the_same_awaited(self):
        async def use():
            async with AsyncClient(self.server.url) as client:
                session = await client.session(lifecycle="impact-assessment")
                await session.move_stage("requirement_submitted")
                async with session.step("search") as data:
                    data["found"] = 1
                with self.assertRaises(asyncio.CancelledError):
                    async with session.step("search"):
                        raise asyncio.CancelledError
                await session.report_step("modules", 7)
                await session.put_artifact("a/b", b"x")
                self.assertEqual(await session.get_artifact("a/b"), b"x")
                self.assertEqual([one["path"] for one in await session.artifacts()], ["a/b"])
                self.assertEqual((await session.stage())["stage"], "requirement_submitted")
                steps = await session.steps()
                self.assertEqual(steps["steps_completed"], ["search", "modules"])
                self.assertEqual(steps["attempts"][1]["error"]["type"], "CancelledError")

        asyncio.run(use())


if __name__ == "__main__":
    unittest.main()
