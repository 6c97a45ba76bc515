"""An inspection algorithm served by the real program, in C++ and in Python: the same facts of both."""

import os
import unittest
import urllib.request
from pathlib import Path

from e2e.program import COMPLETED, FAILED, SOURCE, Served, wait_for
from sojourn.steps import put_image

BUILD = Path(os.environ.get("SOJOURN_BUILD", str(SOURCE / "build" / "release")))


class Gauges:
    """The tests; a class for each language names its app."""

    app = None

    @classmethod
    def make_apps(cls, folder):
        for name, command in (("gauge-cpp", [str(BUILD / "examples" / "gauge_worker")]),
                              ("gauge-python", ["/usr/bin/python3", "-m", "sojourn.steps", "gauge:Gauge"])):
            (folder / name).mkdir()
            (folder / name / "app.toml").write_text(
                f'name = "{name}"\ncommand = {command}\n'
                'functions = ["info", "pre_execute", "execute", "reset", "detect"]\n'
                'default_function = "detect"\nrecover = true\nsession_timeout = 600\n'
                f'[env]\nPYTHONPATH = "{SOURCE}/sdk/python:{SOURCE}/examples/steps"\n')

    def execute(self, session, index, **params):
        return self.server.run(self.app, "execute", {"step_index": index, "pid": "bolt", "user_params": params},
                               session=session)

    def test_tells_what_it_is(self):
        info = self.server.output(self.app, "info")
        self.assertEqual((info["name"], len(info["steps"]), info["resumable"]), ("gauge", 2, True))
        self.assertEqual(info["steps"][1]["params"][2]["key"], "settle_ms")

    def test_state_spans_steps_and_a_lost_worker(self):
        session = self.server.new_session(self.app)
        self.assertEqual(self.execute(session, 1, reading=500.0)["status"], COMPLETED)
        first = self.server.worker(session)
        self.server.kill_worker(session)
        task = self.execute(session, 2, reading=501.0)
        self.assertEqual(task["status"], COMPLETED, task)
        self.assertEqual(task["output"]["data"], {"result_status": "OK", "mm": 10.02})
        self.assertNotEqual(self.server.worker(session), first)

    def test_a_bad_product_is_a_call_that_worked(self):
        steps = [{"user_params": {"reading": 500.0}}, {"user_params": {"reading": 520.0}}]
        output = self.server.output(self.app, "detect", {"pid": "washer", "steps": steps})
        self.assertEqual((output["status"], output["result_status"], output["ng_reason"]),
                         ("OK", "NG", "out of tolerance"))
        self.assertEqual([step["step_index"] for step in output["steps"]], [1, 2])
        self.assertGreaterEqual(output["latency_us"], 0)

    def test_a_step_that_fails_keeps_its_code_and_changes_nothing(self):
        session = self.server.new_session(self.app)
        for params, code, name, words in (
            ({"reading": 0.0}, "1002", "image_load_failed", "the sensor sees nothing"),
            ({"reading": -1.0}, "1006", "invalid_params", "user_params.reading: is -1; at least 0 is allowed"),
        ):
            with self.subTest(code=code):
                task = self.execute(session, 1, **params)
                self.assertEqual(task["status"], FAILED)
                shown = str(task)
                for word in ("app_error", code, name, words):
                    self.assertIn(word, shown)
        self.assertEqual(self.server.get(f"/sessions/{session}/state").data, {})

    def test_each_step_is_in_the_journal_with_its_ids_latency_and_diagnostics(self):
        session = self.server.new_session(self.app, context={"trace_id": "order-4711"})
        self.execute(session, 1, reading=500.0)
        self.execute(session, 2, reading=500.0)
        events = self.server.events(session)
        records = [event["data"] for event in events if event["type"] == "algorithm.step"]
        self.assertEqual([record["step_index"] for record in records], [1, 2])
        for record in records:
            self.assertEqual((record["session_id"], record["trace_id"]), (session, "order-4711"))
            self.assertIsInstance(record["latency_us"], int)
        self.assertEqual(records[1]["diagnostics"], {"off_mm": 0.0})
        (line,) = [event["data"] for event in events if event["type"] == "log" and "measured" in str(event["data"])]
        self.assertIn("order-4711", str(line))

    def test_the_latency_of_each_step_is_in_the_metrics(self):
        def count(step):
            with urllib.request.urlopen(self.server.url + "/metrics") as answer:
                lines = answer.read().decode().splitlines()
            start = f'sojourn_step_seconds_count{{app="{self.app}",step="{step}"}} '
            return sum(int(line.removeprefix(start)) for line in lines if line.startswith(start))

        before = count(1), count(2)
        session = self.server.new_session(self.app)
        self.execute(session, 1, reading=500.0)
        self.execute(session, 2, reading=500.0)
        self.execute(session, 2, reading=500.0)
        self.assertEqual((count(1), count(2)), (before[0] + 1, before[1] + 2))

    def test_reset_clears_the_state(self):
        session = self.server.new_session(self.app)
        self.execute(session, 1, reading=500.0)
        self.assertNotEqual(self.server.get(f"/sessions/{session}/state").data, {})
        self.server.output(self.app, "reset", session=session)
        self.assertEqual(self.server.get(f"/sessions/{session}/state").data, {})
        self.assertIn("calibrate first", str(self.execute(session, 2, reading=500.0)))

    def test_a_detection_cut_off_by_a_crash_resumes_at_its_step(self):
        session = self.server.new_session(self.app)
        steps = [{"user_params": {"reading": 500.0}}, {"user_params": {"reading": 500.0, "settle_ms": 60_000}}]
        task = self.server.run(self.app, "detect", {"pid": "bolt", "steps": steps}, session=session, wait=False)
        wait_for(lambda: "sojourn.detection" in self.server.get(f"/sessions/{session}/state").data,
                 "the checkpoint after the first step")
        self.server.kill_worker(session)
        self.assertEqual(self.server.final_task(task["id"])["status"], FAILED)
        steps[1]["user_params"]["settle_ms"] = 0
        output = self.server.output(self.app, "detect", {"pid": "bolt", "steps": steps, "resume": True},
                                    session=session)
        self.assertEqual((output["result_status"], len(output["steps"])), ("OK", 2))
        ran = [event["data"]["step_index"] for event in self.server.events(session)
               if event["type"] == "algorithm.step"]
        self.assertEqual(ran, [1, 2])  # the first step did not run again

    def test_an_image_is_released_with_its_session_and_after_a_crash(self):
        for end in (self.server.kill_worker, lambda session: self.server.delete(f"/sessions/{session}")):
            id, meta = put_image(bytes(12), 2, 2)
            session = self.server.new_session(self.app)
            image = {"shared_mem_id": id, "image_meta": meta}
            self.server.output(self.app, "execute", {"step_index": 1, "pid": "bolt", "user_params": {"reading": 5.0},
                                                     **image}, session=session)
            self.assertTrue(Path("/dev/shm", id).exists())
            end(session)
            wait_for(lambda: not Path("/dev/shm", id).exists(), "the removal of the image")

    def test_a_step_that_does_not_stop_is_ended_with_its_worker_and_no_more(self):
        session = self.server.new_session(self.app)
        self.execute(session, 1, reading=500.0)
        task = self.server.run(self.app, "execute", {"step_index": 2, "pid": "bolt",
                                                     "user_params": {"reading": 500.0, "settle_ms": 60_000}},
                               session=session, wait=False)
        self.assertIn(self.server.post(f"/tasks/{task['id']}/cancel").status, (200, 202))
        self.assertGreater(self.server.final_task(task["id"])["status"], COMPLETED)
        self.assertEqual(self.execute(session, 2, reading=500.0)["status"], COMPLETED)  # on another worker


class Cpp(Gauges, Served):
    app = "gauge-cpp"


class Python(Gauges, Served):
    app = "gauge-python"


if __name__ == "__main__":
    unittest.main()
