"""What both SDKs must agree on: which values they take, and their limits."""

import datetime  # noqa: F401  used by the cases
import json
import subprocess
import unittest
from pathlib import Path

from sojourn import connection, resources, session, state, values
from tests.awkward import looped, nested  # noqa: F401  used by the cases; of the Python SDK

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = json.loads((ROOT / "sdk" / "strict_values.json").read_text(encoding="utf-8"))

LIMITS = """
import * as connection from "./lib/connection.js";
import * as cleaning from "./lib/cleaning.js";
import * as resources from "./lib/resources.js";
import * as session from "./lib/session.js";
import * as state from "./lib/state.js";
import * as values from "./lib/values.js";
console.log(JSON.stringify([
  connection.toServerBytes, connection.toWorkerBytes, cleaning.closeSeconds, resources.most, session.events,
  session.eventBytes, state.keyBytes, state.valueBytes, state.stateBytes, state.keys, values.depth, values.valueBytes,
]));
"""


class SharedCases(unittest.TestCase):
    """The same table is held against the Node SDK by values.test.mjs."""

    def test_python_refuses_the_same_values_at_the_same_places(self):
        for case in CASES["refused"]:
            with self.subTest(value=case["python"]), self.assertRaises(values.Refused) as caught:
                values.check(eval(case["python"]))
            self.assertEqual(caught.exception.pointer, case["pointer"], case["python"])

    def test_python_takes_the_same_values_as_the_same_texts(self):
        for case in CASES["taken"]:
            with self.subTest(value=case["python"]):
                self.assertEqual(values.dumps(eval(case["python"])), case["text"])

    def test_limits_are_the_same(self):
        shown = subprocess.run(["/usr/bin/node", "--input-type=module", "-e", LIMITS], cwd=ROOT / "sdk" / "node",
                               stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(json.loads(shown), [
            connection.TO_SERVER_BYTES, connection.TO_WORKER_BYTES, resources.CLEANUP_SECONDS, resources._MOST,
            session._EVENTS, session._EVENT_BYTES, state.KEY_BYTES, state.VALUE_BYTES, state.STATE_BYTES, state.KEYS,
            values.DEPTH, values.VALUE_BYTES])


if __name__ == "__main__":
    unittest.main()
