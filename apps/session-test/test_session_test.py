import unittest
from pathlib import Path

from sojourn import Error, testing

APP = Path(__file__).parent


class SessionTest(unittest.TestCase):
    def test_keeps_values_from_call_to_call(self):
        with testing.start(APP) as worker:
            calls = [
                ("get_value", {"key": "a"}, {"found": False, "key": "a"}),
                ("set_value", {"key": "a", "value": [1, None]}, {"success": True, "key": "a", "value": [1, None]}),
                ("get_value", {"key": "a"}, {"found": True, "key": "a", "value": [1, None]}),
                ("set_value", {"key": "b", "value": None}, {"success": True, "key": "b", "value": None}),
                ("get_value", {"key": "b"}, {"found": True, "key": "b", "value": None}),
                ("increment", {"key": "n"}, {"key": "n", "previous": 0, "current": 1}),
                ("increment", {"key": "n", "amount": 5}, {"key": "n", "previous": 1, "current": 6}),
                ("get_all", {}, {"state": {"a": [1, None], "b": None, "n": 6}, "call_count": 8}),
            ]
            for function, given, output in calls:
                with self.subTest(function=function, given=given):
                    self.assertEqual(worker.call(function, given).output, output)
            self.assertEqual(worker.state, {})  # nothing is durable

    def test_two_sessions_share_nothing(self):
        with testing.start(APP) as one, testing.start(APP) as other:
            one.call("increment", {"key": "n"})
            self.assertEqual(other.call("get_all", {}).output, {"state": {}, "call_count": 1})

    def test_refuses_bad_input(self):
        with testing.start(APP) as worker:
            worker.call("set_value", {"key": "text", "value": "x"})
            for function, given in (
                ("set_value", {"key": "a"}),
                ("set_value", {"value": 1}),
                ("get_value", "a"),
                ("increment", {"key": 1}),
                ("increment", {"key": "a", "amount": "2"}),
                ("increment", {"key": "text"}),
            ):
                with self.subTest(function=function, given=given), self.assertRaises(Error) as caught:
                    worker.call(function, given)
                self.assertEqual(caught.exception.code, "invalid_request")
            self.assertEqual(worker.call("get_all").output["state"], {"text": "x"})


if __name__ == "__main__":
    unittest.main()
