"""A flow served as an app: it runs, tells how far it is, and its calls can be seen afterwards, also where it failed."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree as ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from e2e.program import FAILED, PATIENCE, SOURCE, Served, clean_environment

BUILD = Path(os.environ.get("SOJOURN_BUILD", str(SOURCE / "build" / "release")))
NODES = {"report", "walk", "look at", "read", "count", "find marks", "hash", "rank", "summarise"}


class Flow(Served):
    @classmethod
    def make_apps(cls, folder):
        (folder / "repo-report").symlink_to(BUILD / "apps" / "repo-report")

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def tree(self, files):
        for number in range(files):
            (self.folder / f"{number}.py").write_text(f"print({number})\n", encoding="utf-8")
        return str(self.folder)

    def test_a_run_is_streamed_and_its_calls_are_seen(self):
        task = self.server.run("repo-report", input=self.tree(20), wait=False)
        with self.server.stream(task["id"]) as stream:
            seen = [line.get("data", line) for line in stream]
        self.assertIn("20 files; Python 20", seen[-1]["output"])
        [run] = self.server.get(f"/sessions/{task['session_id']}/flow").data
        self.assertEqual((run["task"], run["function"], run["left_out"]), (task["id"], "report", 0))
        self.assertEqual({call["node"] for call in run["calls"]}, NODES)
        self.assertEqual(len(run["calls"]), 4 + 20 * 5)
        self.assertTrue(all(call["status"] == "Completed" for call in run["calls"]))

    def test_the_program_draws_a_run(self):
        session = self.server.run("repo-report", input=self.tree(20))["session_id"]
        shown = self.server.command("flow", "show", session).stdout.splitlines()
        self.assertTrue(shown[0].startswith("report"), shown[0])
        picture = self.folder / "run.svg"
        self.server.command("flow", "show", session, "--svg", str(picture))
        bars = ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}rect")
        self.assertEqual(len(list(bars)), 4 + 20 * 5)
        run = json.loads(self.server.command("flow", "show", session, "--json").stdout)
        self.assertEqual(len(run["calls"]), 4 + 20 * 5)

    def test_a_run_that_failed_is_seen_too(self):
        session = self.server.new_session("repo-report")
        good = self.server.run("repo-report", input=self.tree(1), session=session)
        bad = self.server.run("repo-report", input="/nowhere/at/all", session=session)
        self.assertEqual(bad["status"], FAILED)
        runs = self.server.get(f"/sessions/{session}/flow").data
        self.assertEqual([run["task"] for run in runs], [good["id"], bad["id"]])
        self.assertEqual([call["status"] for call in runs[1]["calls"]], ["Failed", "Failed"])
        self.assertIn("/nowhere/at/all", runs[1]["calls"][1]["error"])
        self.assertIn("FAILED", self.server.command("flow", "show", session).stdout)
        self.assertNotIn("FAILED", self.server.command("flow", "show", session, "--task", good["id"]).stdout)

    def test_what_is_not_there_is_refused(self):
        session = self.server.new_session("repo-report")
        shown = self.server.command("flow", "show", session, check=False)
        self.assertEqual((shown.returncode, shown.stdout), (1, ""))
        self.assertIn("no flow has run", shown.stderr)
        self.assertEqual(self.server.command("flow", "show", "sess_20260115_103045_a1b2c3", check=False).returncode, 1)


class Killed(unittest.TestCase):
    def shop(self, folder):
        environment = {**clean_environment(), "SOJOURN_FLOW_SAVE_STATE": "false", "SOJOURN_FLOW_LOGGING_SETTING": "NONE"}
        return subprocess.run([BUILD / "examples" / "resuming", folder / "shopping"], capture_output=True, text=True,
                              timeout=PATIENCE, env=environment, stdin=subprocess.DEVNULL)

    def test_a_flow_that_was_killed_goes_on_where_it_was(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        killed = self.shop(folder)
        self.assertEqual(killed.returncode, -signal.SIGKILL, killed.stderr)
        self.assertIn("ordering nut\n", killed.stdout)
        resumed = self.shop(folder)
        self.assertEqual((resumed.returncode, resumed.stdout),
                         (0, "asking for the price of nut\nsum 8\n"), resumed.stderr)


def called(name, **arguments):
    call = {"id": "t1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


class Model(ThreadingHTTPServer):
    """A stand-in for an endpoint that speaks OpenAI's protocol: it says these messages in turn, a number is a refusal."""

    daemon_threads = True

    def __init__(self, *says):
        super().__init__(("127.0.0.1", 0), Turn)
        self.says, self.asked = list(says), []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Turn(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        says = self.server.says.pop(0)
        status = says if isinstance(says, int) else 200
        body = json.dumps({"error": {"message": "not today"}} if status != 200 else
                          {"choices": [{"message": says, "finish_reason": "stop"}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ReportWithModel(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "one.py").write_text("print('{braces}')\n", encoding="utf-8")

    def report(self, model):
        environment = {**clean_environment(), "REPO_REPORT_ENDPOINT": model.url, "REPO_REPORT_MODEL": "small",
                       "RAILTRACKS_HOME": str(self.folder / "home"), "SOJOURN_FLOW_LOGGING_SETTING": "NONE"}
        (self.folder / "home").mkdir()
        done = subprocess.run([BUILD / "apps" / "repo-report" / "repo_report", self.folder], capture_output=True,
                              text=True, timeout=PATIENCE, env=environment, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)
        [saved] = (self.folder / "home/.railtracks/data/sessions").iterdir()
        [run] = json.loads(saved.read_text(encoding="utf-8"))["runs"]
        return done.stdout, {node["name"]: node for node in run["nodes"]}

    def test_a_model_describes_the_tree_and_reads_its_files_only(self):
        says = {"role": "assistant", "content": "A small tree."}
        with Model(called("read_for_model", path="one.py"), called("read_for_model", path="../../etc/passwd"),
                   says) as model:
            text, nodes = self.report(model)
        self.assertIn("Python 1", text)
        self.assertTrue(text.endswith("\nA small tree.\n"), text)
        first, _, last = (asked["messages"] for asked in model.asked)
        self.assertIn(str(self.folder), first[0]["content"])
        self.assertIn("1 files; Python 1", first[1]["content"])
        self.assertEqual(last[3]["content"], "print('{braces}')\n")
        self.assertIn("is not in the tree", last[5]["content"])
        tell = nodes["tell"]
        self.assertEqual(tell["node_type"], "Agent")
        self.assertEqual([detail["model_name"] for detail in tell["details"]["internals"]["llm_details"]], ["small"] * 3)

    def test_a_model_that_refuses_costs_its_part_only(self):
        with Model(401) as model:
            text, _ = self.report(model)
        self.assertIn("Python 1", text)
        self.assertIn("The model told nothing of it", text)


if __name__ == "__main__":
    unittest.main()
