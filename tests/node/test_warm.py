"""Apps in JavaScript with workers that wait for their sessions."""

import os
import signal
import unittest

from e2e.program import SOURCE, Served, family_of, folder_of, wait_for

FACTS = """
import { App, serve } from "%s/sdk/node/index.js";

console.log("loading");

class Facts extends App {
  setup(setup) {
    this.begun = setup;
  }
  run() {
    return { setup: this.begun, pid: process.pid, folder: process.cwd(), environment: { ...process.env } };
  }
}

serve(Facts);
""" % SOURCE


def make_app(apps, name, manifest, environment=""):
    (apps / name).mkdir()
    (apps / name / "main.mjs").write_text(FACTS)
    (apps / name / "app.toml").write_text(
        f'name = "{name}"\ncommand = ["/usr/bin/node", "{{app}}/main.mjs"]\nfunctions = ["run"]\n{manifest}\n'
        f"[env]\n{environment}\n")


class Warm(Served):
    @classmethod
    def make_apps(cls, apps):
        make_app(apps, "waiting", "min_warm = 2")
        make_app(apps, "housed", "min_warm = 1", 'HOME = "/of/the/manifest"')

    def wait_for_spares(self, app, number):
        wait_for(lambda: self.server.get(f"/apps/{app}").data["workers"]["spares"] == number, f"{number} spares")

    def spare_pids(self, app):
        """Those that wait are in their app's folder still."""
        return {pid for pid, _ in family_of(self.server.process.pid) if folder_of(pid).endswith(f"/apps/{app}")}

    def test_sessions_whose_setups_differ_get_spares_and_each_its_own_setup(self):
        self.wait_for_spares("waiting", 2)
        waiting = self.spare_pids("waiting")
        self.assertEqual(len(waiting), 2)
        for setup in ({"model": 7}, {"model": 8}):
            session = self.server.new_session("waiting", setup=setup)
            seen = self.server.output("waiting", "run", session=session)
            self.assertEqual(seen["setup"], setup)
            self.assertTrue(seen["folder"].endswith(session))
            environment = seen["environment"]
            self.assertEqual(environment["SOJOURN_SESSION"], session)
            self.assertEqual((environment["HOME"], environment["TMPDIR"]), (seen["folder"], seen["folder"] + "/tmp"))
            self.assertIn("loading", str(self.server.events(session)))
            started = [event["data"] for event in self.server.events(session) if event["type"] == "worker.started"]
            self.assertEqual([data["start"] for data in started], ["warm"])
            waiting.discard(seen["pid"])
        self.assertEqual(waiting, set())
        self.wait_for_spares("waiting", 2)

    def test_spare_keeps_what_its_manifest_sets(self):
        self.wait_for_spares("housed", 1)
        seen = self.server.output("housed", "run", session=self.server.new_session("housed"))
        self.assertEqual(seen["environment"]["HOME"], "/of/the/manifest")

    def test_spare_that_dies_is_replaced_and_no_session_meets_it(self):
        self.wait_for_spares("waiting", 2)
        buried = self.server.log().count("a spare worker died and is replaced")
        dead = self.spare_pids("waiting").pop()
        os.kill(dead, signal.SIGKILL)
        wait_for(lambda: self.server.log().count("a spare worker died and is replaced") > buried, "its burial")
        for _ in range(2):
            seen = self.server.output("waiting", "run", session=self.server.new_session("waiting"))
            self.assertNotEqual(seen["pid"], dead)
        self.wait_for_spares("waiting", 2)


if __name__ == "__main__":
    unittest.main()
