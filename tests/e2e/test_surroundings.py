"""What a server does when its surroundings fail it: disk, descriptors, processes, signals, and its apps' folders."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from e2e.program import (BINARY, COMPLETED, FAILED, OWN_APPS, PATIENCE, SOURCE, Gate, Program, clean_environment,
                         command, link_apps, wait_for, write_app)

STUBBORN = """
import os, signal, sys, time
from sojourn import App, serve

class Stubborn(App):
    def run(self, input):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(input["ready"], "w").close()
        while True:
            time.sleep(1000)

serve(Stubborn)
"""


class Surroundings(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.apps = self.folder / "apps"
        self.apps.mkdir()
        link_apps(self.apps)

    def program(self, *flags, data=None, kind=Program, **options):
        server = kind(self.apps, data or self.folder / "data", *flags, **options)
        self.addCleanup(server.log_file.close)
        self.addCleanup(lambda: server.process and server.process.poll() is None and server.kill())
        return server

    def verified(self, server):
        done = command("audit", "verify", "--all", "--data", server.data)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def fifo(self):
        os.mkfifo(self.folder / "gate")
        gate = Gate(self.folder / "gate")
        self.addCleanup(gate.open)
        return gate


def processor_time(pid):
    """Seconds that a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def count_of_descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


class Limited(Program):
    """A server whose hard limit of something is lowered, and that may be another user."""

    def __init__(self, *words, limits=(), user=None, binary=BINARY, **options):
        super().__init__(*words, **options)
        self.limits, self.user, self.binary = limits, user, binary

    def spawn(self):
        words = [self.binary, "serve", "--listen", "127.0.0.1:0", "--data", self.data, "--apps", self.apps, *self.flags]
        # In a process between, since a limit set in a forked Python would hold for it too.
        script = "import os, resource, sys\n"
        if self.user is not None:
            script += f"os.setgroups([]); os.setgid({self.user}); os.setuid({self.user})\n"
        for name, limit in self.limits:
            script += f"resource.setrlimit(resource.{name}, ({limit}, {limit}))\n"
        script += "os.execv(sys.argv[1], sys.argv[1:])\n"
        self.process = subprocess.Popen([sys.executable, "-c", script, *map(str, words)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.log_file, env=self.environment, cwd="/")


class Descriptors(Surroundings):
    def test_connections_past_the_limit_are_refused_and_live_sessions_go_on(self):
        server = self.program(kind=Limited, limits=[("RLIMIT_NOFILE", 128)])
        server.start()
        session = server.new_session("counter")
        server.output("counter", "increment", {"key": "a"}, session=session)
        at_rest = count_of_descriptors(server)
        with contextlib.ExitStack() as stack:
            refused = []
            for _ in range(200):
                client = stack.enter_context(socket.create_connection((server.host, server.port), PATIENCE))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = client.recv(4096)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    refused.append(answer)
                    client.close()
                    if len(refused) == 20:
                        break
            self.assertEqual(len(refused), 20)
            for answer in refused:
                self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
                self.assertIn(b"Retry-After: ", answer)
            # It waits, and does not try again and again.
            before = processor_time(server.process.pid)
            self.assertFalse(wait_quietly(server))
            self.assertLess(processor_time(server.process.pid) - before, 0.3)
            # A connection that it has can still open a session, which takes descriptors too.
            client.close()
            kept = stack.pop_all()
        kept.close()
        wait_for(lambda: count_of_descriptors(server) <= at_rest, "the descriptors to be free")
        self.assertEqual(server.output("counter", "increment", {"key": "a"}, session=session)["current"], 2)
        server.stop()

    def test_workers_past_the_limit_are_refused_until_descriptors_are_free(self):
        server = self.program(kind=Limited, limits=[("RLIMIT_NOFILE", 64)])
        server.start()
        sessions, failed = [], None
        while failed is None:
            self.assertLess(len(sessions), 30)
            task = server.run("counter", "increment", {"key": "a"}, session=server.new_session("counter"))
            if task["status"] == COMPLETED:
                sessions.append(task["session_id"])
            else:
                failed = task
        self.assertEqual((failed["status"], failed["error_info"]["code"]), (FAILED, "unavailable"), failed)
        self.assertTrue(failed["error_info"]["retryable"], failed)
        self.assertGreater(len(sessions), 5)
        for session in sessions[1:]:
            self.assertEqual(server.output("counter", "increment", {"key": "a"}, session=session)["current"], 2)
        # Of two: a connection that is just closing may still hold a descriptor.
        for session in sessions[:2]:
            server.delete(f"/sessions/{session}")
        # The refused session is not lost by that.
        again = server.output("counter", "increment", {"key": "a"}, session=failed["session_id"])
        self.assertEqual(again["current"], 1)
        server.stop()
        self.verified(server)


def wait_quietly(server):
    """Half a second in which the server has nothing to do; whether it ended."""
    try:
        server.process.wait(0.5)
        return True
    except subprocess.TimeoutExpired:
        return False


class Removed(Surroundings):
    """Somebody takes the data folder away under a running server."""

    def test_calls_are_refused_until_the_store_is_back_where_it_was(self):
        server = self.program()
        server.start()
        session = server.new_session("counter")
        server.output("counter", "increment", {"key": "a"}, session=session)
        server.data.rename(self.folder / "aside")
        ready = server.get("/readyz")
        self.assertEqual((ready.status, ready.body["code"]), (503, "store_read_only"), ready.text)
        self.assertIn("sojourn.db' was removed or replaced while it is open", ready.body["detail"])
        for answer in (server.post("/sessions", {}), server.ask_run("counter", "increment", {"key": "a"}, session=session),
                       server.ask_run("counter", "increment", {"key": "a"}, session=session, wait=False)):
            error = answer.error if answer.status != 200 else answer.data["error_info"]
            self.assertEqual(error["code"], "store_read_only", answer.text)
            self.assertIn("was removed or replaced", error["message"])
        self.assertRegex(server.log(), "the store refused changes.*sojourn.db' was removed or replaced")
        self.assertEqual(server.get("/healthz").status, 200)
        self.assertEqual(server.session(session)["status"], "active")
        shutil.rmtree(server.data, ignore_errors=True)  # what it made there meanwhile
        (self.folder / "aside").rename(server.data)
        self.assertEqual(server.get("/readyz").status, 200)
        wait_for(lambda: (answer := server.ask_run("counter", "increment", {"key": "a"}, session=session)).status == 200
                 and answer.data["status"] == COMPLETED, "a call")
        server.stop()
        self.verified(server)

    def test_a_server_whose_data_is_removed_stops_and_another_begins_anew(self):
        server = self.program()
        server.start()
        session = server.new_session("counter")
        server.output("counter", "increment", {"key": "a"}, session=session)
        # In two steps, for the server may be writing a file there.
        server.data.rename(self.folder / "aside")
        shutil.rmtree(self.folder / "aside")
        self.assertEqual(server.get("/readyz").status, 503)
        server.stop()
        server.start()
        self.assertEqual(server.get("/readyz").status, 200)
        self.assertEqual(server.get(f"/sessions/{session}").status, 404)
        self.assertEqual(server.output("counter", "increment", {"key": "a"})["current"], 1)
        server.stop()
        self.verified(server)


@unittest.skipUnless(os.geteuid() == 0, "another user's limit of processes can be set by root only")
class Processes(Surroundings):
    def limited(self, manifest_lines=""):
        """A server that may have 30 processes. RLIMIT_NPROC does not bind root: it runs as a user that nobody else is."""
        self.user = user = 61_000 + os.getpid() % 4_000
        self.folder.chmod(0o755)
        shutil.copytree(SOURCE / "sdk" / "python" / "sojourn", self.folder / "sdk" / "sojourn")
        shutil.copytree(SOURCE / "apps" / "counter", self.folder / "open" / "counter")
        manifest = self.folder / "open" / "counter" / "app.toml"
        text = manifest.read_text().replace("{app}/../../sdk/python", str(self.folder / "sdk"))
        manifest.write_text(manifest_lines + text)
        binary = shutil.copy(BINARY, self.folder / "sojourn")
        (self.folder / "data").mkdir()
        os.chown(self.folder / "data", user, user)
        self.apps = self.folder / "open"
        return self.program(kind=Limited, user=user, binary=binary, limits=[("RLIMIT_NPROC", 30)]).start()

    def test_no_process_can_be_made(self):
        server = self.limited()
        sessions, refused = [], None
        while refused is None:
            self.assertLess(len(sessions), 30)
            task = server.run("counter", "increment", {"key": "a"}, session=server.new_session("counter"))
            if task["status"] == COMPLETED:
                sessions.append(task["session_id"])
            else:
                refused = task
        self.assertEqual(refused["status"], FAILED, refused)
        # Where the limit left room for the process, but not for its threads, the app says so itself.
        where = refused["error_info"]["code"]
        self.assertIn(where, ("unavailable", "worker_start_failed"), refused)
        words = "temporarily unavailable" if where == "unavailable" else "start new thread"
        self.assertIn(words, str(refused["error_info"]))
        self.assertGreater(len(sessions), 3)
        for session in sessions:
            self.assertEqual(server.output("counter", "increment", {"key": "a"}, session=session)["current"], 2)
        for session in sessions[:2]:
            server.delete(f"/sessions/{session}")
        self.assertEqual(server.output("counter", "increment", {"key": "a"}, session=refused["session_id"])["current"],
                         1)
        server.stop()
        self.verified(server)

    def test_no_fork_can_be_made(self):
        server = self.limited("prefork = true\n")
        old = [server.run("counter", "increment", {"key": "a"})["session_id"] for _ in range(2)]
        others = [subprocess.Popen(["sleep", "3600"], user=self.user, group=self.user, extra_groups=[])
                  for _ in range(30)]
        try:
            # The fork that was made ahead may be there, but then not the thread that it starts.
            answers = [server.ask_run("counter", "increment", {"key": "a"}) for _ in range(3)]
            refused = answers[-1]
            self.assertEqual((refused.status, refused.body["code"], refused.headers["Retry-After"]),
                             (503, "unavailable", "1"), refused.text)
            self.assertIn("could not fork", refused.body["detail"])
            self.assertEqual(server.session(refused.error["details"]["session_id"])["status"], "ended")
            for session in old:
                self.assertEqual(server.output("counter", "increment", {"key": "a"}, session=session)["current"], 2)
        finally:
            for other in others:
                other.kill()
                other.wait()
        self.assertEqual(server.output("counter", "increment", {"key": "a"})["current"], 1)
        server.stop()
        self.verified(server)


class Disk(Surroundings):
    """A small file system that is full for real."""

    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "sojourn-e2e", self.disk], capture_output=True)
        if done.returncode != 0:
            self.fail(f"this test mounts a small file system, which takes root: {done.stderr.decode()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", self.disk], check=True)
        self.server = self.program(data=self.disk / "data")

    def fill(self):
        with contextlib.suppress(OSError), open(self.disk / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self):
        (self.disk / "filler").unlink()

    def increment(self, session, **fields):
        return self.server.ask_run("counter", "increment", {"key": "a"}, session=session, **fields)

    def fill_the_store(self, session):
        """Calls until the store itself has no room: (how many were acknowledged, the refusal)."""
        acknowledged = 0
        while True:
            answer = self.server.ask("PUT", f"/sessions/{session}/state/big{acknowledged}", "x" * 30_000)
            if answer.status != 200:
                return acknowledged, answer
            acknowledged += 1
            self.assertLess(acknowledged, 1000)

    def test_full_disk_refuses_writes_and_everything_works_once_there_is_room(self):
        self.server.start()
        session = self.server.new_session("counter")
        self.increment(session)
        self.fill()
        acknowledged, refusal = self.fill_the_store(session)
        self.assertEqual((refusal.status, refusal.body["code"]), (507, "store_full"), refusal.text)
        # Calls, whether waited for or not; new sessions.
        for answer in (self.increment(session), self.increment(session, headers={"Idempotency-Key": "k"}), self.increment(session, wait=False),
                       self.increment("new"), self.server.post("/sessions", {"app": "counter"})):
            code = answer.body["code"] if answer.status != 200 else answer.data["error_info"]["code"]
            self.assertEqual(code, "store_full", answer.text)
        # What is stored can be read.
        state = self.server.get(f"/sessions/{session}/state").data
        self.assertEqual((state["a"], len(state)), (1, acknowledged + 1))
        self.assertEqual(self.server.session(session)["status"], "active")
        self.assertTrue(self.server.events(session))
        self.assertEqual(self.server.get("/healthz").status, 200)
        self.free()
        self.assertEqual(wait_for(lambda: (answer := self.increment(session)).status == 200
                                  and answer.data["status"] == COMPLETED and answer.data["output"], "a call")["current"],
                         2)
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"})["current"], 1)
        self.assertRegex(self.server.log(), "the store refused changes.*store_full")
        self.server.stop()
        self.verified(self.server)

    def test_disk_that_fills_up_in_an_upload_of_an_artefact_leaves_nothing_of_it(self):
        self.server.start()
        session = self.server.post("/sessions", {}).data["id"]
        put = lambda path, content: self.server.ask("PUT", f"/sessions/{session}/artifacts/{path}", content)
        self.assertEqual(put("before", b"kept").status, 201)
        with socket.create_connection((self.server.host, self.server.port), PATIENCE) as connection:
            with contextlib.suppress(OSError):  # it may be answered before all of it is sent
                connection.sendall(f"PUT /sessions/{session}/artifacts/large HTTP/1.1\r\nHost: {self.server.host}\r\n"
                                   f"Content-Length: {8 << 20}\r\n\r\n".encode() + bytes(8 << 20))
            response = http.client.HTTPResponse(connection)
            response.begin()
            self.assertEqual((response.status, json.loads(response.read())["code"]), (507, "store_full"))
        self.assertEqual(put("after", b"kept").status, 201)
        listed = self.server.get(f"/sessions/{session}/artifacts").data
        self.assertEqual([told["path"] for told in listed], ["after", "before"])
        self.assertEqual(list((self.server.data / "artifacts" / "incoming").iterdir()), [])
        self.server.stop()
        self.verified(self.server)

    def test_crash_on_a_full_disk_loses_nothing_acknowledged(self):
        self.server.start()
        session = self.server.new_session("counter")
        self.increment(session)
        self.fill()
        acknowledged, _ = self.fill_the_store(session)
        self.server.kill()
        # There may be no room to start; then it says so, and harms nothing.
        self.server.spawn()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.assertEqual(self.server.process.wait(3), 3, self.server.log())
            self.assertIn("full", self.server.log())
        if self.server.process.poll() is None:
            self.server.process.kill()
            self.server.process.wait()
        self.server.process.stdout.close()
        self.free()
        self.server.start()
        state = self.server.get(f"/sessions/{session}/state").data
        self.assertEqual((state["a"], len(state)), (1, acknowledged + 1))
        self.assertEqual(self.increment(session).data["output"]["current"], 2)
        self.server.stop()
        self.verified(self.server)


