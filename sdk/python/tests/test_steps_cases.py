"""What is the same in every language, from the one file that holds it; sojourn/steps/cases_test.cpp runs it too."""

import json
import unittest
from pathlib import Path

from sojourn import Error
from sojourn.steps import CODES, Session, StepError, StepRunner
from sojourn.steps.app import _detection_input, _step_input
from sojourn.steps.images import check_meta
from sojourn.steps.parameters import check_declaration, check_info, check_params
from sojourn.steps.results import check_result
from sojourn.values import dumps

from .scripted import Kept, Scripted

CASES = json.loads((Path(__file__).parents[2] / "steps_cases.json").read_text(encoding="utf-8"))


class SharedCases(unittest.TestCase):
    def expect(self, case, code, work):
        """Runs a case: what it does is taken or refused as the case says."""
        with self.subTest(case=str(case)):
            if "refused" not in case:
                return work()
            with self.assertRaises(StepError) as caught:
                work()
            self.assertEqual(caught.exception.code.name, case.get("code", code))
            self.assertTrue(caught.exception.message.startswith(case["refused"] + ":"), caught.exception.message)
            self.assertIn(case.get("words", ""), caught.exception.message)
        return None

    def test_hold_the_one_table_of_error_codes(self):
        table = [[code.number, code.name, "fatal" if code.fatal else "recoverable"] for code in CODES]
        self.assertEqual(table, CASES["codes"])

    def test_parameters_are_checked_before_the_algorithm_runs(self):
        declared = [check_declaration(parameter, "declared") for parameter in CASES["declared"]]
        for case in CASES["params"]:
            taken = self.expect(case, "invalid_params", lambda: check_params(declared, case["given"]))
            if "taken" in case:
                self.assertEqual(dumps(taken), dumps(case["taken"]))

    def test_numbers_that_no_double_holds_are_refused(self):
        declared = [check_declaration({"key": "n", "type": kind}, "declared") for kind in ("int", "float")]
        for parameter in declared:
            for value in (10**400, -(10**400), float("inf"), float("nan")):
                with self.subTest(type=parameter["type"], value=value), self.assertRaises(StepError) as caught:
                    check_params([parameter], {"n": value})
                self.assertEqual(caught.exception.code.name, "invalid_params")

    def test_get_info_is_held_to_its_shape(self):
        for case in CASES["info"]:
            info = self.expect(case, "invalid_result", lambda: check_info(case["given"]))
            if info:
                self.assertEqual(check_info(info), info)

    def test_results_are_checked_on_both_levels(self):
        rect = {"x": 0, "y": 0, "width": 1, "height": 1}
        for case in CASES["results"]:
            if "rects" in case:
                case["given"]["data"]["defect_rects"] = [rect] * case["rects"]
            result = self.expect(case, "invalid_result", lambda: check_result(case["given"], case["phase"]))
            if result:
                self.assertEqual(check_result(result, case["phase"]), result)

    def test_an_image_meta_is_taken_whole_or_refused_by_the_field(self):
        for case in CASES["image_meta"]:
            taken = self.expect(case, "image_load_failed", lambda: check_meta(case["given"]))
            if "taken" in case:
                self.assertEqual(dumps(taken), dumps(case["taken"]))

    def test_input_is_taken_or_refused_by_the_field(self):
        for case in CASES["input"]:
            read = _detection_input if case["function"] == "detect" else _step_input
            with self.subTest(case=str(case)):
                if "refused" not in case:
                    read(case["given"])
                    continue
                with self.assertRaises(Error) as caught:
                    read(case["given"])
                self.assertEqual(caught.exception.code, "invalid_request")
                self.assertTrue(caught.exception.message.startswith(case["refused"] + ":"), caught.exception.message)
                self.assertIn(case["words"], caught.exception.message)

    def test_runs_call_the_same_hooks_in_the_same_order_whatever_fails(self):
        for case in CASES["runs"]:
            with self.subTest(case=str(case)):
                script = {"log": [], "throws": case.get("throws"), "then_throws": case.get("then_throws"),
                          "error": StepError("no luck", case.get("with"))}
                session, runner = Session("s-1"), StepRunner(lambda: Scripted(script), Kept())
                codes = [self.failure_of(call, runner, session) for call in case["calls"]]
                self.assertEqual(codes, case.get("codes", [""] * len(codes)))
                self.assertEqual(script["log"], case["log"])
                self.assertEqual(sorted(session.state), case["keys"])

    @staticmethod
    def failure_of(call, runner, session):
        """What a call of a run ("step 1", "reset") fails with; "" where it worked."""
        name, _, index = call.partition(" ")
        if index:
            part = runner.run_step if name == "step" else getattr(runner, name)
            return part(session, int(index), "A01").get("error_code", "")
        try:
            runner.reset(session) if name == "reset" else runner.close()
        except StepError as error:
            return error.code.number
        return ""

    def test_state_gives_back_each_value_as_it_was_set(self):
        session = Session("s")
        for text in CASES["state"]:
            session.set("value", json.loads(text))
            self.assertEqual(dumps(session.get("value")), text)


if __name__ == "__main__":
    unittest.main()
