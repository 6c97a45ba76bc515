"""Seed 001's sessions over HTTP and by the command line: the flow of its README, many writers, a crash among them."""

import concurrent.futures
import contextlib
import fcntl
import http.client
import json
import os
import shutil
import tempfile
import threading
import unittest
from pathlib import Path

from e2e.program import Served, command, wait_for

STAGES = ("requirement_submitted", "matches_found", "matches_selected", "generating_impact", "completed")
STEPS = ("requirement_submitted", "matches_selected", "modules_generated", "effort_estimated", "stories_generated",
         "code_impact_analyzed", "risks_identified")


class Assessments(Served):
    def test_the_seeds_example_can_be_made_and_read_back(self):
        created = self.server.post("/session/create", {"user_id": "developer@example.com"}).body
        self.assertEqual((created["status"], created["user_id"]), ("created", "developer@example.com"))
        id = created["session_id"]
        self.assertRegex(id, r"^sess_\d{8}_\d{6}_[0-9a-f]{6}$")
        for stage in STAGES:
            self.assertEqual(self.server.ask("PUT", f"/sessions/{id}/stage", {"stage": stage}).status, 200)
        for number, step in enumerate(STEPS):
            self.server.post(f"/sessions/{id}/steps/{step}/report", {"duration_ms": number})
        self.server.ask("PUT", f"/sessions/{id}/artifacts/step2_search/all_matches.json", b"[]")
        audit = self.server.get(f"/session/{id}/audit").body
        self.assertEqual((audit["session_id"], audit["status"]), (id, "completed"))
        self.assertEqual(tuple(audit["steps_completed"]), STEPS)
        self.assertEqual(audit["timing"], {f"{step}_ms": number for number, step in enumerate(STEPS)})
        self.assertEqual([artifact["path"] for artifact in audit["data"]["artifacts"]], ["step2_search/all_matches.json"])
        self.assertEqual(len(audit["data"]["events"]), 2 + len(STAGES) + len(STEPS))
        self.assertEqual(audit["data"]["head"]["seq"], 2 + len(STAGES) + len(STEPS))
        self.assertIn(id, [session["session_id"] for session in self.server.get("/session/list").body["sessions"]])

    def test_the_program_moves_stages_and_tells_steps(self):
        made = self.server.command("sessions", "create", "--lifecycle", "impact-assessment", "--user", "ann",
                                   "--label", "team=blue")
        id = made.stdout.strip()
        moved = self.server.command("sessions", "stage", id, "requirement_submitted", "--reason", "it came")
        self.assertEqual((moved.returncode, moved.stdout), (0, "requirement_submitted\n"))
        refused = self.server.command("sessions", "stage", id, "completed")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("matches_found", refused.stderr)
        self.server.command("sessions", "step", id, "search", "start")
        done = self.server.command("sessions", "step", id, "search", "finish")
        self.assertRegex(done.stdout, r"^search attempt 1 completed after \d+ ms\n$")
        self.assertIn("search", self.server.command("sessions", "steps", id).stdout)
        found = self.server.command("sessions", "--user", "ann", "--label", "team=blue", "--stage",
                                    "requirement_submitted", "--id", id[-6:])
        self.assertIn(id, found.stdout)


class ManyWriters(Served):
    def test_a_crash_among_them_loses_nothing_acknowledged(self):
        id = self.server.post("/sessions", {}).data["id"]
        acknowledged = []
        enough = threading.Event()

        def write(writer):
            number = 0
            while True:
                mark = f"{writer}.{number}"
                try:
                    answer = self.server.post(f"/sessions/{id}/steps/s{writer}/report",
                                              {"duration_ms": 1, "data": {"mark": mark}})
                except (OSError, http.client.HTTPException):
                    return
                if answer.status != 200:
                    return
                acknowledged.append(mark)
                number += 1
                if number == 20:
                    enough.set()

        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        for writer in writers:
            writer.start()
        enough.wait()
        self.server.kill()
        for writer in writers:
            writer.join()
        verified = command("audit", "verify", "--all", "--data", self.server.data)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.server.start()
        there = [event["data"]["data"]["mark"] for event in self.server.events(id) if event["type"] == "step.completed"]
        self.assertEqual(len(there), len(set(there)))
        self.assertLessEqual(set(acknowledged), set(there))
        after = self.server.post(f"/sessions/{id}/steps/s0/report", {"duration_ms": 1}).data
        self.assertEqual(after["number"], len(there) + 1)


