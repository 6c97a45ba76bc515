import datetime
import io
import json
import math
import tempfile
import textwrap
import unittest
from contextlib import redirect_stderr
from pathlib import Path

from sojourn import Error, testing
from sojourn.steps import (
    Algorithm,
    BaseAlgorithm,
    Diagnostics,
    FatalError,
    GPUOutOfMemoryError,
    ProgramError,
    Recorder,
    RecoverableError,
    Session,
    StepError,
    StepRunner,
    StructuredLogger,
    detect,
)

STRICT = json.loads((Path(__file__).parents[2] / "strict_values.json").read_text(encoding="utf-8"))


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def looped():
    value = {"a": [1]}
    value["a"].append(value)
    return value


NAMES = {"nested": nested, "looped": looped, "datetime": datetime}


class Sessions(unittest.TestCase):
    def test_sets_gets_deletes_and_tells_whether_a_key_exists(self):
        session = Session("session-20240425-000123", {"product_code": "A01"})
        session.set("n", {"a": [1]})
        self.assertEqual(session.get("n"), {"a": [1]})
        self.assertIs(session.exists("n"), True)
        self.assertIs(session.delete("n"), True)
        self.assertIs(session.delete("n"), False)
        self.assertIs(session.exists("n"), False)
        self.assertEqual(session.get("n", "default"), "default")

    def test_a_none_that_was_set_exists(self):
        session = Session("s")
        session.set("a", None)
        self.assertTrue(session.exists("a"))
        self.assertIsNone(session.get("a", "default"))

    def test_its_id_is_read_only_and_checked(self):
        session = Session("s")
        with self.assertRaises(AttributeError):
            session.id = "other"
        for bad in ("", "a b", "x" * 129, None, 5):
            with self.subTest(id=bad), self.assertRaises(ValueError):
                Session(bad)

    def test_its_context_is_a_deep_copy_both_ways(self):
        given = {"nested": {"x": 1}}
        session = Session("s", given)
        given["nested"]["x"] = 2
        session.context["nested"]["x"] = 3
        self.assertEqual(session.context, {"nested": {"x": 1}})
        self.assertEqual(Session("s", None).context, {})
        self.assertRaises(TypeError, Session, "s", {"x": {1}})

    def test_values_are_copied_in_and_out(self):
        session = Session("s")
        value = {"list": [1]}
        session.set("a", value)
        value["list"].append({2})
        session.get("a")["list"].append(3)
        self.assertEqual(session.get("a"), {"list": [1]})

    def test_refuses_what_json_cannot_hold_with_a_type_error_that_names_the_place(self):
        session = Session("s")
        for case in STRICT["refused"]:
            with self.subTest(value=case["python"]), self.assertRaises(TypeError) as caught:
                session.set("a", eval(case["python"], dict(NAMES)))
            self.assertEqual(caught.exception.pointer, case["pointer"])
        self.assertFalse(session.exists("a"))

    def test_refuses_keys_that_are_no_text(self):
        session = Session("s")
        self.assertRaises(TypeError, session.set, 5, 1)
        self.assertRaises(TypeError, session.set, "a", {5: 1})

    def test_a_100_000_deep_list_is_a_type_error(self):
        self.assertRaises(TypeError, Session("s").set, "a", nested(100_000))

    def test_a_tuple_comes_back_as_the_list_that_it_is_kept_as(self):
        session = Session("s")
        session.set("a", (1, 2))
        self.assertEqual(session.get("a"), [1, 2])


