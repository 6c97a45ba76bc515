"""Workers that harm what is around them: only their own session suffers, by whatever this machine holds them.

What that is, the server says in /readyz; each test says what it expects of each. tests/cgroups runs the same tests on
a kernel of its own that has cgroup v2.
"""

import errno
import os
import shutil
import unittest
from pathlib import Path

from e2e.hostile import FIRST, LAST, write_hostile, write_python
from e2e.program import COMPLETED, FAILED, SOURCE, Served, processes, wait_for


class Isolated(Served):
    """A server beside whose hostile sessions a healthy one is served."""

    @classmethod
    def make_apps(cls, folder):
        # Ids of workers pass through here.
        cls.folder.chmod(0o711)
        write_hostile(folder, "healthy", "session_timeout = 3600")
        write_hostile(folder, "hostile", "recover = true",
                      "memory_mb = 200\nprocesses = 50\nfolder_mb = 20\ncpus = 0.5")
        write_hostile(folder, "boxed", "recover = true\nsandbox = true", "memory_mb = 200\nprocesses = 50\nfolder_mb = 20")
        write_hostile(folder, "networked", "sandbox = true\nnetwork = true")
        # Without a limit of memory: where the data lies in memory, files count as that.
        write_hostile(folder, "filler", "recover = true", "folder_mb = 20\noutput_mb = 1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        ready = cls.server.get("/readyz").body
        cls.limits, cls.has_ids, cls.has_sandbox = ready["limits"], ready["worker_ids"], ready["sandbox"]
        cls.healthy = cls.server.new_session("healthy")
        cls.calls = 0
        cls.call_healthy()
        cls.family = {pid for pid, _ in cls.server.family()}

    @classmethod
    def call_healthy(cls):
        cls.calls += 1
        if cls.server.output("healthy", "echo", cls.calls, session=cls.healthy) != cls.calls:
            raise AssertionError("the healthy session answered wrongly")

    def served_beside(self, function, input=None, app="hostile", **fields):
        """The final task of a hostile call, beside which the healthy session is served; nothing of it is left."""
        task = self.server.run(app, function, input, wait=False, **fields)
        served = 0
        while served < 10 or self.server.task(task["id"])["status"] < COMPLETED:
            self.call_healthy()
            served += 1
        task = self.server.task(task["id"])
        if self.server.session(task["session_id"])["status"] == "active":
            self.server.delete(f"/sessions/{task['session_id']}")
        self.nothing_is_left()
        return task

    def opened(self, app):
        """A session whose worker is there, so that the time of a call is the call's alone."""
        return self.server.run(app, "echo")["session_id"]

    def nothing_is_left(self):
        self.call_healthy()
        wait_for(lambda: {pid for pid, _ in self.server.family()} <= self.family, "the end of a hostile worker")

    def completes(self, *words, **fields):
        task = self.served_beside(*words, **fields)
        self.assertEqual(task["status"], COMPLETED, task.get("error"))
        return task["output"]

    def is_lost(self, task, *words):
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "WORKER_LOST"), task)
        for word in words:
            self.assertIn(word, task["error"])


