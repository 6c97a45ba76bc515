"""Everything that sessions do, at random, for a long time: created, called in every way, cancelled, kept alive,
ended, expired, put to sleep and woken, their workers killed and their clients gone. Now and then all of it comes to
rest; then nothing may be left of it, and each answer must be found again.

SOJOURN_SOAK_MINUTES of load (a few seconds without it); SOJOURN_SOAK_SEED repeats a run's choices, though not its
scheduling.
"""

import json
import os
import random
import re
import shutil
import tempfile
import time
import unittest
from pathlib import Path

from e2e.program import SOURCE, Program, command, wait_for
from e2e.test_webhooks import SETTINGS, Receiver
from soak.books import Books
from soak.growth import Growth
from soak.load import EVERYTHING, FORKED, NATIVE, NATIVE_FORKED, Life, Load
from soak.rest import Rest

MINUTES = float(os.environ.get("SOJOURN_SOAK_MINUTES", "0.05"))
SEED = int(os.environ.get("SOJOURN_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
BUILD = Path(os.environ.get("SOJOURN_BUILD", SOURCE / "build" / "release"))
CLIENTS = 8
ROUNDS = max(2, round(MINUTES * 3))
WARM_UP = max(1.0, MINUTES * 6)  # seconds
# A run of minutes goes on until a leak of 1 KiB for each session would be found; one of seconds finds large ones.
PROVES_MEMORY = MINUTES >= 5
# Sanitizers keep what was freed for a while.
JUDGES_MEMORY = os.environ.get("SOJOURN_SOAK_MEMORY") != "no"

POOLS = {FORKED: 2, NATIVE_FORKED: 1}
MEBIBYTE = 1 << 20


class Soak:
    """One server, its clients, and what is asked of it at each rest."""

    def __init__(self, test):
        self.test = test
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-soak-"))
        self.mark = f"soak-{os.getpid()}-{time.monotonic_ns()}"
        self.random = random.Random(SEED)
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()
        self.looked_at = set()  # folders of sessions
        self.make_apps(self.folder / "apps")
        self.server = Program(self.folder / "apps", self.folder / "data", "--log-level", "warning",
                              environment={"TMPDIR": str(self.temporary), **SETTINGS})
        self.receiver = Receiver()
        self.load = Load(self.server, self.random, self.mark, self.receiver)
        self.books = Books(self.test, self.server, self.load)
        self.rest = Rest(self.server, POOLS, self.mark, self.temporary)

    def make_apps(self, apps):
        apps.mkdir()
        for app in ("cold", "forked", "node"):
            (apps / app).symlink_to(Path(__file__).resolve().parent / "apps" / app)
        functions = re.search(r"functions = (\[.*?\])", (apps / "node" / "app.toml").read_text(), re.DOTALL)[1]
        for name, more in ((NATIVE, ""), (NATIVE_FORKED, "prefork = true\nmin_warm = 1\n")):
            folder = apps / name.removeprefix("tests/")
            folder.mkdir()
            (folder / "app.toml").write_text(
                f'name = "{name}"\ncommand = ["{BUILD}/tests/soak/soak_worker", "{name}"]\nfunctions = {functions}\n'
                f"session_timeout = 3600\nrecover = true\nsleep_after = 1\n{more}")

    def run(self):
        try:
            self.server.start()
            self.warm_up()
            rounds = 0
            while rounds < ROUNDS or self.proves_too_little():
                rounds += 1
                has_time = self.for_seconds(60 * MINUTES / ROUNDS)
                self.round(lambda has_time=has_time: has_time() or EVERYTHING - self.load.did.keys())
                self.note_memory()
            self.stop()
        except BaseException as error:
            error.add_note(f"seed {SEED}, did {dict(self.load.did)}\n{self.server.log()[-4000:]}")
            raise
        finally:
            self.receiver.close()
            self.rest.line.close()
            if self.server.process.poll() is None:
                self.server.kill()
            self.server.log_file.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def warm_up(self):
        """After this the server, its caches and the processes that it forks from have the size that they keep."""
        self.fill_caches()
        self.spare_parents()
        self.round(self.for_seconds(WARM_UP / 2))
        for app in POOLS:
            self.load.kill(self.rest.workers_of(app)["parent"])
            # This takes a spare, and only another parent can make the next.
            Life(self.load, app, self.random).run_without_one()
        self.spare_parents()
        self.round(self.for_seconds(WARM_UP / 2))
        self.rest.remember()
        # Caches that are not full yet grow.
        noise = {"server": (2 if PROVES_MEMORY else 64) * MEBIBYTE, "supervisor": MEBIBYTE // 4}
        self.growths = {name: Growth(name, noise.get(name, MEBIBYTE // 2)) for name in self.rest.lasting()}
        self.note_memory()

    def spare_parents(self):
        """From here on the processes that others are forked from are not killed."""
        self.rest.wait()
        self.load.parents = set(self.rest.lasting().values())

    def for_seconds(self, seconds):
        end = time.monotonic() + seconds
        return lambda: time.monotonic() < end

    def fill_caches(self):
        """Has the store's writer and readers pass through more pages than they keep (docs/reference/limits.md)."""
        value = "x" * 200_000
        for _ in range(400 if PROVES_MEMORY else 4):
            session = self.server.post("/sessions", {}).data["id"]
            self.server.ask("PUT", f"/sessions/{session}/state/filling", value)
            self.server.get(f"/sessions/{session}/state")
            self.server.delete(f"/sessions/{session}")

    def round(self, goes_on):
        """Load, and the rest after it."""
        self.load.run(CLIENTS, goes_on)
        self.rest.wait()
        self.books.close()
        self.books.compare_counters(self.rest.metrics())
        self.check_folders()

    def check_folders(self):
        """Of a session that is over its folder stays, with what it made; what was acquired or half made is gone."""
        for folder in self.server.data.glob("sessions/*/*"):
            if folder.name in self.looked_at:
                continue
            self.looked_at.add(folder.name)
            self.test.assertIn(folder.name, self.books.seen, "the folder of no session")
            # Some moments after a call its metadata is written anew.
            wait_for(lambda folder=folder: not list(folder.glob("*.new")), f"nothing half written in {folder}")
            metadata = json.loads((folder / "session_metadata.json").read_text())
            self.test.assertEqual(metadata["session_id"], folder.name)
            left = {path.name for path in folder.iterdir()} - {"session_metadata.json", "tmp", "files", "copy"}
            if left:
                raise AssertionError(f"{folder} has {left} left: {self.server.events(folder.name)}")
            self.test.assertEqual([path for name in ("tmp", "files") for path in folder.glob(f"{name}/*.new")], [])
        handed_out = 0
        for about in self.server.data.glob("files/*/about.json"):
            session = json.loads(about.read_text())["session"]
            self.test.assertIn(session, self.books.seen, "an upload, which was deleted")
            handed_out += 1
        self.test.assertEqual(handed_out, self.books.copies)

    # Memory.

    def note_memory(self):
        done = {"server": len(self.books.seen), "supervisor": self.books.starts.total()}
        for app in POOLS:
            done[f"parent of {app}"] = sum(number for (of, _), number in self.books.starts.items() if of == app)
        for name, bytes in self.rest.memory().items():
            self.growths[name].add(done[name], bytes)

    def proves_too_little(self):
        return PROVES_MEMORY and JUDGES_MEMORY and any(growth.found() > 1024 for growth in self.growths.values())

    # The end.

    def stop(self):
        group = self.rest.group_of_workers()
        self.rest.line.close()
        self.server.stop()
        self.test.assertEqual(list(self.temporary.iterdir()), [])
        self.test.assertFalse(group and group.exists(), group)
        done = command("audit", "verify", "--all", "--data", self.server.data)
        self.test.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr)
        for growth in self.growths.values():
            print(growth)
        for growth in self.growths.values():
            self.test.assertFalse(JUDGES_MEMORY and growth.leaks(), growth.points)


class Soaks(unittest.TestCase):
    def test_nothing_is_left_of_all_that_sessions_do_and_each_answer_is_found_again(self):
        print(f"SOJOURN_SOAK_SEED={SEED} SOJOURN_SOAK_MINUTES={MINUTES}", flush=True)
        soak = Soak(self)
        soak.run()
        # A load that did nothing would prove nothing.
        self.assertEqual(EVERYTHING - soak.load.did.keys(), set())
        print(f"{len(soak.books.seen)} sessions, {soak.books.calls.total()} calls; {dict(soak.load.did)}")


if __name__ == "__main__":
    unittest.main()
