"""An app whose workers keep crashing is not started again and again."""

import unittest

from e2e.program import Served, write_app

CRASHING = """
import os
from sojourn import App, serve

class Crashing(App):
    def run(self, input):
        if input == "crash":
            os.kill(os.getpid(), 9)
        return "well"

serve(Crashing)
"""


class Breaker(Served):
    @classmethod
    def make_apps(cls, folder):
        write_app(folder, "crashing", CRASHING, "recover = true\n[limits]\ncrashes_per_minute = 2")
        write_app(folder, "unbroken", CRASHING, "recover = true")

    def crash(self, app):
        session = self.server.new_session(app)
        self.assertIn("killed by SIGKILL", self.server.run(app, "run", "crash", session=session)["error"])
        return session

    def test_refuses_new_workers_and_lets_living_ones_go_on(self):
        living = self.server.new_session("crashing")
        self.assertEqual(self.server.output("crashing", "run", session=living), "well")
        crashed = [self.crash("crashing") for _ in range(2)]
        task = self.server.run("crashing", "run", session=crashed[0])
        self.assertIn("2 of its workers were lost within 60 s", str(task))
        self.assertIn("unavailable", str(task))
        self.assertEqual(self.server.output("crashing", "run", session=living), "well")

    def test_starts_an_app_that_does_not_ask_for_it_as_often_as_needed(self):
        for _ in range(4):
            session = self.crash("unbroken")
        self.assertEqual(self.server.output("unbroken", "run", session=session), "well")


if __name__ == "__main__":
    unittest.main()
