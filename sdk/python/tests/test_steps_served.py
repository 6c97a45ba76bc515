import tempfile
import textwrap
import unittest
from pathlib import Path

from sojourn import Error, testing

SERVED = """
    import os
    from sojourn.steps import BaseAlgorithm, FatalError

    class Served(BaseAlgorithm):
        def get_info(self):
            steps = [{"index": 1, "name": "a", "params": []}, {"index": 2, "name": "b", "params": []}]
            return {"name": "served", "version": "1", "steps": steps, "resumable": True}

        def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
            session.set("seen", session.get("seen", []) + [f"pre {step_index}"])
            return {"status": "OK", "data": {}}

        def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
            self.logger.info("looking", n=1)
            session.set("seen", session.get("seen", []) + [f"shot {step_index}"])
            if image_meta.get("kill") == os.getpid():
                os.kill(os.getpid(), 9)
            if image_meta.get("bug"):
                return 1 / 0
            if image_meta.get("smoke"):
                raise FatalError("smoke")
            return {"status": "OK", "data": {"result_status": "OK", "pid": os.getpid(), "seen": session.get("seen")}}
"""


class AsAnApp(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sojourn-test-")
        self.addCleanup(folder.cleanup)
        self.app = Path(folder.name)
        (self.app / "served.py").write_text(textwrap.dedent(SERVED))
        sdk = Path(__file__).parents[1]
        (self.app / "app.toml").write_text(
            'name = "served"\ncommand = ["/usr/bin/python3", "-m", "sojourn.steps", "served:Served"]\n'
            f'[env]\nPYTHONPATH = "{sdk}"\n'
        )

    def start(self, **opening):
        worker = testing.start(self.app, **opening)
        self.addCleanup(worker.kill)
        return worker

    def refused(self, worker, function, input):
        with self.assertRaises(Error) as caught:
            worker.call(function, input)
        return caught.exception

    def test_its_session_spans_the_calls_of_a_step_and_later_steps(self):
        worker = self.start(context={"trace_id": "t"})
        self.assertEqual(worker.call("info").output["name"], "served")
        worker.call("pre_execute", {"step_index": 1})
        result = worker.call("execute", {"step_index": 1})
        self.assertEqual(result.output["data"]["seen"], ["pre 1", "shot 1"])
        ids = {"session_id": "sess_test", "step_index": 1, "trace_id": "t"}
        (event,) = result.events
        self.assertEqual(event["type"], "algorithm.step")
        self.assertEqual({key: event["data"][key] for key in ids}, ids)
        (line,) = [frame for frame in result.before if frame["type"] == "log"]
        self.assertEqual((line["message"], line["fields"]), ("looking", {"n": 1, **ids}))
        worker.call("reset")
        self.assertEqual(worker.state, {})

    def test_an_instance_is_served_as_its_class_is(self):
        with (self.app / "served.py").open("a") as file:
            file.write("\nready = Served()\n")
        manifest = self.app / "app.toml"
        manifest.write_text(manifest.read_text().replace("served:Served", "served:ready"))
        self.assertEqual(self.start().call("execute", {"step_index": 1}).output["data"]["seen"], ["shot 1"])

    def test_detect_makes_each_step_durable(self):
        worker = self.start()
        result = worker.call("detect", {})
        self.assertEqual(result.output["steps"][1]["data"]["seen"], ["pre 1", "shot 1", "pre 2", "shot 2"])
        kinds = [frame["type"] for frame in result.before]
        self.assertEqual(kinds, ["log", "checkpoint", "progress", "log"])

    def test_a_detection_resumes_at_the_step_where_its_worker_died(self):
        worker = self.start()
        steps = [{}, {"image_meta": {"kill": worker.process.pid}}]
        self.assertEqual(self.refused(worker, "detect", {"steps": steps}).code, "WORKER_LOST")
        again = self.start(state=worker.state, restored=True)
        outcome = again.call("detect", {"steps": steps, "resume": True}).output
        self.assertEqual([step["data"]["pid"] for step in outcome["steps"]], [worker.process.pid, again.process.pid])
        self.assertEqual(outcome["steps"][1]["data"]["seen"], ["pre 1", "shot 1", "pre 2", "shot 2"])

    def test_a_step_that_fails_fails_its_call_and_keeps_its_code(self):
        worker = self.start()
        error = self.refused(worker, "execute", {"step_index": 2, "image_meta": {"smoke": True}})
        self.assertEqual((error.code, error.message), ("app_error", "smoke"))
        self.assertEqual(
            error.details, {"error_code": "1016", "error": "fatal", "recoverable": False, "step_index": 2}
        )
        self.assertEqual(worker.state, {})
        self.assertEqual(worker.call("execute", {"step_index": 2}).output["status"], "OK")
        smoke = {"steps": [{}, {"image_meta": {"smoke": True}}]}
        self.assertEqual(self.refused(worker, "detect", smoke).details["step_index"], 2)
        self.assertEqual(len(worker.state["sojourn.detection"]["steps"]), 1)

    def test_an_exception_that_was_not_meant_tells_its_line(self):
        worker = self.start()
        details = self.refused(worker, "execute", {"step_index": 2, "image_meta": {"bug": True}}).details
        self.assertEqual((details["error"], details["type"]), ("algorithm_failed", "ZeroDivisionError"))
        self.assertRegex(details["traceback"], r'(?s)^Traceback .*served.py", line \d+, in execute.*division by zero\n$')
        self.assertNotIn("runner.py", details["traceback"])

    def test_refuses_input_of_the_wrong_shape_by_the_name_of_the_field(self):
        worker = self.start()
        for function in ("pre_execute", "execute", "detect"):
            with self.subTest(function=function):
                error = self.refused(worker, function, {"user_parms": {}})
                self.assertEqual(error.code, "invalid_request")
                self.assertIn("input.user_parms: is not known", error.message)


if __name__ == "__main__":
    unittest.main()
