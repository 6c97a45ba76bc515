import io
import json
import math
import unittest
from contextlib import redirect_stderr

from sojourn import Error
from sojourn.steps import (
    Algorithm,
    Diagnostics,
    FatalError,
    GPUOutOfMemoryError,
    ProgramError,
    RecoverableError,
    Session,
    StepError,
    StepRunner,
    StructuredLogger,
    detect,
)

from .scripted import Clock, Kept, Scripted


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


class Level(Algorithm):
    """Static functions, but for one of the class: what it keeps is in the session."""

    @staticmethod
    def get_info():
        return {"name": "level", "version": "1", "steps": [{"index": 1, "name": "look"}]}

    @staticmethod
    def on_step_start(step_index, session, context):
        session.set("context", context)

    @classmethod
    def pre_execute(cls, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return {"status": "OK", "data": {"class": cls.__name__}}

    @staticmethod
    def execute(step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("seen", session.get("seen", 0) + 1)
        return {"status": "OK", "data": {"result_status": "OK", "seen": session.get("seen")}}


class Uses(unittest.TestCase):
    """The three ways to have an algorithm: a class that is made, an instance that is there, and static functions."""

    def test_static_functions_keep_what_they_know_in_the_session(self):
        runner, session = StepRunner(Level), Session("s-1")
        runner.run_step(session, 1)
        self.assertEqual(runner.run_step(session, 1)["data"], {"class": "Level", "result_status": "OK", "seen": 2})
        self.assertEqual(session.get("context"), {"pid": "", "trace_id": "s-1"})
        self.assertEqual(runner.run_step(Session("s-2"), 1)["data"]["seen"], 1)

    def test_an_instance_that_is_there_may_be_lent(self):
        script = {"log": []}
        mine = Scripted(script)
        runner = StepRunner(mine)
        with redirect_stderr(io.StringIO()):
            self.assertEqual(runner.run_step(Session("s-1"), 1, "A01")["status"], "OK")
        self.assertEqual(mine.diagnostics.get(), {"limit": {}})
        runner.close()
        self.assertEqual((script["made"], script["log"][-1]), (1, "teardown"))

    def test_an_instance_that_is_lent_is_set_up_again_after_a_fatal_error(self):
        script = {"log": [], "throws": "execute", "error": FatalError("the lamp burst")}
        runner, session = StepRunner(Scripted(script)), Session("s-1")
        with redirect_stderr(io.StringIO()):
            self.assertEqual(runner.execute(session, 1, "A01")["error_code"], "1016")
            self.assertEqual(runner.execute(session, 1, "A01")["status"], "OK")
        self.assertEqual((script["made"], script["log"].count("setup")), (1, 2))


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


if __name__ == "__main__":
    unittest.main()
