import datetime
import json
import unittest
from pathlib import Path

from sojourn.steps import Session

from .awkward import looped, nested

STRICT = json.loads((Path(__file__).parents[2] / "strict_values.json").read_text(encoding="utf-8"))


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


if __name__ == "__main__":
    unittest.main()
