"""How long sessions are kept: the setting `retention`, `sojourn purge`, and purges that are killed in the middle."""

import json
import random
import signal
import subprocess
import time
import unittest

from e2e.program import BINARY, Program, Stored, clean_environment, command, wait_for, wait_for_age

SESSIONS = 120


class Retention(Stored):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        wait_for_age(cls.server.data, SESSIONS + 1)

    @classmethod
    def fill(cls, server):
        cls.active = server.new_session("counter")
        server.output("counter", "increment", {"key": "a"}, session=cls.active)
        cls.over = [server.post("/sessions", {}).data["id"] for _ in range(SESSIONS)]
        cls.called = server.run("counter", "increment", {"key": "a"})["session_id"]
        for id in [*cls.over, cls.called]:
            server.delete(f"/sessions/{id}")

    def command(self, *words, code=0):
        done = command(*words, "--data", self.data, "--json", environment=clean_environment())
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def folder_of(self, id):
        return self.data / "sessions" / f"{id[5:9]}-{id[9:11]}-{id[11:13]}" / id

    def left(self):
        return {session["id"] for session in self.command("audit", "verify")["sessions"]}

    def test_dry_run_removes_nothing(self):
        self.assertEqual(self.command("purge", "--older-than", "1d", "--dry-run")["sessions"], 0)
        told = self.command("purge", "--older-than", "1s", "--dry-run")
        self.assertEqual((told["sessions"], told["removed"]), (SESSIONS + 1, 0))
        self.assertEqual(self.left(), {self.active, self.called, *self.over})

    def test_purge_leaves_what_is_active_and_proof_of_the_rest(self):
        self.assertTrue(self.folder_of(self.called).is_dir())
        self.assertEqual(self.command("purge", "--older-than", "1s", "--app", "counter")["removed"], 1)
        self.assertFalse(self.folder_of(self.called).exists())
        self.assertTrue(self.folder_of(self.active).is_dir())
        self.assertEqual(self.command("purge", "--older-than", "1s")["removed"], SESSIONS)
        self.assertEqual(self.left(), {self.active})
        told = self.command("audit", "verify", self.called)["sessions"][0]
        self.assertEqual((told["ok"], told["purged"], told["signature"]), (True, True, "valid"))
        done = command("audit", "verify", self.called, "--data", self.data, environment=clean_environment())
        self.assertRegex(done.stdout, rf"(?m)^{self.called}  ok  \d+ events, signed, purged$")

    def test_purge_waits_for_no_server(self):
        server = Program(self.server.apps, self.data).start()
        self.addCleanup(server.log_file.close)
        try:
            told = self.command("purge", "--older-than", "1s", code=3)
            self.assertIn("store_locked", told)
            self.assertIn("it purges by itself, by its settings retention", told)
        finally:
            server.stop()

    def test_bad_ages_and_missing_stores_are_refused(self):
        for age in ("0d", "-1d", "30", "soon"):
            self.assertIn("--older-than", self.command("purge", f"--older-than={age}", code=2))
        done = command("purge", "--older-than", "1d", "--data", self.folder / "no such", environment=clean_environment())
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertFalse((self.folder / "no such").exists())

    def test_killed_purges_leave_each_session_whole_or_gone_and_are_gone_on_with(self):
        for _ in range(12):
            purge = subprocess.Popen([BINARY, "purge", "--older-than", "1s", "--data", self.data], text=True,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
            time.sleep(random.uniform(0.005, 0.06))
            purge.send_signal(signal.SIGKILL)
            purge.wait()
            self.assertIn(self.active, self.left())
        self.command("purge", "--older-than", "1s")
        self.assertEqual(self.left(), {self.active})
        self.assertEqual([path.name for path in (self.data / "sessions").glob("*/*")], [self.active])
        for id in self.over[:5]:
            self.assertTrue(self.command("audit", "verify", id)["sessions"][0]["purged"])

    def test_server_removes_by_its_retention(self):
        server = Program(self.server.apps, self.data, "--retention", "1s").start()
        self.addCleanup(server.log_file.close)
        try:
            wait_for(lambda: [s["id"] for s in server.get("/sessions?limit=1000").data] == [self.active], "the purge")
            self.assertEqual(server.get(f"/sessions/{self.called}").status, 404)
        finally:
            server.stop()


if __name__ == "__main__":
    unittest.main()
