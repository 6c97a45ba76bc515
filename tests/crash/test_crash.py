"""kill -9 under load, again and again on the same data: all that was acknowledged is there, nothing twice, and nothing
is left of what was killed.

SOJOURN_CRASH_ROUNDS rounds (60 without it) over SOJOURN_CRASH_LANES servers at a time; SOJOURN_CRASH_SEED repeats a
run's choices, though not its scheduling.
"""

import collections
import concurrent.futures
import http.client
import json
import os
import random
import shutil
import signal
import tempfile
import time
import unittest
from pathlib import Path

from crash.ledger import COUNTER, LEAVER, MEMORY, Ledger, Load
from e2e.program import Program, command, family_of, is_alive, link_apps, processes, wait_for

ROUNDS = int(os.environ.get("SOJOURN_CRASH_ROUNDS", "60"))
LANES = int(os.environ.get("SOJOURN_CRASH_LANES", "3"))
SEED = int(os.environ.get("SOJOURN_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
CLIENTS = 6
MOST_CALLS = 150  # of a round until the kill
SESSIONS_OF_LEAVER = 12  # at most, as its app.toml says
ROUNDS_ON_ONE_FOLDER = 25  # each check looks at all of a folder's journals

# What is killed, and how often of a hundred.
SERVER, BOTH, SUPERVISOR, WORKER, FORKED = "server", "server and supervisor", "supervisor", "worker", "forked process"
VICTIMS = {SERVER: 35, BOTH: 15, SUPERVISOR: 20, WORKER: 15, FORKED: 15}

GONE = (OSError, http.client.HTTPException)


class Lane:
    """Rounds on a server and a data folder of its own."""

    def __init__(self, test, number, rounds):
        self.test, self.number, self.rounds = test, number, rounds
        self.random = random.Random(f"{SEED} {number}")
        self.mark = f"crash-{os.getpid()}-{number}-{time.monotonic_ns()}"
        self.kills = collections.Counter()
        self.calls = 0

    def run(self):
        while self.rounds > 0:
            self.run_on_one_folder(min(self.rounds, ROUNDS_ON_ONE_FOLDER))
            self.rounds -= ROUNDS_ON_ONE_FOLDER
        return self

    def run_on_one_folder(self, rounds):
        folder = Path(tempfile.mkdtemp(prefix="sojourn-crash-"))
        (folder / "apps").mkdir()
        link_apps(folder / "apps")
        (folder / "apps" / "leaver").symlink_to(Path(__file__).resolve().parent / "apps" / "leaver")
        self.server = Program(folder / "apps", folder / "data")
        self.ledgers = []
        try:
            self.server.start()
            self.warm_up()
            for round in range(rounds):
                self.round = round
                self.run_round()
            for ledger in self.ledgers:
                ledger.check_again()
            self.end_sessions()
            self.check_descriptors()
            self.server.stop()
            self.test.assertEqual(self.left_behind(), [])
            self.verify_journals()
        except BaseException as error:
            error.add_note(f"lane {self.number} round {self.round} of seed {SEED}, killed: {dict(self.kills)}\n"
                           f"{self.server.log()[-4000:]}")
            raise
        finally:
            if self.server.process.poll() is None:
                self.server.kill()
            self.server.log_file.close()
            shutil.rmtree(folder, ignore_errors=True)

    def warm_up(self):
        """After this a quiet server has the descriptors that it keeps."""
        self.round = -1
        session = self.server.new_session(COUNTER)
        self.server.output(COUNTER, "increment", {"key": "n"}, session=session)
        self.server.delete(f"/sessions/{session}")
        self.descriptors = None
        self.check_descriptors()

    def run_round(self):
        self.ledgers += [Ledger(self.test, self.server, app) for app in (COUNTER, MEMORY, LEAVER)]
        victim = self.random.choices(list(VICTIMS), VICTIMS.values())[0]
        self.kills[victim] += 1
        load = Load(self.random, self.in_use(), CLIENTS, self.mark, GONE)
        before = self.random.choice([0, self.random.randrange(20), self.random.randrange(MOST_CALLS)])
        wait_for(lambda: load.answered >= before or load.errors, f"{before} answers")
        # Here time itself is what is wanted: the moment of the kill is random, and no condition.
        time.sleep(self.random.uniform(0, 0.01))
        if victim in (SERVER, BOTH):
            self.kill_server(load, victim)
        else:
            self.kill_one(load, victim)
        for ledger in self.in_use():
            ledger.check()
        self.calls += load.answered
        self.check_processes()
        self.check_folders()
        self.check_slots()

    def in_use(self):
        """Two of each app: one from a round before goes on, one is new."""
        return [ledger for app in (COUNTER, MEMORY, LEAVER)
                for ledger in [other for other in self.ledgers if other.app == app and not other.failed][-2:]]

    # Kills.

    def kill_server(self, load, victim):
        load.killed = True
        if victim == BOTH:
            supervisor = self.supervisor()
            if supervisor is not None:
                os.kill(supervisor, signal.SIGSTOP)  # or it would do its work in between
            self.end_server()
            if supervisor is not None:
                os.kill(supervisor, signal.SIGKILL)
        else:
            self.server.kill()
            self.test.assertEqual(self.left_behind(), [])
        load.join()
        self.verify_journals()
        if self.random.random() < 0.4:
            # Settling what a crash left may be cut short by the next one.
            self.server.spawn()
            time.sleep(self.random.uniform(0, 0.04))
            self.end_server()
        self.server.start()
        self.check_descriptors()

    def end_server(self):
        """Kills it alone. What it leaves is for its supervisor to end, or for the next server."""
        self.server.process.kill()
        self.server.process.wait()
        self.server.process.stdout.close()

    def kill_one(self, load, victim):
        """The server lives, and its other sessions go on."""
        family = self.server.family()
        supervisor = self.supervisor()
        workers = [pid for pid, (parent, _) in processes().items() if parent == supervisor]
        of_victim = {SUPERVISOR: [supervisor], WORKER: workers, FORKED: [int(pid) for pid in self.marked()]}[victim]
        if of_victim:
            try:
                os.kill(self.random.choice(of_victim), signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself
        if victim == SUPERVISOR:
            wait_for(lambda: not any(map(is_alive, family)), "the end of all that the supervisor had")
            new = self.server.run(COUNTER, "increment", {"key": "n"})
            self.test.assertEqual(new["output"]["current"], 1)
            self.server.delete(f"/sessions/{new['session_id']}")
        load.join()

    def supervisor(self):
        children = [pid for pid, (parent, _) in processes().items() if parent == self.server.process.pid]
        return children[0] if children else None

    # After it.

    def verify_journals(self):
        done = command("audit", "verify", "--all", "--data", self.server.data)
        self.test.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def marked(self):
        """What workers of this lane have forked and left: process -> (worker, its start time)."""
        found = {}
        for pid in processes():
            try:
                name = Path(f"/proc/{pid}/cmdline").read_bytes().partition(bytes(1))[0].decode(errors="replace")
            except OSError:
                continue
            if name.startswith(self.mark + " "):
                worker, start = name.split()[1:]
                found[str(pid)] = (int(worker), int(start))
        return found

    def left_behind(self):
        return [pid for pid, worker in self.marked().items() if not is_alive(worker)]

    def check_processes(self):
        """What a worker forked has ended with it, however that ended; and no zombie waits to be reaped."""
        wait_for(lambda: not self.left_behind(), "the end of what dead workers had forked")
        wait_for(lambda: not self.zombies(), "the supervisor to reap its children")

    def zombies(self):
        """Children of the server or of its supervisor that ended and were not reaped."""
        parents = {self.server.process.pid, self.supervisor()}
        found = []
        for entry in os.listdir("/proc"):
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split() if entry.isdigit() else []
            except OSError:
                continue
            if fields and fields[0] == "Z" and int(fields[1]) in parents:
                found.append(entry)
        return found

    def check_folders(self):
        """Each folder of a session that was called since is whole."""
        for ledger in self.in_use():
            for folder in self.server.data.glob(f"sessions/*/{ledger.session}"):
                metadata = json.loads((folder / "session_metadata.json").read_text())
                self.test.assertEqual(metadata["session_id"], ledger.session)
                # Some moments after a call its metadata is written anew.
                wait_for(lambda folder=folder: not list(folder.glob("*.new")), f"nothing half written in {folder}")

    def check_slots(self):
        """Sessions that are over have left their places: as many can be opened as the app may have, and no more."""
        kept = {ledger.session for ledger in self.in_use()}
        for ledger in self.ledgers:
            if ledger.app == LEAVER and ledger.session not in kept:
                self.server.delete(f"/sessions/{ledger.session}")
        taken = sum(ledger.app == LEAVER for ledger in self.in_use())
        opened = [self.server.new_session(LEAVER) for _ in range(SESSIONS_OF_LEAVER - taken)]
        self.test.assertEqual(self.server.post("/sessions", {"app": LEAVER}).status, 429)
        for session in opened:
            self.server.delete(f"/sessions/{session}")

    def end_sessions(self):
        for ledger in self.ledgers:
            self.server.delete(f"/sessions/{ledger.session}")
        wait_for(lambda: len(family_of(self.server.process.pid)) == 1, "only the supervisor to be left")

    def check_descriptors(self):
        """Those of a server without workers and connections are as many as ever."""
        count = lambda: len(os.listdir(f"/proc/{self.server.process.pid}/fd"))
        wait_for(lambda: len(family_of(self.server.process.pid)) <= 1, "the workers to be gone")
        if self.descriptors is None:
            self.descriptors = wait_for(lambda: (seen := count()) == (time.sleep(0.05), count())[1] and seen, "rest")
        wait_for(lambda: count() <= self.descriptors, f"descriptors: {count()} where it had {self.descriptors}")


class Crash(unittest.TestCase):
    def test_acknowledged_calls_survive_every_crash_and_nothing_else_does(self):
        print(f"SOJOURN_CRASH_SEED={SEED} SOJOURN_CRASH_ROUNDS={ROUNDS}", flush=True)
        started = time.monotonic()
        shares = [len(range(lane, ROUNDS, LANES)) for lane in range(LANES)]
        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            lanes = [pool.submit(Lane(self, number, rounds).run) for number, rounds in enumerate(shares)]
            done = [lane.result() for lane in lanes]
        kills = sum((lane.kills for lane in done), collections.Counter())
        calls = sum(lane.calls for lane in done)
        print(f"{ROUNDS} rounds in {time.monotonic() - started:.0f} s, {calls} calls, killed: {dict(kills)}")
        # A load that did nothing would prove nothing.
        self.assertGreater(calls, 10 * ROUNDS)


if __name__ == "__main__":
    unittest.main()