class Elsewhere(Served):
    flags = ("--data-sessions-path", "audit-folders")

    @classmethod
    def setUpClass(cls):
        cls.enterClassContext(contextlib.chdir(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="sojourn-e2e-"))))
        super().setUpClass()

    def command(self, *words):
        done = self.server.command(*words, environment={"SOJOURN_DATA_SESSIONS_PATH": "audit-folders"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_folders_are_where_the_setting_says_and_keep_up_with_the_session(self):
        created = self.server.post("/session/create", {"user_id": "ann"}).body
        id = created["session_id"]
        folder = Path("audit-folders") / f"{id[5:9]}-{id[9:11]}-{id[11:13]}" / id
        self.assertEqual(created["audit_path"], str(folder))
        self.server.ask("PUT", f"/sessions/{id}/artifacts/step1_input/requirement.json", b"{}")
        self.assertEqual((folder / "step1_input" / "requirement.json").read_bytes(), b"{}")

        def metadata():
            return json.loads((folder / "session_metadata.json").read_text())

        self.assertEqual((metadata()["status"], metadata()["user_id"], metadata()["timing"]), ("created", "ann", {}))
        self.server.ask("PUT", f"/sessions/{id}/stage", {"stage": "requirement_submitted"})
        wait_for(lambda: metadata()["status"] == "requirement_submitted", "the stage in the metadata")
        for number, step in enumerate(STEPS):
            self.server.post(f"/sessions/{id}/steps/{step}/report", {"duration_ms": number})
        wait_for(lambda: metadata()["steps_completed"] == list(STEPS), "the steps in the metadata")
        audit = self.server.get(f"/session/{id}/audit").body
        self.assertEqual(metadata(), audit["data"]["metadata"])
        self.assertEqual(metadata()["timing"], audit["timing"])
        self.command("audit", "verify", id)
        kept = metadata()
        shutil.rmtree(folder)
        self.command("audit", "rebuild", id)
        self.assertEqual(metadata(), kept)
        self.assertEqual((folder / "step1_input" / "requirement.json").read_bytes(), b"{}")
        self.command("audit", "verify", id)
        worked = self.server.run("counter", "increment", {"key": "a"})["session_id"]
        self.assertTrue(list(Path("audit-folders").glob(f"*/{worked}/session_metadata.json")))
        self.assertFalse((self.server.data / "sessions").exists())

    def test_a_new_worker_leaves_the_steps_in_the_metadata(self):
        id = self.server.run("counter", "increment", {"key": "a"})["session_id"]
        [folder] = Path("audit-folders").glob(f"*/{id}")
        self.server.post(f"/sessions/{id}/steps/search/report", {"duration_ms": 1})

        def steps():
            return json.loads((folder / "session_metadata.json").read_text())["steps_completed"]

        wait_for(lambda: steps() == ["search"], "the step in the metadata")
        self.server.kill_worker(id)
        over = threading.Event()

        def others():
            found = []
            while not over.is_set():
                now = steps()
                if now != ["search"]:
                    found.append(now)
            return found

        with concurrent.futures.ThreadPoolExecutor() as pool:
            watched = pool.submit(others)
            self.server.output("counter", "increment", {"key": "a"}, session=id)
            over.set()
            self.assertEqual(watched.result(), [])

    def test_another_store_is_refused_in_the_same_folder(self):
        words = ("serve", "--data", "other", "--data-sessions-path", "audit-folders", "--listen", "127.0.0.1:0")
        refused = command(*words)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("'audit-folders' holds the sessions' folders of another store", refused.stderr)
        self.assertIn(self.server.get("/audit/key").data["key"], refused.stderr)

    def test_folders_are_made_anew_beside_a_server_that_writes_one(self):
        id = self.server.run("counter", "increment", {"key": "a"})["session_id"]
        self.server.delete(f"/sessions/{id}")
        [folder] = Path("audit-folders").glob(f"*/{id}")
        wait_for(lambda: "ended by request" in (folder / "session_metadata.json").read_text(), "the end in the metadata")
        kept = (folder / "session_metadata.json").read_text()
        before = {path.name for path in folder.iterdir()}
        (folder / "session_metadata.json").unlink()
        (folder / "session_metadata.json.new").write_text("what the server is just writing")
        self.command("audit", "rebuild", id)
        self.assertEqual((folder / "session_metadata.json").read_text(), kept)
        self.assertEqual((folder / "session_metadata.json.new").read_text(), "what the server is just writing")
        self.assertEqual({path.name for path in folder.iterdir()}, before | {"session_metadata.json.new"})

    def test_two_who_make_folders_anew_take_turns(self):
        other = os.open(self.server.data, os.O_RDONLY)
        self.addCleanup(os.close, other)
        fcntl.flock(other, fcntl.LOCK_EX)
        refused = self.server.command("audit", "rebuild")
        self.assertEqual(refused.returncode, 3)
        self.assertIn("another `sojourn audit rebuild` works on", refused.stderr)
        fcntl.flock(other, fcntl.LOCK_UN)
        self.command("audit", "rebuild")

    def test_ids_for_workers_need_the_folders_in_the_data_folder(self):
        refused = command("serve", "--data", "other", "--data-sessions-path", "x", "--worker-uids", "200000-200009",
                          "--listen", "127.0.0.1:0")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("data_sessions_path", refused.stderr)


if __name__ == "__main__":
    unittest.main()