class Corrupt(Surroundings):
    def test_flipped_bytes_are_named_and_not_served(self):
        server = self.program()
        server.start()
        session = server.new_session("counter")
        for _ in range(30):
            server.output("counter", "increment", {"key": "a"}, session=session)
        server.stop()
        file = server.data / "sojourn.db"
        for path in server.data.glob("sojourn.db-*"):
            path.unlink()
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[:100] = bytes(100)
        file.write_bytes(damaged)
        done = command("serve", "--listen", "127.0.0.1:0", "--data", server.data, "--apps", self.apps)
        self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
        self.assertIn("sojourn.db", done.stderr)
        self.assertEqual(file.read_bytes()[:100], bytes(100))
        # A text in a journal that was altered in the file is named by its session and event.
        damaged = bytearray(whole)
        at = damaged.index(b"call.completed")
        damaged[at : at + 14] = b"call.completeD"
        file.write_bytes(damaged)
        done = command("audit", "verify", "--all", "--data", server.data)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn(session, done.stdout + done.stderr)


class Signals(Surroundings):
    def test_term_while_it_starts_and_recovers(self):
        server = self.program()
        server.start()
        sessions = [server.new_session("counter") for _ in range(5)]
        for session in sessions:
            server.output("counter", "increment", {"key": "a"}, session=session)
        server.kill()
        for step in range(12):
            server.spawn()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(step * 0.004)
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(PATIENCE)
            server.process.stdout.close()
            # Before it has asked for signals it dies of this one, like any program.
            self.assertIn(code, (0, -signal.SIGTERM), server.log())
            wait_for(lambda: not server.left(), "the end of what it had started")
        server.start()
        for session in sessions:
            self.assertEqual(server.output("counter", "increment", {"key": "a"}, session=session)["current"], 2)
        server.stop()
        self.verified(server)

    def test_term_with_a_call_that_ignores_it(self):
        write_app(self.apps, "stubborn", STUBBORN)
        server = self.program("--drain-grace", "0")
        server.start()
        session = server.new_session("stubborn")
        task = server.run("stubborn", "run", {"ready": str(self.folder / "ready")}, session=session, wait=False)
        wait_for((self.folder / "ready").exists, "the call to run")
        server.stop()
        server.start()
        failed = server.task(task["id"])
        self.assertEqual((failed["status"], failed["error_info"]["code"]), (FAILED, "WORKER_LOST"))
        server.stop()

    def test_hangup_stops_it_like_term(self):
        server = self.program()
        server.start()
        session = server.new_session("counter")
        server.output("counter", "increment", {"key": "a"}, session=session)
        server.process.send_signal(signal.SIGHUP)
        server.ended_well()
        self.verified(server)

    def test_standard_output_and_error_that_nobody_reads(self):
        server = self.program()
        server.start()
        server.process.stdout.close()
        server.process.send_signal(signal.SIGPIPE)
        self.assertEqual(server.output("counter", "increment", {"key": "a"})["current"], 1)
        # And from the start: a reader that went away.
        reading, writing = os.pipe()
        other = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", "--data", self.folder / "other", "--apps",
                                  self.apps], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=writing,
                                 env=clean_environment())
        os.close(writing)
        os.close(reading)
        with other:
            self.assertTrue(other.stdout.readline().startswith(b"listening on "))
            other.send_signal(signal.SIGTERM)
        self.assertEqual(other.returncode, 0)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(PATIENCE), 0)


