from __future__ import annotations

import datetime
import enum
import math
import unittest
from collections import OrderedDict, namedtuple
from decimal import Decimal

from sojourn.values import DEPTH, Refused, check, dumps, loads

from .awkward import looped, nested


class Level(enum.IntEnum):
    LOW = 1


Pair = namedtuple("Pair", "a b")


def of_type(name, module):
    return type(name, (), {"__module__": module})()


REFUSED = [
    # value, pointer, words of the reason
    (math.nan, "", "is nan"),
    ([1, math.inf], "/1", "is inf"),
    ({"a": {"b": [0, -math.inf]}}, "/a/b/1", "is -inf"),
    ({1, 2}, "", "of type set; use a sorted list"),
    ({"a": b"x"}, "/a", "of type bytes"),
    ({"a": {1: "x"}}, "/a/1", "key of type int; use str keys"),
    ({None: 1}, "/None", "key of type NoneType"),
    ({"a/b": {"c~d": object()}}, "/a~1b/c~0d", "of type object"),
    ([2**64], "/0", "integer past 64 bits"),
    (-(2**63) - 1, "", "integer past 64 bits"),
    ({"a": "\ud800"}, "/a", "lone surrogate"),
    ({"\udfff": 1}, "/\udfff", "lone surrogate"),
    (nested(DEPTH + 1), "/0" * DEPTH, "deeper than 64 levels"),
    (looped(), "/a/1", "contains itself"),
    (Decimal("1"), "", "of type decimal.Decimal; use float() or str()"),
    ([datetime.date(2024, 1, 1)], "/0", "use .isoformat()"),
    (1j, "", "of type complex"),
    (of_type("int64", "numpy"), "", "of type numpy.int64; use .item()"),
    (of_type("bool_", "numpy"), "", "of type numpy.bool_; use .item()"),
    (of_type("ndarray", "numpy"), "", "of type numpy.ndarray; use .tolist()"),
    (of_type("DataFrame", "pandas.core.frame"), "", "use .to_dict"),
]

TAKEN = [
    (None, "null"),
    (True, "true"),
    (2**64 - 1, "18446744073709551615"),
    (-(2**63), "-9223372036854775808"),
    (1.0, "1.0"),
    (-0.0, "-0.0"),
    (1e308, "1e+308"),
    ('ü\u2028\U0001f600\x00"\\', '"ü\u2028\U0001f600\\u0000\\"\\\\"'),
    ((1, (2,)), "[1,[2]]"),
    (Pair(1, 2), "[1,2]"),
    (Level.LOW, "1"),
    (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
    ({"": {}}, '{"":{}}'),
    (nested(DEPTH), "[" * DEPTH + "1" + "]" * DEPTH),
]


class Values(unittest.TestCase):
    def test_refuses_what_json_cannot_hold_and_names_the_place(self):
        for value, pointer, words in REFUSED:
            with self.subTest(pointer=pointer, words=words):
                with self.assertRaises(Refused) as caught:
                    check(value)
                self.assertEqual(caught.exception.pointer, pointer)
                self.assertIn(words, caught.exception.reason)

    def test_writes_what_json_can_hold(self):
        for value, text in TAKEN:
            with self.subTest(text=text):
                self.assertEqual(dumps(value), text)

    def test_takes_the_same_object_twice_where_it_is_no_cycle(self):
        shared = [1]
        self.assertEqual(dumps([shared, {"a": shared}]), '[[1],{"a":[1]}]')

    def test_reads_what_it_wrote(self):
        for value, _ in TAKEN:
            with self.subTest(value=value):
                self.assertEqual(dumps(loads(dumps(value))), dumps(value))


class Numpy(unittest.TestCase):
    def test_refuses_arrays_and_scalars_but_takes_the_float_that_is_a_python_float(self):
        try:
            import numpy
        except ImportError:
            self.assertRaises(Refused, check, of_type("float32", "numpy"))
            return
        for value in (numpy.int64(1), numpy.float32(1), numpy.bool_(True), numpy.array([1])):
            with self.subTest(type=type(value)):
                with self.assertRaises(Refused) as caught:
                    check({"a": value})
                self.assertEqual(caught.exception.pointer, "/a")
                self.assertRegex(caught.exception.reason, r"use \.(item|tolist)\(\)")
        self.assertEqual(dumps([numpy.float64(1.5)]), "[1.5]")
        self.assertRaises(Refused, check, numpy.float64("nan"))