class Limits(Isolated):
    """As this machine holds workers."""

    def test_the_log_says_what_is_in_force(self):
        expected = os.environ.get("EXPECT_LIMITS")
        self.assertIn(self.limits, [expected] if expected else ["cgroup", "rlimits"])
        self.assertEqual(self.has_ids, bool(self.flags))
        for words in (f"limits={self.limits}", f"worker_ids={str(self.has_ids).lower()}",
                      f"sandbox={str(self.has_sandbox).lower()}"):
            self.assertIn(words, self.server.log().replace('"', ""))

    def test_memory_hog(self):
        task = self.served_beside("memory_hog")
        if self.limits == "cgroup":
            self.is_lost(task, "killed for memory: limit 200 MiB")
        else:
            self.assertEqual(task["output"], "MemoryError")

    def test_forked_memory_hogs(self):
        task = self.served_beside("forked_memory_hogs")
        if self.limits == "cgroup":
            self.is_lost(task, "killed for memory: limit 200 MiB")
        else:
            self.assertEqual(task["output"], "had it")  # each of them alone is within the limit

    def test_fork_bomb(self):
        outcome = self.completes("fork_bomb", {"most": 100})
        if self.limits == "cgroup" or self.has_ids:
            self.assertEqual(outcome, {"made": 49, "errno": 11})
        else:
            self.assertEqual(outcome, {"made": 100, "errno": None})  # nothing holds root

    def test_endless_fork_bomb(self):
        if self.limits == "cgroup" or self.has_ids:
            task = self.served_beside("endless_fork_bomb", session=self.opened("hostile"), call_timeout=1)
            self.assertEqual(task["status"], FAILED)
            self.assertIn(task["error_info"]["code"], ("WORKER_LOST", "call_timeout", "protocol_error"))

    def test_disk_filler(self):
        self.is_lost(self.served_beside("disk_filler", app="filler", call_timeout=60), "holds more than 20 MiB")

    def test_session_whose_folder_is_full_gets_no_worker(self):
        task = self.server.run("filler", "disk_filler", call_timeout=60)
        self.is_lost(task, "holds more than 20 MiB")
        task = self.server.run("filler", "echo", session=task["session_id"])
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "too_large"))
        self.assertIn("gets no worker", task["error"])
        self.server.delete(f"/sessions/{task['session_id']}")
        self.nothing_is_left()

    def test_output_past_the_limit_of_its_app(self):
        task = self.served_beside("large_output", app="filler")
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "too_large"))
        self.assertEqual(len(self.completes("large_output", app="healthy")), 1 << 20)

    def test_runaway_printer(self):
        task = self.served_beside("runaway_printer", session=self.opened("hostile"), call_timeout=1)
        self.assertEqual(task["error_info"]["code"], "call_timeout")

    def test_process_without_its_mark_ends_with_its_session(self):
        shed = self.completes("sheds_its_mark")
        self.assertNotIn(shed, processes())

    def test_cpu_hog(self):
        if self.limits == "cgroup":
            self.assertLess(self.completes("cpu_hog", 3), 2.2)
        else:
            self.assertGreater(self.completes("cpu_hog", 0.2), 0)

    def attempts(self, app):
        """What a worker of `app` can do to the healthy session and what is around it: errnos, or None for done."""
        other = self.server.output("healthy", "who", session=self.healthy)
        (Path(other["folder"]) / "secret").write_text("mine")
        return self.completes("attempt", {"pid": other["pid"], "folder": other["folder"],
                                          "data": str(self.server.data.resolve())}, app=app)

    # In a sandbox.

    def sandboxed(self):
        """Whether a sandbox can be made here. Where not, its apps are refused by name, with the reason."""
        if not self.has_sandbox:
            for app in "boxed", "networked":
                self.refused(self.server.ask_run(app, "echo"), 404, "app_not_found", app, "none can be made: ")
        return self.has_sandbox

    def test_sandboxed_worker_cannot_touch_what_is_around_it(self):
        if not self.sandboxed():
            return
        outcome = self.attempts("boxed")
        self.assertEqual((outcome["signal"], outcome["memory"]), (errno.ESRCH, errno.ENOENT))
        for hidden in "list", "read", "write", "store":
            self.assertEqual(outcome[hidden], errno.ENOENT, hidden)
        for outside in "etc", "app":
            self.assertIn(outcome[outside], (errno.EROFS, errno.EACCES), outside)
        self.assertFalse(os.path.exists("/etc/sojourn-was-here"))

    def test_sandboxed_worker_sees_only_itself(self):
        if not self.sandboxed():
            return
        view = self.completes("view", self.server.port, app="boxed")
        self.assertLessEqual(len(view["pids"]), 3)
        self.assertEqual((view["devices"], view["connects"]), (["lo"], False))
        # Its app lies in /tmp too.
        self.assertLessEqual(set(view["tmp"]), set(self.folder.parts))
        self.assertEqual(view["folder"], ["session_metadata.json", "tmp"])

    def test_sandboxed_worker_has_the_network_if_it_asks_for_it(self):
        if not self.sandboxed():
            return
        self.assertTrue(self.completes("view", self.server.port, app="networked")["connects"])

    def test_sandboxed_worker_keeps_its_files(self):
        if not self.sandboxed():
            return
        session = self.server.run("boxed", "keeps")["session_id"]
        self.server.kill_worker(session)
        self.assertEqual(self.server.output("boxed", "reads", session=session), "mine too!")
        self.server.delete(f"/sessions/{session}")
        self.nothing_is_left()

    def test_sandboxed_worker_leaves_no_process(self):
        if not self.sandboxed():
            return
        self.completes("sheds_its_mark", app="boxed")
        task = self.served_beside("fork_bomb", {"most": 30}, app="boxed")
        self.assertEqual(task["output"], {"made": 30, "errno": None})


