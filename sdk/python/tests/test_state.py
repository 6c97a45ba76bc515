from __future__ import annotations

import copy
import json
import pickle
import unittest

from sojourn import Error, NotSerializable, State
from sojourn.frozen import FrozenDict, FrozenList, freeze
from sojourn.state import KEY_BYTES, VALUE_BYTES


def changes(state):
    return json.loads("{" + state.changes().lstrip(",") + "}")


class StateTest(unittest.TestCase):
    def test_copies_what_is_set_and_what_is_read(self):
        state = State()
        given = {"list": [1]}
        state["a"] = given
        given["list"].append(object())
        read = state["a"]
        read["list"].append(2)
        self.assertEqual(state["a"], {"list": [1]})

    def test_is_a_mapping(self):
        state = State({"a": 1, "b": [2]})
        self.assertEqual((len(state), list(state), "a" in state, "x" in state), (2, ["a", "b"], True, False))
        self.assertEqual(state, {"a": 1, "b": [2]})
        self.assertEqual(state.get("x", 5), 5)
        self.assertEqual(state.setdefault("c", 3), 3)
        self.assertEqual(state.pop("c"), 3)
        state.update(d=4)
        for key in state:  # changing it while walking it is allowed
            del state[key]
        self.assertEqual(dict(state), {})
        with self.assertRaises(KeyError):
            state["a"]

    def test_refuses_what_json_cannot_hold_and_stays_as_it_was(self):
        state = State({"a": 1})
        with self.assertRaises(TypeError) as caught:
            state["a"] = {"b": [0, {1, 2}]}
        self.assertIsInstance(caught.exception, NotSerializable)
        self.assertEqual(caught.exception.pointer, "/b/1")
        self.assertEqual(str(caught.exception), "state['a']: /b/1 is of type set; use a sorted list")
        self.assertEqual(state["a"], 1)
        self.assertEqual(state.changes(), "")

    def test_refuses_bad_keys(self):
        state = State()
        for key, kind in ((1, TypeError), (None, TypeError), ("\ud800", TypeError), ("", Error)):
            with self.subTest(key=key), self.assertRaises(kind):
                state[key] = 1
        state["ü" * (KEY_BYTES // 2)] = 1
        with self.assertRaises(Error):
            state["ü" * (KEY_BYTES // 2) + "x"] = 1

    def test_refuses_what_is_too_large(self):
        state = State()
        state["a"] = "x" * (VALUE_BYTES - 2)
        for text in ("x" * (VALUE_BYTES - 1), "ü" * (VALUE_BYTES // 2)):
            with self.assertRaises(Error) as caught:
                state["b"] = text
            self.assertEqual(caught.exception.code, "too_large")
        for number in range(15):
            state[str(number)] = state["a"]
        with self.assertRaises(Error) as caught:
            state["past"] = "x"
        self.assertIn("would take the state past", str(caught.exception))
        del state["0"]
        state["past"] = "x"

    def test_tells_only_what_changed(self):
        state = State({"same": 1, "changed": 1, "gone": 1})
        state["same"] = 2
        state["same"] = 1
        state["changed"] = 2
        state["new"] = {"ü": None}
        state["passing"] = 1
        del state["passing"], state["gone"]
        expected = {"state_set": {"changed": 2, "new": {"ü": None}}, "state_deleted": ["gone"]}
        self.assertEqual(changes(state), expected)
        state.accept()
        self.assertEqual(state.changes(), "")

    def test_discards_to_what_was_accepted(self):
        state = State({"a": 1, "b": 2})
        state["a"] = 5
        state.accept()
        state["a"] = 6
        state["c"] = 7
        del state["b"]
        state.discard()
        self.assertEqual(dict(state), {"a": 5, "b": 2})
        self.assertEqual(state.changes(), "")

    def test_keeps_what_setup_changed_until_it_is_committed(self):
        state = State({"old": 1})
        state["a"] = 1
        state["passing"] = 1
        state.keep_unsent()
        state["a"] = 2
        state.discard()  # a call failed
        del state["passing"]
        self.assertEqual(changes(state), {"state_set": {"a": 1}, "state_deleted": ["passing"]})
        state.accept()
        self.assertEqual(state.changes(), "")

    def test_adopts_what_was_changed_outside(self):
        state = State({"a": 1, "b": 2})
        state.adopt({"a": [3], "c": 4}, ["b", "unknown"])
        self.assertEqual(dict(state), {"a": [3], "c": 4})
        self.assertEqual(state.changes(), "")


class Context(unittest.TestCase):
    def test_cannot_be_changed_at_any_depth(self):
        context = freeze({"a": {"b": [1, {"c": 2}]}})
        inner = context["a"]
        array = inner["b"]
        attempts = [
            lambda: context.__setitem__("a", 1),
            lambda: context.__delitem__("a"),
            lambda: context.clear(),
            lambda: context.pop("a"),
            lambda: context.popitem(),
            lambda: context.setdefault("x", 1),
            lambda: inner.update(b=1),
            lambda: context.__ior__({"x": 1}),
            lambda: array.__setitem__(0, 5),
            lambda: array.__delitem__(0),
            lambda: array.append(5),
            lambda: array.extend([5]),
            lambda: array.insert(0, 5),
            lambda: array.pop(),
            lambda: array.remove(1),
            lambda: array.reverse(),
            lambda: array.sort(),
            lambda: array.clear(),
            lambda: array.__iadd__([5]),
            lambda: array.__imul__(2),
            lambda: array[1].update(c=3),
            lambda: setattr(context, "x", 1),
        ]
        for number, attempt in enumerate(attempts):
            with self.subTest(number=number), self.assertRaises((TypeError, AttributeError)):
                attempt()
        context.__init__({"x": 1})
        array.__init__([9])
        self.assertEqual(context, {"a": {"b": [1, {"c": 2}]}})

    def test_refuses_every_method_by_which_a_dict_or_a_list_can_change(self):
        changing = {"__setitem__", "__delitem__", "__ior__", "__iadd__", "__imul__", "clear", "pop", "popitem"}
        changing |= {"setdefault", "update", "append", "extend", "insert", "remove", "reverse", "sort"}
        for frozen, plain in ((FrozenDict, dict), (FrozenList, list)):
            for name in changing & set(dir(plain)):
                with self.subTest(type=plain, name=name):
                    self.assertIsNot(getattr(frozen, name), getattr(plain, name))

    def test_equals_copies_and_serialises_like_plain_values(self):
        plain = {"a": {"b": [1, {"c": 2}]}}
        context = freeze(plain)
        self.assertEqual(context, plain)
        self.assertEqual(json.dumps(context), json.dumps(plain))
        for made in (copy.deepcopy(context), pickle.loads(pickle.dumps(context)), context.copy(), copy.copy(context)):
            made["a"]["b"][1]["c"] = 3
            self.assertEqual(type(made), dict)
        self.assertEqual(context, plain)
