"""apps/impact-assessment: a real history searched, and the trail that this leaves, read back and verified."""

import hashlib
import json
import os
import subprocess
import sys
import unittest

from e2e.program import PATIENCE, SOURCE, Served, clean_environment

from sojourn.client import Client

APP = SOURCE / "apps" / "impact-assessment"
sys.path.insert(0, str(APP))

import assess  # noqa: E402

REQUIREMENT = "find should be able to print the SELinux security context of a file with -printf"
STAGES = ["requirement_submitted", "matches_found", "matches_selected", "generating_impact", "completed"]
STEPS = ["requirement_submitted", "matches_selected", "modules_generated", "effort_estimated", "stories_generated",
         "code_impact_analyzed", "risks_identified"]
ARTIFACTS = ["final_summary.json", "step1_input/extracted_keywords.json", "step1_input/requirement.json",
             "step2_search/all_matches.json", "step2_search/search_request.json", "step2_search/selected_matches.json",
             *(f"step3_agents/agent_{name}/parsed_output.json" for name in ("code", "effort", "modules", "risks", "stories"))]


class ImpactApp(Served):
    @classmethod
    def make_apps(cls, folder):
        """None: the pipeline is a caller."""

    def assess(self, *words, code=0):
        done = subprocess.run(
            ["/usr/bin/python3", APP / "assess.py", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**clean_environment(), "SOJOURN_URL": self.server.url}, timeout=PATIENCE)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.split()[1], done

    def audit(self, id):
        return self.server.get(f"/session/{id}/audit").body

    def artifact(self, id, path):
        connection = self.server.connection()
        connection.request("GET", f"/sessions/{id}/artifacts/{path}")
        content = connection.getresponse().read()
        connection.close()
        return content

    def stages(self, id):
        return [event["data"]["to"] for event in self.server.events(id) if event["type"] == "session.stage"]

    def verified(self, id):
        done = self.server.command("audit", "verify", id)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, rf"(?m)^{id}  ok  \d+ events, signed$")

    def test_the_whole_trail_is_in_the_session(self):
        id, done = self.assess(REQUIREMENT, "--user", "ann", "--epic", "FIND-7")
        audit = self.audit(id)
        self.assertEqual((audit["status"], audit["steps_completed"], self.stages(id)), ("completed", STEPS, STAGES))
        self.assertEqual(list(audit["timing"]), [f"{step}_ms" for step in STEPS])
        attempts = audit["data"]["attempts"]
        self.assertEqual([(one["step"], one["attempt"], one["status"]) for one in attempts],
                         [(step, 1, "completed") for step in STEPS])
        for before, after in zip(attempts, attempts[1:]):
            self.assertLessEqual(before["ended_at"], after["started_at"])
        self.assertEqual([kept["path"] for kept in audit["data"]["artifacts"]], ARTIFACTS)
        folder = self.server.data / "sessions" / f"{id[5:9]}-{id[9:11]}-{id[11:13]}" / id
        for kept in audit["data"]["artifacts"]:
            content = self.artifact(id, kept["path"])
            self.assertEqual((kept["sha256"], kept["size"]), (hashlib.sha256(content).hexdigest(), len(content)))
            self.assertEqual((folder / kept["path"]).read_bytes(), content)
        self.verified(id)
        drawn = self.server.command("audit", "show", id).stdout
        self.assertIn(f"{id}  ended  stage completed  user ann", drawn)
        for step in STEPS:
            self.assertRegex(drawn, rf"#+\.*  step {step} +[\d.]+ m?s")
        [listed] = [one for one in self.server.get("/session/list").body["sessions"] if one["session_id"] == id]
        summary = json.loads(self.artifact(id, "final_summary.json"))
        self.assertEqual((listed["requirement_text"], listed["jira_epic_id"], listed["total_story_points"]),
                         (REQUIREMENT, "FIND-7", summary["effort"]["story_points"]))
        # What it found is so: the history is real.
        self.assertEqual([match["summary"] for match in summary["matches"][:2]],
                         ["find: avoid '-D stat' side effect on SELinux handling with -L or -H", "find: add SELinux support"])
        self.assertEqual(summary["modules"][0]["module"], "find")
        self.assertIn("find/parser.c", [file["path"] for file in summary["code_impact"]["files"]])
        self.assertIn("find: add SELinux support", done.stdout)

    def test_the_same_requirement_gives_the_same_files(self):
        sums = [{kept["path"]: kept["sha256"] for kept in self.audit(self.assess(REQUIREMENT)[0])["data"]["artifacts"]}
                for _ in range(2)]
        for path in ARTIFACTS[1:]:
            self.assertEqual(sums[0][path], sums[1][path], path)

    def test_a_step_that_fails_is_recorded_and_another_run_succeeds(self):
        for requirement, stages, step, error, folder in (
            ("too short", [], "requirement_submitted", "RequirementTooShortError", "step1_input"),
            ("Give the moon a coat of cheese", ["requirement_submitted"], "matches_selected", "NoMatchesFoundError",
             "step2_search"),
        ):
            with self.subTest(requirement=requirement):
                id, done = self.assess(requirement, code=1)
                self.assertIn(error, done.stderr)
                self.assertEqual(self.stages(id), [*stages, "error"])
                audit = self.audit(id)
                self.assertEqual((audit["status"], audit["steps_completed"]), ("error", stages))
                failed = audit["data"]["attempts"][-1]
                self.assertEqual((failed["step"], failed["status"], failed["error"]["type"]), (step, "failed", error))
                self.assertEqual(self.artifact(id, f"{folder}/error.txt").decode(),
                                 f"{error}: {failed['error']['message']}\n")
                self.verified(id)
                self.assertRegex(self.server.command("audit", "show", id).stdout, rf"x+\.*  step {step} .*FAILED")
                self.assertIn("is over", self.assess("--session", id, code=1)[1].stderr)
        self.assertEqual(self.audit(self.assess(REQUIREMENT)[0])["status"], "completed")

    def test_a_run_that_was_interrupted_is_gone_on_with(self):
        with Client(self.server.url) as client:
            begun = assess.assess(client, REQUIREMENT, None, None)
            id = begun.session.id
            for step, folder, does in list(begun._steps())[:3]:
                with begun._recorded(step, folder) as data:
                    does(data)
            begun.session.start_step("effort_estimated")  # and here its process dies
        self.assess("--session", id)
        audit = self.audit(id)
        self.assertEqual((audit["status"], audit["steps_completed"], self.stages(id)), ("completed", STEPS, STAGES))
        self.assertEqual([(one["step"], one["attempt"], one["status"]) for one in audit["data"]["attempts"]][2:5],
                         [("modules_generated", 1, "completed"), ("effort_estimated", 1, "failed"),
                          ("effort_estimated", 2, "completed")])
        self.assertEqual([kept["attempt"] for kept in audit["data"]["artifacts"]], [1] * len(ARTIFACTS))
        self.verified(id)

    def test_bad_usage_is_told(self):
        for words in ((), ("a", "--session", "b")):
            done = subprocess.run(["/usr/bin/python3", APP / "assess.py", *words], capture_output=True, text=True,
                                  timeout=PATIENCE, env={**clean_environment(), "SOJOURN_URL": self.server.url})
            self.assertEqual(done.returncode, 2)
            self.assertIn("either a requirement or --session", done.stderr)
        missing = os.path.join(self.folder, "no-history")
        self.assertIn("no-history", self.assess(REQUIREMENT, "--history", missing, code=1)[1].stderr)


if __name__ == "__main__":
    unittest.main()