@unittest.skipUnless(os.geteuid() == 0, "only root can start workers as other users")
class Ids(Limits):
    """With a user id for each worker. Takes root."""

    flags = ("--worker-uids", f"{FIRST}-{LAST}")

    def who(self, session):
        return self.server.output("hostile", "who", session=session)

    def test_each_worker_has_an_id_of_its_own(self):
        sessions = [self.server.new_session("hostile") for _ in range(3)]
        found = [self.who(session) for session in sessions]
        self.assertEqual(len({who["uid"] for who in found}), 3)
        for who in found:
            self.assertTrue(FIRST <= who["uid"] <= LAST)
            self.assertEqual((who["gid"], who["groups"]), (who["uid"], []))
            folder = os.stat(who["folder"])
            self.assertEqual((folder.st_uid, folder.st_gid, folder.st_mode & 0o777), (who["uid"], who["gid"], 0o700))
        for session in sessions:
            self.server.delete(f"/sessions/{session}")
        self.nothing_is_left()

    def test_worker_cannot_touch_other_sessions(self):
        outcome = self.attempts("hostile")
        self.assertEqual(outcome.pop("signal"), errno.EPERM)
        self.assertEqual(outcome, dict.fromkeys(outcome, errno.EACCES))
        self.assertEqual(len(outcome), 7)

    def test_what_a_worker_left_lives_until_its_own_session_ends(self):
        task = self.server.run("hostile", "sheds_its_mark")
        other = self.server.new_session("hostile")
        pid = self.who(other)["pid"]
        self.server.delete(f"/sessions/{other}")
        wait_for(lambda: pid not in processes(), "the end of the other worker")
        self.call_healthy()
        self.assertEqual(self.server.output("hostile", "echo", 1, session=task["session_id"]), 1)
        self.assertIn(task["output"], processes())
        self.server.delete(f"/sessions/{task['session_id']}")
        self.nothing_is_left()

    def test_session_keeps_its_files_under_another_id(self):
        task = self.server.run("hostile", "keeps")
        session = task["session_id"]
        before = self.who(session)
        self.server.kill_worker(session)
        self.assertEqual(self.server.output("hostile", "reads", session=session), "mine too!")
        self.assertNotEqual(self.who(session)["uid"], before["uid"])
        self.assertEqual(os.lstat(before["folder"] + "/link").st_uid, before["uid"])  # what it leads to stays root's
        self.assertEqual(os.stat("/etc/passwd").st_uid, 0)
        self.assertEqual((Path(before["folder"]) / "inner/deeper/file").read_text(), "mine too!")
        self.server.delete(f"/sessions/{session}")
        self.nothing_is_left()

    def test_folder_is_the_servers_again_before_an_id_comes_again(self):
        who = self.completes("who")
        # Whoever gets an id next takes back what is over.
        task = wait_for(lambda: self.folder_is_taken_back(who), "the server to have a folder again")
        leases = {int(name) for name in os.listdir(self.server.data / "worker-ids")}
        self.assertIn(task["output"]["uid"], leases)
        self.assertNotIn(who["uid"], leases)
        self.server.delete(f"/sessions/{task['session_id']}")
        self.nothing_is_left()

    def folder_is_taken_back(self, who):
        task = self.server.run("hostile", "who")
        folder = os.stat(who["folder"])
        if (folder.st_uid, folder.st_mode & 0o777) == (0, 0o700):
            return task
        self.server.delete(f"/sessions/{task['session_id']}")
        return None

    def test_server_ends_no_other_process_for_a_dead_worker(self):
        victim = self.server.worker(self.healthy)
        start = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[19])
        for app in ["hostile"] + ["boxed"] * self.has_sandbox:
            task = self.server.run(app, "notes_and_dies", {"pid": victim, "start": start})
            self.is_lost(task)
            self.assertEqual(self.server.output(app, "echo", 1, session=task["session_id"]), 1)
            self.server.delete(f"/sessions/{task['session_id']}")
        self.nothing_is_left()
        self.assertEqual(self.server.worker(self.healthy), victim)

    def test_link_in_a_session_folder_is_not_written_through(self):
        victim = self.folder / "victim"
        victim.write_text("untouched")
        session = self.server.run("hostile", "traps", str(victim))["session_id"]
        self.server.kill_worker(session)
        self.server.output("hostile", "echo", session=session)
        self.assertEqual(victim.read_text(), "untouched")
        self.server.delete(f"/sessions/{session}")
        self.nothing_is_left()


