"""The soak's checks find what they are for: each thing that could be left behind is left, and named."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from e2e.program import Program, stop_if_running, wait_for
from soak.growth import Growth
from soak.rest import Rest

FORKED = "tests/forked"
SLEEPER = "/bin/sleep"


class Rests(unittest.TestCase):
    """One server, at rest before each test and after it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="sojourn-rest-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        for name in ("apps", "temporary"):
            (cls.folder / name).mkdir()
        (cls.folder / "apps" / "forked").symlink_to(Path(__file__).resolve().parent / "apps" / "forked")
        cls.server = Program(cls.folder / "apps", cls.folder / "data")
        cls.addClassCleanup(cls.server.log_file.close)
        cls.server.start()
        cls.addClassCleanup(stop_if_running, cls.server)
        cls.mark = f"rest-{os.getpid()}-{time.monotonic_ns()}"
        cls.rest = Rest(cls.server, {FORKED: 2}, cls.mark, cls.folder / "temporary")
        cls.addClassCleanup(cls.rest.line.close)
        cls.server.delete(f"/sessions/{cls.server.run(FORKED, 'count', session='new')['session_id']}")
        cls.rest.wait()
        cls.rest.remember()

    def setUp(self):
        self.rest.wait()
        self.addCleanup(self.rest.wait)

    def finds(self, words):
        wait_for(lambda: any(words in finding for finding in self.rest.findings()), f"a finding with: {words}")

    def test_a_session_that_is_not_over(self):
        session = self.server.run(FORKED, "until_cancelled", session="new", wait=False)["session_id"]
        self.addCleanup(self.server.delete, f"/sessions/{session}")
        self.finds("sojourn_sessions_live of tests/forked is 1")
        self.finds("sojourn_workers of tests/forked is 1")
        self.finds(f"{session} of {FORKED} is active")
        self.finds("are not 3:")  # processes
        self.finds("descriptors of server: more by {")

    def test_a_connection(self):
        with socket.create_connection((self.server.host, self.server.port)):
            self.finds("connections: 2")
            self.finds("descriptors of server: more by {'socket': 1}")

    def test_what_was_being_closed_when_it_was_remembered(self):
        rest = Rest(self.server, {FORKED: 2}, self.mark, self.rest.temporary)
        self.addCleanup(rest.line.close)
        self.rest.line.close()
        rest.wait()
        with socket.create_connection((self.server.host, self.server.port)):
            wait_for(lambda: "connections: 2, one of them this one" in rest.findings(), "the connection")
            rest.remember()
        rest.wait()
        with socket.create_connection((self.server.host, self.server.port)):
            wait_for(lambda: "descriptors of server: more by {'socket': 1}" in rest.findings(), "one more")

    def test_a_spare_that_is_gone(self):
        rest = Rest(self.server, {FORKED: 3}, self.mark, self.rest.temporary)
        self.addCleanup(rest.line.close)
        findings = rest.findings()
        self.assertIn("spares: {'tests/forked': 2}", findings)
        self.assertTrue(any("are not 4:" in finding for finding in findings), findings)

    def test_a_process_that_nobody_looks_after(self):
        process = subprocess.Popen([self.mark, "60"], executable=SLEEPER)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.finds(f"what a worker started lives on: {process.pid}")

    def test_a_parent_that_is_another(self):
        rest = Rest(self.server, {FORKED: 2}, self.mark, self.rest.temporary)
        self.addCleanup(rest.line.close)
        rest.remember()
        rest.pids = {**rest.pids, f"parent of {FORKED}": 1}
        self.assertTrue(any(finding.startswith("other processes:") for finding in rest.findings()))

    def test_a_thread(self):
        self.rest.threads["server"] -= 1
        try:
            self.finds("threads of server")
        finally:
            self.rest.threads["server"] += 1

    def test_files(self):
        for path, words in ((self.rest.temporary / "x", "a temporary file"),
                            (self.server.data / "x", "in the data folder"),
                            (self.server.data / "files" / "x.new", "half made")):
            with self.subTest(path=path):
                path.touch()
                self.finds(words)
                path.unlink()

    def test_a_zombie(self):
        """This process is made one of those that stay, so that its child that ended is theirs."""
        child = subprocess.Popen(["/bin/true"])
        self.addCleanup(child.wait)
        lasting = self.rest.lasting
        self.rest.lasting = lambda: {"server": os.getpid()}
        try:
            wait_for(lambda: any(f"{child.pid} is dead" in finding for finding in self.rest.zombies()), "a zombie")
        finally:
            self.rest.lasting = lasting


class Growths(unittest.TestCase):
    NOISE = 2 << 20

    def growth(self, bytes_of):
        """Of 20 rests, each after 500 more sessions, that find `bytes_of(sessions)` in use."""
        growth = Growth("server", self.NOISE)
        for rest in range(21):
            growth.add(500 * rest, bytes_of(500 * rest))
        return growth

    def test_a_leak_of_1_kib_a_session_is_found(self):
        self.assertTrue(self.growth(lambda sessions: (80 << 20) + 1024 * sessions).leaks())

    def test_it_is_found_where_it_first_fills_what_was_free(self):
        self.assertTrue(self.growth(lambda sessions: max(80 << 20, (78 << 20) + 1024 * sessions)).leaks())

    def test_less_than_a_record_is_no_leak(self):
        self.assertFalse(self.growth(lambda sessions: (80 << 20) + 350 * sessions).leaks())

    def test_steps_and_noise_are_no_leak(self):
        self.assertFalse(self.growth(lambda sessions: (80 << 20) + (self.NOISE if sessions > 4000 else 0)).leaks())
        self.assertFalse(self.growth(lambda sessions: (80 << 20) + sessions * 7919 % self.NOISE).leaks())


if __name__ == "__main__":
    unittest.main()
