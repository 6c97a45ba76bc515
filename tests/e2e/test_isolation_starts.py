"""Servers that are to isolate workers: what they refuse to start with, and what they find of those before them."""

import os
import shutil
import signal
import tempfile
import unittest
from pathlib import Path

from e2e.hostile import FIRST, LAST, write_hostile
from e2e.program import BINARY, FAILED, Program, processes, stop_if_running, wait_for
from e2e.test_surroundings import Limited


class OwnServer(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o711)
        (self.folder / "apps").mkdir()
        write_hostile(self.folder / "apps", "hostile", "recover = true")
        write_hostile(self.folder / "apps", "forgetful")

    def program(self, range=f"{FIRST}-{LAST}", kind=Program, **options):
        server = kind(self.folder / "apps", self.folder / "data", "--worker-uids", range, **options)
        self.addCleanup(server.log_file.close)
        self.addCleanup(stop_if_running, server)
        return server

    def refusal(self, server):
        server.spawn()
        self.assertEqual(server.process.wait(), 2)
        server.process.stdout.close()
        return server.log()


class IdsAreRefused(OwnServer):
    @unittest.skipUnless(os.geteuid() == 0, "only root can start a server as another user")
    def test_without_root(self):
        (self.folder / "data").mkdir()
        os.chown(self.folder / "data", 65534, 65534)
        self.folder.chmod(0o755)
        server = self.program(kind=Limited, user=65534, binary=shutil.copy(BINARY, self.folder / "sojourn"))
        self.assertIn("worker_uids: only a server that runs as root", self.refusal(server))

    def test_range_that_is_none(self):
        for range in "5", "7-5", "0-9", "a-b", "1-99999999999":
            self.assertIn("worker_uids", self.refusal(self.program(range)))


@unittest.skipUnless(os.geteuid() == 0, "only root can start workers as other users")
class IdsOfOneServer(OwnServer):
    def test_new_session_past_the_range_is_told_to_come_again(self):
        server = self.program(f"{FIRST}-{FIRST + 1}").start()
        first = server.run("hostile", "echo", 1)["session_id"]
        second = server.run("hostile", "echo", 1)["session_id"]
        refused = server.ask_run("hostile", "echo", 1)
        self.assertEqual((refused.status, refused.body["code"], refused.headers["Retry-After"]),
                         (503, "unavailable", "1"), refused.text)
        self.assertIn("all 2 user ids for workers are in use", refused.body["detail"])
        # Nothing is left of what was refused; who asked for a session has it, and may call again.
        self.assertEqual(server.over(refused.error["details"]["session_id"])["status"], "ended")
        for session in "new", None:
            refused = server.ask_run("forgetful", "echo", 1, session=session)
            self.assertEqual(refused.status, 503, refused.text)
            self.assertEqual(server.over(refused.error["details"]["session_id"])["status"], "ended")
        # With a key the call is kept, and a retry finds it.
        for _ in range(2):
            task = server.run("forgetful", "echo", 1, headers={"Idempotency-Key": "k"})
            self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "unavailable"))
        third = server.new_session("hostile")
        task = server.run("hostile", "echo", 1, session=third)
        self.assertEqual((task["status"], task["error_info"]["code"], task["error_info"]["retryable"]),
                         (FAILED, "unavailable", True))
        self.assertEqual(server.output("hostile", "echo", 2, session=first), 2)
        server.delete(f"/sessions/{second}")
        self.assertEqual(server.output("hostile", "echo", 3, session=third), 3)

    def test_processes_and_folders_are_found_by_their_id(self):
        server = self.program().start()
        task = server.run("hostile", "sheds_its_mark")
        session, who = task["session_id"], server.output("hostile", "who", session=task["session_id"])
        shed = task["output"]
        self.assertEqual(os.stat(f"/proc/{shed}").st_uid, who["uid"])
        supervisor = next(pid for pid, (parent, _) in processes().items() if parent == server.process.pid)
        # Both at once, so that nobody ends what the worker has sent away.
        for victim in server.process.pid, supervisor:
            os.kill(victim, signal.SIGSTOP)
        for victim in supervisor, server.process.pid:
            os.kill(victim, signal.SIGKILL)
        server.process.wait()
        server.process.stdout.close()
        wait_for(lambda: supervisor not in processes(), "the end of the supervisor")
        self.assertIn(shed, processes())
        server = self.program().start()
        self.assertEqual(os.stat(who["folder"]).st_uid, 0)
        wait_for(lambda: shed not in processes(), "the end of a process that a dead server left")
        self.assertEqual(server.output("hostile", "echo", 1, session=session), 1)

    def test_data_that_ids_cannot_reach_is_refused(self):
        self.folder.chmod(0o700)
        self.assertIn(f"cannot pass {self.folder}", self.refusal(self.program()))

    def test_data_of_before_is_closed_to_them(self):
        server = Program(self.folder / "apps", self.folder / "data").start()
        self.addCleanup(server.log_file.close)
        folder = server.output("hostile", "who")["folder"]
        server.stop()
        self.assertEqual(os.stat(folder).st_mode & 0o077, 0o055)
        self.program().start()
        self.assertEqual(os.stat(folder).st_mode & 0o077, 0)
        self.assertEqual(os.stat(self.folder / "data" / "sojourn.db").st_mode & 0o077, 0)


class NoSandbox(unittest.TestCase):
    """Where a sandbox cannot be made, its app is refused, and never run without."""

    def program(self, bubblewrap=None):
        folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        (folder / "apps").mkdir()
        (folder / "bin").mkdir()
        write_hostile(folder / "apps", "boxed", "sandbox = true")
        write_hostile(folder / "apps", "other")
        if bubblewrap:
            (folder / "bin" / "bwrap").write_text(bubblewrap.format(folder=folder))
            (folder / "bin" / "bwrap").chmod(0o755)
        server = Program(folder / "apps", folder / "data", environment={"PATH": f"{folder}/bin"})
        self.addCleanup(server.log_file.close)
        self.addCleanup(stop_if_running, server)
        return server.start()

    def refusal(self, bubblewrap=None):
        server = self.program(bubblewrap)
        self.assertIs(server.get("/readyz").body["sandbox"], False)
        self.assertEqual(server.output("other", "echo", 1), 1)
        answer = server.ask_run("boxed", "echo", 1)
        self.assertEqual((answer.status, answer.body["code"]), (404, "app_not_found"), answer.text)
        self.assertIn(answer.body["detail"].removeprefix("there is no app 'boxed': "), server.log())
        return answer.body["detail"]

    def test_without_bubblewrap(self):
        self.assertIn("there is no bwrap in PATH; install the package bubblewrap", self.refusal())

    def test_where_the_kernel_refuses(self):
        words = "bwrap: No permissions to create new namespace"
        self.assertIn(f"none can be made: {words}", self.refusal(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n'))

    def test_where_it_is_refused_later(self):
        server = self.program('#!/bin/sh\n[ ! -e {folder}/later ] || {{ echo "bwrap: Not now" >&2; exit 1; }}\n'
                              ': > {folder}/later\n')
        self.assertIs(server.get("/readyz").body["sandbox"], True)
        task = server.run("boxed", "echo", 1)
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "worker_start_failed"))
        self.assertIn("app boxed: its sandbox cannot be made: bwrap: Not now", task["error"])


if __name__ == "__main__":
    unittest.main()