class Forks(Served):
    """Workers that are forked or started before they have a session."""

    @classmethod
    def make_apps(cls, folder):
        cls.folder.chmod(0o711)
        shutil.copytree(SOURCE / "sdk" / "python" / "sojourn", cls.folder / "sdk" / "sojourn")
        write_python(folder, "forked", "prefork = true", "processes = 50")
        write_python(folder, "warm", "min_warm = 1")
        write_python(folder, "warm-forked", "prefork = true\nmin_warm = 1")

    def setUp(self):
        ready = self.server.get("/readyz").body
        self.limits, self.has_ids = ready["limits"], ready["worker_ids"]

    def test_forks_and_spares_have_what_any_worker_has(self):
        for app in "forked", "warm", "warm-forked":
            with self.subTest(app):
                session = self.server.new_session(app)
                who = self.server.output(app, "who", session=session)
                self.assertEqual(set(who["uids"]), {who["uid"]})
                self.assertEqual(set(who["gids"]), {who["uid"]})
                self.assertEqual(FIRST <= who["uid"] <= LAST, self.has_ids)
                self.assertEqual(who["groups"], [] if self.has_ids else os.getgroups())
                self.assertEqual(set(who["signals_parents"]), {errno.EPERM if self.has_ids else None})
                self.assertGreater(len(who["descriptors"]), 3)
                folder = os.stat(who["folder"])
                self.assertEqual((folder.st_uid, folder.st_gid), (who["uid"], who["uid"]))
                self.assertEqual(self.server.output(app, "writes", session=session), "!")
                self.server.kill_worker(session)
                self.assertEqual(self.server.output(app, "writes", session=session), "!!")
                self.server.delete(f"/sessions/{session}")

    def test_fork_bomb_of_a_fork(self):
        session = self.server.new_session("forked")
        outcome = self.server.output("forked", "fork_bomb", {"most": 100}, session=session)
        if self.limits == "cgroup" or self.has_ids:
            self.assertEqual(outcome["errno"], errno.EAGAIN)
            self.assertLess(outcome["made"], 50)
        else:
            self.assertEqual(outcome, {"made": 100, "errno": None})
        self.server.delete(f"/sessions/{session}")

    def test_file_of_a_caller_is_the_workers(self):
        ticket = self.server.post("/files", {"files": [{"uri": "", "size": 4}]}).data[0]
        self.server.ask("PUT", ticket["upload_url"].removeprefix(self.server.url), b"text",
                        {"Content-Type": "text/plain"})
        for app in "forked", "warm":
            self.assertEqual(self.server.output(app, "reads_file", {"file": ticket["uri"]}), "text")


@unittest.skipUnless(os.geteuid() == 0, "only root can start workers as other users")
class ForksWithIds(Forks):
    flags = ("--worker-uids", f"{FIRST}-{LAST}")


if __name__ == "__main__":
    unittest.main()
