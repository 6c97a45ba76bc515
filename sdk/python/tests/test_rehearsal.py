"""What a fork does while it waits."""

import os
import signal
import threading
import unittest
from unittest import mock

from sojourn import rehearsal


class Rehearsal(unittest.TestCase):
    def test_serves_a_call_to_its_end(self):
        seen = []

        def run(self, session, input):
            session.state["calls"] = session.state["calls"] + 1
            seen.append((input, session.state["calls"]))

        with mock.patch.object(rehearsal._Nobody, "run", run):
            rehearsal.rehearse()
        self.assertEqual(seen, [({"key": "value"}, 2)])

    def test_leaves_nothing(self):
        before = self.surroundings()
        rehearsal.rehearse()
        self.assertEqual(self.surroundings(), before)

    @staticmethod
    def surroundings():
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        descriptors = {number: os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")
                       if os.path.lexists(f"/proc/self/fd/{number}")}
        return dict(os.environ), os.getcwd(), handlers, descriptors, threading.enumerate()


if __name__ == "__main__":
    unittest.main()