class Scripted(BaseAlgorithm):
    """Does what it is told, and notes what it was asked."""

    def __init__(self, script):
        # As in the original, where an algorithm may leave the base's __init__ out.
        self.script = script
        script["made"] = script.get("made", 0) + 1

    def note(self, call, step_index=None):
        line = call if step_index is None else f"{call} {step_index}"
        self.script["log"].append(line)
        if self.script.get("throws") in (call, line):
            self.script["throws"] = self.script.pop("then_throws", None)
            raise self.script.pop("error", ValueError("no luck"))

    def setup(self):
        self.note("setup")

    def teardown(self):
        self.note("teardown")

    def on_step_start(self, step_index, session, context):
        session.set("started", context)
        self.note("on_step_start", step_index)

    def on_step_finish(self, step_index, session, result):
        self.note("on_step_finish" if result["status"] == "OK" else "on_step_finish failed", step_index)

    def reset(self, session):
        self.note("reset")

    def get_info(self):
        limit = {"key": "limit", "type": "int", "default": 3, "min": 0, "max": 9}
        return {
            "name": "scripted",
            "version": "1.2.0",
            "description": "",
            "supported_pids": ["A01", "A02"],
            "steps": [{"index": 1, "name": "calibrate", "params": []}, {"index": 2, "name": "judge", "params": [limit]}],
            "resumable": self.script.get("resumable", False),
        }

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("prepared", step_index)
        self.note("pre_execute", step_index)
        return {"status": "OK", "data": {"calibration_rects": [{"x": 1, "y": 2, "width": 3, "height": 4}]}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set(f"step {step_index}", user_params)
        self.note("execute", step_index)
        self.diagnostics.publish("limit", user_params)
        self.logger.info("judged", step_index="the algorithm's own", n=1)
        return self.script.get("answer", {"status": "OK", "data": {"result_status": "OK"}})


class Kept(Recorder):
    def __init__(self):
        self.lines, self.records = [], []

    def write(self, level, message, fields):
        self.lines.append({**fields, "message": message})

    def step_finished(self, record):
        self.records.append(record)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Steps(unittest.TestCase):
    def setUp(self):
        self.script = {"log": []}
        self.recorder = Kept()
        self.session = Session("s-1", {"trace_id": "t-9"})
        self._runner = None

    @property
    def runner(self):
        if not self._runner:
            self._runner = StepRunner(lambda: Scripted(self.script), self.recorder, clock=Clock())
        return self._runner

    def calls(self):
        log, self.script["log"] = self.script["log"], []
        return log

    def step(self, index=1, pid="A01", **input):
        return self.runner.run_step(self.session, index, pid, **input)

    def judged(self, answer):
        self.script["answer"] = answer
        return self.runner.execute(self.session, 1, "A01")

    def test_call_each_hook_once_in_the_documented_order(self):
        self.step(1)
        self.step(2)
        self.runner.reset(self.session)
        self.runner.close()
        self.runner.close()
        parts = ["on_step_start", "pre_execute", "execute", "on_step_finish"]
        steps = [f"{part} {index}" for index in (1, 2) for part in parts]
        self.assertEqual(self.calls(), ["setup", *steps, "reset", "teardown"])

    def test_a_step_in_two_calls_has_its_hooks_around_both(self):
        self.runner.pre_execute(self.session, 1, "A01")
        self.runner.pre_execute(self.session, 1, "A01")
        self.runner.execute(self.session, 1, "A01")
        self.assertEqual(
            self.calls(),
            ["setup", "on_step_start 1", "pre_execute 1", "pre_execute 1", "execute 1", "on_step_finish 1"],
        )

    def test_a_key_set_in_pre_execute_is_there_in_execute_and_in_later_steps(self):
        self.runner.pre_execute(self.session, 1, "A01")
        self.assertEqual(self.session.get("prepared"), 1)
        self.runner.execute(self.session, 1, "A01")
        self.step(2)
        self.assertTrue(self.session.exists("step 1") and self.session.exists("step 2"))

    def test_reset_clears_the_state(self):
        self.step()
        self.runner.reset(self.session)
        self.assertEqual(len(self.session.state), 0)

    def test_the_context_of_a_step_is_the_pid_and_the_trace_id(self):
        self.step(pid="A02")
        self.assertEqual(self.session.get("started"), {"pid": "A02", "trace_id": "t-9"})
        plain = Session("s-2")
        self.runner.run_step(plain, 1, "A02")
        self.assertEqual(plain.get("started")["trace_id"], "s-2")

    def test_count_from_one(self):
        for index in (0, -1, 3, True, "1"):
            with self.subTest(index=index):
                outcome = self.step(index)
                self.assertEqual(outcome["error_code"], "1014")
                self.assertIn("scripted has the steps 1 to 2", outcome["message"])

    def test_what_is_refused_before_calls_nothing(self):
        self.assertEqual(self.step(pid="B")["error_code"], "1001")
        refused = self.step(2, user_params={"limit": 10})
        self.assertEqual(refused["error_code"], "1006")
        self.assertIn("user_params.limit: is 10; at most 9", refused["message"])
        self.assertEqual((self.calls(), self.recorder.records), (["setup"], []))

    def test_another_step_is_refused_while_one_is_open(self):
        self.runner.pre_execute(self.session, 1, "A01")
        self.assertIn("while step 1 is open", self.step(2)["message"])
        self.runner.reset(self.session)
        self.assertEqual(self.step(2)["status"], "OK")

    def test_keep_the_code_that_the_algorithm_raised(self):
        for error, code in (
            (StepError("too dark", "image_load_failed"), "1002"),
            (StepError("too dark", "1002"), "1002"),
            (RecoverableError("once more"), "1009"),
            (FatalError("smoke"), "1016"),
            (GPUOutOfMemoryError(), "1004"),
            (ProgramError("bug"), "1016"),
            (KeyError("x"), "1009"),
        ):
            with self.subTest(error=error):
                self.script.update(throws="execute", error=error)
                outcome = self.step()
                self.assertEqual((outcome["status"], outcome["error_code"]), ("ERROR", code))
                self.assertTrue(outcome["message"])
        self.assertRaises(ValueError, StepError, "x", "no code")

    def test_keep_the_code_that_the_algorithm_answered(self):
        outcome = self.judged({"status": "ERROR", "message": "lamp", "error_code": "E42", "data": {"lamp": 3}})
        self.assertEqual((outcome["error_code"], outcome["data"]), ("E42", {"lamp": 3}))

    def test_a_failed_step_changes_nothing(self):
        self.step()
        before = dict(self.session.state)
        self.script["throws"] = "execute"
        self.assertEqual(self.step(2)["error_code"], "1009")
        self.assertEqual(dict(self.session.state), before)

    def test_a_fatal_error_ends_the_instance_and_the_next_call_sets_up_another(self):
        self.script.update(throws="execute", error=GPUOutOfMemoryError("out of memory"))
        self.step()
        self.assertEqual(self.calls()[-2:], ["on_step_finish failed 1", "teardown"])
        self.assertEqual(self.step()["status"], "OK")
        self.assertEqual((self.calls()[0], self.script["made"]), ("setup", 2))

    def test_a_hook_that_raises_fails_the_step_by_its_name(self):
        for hook in ("on_step_start", "on_step_finish"):
            self.script["throws"] = hook
            outcome = self.step()
            self.assertEqual((outcome["error_code"], outcome["message"]), ("1015", f"{hook}: ValueError: no luck"))
            self.assertEqual(len(self.session.state), 0)

    def test_a_hook_that_raises_after_a_step_that_failed_is_logged(self):
        self.script.update(throws="execute 1", then_throws="on_step_finish failed 1")
        self.assertEqual(self.step()["message"], "ValueError: no luck")
        (line,) = self.recorder.lines
        self.assertEqual(line["message"], "on_step_finish: ValueError: no luck")
        self.assertEqual((line["session_id"], line["step_index"]), ("s-1", 1))

    def test_a_reset_that_raises_leaves_the_state_as_it_was(self):
        self.step()
        before = dict(self.session.state)
        self.script["throws"] = "reset"
        self.assertRaises(StepError, self.runner.reset, self.session)
        self.assertEqual(dict(self.session.state), before)

    def test_a_setup_that_raises_is_told_by_its_name(self):
        self.script["throws"] = "setup"
        with self.assertRaises(StepError) as caught:
            self.runner
        self.assertEqual((caught.exception.code.name, caught.exception.message), ("setup_failed", "setup: ValueError: no luck"))

    def test_a_result_that_breaks_its_contract_is_an_error_that_names_the_field(self):
        ng = {"result_status": "NG", "ng_reason": "bent"}
        self.assertEqual(
            self.judged({"status": "OK", "data": {**ng, "defect_rects": [{"x": 0}]}})["message"],
            "data.defect_rects[0].y: must be a whole number, at least 0",
        )
        self.assertIn("must return a dict, not NoneType", self.judged(None)["message"])
        self.assertIn("/mean/1 is nan", self.judged({"status": "OK", "data": {"mean": [1, math.nan]}})["message"])
        large = self.judged({"status": "OK", "data": {"result_status": "OK", "blob": "x" * 5_000_000}})
        self.assertEqual(large["error_code"], "1017")

    def test_a_result_is_a_copy_whatever_the_algorithm_does_with_it_later(self):
        rects = []
        self.script["answer"] = {"status": "OK", "data": {"result_status": "NG", "ng_reason": "bent", "defect_rects": rects}}
        outcome = self.runner.execute(self.session, 1, "A01")
        rects.append({"x": 0, "y": 0, "width": 1, "height": 1})
        self.assertEqual(outcome["data"]["defect_rects"], [])

        def spoil(step_index, session, result):
            result["data"]["result_status"] = {1}

        self.runner._algorithm.on_step_finish = spoil
        self.assertEqual(self.step()["data"]["result_status"], "NG")

    def test_a_message_is_text_whatever_it_holds_and_cut_in_the_record_only(self):
        self.script.update(throws="execute", error=OSError("no \udcff"))
        self.assertEqual(self.step()["message"], "OSError: no ?")
        self.assertEqual(self.judged({"status": "ERROR", "message": "\udcff"})["message"], "?")
        self.assertEqual(len(self.judged({"status": "ERROR", "message": "x" * 1_000_000})["message"]), 1_000_000)
        self.assertEqual(len(self.recorder.records[-1]["message"]), 4096)

    def test_an_algorithm_that_cannot_be_made_anew_is_a_step_error(self):
        self.script.update(throws="execute", error=FatalError("smoke"))
        self.step()

        def refuse():
            raise OSError("no camera")

        self.runner._make = refuse
        self.assertEqual(
            detect(self.runner, self.session, "A01")["message"], "its constructor: OSError: no camera"
        )

    def test_an_algorithm_cannot_replace_the_step_index(self):
        answer = {"status": "OK", "step_index": 7, "data": {"result_status": "OK", "step_index": 7}}
        self.assertEqual(self.judged(answer)["step_index"], 1)

    def test_log_lines_have_the_ids_of_session_step_and_trace_whatever_the_fields(self):
        self.step(2)
        self.assertEqual(
            self.recorder.lines,
            [{"step_index": 2, "n": 1, "session_id": "s-1", "trace_id": "t-9", "message": "judged"}],
        )

    def test_each_step_is_recorded_with_what_it_published(self):
        self.step(2)
        self.script["throws"] = "execute"
        self.step(1)
        ids = {"session_id": "s-1", "trace_id": "t-9"}
        diagnostics = {"limit": {"limit": 3}}
        self.assertEqual(
            self.recorder.records,
            [
                {**ids, "step_index": 2, "status": "OK", "latency_us": 0, "result_status": "OK", "diagnostics": diagnostics},
                {**ids, "step_index": 1, "status": "ERROR", "latency_us": 0, "error_code": "1009",
                 "message": "ValueError: no luck"},
            ],
        )

    def test_whole_detections_run_all_steps_from_an_empty_state(self):
        self.session.set("of an earlier detection", 1)
        outcome = detect(self.runner, self.session, "A01", [{}, {"user_params": {"limit": 5}}])
        self.assertEqual((outcome["status"], outcome["result_status"], len(outcome["steps"])), ("OK", "OK", 2))
        self.assertEqual(self.session.get("step 2"), {"limit": 5})
        self.assertFalse(self.session.exists("of an earlier detection"))

    def test_a_detection_goes_on_behind_the_last_step_that_worked(self):
        self.script.update(resumable=True, throws="execute 2")
        outcome = detect(self.runner, self.session, "A01")
        self.assertEqual((outcome["status"], outcome["error_code"], outcome["step_index"]), ("ERROR", "1009", 2))
        self.calls()
        outcome = detect(self.runner, self.session, "A01", resume=True)
        self.assertEqual(self.calls(), ["on_step_start 2", "pre_execute 2", "execute 2", "on_step_finish 2"])
        self.assertEqual(detect(self.runner, self.session, "A01", resume=True), outcome)
        self.assertIn("another pid", detect(self.runner, self.session, "A02", resume=True)["message"])

    def test_a_detection_resumes_no_outcomes_that_do_not_fit(self):
        self.script["resumable"] = True
        good = {"latency_us": 1, "data": {"result_status": "OK"}}
        for steps in ([good] * 3, [5], [{}], [{"latency_us": 1, "data": {"result_status": "NG"}}], None):
            with self.subTest(steps=steps):
                self.session.set("sojourn.detection", {"pid": "A01", "steps": steps})
                self.assertIn("does not fit", detect(self.runner, self.session, "A01", resume=True)["message"])
        self.session.set("sojourn.detection", {})
        self.assertIn("another pid", detect(self.runner, self.session, "A01", resume=True)["message"])

    def test_a_detection_fails_at_the_step_whose_answer_cannot_be_kept(self):
        self.script["answer"] = {"status": "OK", "data": {"result_status": "OK", "blob": "x" * 3_000_000}}
        outcome = detect(self.runner, self.session, "A01")
        self.assertEqual((outcome["error_code"], outcome["step_index"]), ("1017", 2))
        self.assertIn("what the steps answered: ", outcome["message"])

    def test_a_detection_refuses_what_it_cannot_resume(self):
        self.assertIn("not resumable", detect(self.runner, self.session, "A01", resume=True)["message"])
        self.assertEqual(detect(self.runner, self.session, "A01", [{}, {}, {}])["error_code"], "1014")


class Stopwatch(Algorithm):
    """Seed 000's example: the time of a step by a key that one hook sets and another reads."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_step_start(self, step_index, session, context):
        session.set("step_start_ms", int(self.clock.now * 1000))

    def on_step_finish(self, step_index, session, result):
        self.diagnostics.publish("latency_ms", int(self.clock.now * 1000) - session.get("step_start_ms"))

    def reset(self, session):
        session.delete("step_start_ms")

    def get_info(self):
        return {"name": "stopwatch", "version": "1", "steps": [{"index": 1, "name": "shot"}]}

    def pre_execute(self, *_):
        return {"status": "OK", "data": {}}

    def execute(self, *_):
        self.clock.now += 0.012
        return {"status": "OK", "data": {"result_status": "OK"}}


class SeedExample(unittest.TestCase):
    def test_measures_the_latency_of_a_step_by_step_start_ms(self):
        clock, recorder, session = Clock(), Kept(), Session("session-1")
        runner = StepRunner(lambda: Stopwatch(clock), recorder, clock=clock)
        self.assertEqual(runner.run_step(session, 1)["latency_us"], 12_000)
        self.assertEqual(recorder.records[0]["diagnostics"], {"latency_ms": 12})
        self.assertTrue(session.exists("step_start_ms"))
        runner.reset(session)
        self.assertFalse(session.exists("step_start_ms"))


class Published(unittest.TestCase):
    def test_keep_what_they_have_where_a_value_is_refused(self):
        diagnostics = Diagnostics()
        diagnostics.publish("mean", 1.5)
        self.assertRaises(TypeError, diagnostics.publish, "mean", math.nan)
        self.assertRaises(TypeError, diagnostics.publish, 5, 1)
        self.assertRaises(Error, diagnostics.publish, "text", "x" * 65_536)
        self.assertEqual(diagnostics.get(), {"mean": 1.5})


class Logger(unittest.TestCase):
    def test_writes_lines_of_json_alone_and_never_fails(self):
        sink = io.StringIO()
        StructuredLogger(sink).info("ready", n={1}, level="mine")
        line = json.loads(sink.getvalue())
        self.assertEqual((line["level"], line["message"], line["n"]), ("info", "ready", "{1}"))
        with redirect_stderr(io.StringIO()) as errors:
            StructuredLogger().error("bad")
        self.assertEqual(json.loads(errors.getvalue())["level"], "error")


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

    def test_refuses_input_of_the_wrong_shape_by_the_name_of_the_field(self):
        worker = self.start()
        for function, input, words in (
            ("execute", None, "input.step_index: is missing"),
            ("execute", [], "input: must be an object"),
            ("execute", {"step_index": 0}, "input.step_index: must be a whole number"),
            ("execute", {"step_index": 1, "pid": 5}, "input.pid: must be text"),
            ("pre_execute", {"step_index": 1, "user_parms": {}}, "input.user_parms: is not known"),
            ("detect", {"steps": {}}, "input.steps: must be a list"),
            ("detect", {"steps": [{"step_index": 1}]}, "input.steps[0].step_index: is not known"),
            ("detect", {"resume": 1}, "input.resume: must be true or false"),
        ):
            with self.subTest(function=function, input=input):
                error = self.refused(worker, function, input)
                self.assertEqual(error.code, "invalid_request")
                self.assertIn(words, error.message)


if __name__ == "__main__":
    unittest.main()