class Apps(Surroundings):
    """The folder of an app is changed while it is served."""

    def setUp(self):
        super().setUp()
        write_app(self.apps, "mine", self.saying("one"), "recover = true")
        self.server = self.program()
        self.server.start()
        self.live = self.server.new_session("mine")
        self.assertEqual(self.server.output("mine", session=self.live), "one")
        self.addCleanup(self.server.stop)

    def saying(self, word):
        return f"from sojourn import App, serve\nclass Mine(App):\n    def run(self): return '{word}'\nserve(Mine)\n"

    def test_changed_program_serves_new_workers(self):
        (self.apps / "mine" / "main.py").write_text(self.saying("two"))
        self.assertEqual(self.server.output("mine", session=self.live), "one")
        self.assertEqual(self.server.output("mine"), "two")

    def test_broken_manifest_is_not_seen_before_the_next_start(self):
        (self.apps / "mine" / "app.toml").write_text("name =")
        self.assertEqual(self.server.output("mine", session=self.live), "one")
        self.assertEqual(self.server.output("mine"), "one")

    def test_removed_folder_fails_new_workers_only(self):
        shutil.rmtree(self.apps / "mine")
        self.assertEqual(self.server.output("mine", session=self.live), "one")
        task = self.server.run("mine")
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "worker_start_failed"), task)
        self.assertEqual(self.server.output("counter", "increment", {"key": "a"})["current"], 1)
        # It works again once the folder is back, also for sessions that there were.
        write_app(self.apps, "mine", self.saying("three"), "recover = true")
        self.server.kill_worker(self.live)
        self.assertEqual(self.server.output("mine", session=self.live), "three")


if __name__ == "__main__":
    unittest.main()
