import unittest
from pathlib import Path

from sojourn import Error, testing

APP = Path(__file__).parent


class Counter(unittest.TestCase):
    def test_counts_each_key_from_zero_and_commits_it(self):
        with testing.start(APP) as worker:
            self.assertEqual(worker.call("increment", {"key": "a"}).output, {"key": "a", "previous": 0, "current": 1})
            result = worker.call("increment", {"key": "a", "amount": 2.5})
            self.assertEqual(result.output, {"key": "a", "previous": 1, "current": 3.5})
            self.assertEqual(result.state_set, {"a": 3.5})
            worker.call("increment", {"key": "b", "amount": -1})
            self.assertEqual(worker.state, {"a": 3.5, "b": -1})

    def test_goes_on_where_a_lost_worker_stopped(self):
        with testing.start(APP) as worker:
            worker.call("increment", {"key": "a"})
            worker.crash()
            state = worker.state
        with testing.start(APP, state=state, restored=True) as worker:
            self.assertEqual(worker.call("increment", {"key": "a"}).output["current"], 2)

    def test_refuses_bad_input_and_keeps_its_counts(self):
        with testing.start(APP, state={"a": 1, "text": "x"}) as worker:
            for bad in (None, {}, [1], {"key": 1}, {"key": "a", "amount": "1"}, {"key": "a", "amount": True}):
                with self.subTest(input=bad), self.assertRaises(Error) as caught:
                    worker.call("increment", bad)
                self.assertEqual(caught.exception.code, "invalid_request")
            self.assertRaises(Error, worker.call, "increment", {"key": "text"})
            self.assertEqual(worker.call("increment", {"key": "a"}).output["current"], 2)


if __name__ == "__main__":
    unittest.main()
