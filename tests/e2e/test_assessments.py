"""Seed 001's sessions over HTTP and by the command line: the flow of its README, many writers, a crash among them."""

import http.client
import threading
import unittest

from e2e.program import Served, command

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


if __name__ == "__main__":
    unittest.main()
