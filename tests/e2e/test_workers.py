"""Worker processes as they are: what surrounds them, and how they are lost."""

import os
import signal
import unittest

from e2e.program import COMPLETED, FAILED, Served, family_of, wait_for


class Workers(Served):
    @classmethod
    def setUpClass(cls):
        # What a worker must not see.
        os.environ["SECRET_OF_THE_SERVER"] = "x"
        cls.addClassCleanup(os.environ.pop, "SECRET_OF_THE_SERVER")
        super().setUpClass()

    def test_worker_is_surrounded_by_its_own_things_only(self):
        session = self.server.new_session("tests/probe")
        seen = self.server.output("tests/probe", "surroundings", session=session)
        environment = seen["environment"]
        self.assertNotIn("SECRET_OF_THE_SERVER", environment)
        self.assertLessEqual(set(environment), {"PATH", "LANG", "TZ", "HOME", "TMPDIR", "SOJOURN_PROTOCOL",
                                                "LC_CTYPE", "SOJOURN_SESSION", "SOJOURN_APP", "SOJOURN_APP_DIR",
                                                "PYTHONPATH", "PROBE", "PWD"})
        self.assertEqual((environment["SOJOURN_SESSION"], environment["SOJOURN_APP"]), (session, "tests/probe"))
        self.assertEqual(environment["PROBE"], "from app.toml")
        self.assertTrue(os.path.exists(environment["SOJOURN_APP_DIR"] + "/app.toml"))
        # Its folder.
        day = f"{session[5:9]}-{session[9:11]}-{session[11:13]}"
        self.assertEqual(seen["folder"], str((self.folder / "data" / "sessions" / day / session).resolve()))
        self.assertEqual(seen["session_folder"], seen["folder"])
        self.assertEqual(environment["HOME"], seen["folder"])
        self.assertTrue(os.path.exists(seen["folder"] + "/session_metadata.json"))
        # What the kernel holds it to.
        self.assertEqual(seen["no_new_privs"], "1")
        self.assertEqual(seen["limits"]["RLIMIT_AS"][0], 1500 << 20)
        self.assertEqual(seen["limits"]["RLIMIT_CPU"][0], 50)
        self.assertEqual(seen["limits"]["RLIMIT_NOFILE"][0], 77)
        self.assertEqual(seen["limits"]["RLIMIT_FSIZE"][0], 3 << 20)
        self.assertEqual(seen["group"], seen["pid"])
        self.assertEqual(self.server.session(session)["worker_id"], f"pid-{seen['pid']}")

    def test_worker_has_no_descriptor_beyond_its_socket(self):
        # The event loop of the app's async functions opens its own after the start, in `wait_for_cancel` only.
        seen = self.server.output("tests/probe", "surroundings")["descriptors"]
        self.assertEqual(seen.pop("0"), "/dev/null")
        for name, kind in (("1", "pipe:"), ("2", "pipe:"), ("3", "socket:")):
            self.assertTrue(seen.pop(name).startswith(kind), seen)
        # What is left was made by Python itself, inside the process: nothing of the server's.
        server = {target for fd in os.listdir(f"/proc/{self.server.process.pid}/fd") if fd != "0"
                  for target in self.target_of(f"/proc/{self.server.process.pid}/fd/{fd}")}
        shared = {target for target in seen.values() if target.startswith(("/", "pipe:", "socket:"))} & server
        self.assertEqual(shared, set())
        self.assertEqual([target for target in seen.values() if "sojourn.db" in target or "/lock" in target], [])

    @staticmethod
    def target_of(link):
        """What a descriptor of a process is, in a list; nothing where it was closed meanwhile."""
        try:
            return [os.readlink(link)]
        except FileNotFoundError:
            return []

    def test_limit_of_a_file_is_applied(self):
        self.assertEqual(self.server.run("tests/probe", "write_file", {"bytes": 3 << 20})["status"], COMPLETED)
        self.assertEqual(self.server.run("tests/probe", "write_file", {"bytes": (3 << 20) + 1})["status"], FAILED)

    def test_worker_killed_in_a_call_fails_that_call_and_the_state_goes_on(self):
        gate = self.fifo()
        session = self.server.new_session("tests/probe")
        self.server.output("tests/probe", "set", {"a": 1}, session=session)
        task = self.server.run("tests/probe", "hold", {"gate": gate.path}, session=session, wait=False)
        next_task = self.server.run("tests/probe", "state", session=session, wait=False)
        gate.wait_until_read()
        self.server.kill_worker(session)
        failed = self.server.final_task(task["id"])
        self.assertEqual((failed["status"], failed["error_info"]["code"]), (FAILED, "WORKER_LOST"))
        self.assertIn("killed by SIGKILL", failed["error"])
        gate.open()
        # The call that waited goes to a worker that was given the state.
        after = self.server.final_task(next_task["id"])
        self.assertEqual((after["status"], after["output"]), (COMPLETED, {"state": {"a": 1}, "restored": True}))

    def test_worker_killed_while_idle_is_replaced_where_the_state_is_kept(self):
        session = self.server.new_session("counter")
        self.server.output("counter", "increment", {"key": "a", "amount": 5}, session=session)
        self.server.kill_worker(session)
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"}, session=session)["current"], 6)
        wait_for(lambda: "worker.lost" in self.server.event_types(session), "the event of the loss")

    def test_worker_killed_while_idle_fails_a_session_that_lived_in_its_memory(self):
        session = self.server.new_session("session-test")
        task = self.server.run("session-test", "set_value", {"key": "k", "value": "v"}, session=session)
        self.server.kill_worker(session)
        answer = wait_for(lambda: (a := self.server.ask_run("session-test", session=session)).status != 200 and a,
                          "the session's failure")
        self.refused(answer, 500, "WORKER_LOST", f"session failed: {session}")
        seen = self.server.over(session)
        self.assertEqual((seen["status"], seen["error"]["code"]), ("ended", "WORKER_LOST"))
        self.assertEqual(self.server.task(task["id"]), task)
        # The honest way out: a new one.
        self.assertEqual(self.server.output("session-test", "get_value", {"key": "k"}), {"found": False, "key": "k"})

    def test_worker_killed_in_a_call_fails_a_session_that_lived_in_its_memory_and_what_waited(self):
        session = self.server.new_session("session-test")
        self.server.output("session-test", "get_all", session=session)
        os.kill(self.server.worker(session), signal.SIGSTOP)
        tasks = [self.server.run("session-test", "get_all", session=session, wait=False) for _ in range(2)]
        wait_for(lambda: self.server.task(tasks[0]["id"])["status"] == 7, "a running call")
        self.server.kill_worker(session)
        for task in tasks:  # nobody cancelled the one that waited
            failed = self.server.final_task(task["id"])
            self.assertEqual((failed["status"], failed["error_info"]["code"]), (FAILED, "WORKER_LOST"))
        self.refused(self.server.ask_run("session-test", session=session), 500, "WORKER_LOST")

    def test_processes_that_left_their_group_are_still_the_servers(self):
        session = self.server.new_session("tests/probe")
        daemon = self.server.output("tests/probe", "fork", session=session)
        # It descends from the supervisor, so it goes with the server at the latest, as the end of this class checks.
        self.assertIn(daemon, [pid for pid, _ in family_of(self.server.process.pid)])

    # Resources: acquired in a call, released whatever happens.

    def acquire(self, **fields):
        """A session that holds the resources "one", "two" and "closure", and its folder."""
        session = self.server.new_session("tests/probe")
        self.server.output("tests/probe", "acquire", {"names": ["one", "two"], **fields}, session=session)
        folder = self.folder / "data" / "sessions" / f"{session[5:9]}-{session[9:11]}-{session[11:13]}" / session
        self.assertTrue((folder / "one").is_dir() and (folder / "two").is_dir())
        return session, folder

    def of_resources(self, session):
        return [(event["type"], event["data"].get("id")) for event in self.server.events(session)
                if event["type"].startswith("resource.")]

    def test_resources_are_released_newest_first_at_the_end(self):
        session, folder = self.acquire()
        self.server.delete(f"/sessions/{session}")
        self.assertEqual((folder / "released").read_text(), "two\none\n")
        self.assertFalse((folder / "one").exists() or (folder / "two").exists())
        self.assertEqual(self.of_resources(session)[:3],
                         [("resource.added", "one"), ("resource.added", "two"), ("resource.added", "closure")])
        self.assertNotIn("resource.leaked", self.server.event_types(session))

    def test_resource_that_cannot_be_released_does_not_keep_the_others(self):
        session, folder = self.acquire(fails=True)
        self.assertEqual(self.server.delete(f"/sessions/{session}").status, 204)
        self.assertEqual((folder / "released").read_text(), "two\none\n")
        self.assertIn("it does not let go", str(self.server.events(session)))

    def test_resources_of_a_killed_worker_are_released_as_noted_or_reported(self):
        session, folder = self.acquire()
        self.server.kill_worker(session)
        wait_for(lambda: not (folder / "one").exists() and not (folder / "two").exists(), "the clean-up")
        self.server.output("tests/probe", "echo", session=session)  # brings the events of the loss
        wait_for(lambda: len(self.of_resources(session)) == 6, "the events of the clean-up")
        self.assertEqual(self.of_resources(session)[3:], [
            ("resource.leaked", "closure"), ("resource.released", "two"), ("resource.released", "one")])


if __name__ == "__main__":
    unittest.main()
