"""Workers that are forked from a parent that has loaded the app, and workers that wait for their session."""

import os
import signal
import unittest

from e2e.program import FAILED, SOURCE, Program, Served, family_of, folder_of, is_alive, process_status, wait_for

APP = """
import os, random, resource, signal, ssl, sys, tempfile, threading, time
from sojourn import App, serve

print("loading", tempfile.gettempdir())

class X(App):
    @classmethod
    def preload(cls):
        cls.loaded_by = os.getpid()
        cls.kept = open(__file__)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        random.seed(1)
        {preload}

    def setup(self, session):
        if session.setup == "fail":
            raise ValueError("no such model")

    def facts(self, session):
        descriptors = {{}}
        for name in os.listdir("/proc/self/fd"):
            try:
                descriptors[name] = os.readlink("/proc/self/fd/" + name)
            except OSError:
                pass
        try:
            kept = self.kept.read()
        except OSError as error:
            kept = type(error).__name__
        with open("/proc/self/limits") as limits:
            locks = next(line for line in limits if line.startswith("Max file locks"))
        return dict(
            pid=os.getpid(), parent=os.getppid(), group=os.getpgrp(), session=os.getsid(0), loaded_by=self.loaded_by,
            descriptors=descriptors, kept=kept, folder=os.getcwd(), environment=dict(os.environ),
            temporary=tempfile.gettempdir(),
            usr1=str(signal.getsignal(signal.SIGUSR1)), mark=locks.split()[3], setup=session.setup,
            cpu=resource.getrlimit(resource.RLIMIT_CPU)[0], tasks=len(os.listdir("/proc/self/task")),
            threads=[thread.name for thread in threading.enumerate()], seeds=seeds())

    def hold(self, session):
        time.sleep(3600)

    def spawn(self):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.execv("/bin/sleep", ["sleep", "3600"])
        return pid

def seeds():
    found = [random.random(), ssl.RAND_bytes(8).hex(), hash("x")]
    if "numpy" in sys.modules:
        found.append(float(sys.modules["numpy"].random.rand()))
    return found

if __name__ == "__main__":
    serve(X)
"""

WITHOUT_SPARE = """
import json, os, socket, struct
server = socket.socket(fileno=3)
def send(**frame):
    text = json.dumps(frame).encode()
    server.sendall(struct.pack(">I", len(text)) + text)
server.recv(65536)
send(type="hello", protocol=1, sdk="test/1", app="x", functions=["run"], capabilities=[])
server.recv(65536)
send(type="ready")
while server.recv(65536):
    pass
"""


def make_app(apps, name, source=APP, preload="", **keys):
    folder = apps / name
    folder.mkdir()
    (folder / "main.py").write_text(source.format(preload=preload) if source is APP else source)
    lines = [f'name = "{name}"', 'command = ["/usr/bin/python3", "{app}/main.py"]',
             'functions = ["facts", "hold", "spawn"]']
    lines += [f"{key} = {str(value).lower()}" for key, value in keys.items()]
    lines += ["[limits]", "cpu_seconds = 77", "[env]", f'PYTHONPATH = "{SOURCE}/sdk/python"']
    (folder / "app.toml").write_text("\n".join(lines))


