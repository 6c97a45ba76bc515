"""kill -9 under load, again and again on the same data: all that was acknowledged is there, and nothing twice.

SOJOURN_CRASH_ROUNDS rounds (8 without it); SOJOURN_CRASH_SEED repeats a run's choices, though not its scheduling.
"""

import http.client
import os
import random
import shutil
import tempfile
import threading
import time
import unittest
from pathlib import Path

from e2e.program import COMPLETED, FAILED, Program, command, link_apps, stop_if_running

ROUNDS = int(os.environ.get("SOJOURN_CRASH_ROUNDS", "8"))
SEED = int(os.environ.get("SOJOURN_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
CLIENTS = 6
LONGEST_ROUND = 0.6  # s of load before the kill

WAITED, KEYED, ASYNC = "waited", "keyed", "async"
GONE = (OSError, http.client.HTTPException)


class Sent:
    """A call that a client sent, and what the server said of it."""

    def __init__(self, session, kind, key=None):
        self.session, self.kind, self.key = session, kind, key
        self.task = None  # as it was answered: final, or accepted; None where the server died first


class Ledger:
    """What the clients know of one session of `app`: the truth that the server is held to."""

    def __init__(self, app, session):
        self.app, self.session = app, session
        self.failed = False  # in a crash: a session that lived in its worker's memory
        self.sent = []
        self.checked = 0  # of them, in the rounds before


class Crash(unittest.TestCase):
    def setUp(self):
        print(f"SOJOURN_CRASH_SEED={SEED} SOJOURN_CRASH_ROUNDS={ROUNDS}", flush=True)
        self.random = random.Random(SEED)
        folder = Path(tempfile.mkdtemp(prefix="sojourn-crash-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        (folder / "apps").mkdir()
        link_apps(folder / "apps")
        self.server = Program(folder / "apps", folder / "data")
        self.addCleanup(self.server.log_file.close)
        self.addCleanup(stop_if_running, self.server)
        self.ledgers = []
        self.answered = self.unanswered = 0

    def test_acknowledged_calls_survive_every_crash(self):
        self.server.start()
        for round in range(ROUNDS):
            with self.subTest(round=round, seed=SEED):
                self.make_sessions()
                self.load_until_killed()
                self.verify_journals()
                if self.random.random() < 0.4:
                    self.kill_while_it_starts()
                self.server.start()
                self.check()
        self.check_every_session()
        self.server.stop()
        self.verify_journals()
        print(f"{ROUNDS} crashes, {self.answered} calls answered, {self.unanswered} not")
        # A load that did nothing would prove nothing.
        self.assertGreater(self.answered, ROUNDS)

    # The load.

    def make_sessions(self):
        """Two of each app are used at a time: one from the round before goes on, one is new."""
        for app in ("counter", "session-test"):
            self.ledgers.append(Ledger(app, self.server.new_session(app, session_timeout=3600)))

    def in_use(self):
        return [ledger for app in ("counter", "session-test")
                for ledger in [other for other in self.ledgers if other.app == app and not other.failed][-2:]]

    def load_until_killed(self):
        self.over = False
        clients = [threading.Thread(target=self.client, args=(random.Random(self.random.random()), self.in_use()))
                   for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        # Here time itself is what is wanted: the moment of the kill is random, and no condition.
        time.sleep(self.random.uniform(0.02, LONGEST_ROUND))
        self.server.kill()
        self.over = True
        for client in clients:
            client.join()
        sent = [sent for ledger in self.in_use() for sent in ledger.sent[ledger.checked :]]
        self.answered += sum(one.task is not None for one in sent)
        self.unanswered += sum(one.task is None for one in sent)

    def client(self, choices, ledgers):
        while not self.over:
            ledger = choices.choice(ledgers)
            sent = Sent(ledger.session, choices.choice([WAITED, KEYED, ASYNC]))
            if sent.kind == KEYED or choices.random() < 0.3:
                sent.key = f"key {choices.random()}"
            ledger.sent.append(sent)
            try:
                sent.task = self.send(ledger, sent)
            except GONE:
                return

    def send(self, ledger, sent):
        headers = {"Idempotency-Key": sent.key} if sent.key else {}
        return self.server.run(ledger.app, "increment", {"key": "n"}, session=ledger.session,
                               wait=sent.kind != ASYNC, headers=headers)

    # After the crash.

    def verify_journals(self):
        done = command("audit", "verify", "--all", "--data", self.server.data)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def kill_while_it_starts(self):
        """Settling what a crash left may be cut short by the next one."""
        self.server.spawn()
        time.sleep(self.random.uniform(0, 0.04))
        self.server.kill()

    def check(self):
        for ledger in self.in_use():
            for sent in ledger.sent:
                self.check_task(sent)
            ledger.checked = len(ledger.sent)
            if ledger.app == "counter":
                self.check_counter(ledger)
            else:
                self.check_memory(ledger)

    def check_task(self, sent):
        """What was answered is there, final as it was answered, or since then settled honestly."""
        if sent.task is None:
            return
        stored = self.server.task(sent.task["id"])
        if sent.task["status"] >= COMPLETED:
            self.assertEqual(stored, sent.task)
            return
        self.assertIn(stored["status"], (COMPLETED, FAILED), stored)
        if stored["status"] == FAILED:
            self.assertEqual(stored["error_info"]["code"], "WORKER_LOST")
        sent.task = stored

    def check_counter(self, ledger):
        """Each completed increment counted once; those in flight at most once."""
        value = self.server.get(f"/sessions/{ledger.session}/state").data.get("n", 0)
        done = [sent.task for sent in ledger.sent if sent.task and sent.task["status"] == COMPLETED]
        unknown = [sent for sent in ledger.sent if sent.task is None]
        self.assertGreaterEqual(value, len(done))
        self.assertLessEqual(value, len(done) + len(unknown))
        results = [task["output"]["current"] for task in done]
        self.assertEqual(len(set(results)), len(results), "an increment was done twice")
        self.assertLessEqual(max(results, default=0), value)

        # A retry under the same key gives the same task; for a call whose answer was lost, its outcome or a first
        # run.
        for sent in ledger.sent:
            if sent.key is None:
                continue
            retried = self.server.run("counter", "increment", {"key": "n"}, session=ledger.session,
                                      headers={"Idempotency-Key": sent.key})
            if sent.task is not None:
                self.assertEqual(retried, sent.task)
            else:
                self.assertIn(retried["status"], (COMPLETED, FAILED))
                sent.task = retried

        # Now only calls without key and answer may stand between the ledger and the count.
        done = {sent.task["id"] for sent in ledger.sent if sent.task and sent.task["status"] == COMPLETED}
        value = self.server.get(f"/sessions/{ledger.session}/state").data.get("n", 0)
        lost = [sent for sent in ledger.sent if sent.task is None]
        self.assertGreaterEqual(value, len(done))
        self.assertLessEqual(value, len(done) + len(lost))
        # The journal says exactly which: what it completed is the count.
        completed = [event["data"]["task"] for event in self.server.events(ledger.session)
                     if event["type"] == "call.completed"]
        self.assertEqual(len(set(completed)), len(completed))
        self.assertEqual(value, len(completed))
        self.assertLessEqual(done, set(completed))

    def check_memory(self, ledger):
        """A session that lived in its worker's memory has failed, if it had any; what it answered can be read."""
        served = [sent for sent in ledger.sent if sent.task is not None]
        answer = self.server.ask_run("session-test", "get_all", session=ledger.session)
        if answer.status == 200:
            # Nothing that it was asked became durable, so nothing is lost.
            self.assertEqual(served, [])
            self.assertEqual(answer.data["output"]["state"], {})
            return
        self.assertEqual((answer.status, answer.body["code"]), (500, "WORKER_LOST"))
        session = self.server.session(ledger.session)
        self.assertEqual((session["status"], session["error"]["code"]), ("ended", "WORKER_LOST"))
        self.assertEqual(self.server.event_types(ledger.session)[-1], "session.failed")
        done = sorted(sent.task["output"]["current"] for sent in served if sent.task["status"] == COMPLETED)
        self.assertEqual(len(set(done)), len(done))
        for sent in served:
            if sent.key is not None:
                retried = self.server.run("session-test", "increment", {"key": "n"}, session=ledger.session,
                                          headers={"Idempotency-Key": sent.key})
                self.assertEqual(retried, sent.task)
        ledger.failed = True

    def check_every_session(self):
        """At the end, everything of all rounds once more."""
        for ledger in self.ledgers:
            for sent in ledger.sent:
                if sent.task is not None:
                    self.assertEqual(self.server.task(sent.task["id"]), sent.task)


if __name__ == "__main__":
    unittest.main()
