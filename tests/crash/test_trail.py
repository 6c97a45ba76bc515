"""kill -9 of a server in the middle of uploads, exports and its own purges, again and again on the same data: what was
acknowledged is there, an export is whole or cut off, and each session is whole or gone.

SOJOURN_TRAIL_ROUNDS rounds (4 without it); SOJOURN_CRASH_SEED repeats a run's choices, though not its scheduling.
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import shutil
import tempfile
import threading
import time
import unittest
from pathlib import Path

from e2e.program import PATIENCE, Program, clean_environment, command, wait_for

ROUNDS = int(os.environ.get("SOJOURN_TRAIL_ROUNDS", "4"))
SEED = int(os.environ.get("SOJOURN_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
GONE = (OSError, http.client.HTTPException)
WRITERS, EXPORTERS = 3, 2


class Trail(unittest.TestCase):
    def setUp(self):
        print(f"SOJOURN_CRASH_SEED={SEED} SOJOURN_TRAIL_ROUNDS={ROUNDS}", flush=True)
        self.random = random.Random(SEED)
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-crash-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "apps").mkdir()
        # What is over for a second is purged when the next server starts.
        self.server = Program(self.folder / "apps", self.folder / "data", "--retention", "1s")
        self.addCleanup(self.server.log_file.close)
        self.uploads = {}  # (session, path) -> hash, as it was acknowledged
        self.ending = set()  # sessions that were asked to end
        self.ended = set()  # and those of which that was acknowledged
        self.exports = 0
        self.lock = threading.Lock()

    def write(self, choices):
        """Sessions with artefacts, most of which end, until the server is gone."""
        try:
            while True:
                session = self.server.post("/sessions", {}).data["id"]
                with self.lock:
                    self.sessions.append(session)
                for number in range(choices.randrange(1, 4)):
                    content = choices.randbytes(choices.randrange(300_000))
                    answer = self.server.ask("PUT", f"/sessions/{session}/artifacts/{number}", content)
                    self.assertEqual(answer.status, 201, answer.text)
                    with self.lock:
                        self.uploads[session, str(number)] = hashlib.sha256(content).hexdigest()
                if choices.random() < 0.8:
                    self.ending.add(session)
                    if self.server.delete(f"/sessions/{session}").status // 100 == 2:
                        self.ended.add(session)
        except GONE:
            pass

    def export(self, choices):
        """Exports until the server is gone; one that came to its end holds."""
        while True:
            with self.lock:
                session = choices.choice(self.sessions) if self.sessions else None
            if session is None:
                continue
            try:
                with contextlib.closing(self.server.connection()) as connection:
                    connection.request("GET", f"/sessions/{session}/export")
                    archive = connection.getresponse().read()
            except GONE:
                return
            with self.lock:
                self.exports += 1
                path = self.folder / "trail.tar"
                path.write_bytes(archive)
                self.command("audit", "verify", "--archive", path, "--key", self.server.data / "journal-key.pub.pem",
                             data=False)

    def command(self, *words, data=True):
        done = command(*words, *(["--data", self.server.data] if data else []), "--json", environment=clean_environment())
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout[-2000:]}{done.stderr}")
        return json.loads(done.stdout)

    def run_round(self):
        self.server.start()
        self.sessions = []
        errors = []

        def guarded(work, choices):
            try:
                work(choices)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(work, random.Random(self.random.random())))
                   for work in [self.write] * WRITERS + [self.export] * EXPORTERS]
        for thread in threads:
            thread.start()
        before = len(self.ended)
        wait_for(lambda: len(self.ended) > before or errors, "the end of a session")
        # Here time itself is what is wanted: the moment of the kill is random, and no condition.
        time.sleep(self.random.uniform(0, 0.3))
        self.server.kill()
        for thread in threads:
            thread.join(PATIENCE)
        for error in errors:
            raise error

    def check(self):
        """Each session is whole or purged, and nothing is left of those that were."""
        self.command("audit", "rebuild")
        stored = {told["id"] for told in self.command("audit", "verify")["sessions"]}
        gone = {session for session, _ in self.uploads} - stored
        self.assertEqual(gone - self.ending, set(), "purged, though nobody ended it")
        for session in self.random.sample(sorted(gone), min(3, len(gone))):
            [told] = self.command("audit", "verify", session)["sessions"]
            self.assertEqual((told["purged"], told["signature"]), (True, "valid"))
        for (session, path), hash in self.uploads.items():
            if session in stored:
                self.assertTrue(self.contents_of(session, hash).is_file(), f"{session}: {path}")
        return stored

    def folders(self):
        return {path.name for top in ("sessions", "artifacts") for path in (self.server.data / top).glob("*/sess_*")}

    def contents_of(self, session, hash):
        return self.server.data / "artifacts" / f"{session[5:9]}-{session[9:11]}-{session[11:13]}" / session / hash

    def test_uploads_exports_and_purges_survive_a_server_that_is_killed_in_the_middle(self):
        for _ in range(ROUNDS):
            self.run_round()
            self.check()
        self.assertTrue(self.uploads and self.ended)
        time.sleep(1.1)  # the least age there is
        self.server.start()
        wait_for(lambda: not self.ended & self.folders(), "the purge of all that is over")
        self.server.stop()
        self.command("purge", "--older-than", "1s")  # those whose end nobody was told of, too
        stored = self.check()
        self.assertEqual((stored & self.ended, self.folders() - stored), (set(), set()))
        self.assertEqual(list((self.server.data / "artifacts" / "incoming").iterdir()), [])
        print(f"{len(self.uploads)} uploads, {self.exports} exports, {len(self.ended)} purged")


if __name__ == "__main__":
    unittest.main()