class Forks(Served):
    @classmethod
    def make_apps(cls, apps):
        make_app(apps, "forks", preload="import numpy; numpy.random.seed(1)", prefork=True)
        make_app(apps, "second", prefork=True)
        make_app(apps, "killed", prefork=True)
        make_app(apps, "family", prefork=True,
                 preload="for child in [os.spawnl(os.P_NOWAIT, '/bin/false', 'false') for _ in range(5)]: "
                         "os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)")
        make_app(apps, "careless", prefork=True, preload="signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
        make_app(apps, "threads", prefork=True,
                 preload="threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()")
        make_app(apps, "broken", preload="raise LookupError('no model here')", prefork=True)
        make_app(apps, "exits", source="import sys\nsys.exit('there is no such module')\n", prefork=True)

    def facts(self, app="forks", **fields):
        return self.server.output(app, "facts", **fields)

    def error(self, app):
        """What a call of a new session fails with."""
        return self.server.run(app, "facts")["error_info"]

    def parent(self, app):
        return self.server.get(f"/apps/{app}").data["workers"]["parent"]

    def test_worker_is_surrounded_by_its_own_things_only(self):
        session = self.server.new_session("forks")
        seen = self.facts(session=session)
        self.assertEqual((seen["group"], seen["session"]), (seen["pid"], seen["pid"]))
        self.assertEqual(seen["loaded_by"], self.parent("forks"))
        self.assertEqual(seen["parent"], process_status(self.parent("forks"))[0])
        self.assertEqual(seen["usr1"], "0")
        self.assertEqual(seen["cpu"], 77)
        self.assertEqual(seen["threads"], ["MainThread", "sojourn-watcher"])
        environment = seen["environment"]
        self.assertEqual(environment["SOJOURN_SESSION"], session)
        self.assertEqual(environment["OPENBLAS_NUM_THREADS"], "1")
        self.assertNotIn("SOJOURN_PREFORK", environment)
        self.assertTrue(seen["folder"].endswith(session))
        self.assertEqual((environment["HOME"], environment["TMPDIR"]), (seen["folder"], seen["folder"] + "/tmp"))
        self.assertEqual(seen["temporary"], environment["TMPDIR"])
        self.assertEqual(self.server.session(session)["worker_id"], f"pid-{seen['pid']}")

    def test_worker_has_no_descriptor_of_its_parent(self):
        seen = self.facts()
        parent = open_in(self.parent("forks"))
        self.assertTrue(any(target.endswith("main.py") for target in parent), "the parent holds its file open")
        shared = set(seen["descriptors"].values()) & parent
        self.assertEqual(shared, {"/dev/null"})
        self.assertEqual(seen["kept"], "OSError")  # and says so to who reads it

    def test_workers_differ_in_mark_and_in_what_is_random(self):
        first, second = self.facts(), self.facts()
        self.assertEqual(first["loaded_by"], second["loaded_by"])
        self.assertNotEqual(first["pid"], second["pid"])
        self.assertNotEqual(first["mark"], second["mark"])
        owners = {int(mark) >> 32 for mark in (first["mark"], second["mark"])}
        self.assertEqual(len(owners), 1)
        (python, openssl, hashes, numpy), others = first["seeds"], second["seeds"]
        self.assertNotEqual(python, others[0])
        self.assertNotEqual(openssl, others[1])
        self.assertEqual(hashes, others[2], "the seed of hashes is the parent's, as documented")
        self.assertNotEqual(numpy, others[3])

    def test_end_of_a_session_ends_what_its_worker_left_and_nothing_of_another(self):
        first, second = self.server.new_session("forks"), self.server.new_session("forks")
        left = self.server.output("forks", "spawn", session=first)
        kept = self.server.output("forks", "spawn", session=second)
        self.server.delete(f"/sessions/{first}")
        wait_for(lambda: not lives(left), "the end of what the first session left")
        self.assertTrue(lives(kept))
        self.server.delete(f"/sessions/{second}")
        wait_for(lambda: not lives(kept), "the end of what the second session left")

    def test_failure_of_setup_fails_its_session_alone(self):
        session = self.server.new_session("forks", setup="fail")
        task = self.server.run("forks", "facts", session=session)
        self.assertEqual(task["status"], FAILED)
        self.assertIn("no such model", str(task["error"]))
        self.assertEqual(self.facts()["setup"], None)

    def test_live_sessions_go_on_when_the_parent_is_killed_and_new_ones_get_another(self):
        session = self.server.new_session("second")
        before = self.facts("second", session=session)
        os.kill(before["loaded_by"], signal.SIGKILL)
        wait_for(lambda: not lives(before["loaded_by"]), "the parent's end")
        after = self.facts("second", session=session)
        self.assertEqual(after["pid"], before["pid"])
        other = self.facts("second")
        self.assertNotEqual(other["loaded_by"], before["loaded_by"])
        self.assertEqual(self.facts("second", session=session)["pid"], before["pid"])

    def test_session_gets_another_fork_when_its_first_is_killed(self):
        self.facts("killed")
        parent = self.parent("killed")
        supervisor = process_status(parent)[0]
        # The fork that waits for the next session, and the next ones.
        for _ in range(5):
            blank = wait_for(lambda: [pid for pid, _ in family_of(supervisor)
                                      if pid != parent and folder_of(pid).endswith("/killed")], "a blank fork")
            for pid in blank:
                os.kill(pid, signal.SIGKILL)
            self.assertEqual(self.facts("killed")["loaded_by"], parent)

    def test_children_of_preload_and_their_signal_are_no_matter_of_the_forks(self):
        for app in ("family", "careless"):
            with self.subTest(app):
                first, second = self.facts(app), self.facts(app)
                self.assertEqual(first["loaded_by"], second["loaded_by"])
                self.assertNotEqual(first["pid"], second["pid"])

    def test_threads_that_preload_leaves_are_refused_by_name(self):
        error = self.error("threads")
        self.assertEqual(error["code"], "worker_start_failed")
        self.assertRegex(error["message"], r"preload left threads: python3 \(\d+\)")

    def test_failure_of_preload_is_told(self):
        error = self.error("broken")
        self.assertEqual(error["code"], "worker_start_failed")
        self.assertIn("preload failed: LookupError: no model here", error["message"])
        self.assertIn("main.py", error["details"]["traceback"])

    def test_program_that_ends_before_it_serves_is_told_with_its_last_words(self):
        error = self.error("exits")
        self.assertEqual(error["code"], "worker_start_failed")
        self.assertIn("exited with status 1 before it had loaded the app", error["message"])
        self.assertEqual(error["details"]["stderr"], "there is no such module")

    def test_app_that_cannot_be_loaded_is_tried_again_after_a_pause(self):
        for _ in range(3):
            self.server.run("broken", "facts")
        tries = self.server.log().count("an app's parent process is lost; its sessions go on  app=\"broken\"")
        self.server.run("broken", "facts")
        again = self.server.log().count("an app's parent process is lost; its sessions go on  app=\"broken\"")
        self.assertEqual(again, tries)


class Warm(Served):
    @classmethod
    def make_apps(cls, apps):
        make_app(apps, "forked", prefork=True, min_warm=2)
        make_app(apps, "started", min_warm=2)
        make_app(apps, "narrow", min_warm=5, max_sessions=3)
        make_app(apps, "unable", source=WITHOUT_SPARE, min_warm=1)

    def spares(self, app):
        return self.server.get(f"/apps/{app}").data["workers"]["spares"]

    def wait_for_spares(self, app, number):
        wait_for(lambda: self.spares(app) == number, f"{number} spares of {app}")

    def test_spares_are_leased_and_replaced(self):
        for app in ("forked", "started"):
            with self.subTest(app):
                self.wait_for_spares(app, 2)
                session = self.server.new_session(app, setup={"model": 7})
                seen = self.server.output(app, "facts", session=session)
                self.assertEqual(seen["setup"], {"model": 7})
                self.assertTrue(seen["folder"].endswith(session))
                environment = seen["environment"]
                self.assertEqual(environment["SOJOURN_SESSION"], session)
                self.assertEqual((environment["HOME"], environment["TMPDIR"]),
                                 (seen["folder"], seen["folder"] + "/tmp"))
                self.assertEqual(seen["temporary"], environment["TMPDIR"])
                self.assertIn("loading" if app == "started" else "", str(self.server.events(session)))
                self.wait_for_spares(app, 2)

    def test_spare_that_dies_is_replaced(self):
        self.wait_for_spares("started", 2)
        spare = next(pid for pid, _ in family_of(self.server.process.pid) if folder_of(pid).endswith("/started"))
        os.kill(spare, signal.SIGKILL)
        wait_for(lambda: "a spare worker died and is replaced" in self.server.log(), "its burial")
        self.wait_for_spares("started", 2)

    def test_spares_and_sessions_together_stay_within_max_sessions(self):
        self.wait_for_spares("narrow", 3)
        sessions = [self.server.new_session("narrow") for _ in range(2)]
        for session in sessions:
            self.server.output("narrow", "facts", session=session)
        self.wait_for_spares("narrow", 1)
        self.server.delete(f"/sessions/{sessions[0]}")
        self.wait_for_spares("narrow", 2)

    def test_program_that_cannot_wait_is_not_kept_warm(self):
        wait_for(lambda: "an app is not kept warm" in self.server.log(), "the warning")
        self.assertEqual(self.spares("unable"), 0)

    def test_nothing_is_left_of_a_server_that_is_killed(self):
        apps = self.folder / "apps"
        server = Program(apps, self.folder / "other").start()
        self.addCleanup(server.log_file.close)
        has_spares = lambda: server.get("/apps/forked").data["workers"]["spares"] == 2
        wait_for(has_spares, "the spares")
        task = server.run("forked", "hold", wait=False)
        wait_for(lambda: server.task(task["id"])["status"] == 7, "the call")
        wait_for(has_spares, "another spare")
        family = server.family()
        self.assertGreater(len(family), 8)
        server.kill()
        wait_for(lambda: not any(is_alive(member) for member in family), "the end of all that it had started")


def lives(pid):
    return process_status(pid) is not None


def open_in(pid):
    """What a process has open; it may close some of it meanwhile."""
    targets = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            targets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    return targets


if __name__ == "__main__":
    unittest.main()
