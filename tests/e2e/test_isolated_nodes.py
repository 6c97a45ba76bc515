"""A flow whose nodes run in processes of their own, served as an app: a crash costs one call, and no process is left."""

import os
import signal
from pathlib import Path

from e2e.program import CANCELLED, FAILED, SOURCE, Served, command_of, family_of, wait_for

BUILD = Path(os.environ.get("SOJOURN_BUILD", str(SOURCE / "build" / "release")))


class IsolatedNodes(Served):
    @classmethod
    def make_apps(cls, folder):
        (folder / "survey").mkdir()
        (folder / "survey" / "app.toml").write_text(f"""name = "survey"
command = ["{BUILD}/examples/isolated"]
functions = ["survey"]
default_function = "survey"
""", encoding="utf-8")

    def node_processes(self, session):
        """The processes below the session's worker that run nodes."""
        return [pid for pid, _ in family_of(self.server.worker(session))
                if "sojourn-crew-process" in command_of(pid)]

    def test_a_crash_fails_one_call_of_one_run(self):
        session = self.server.new_session("survey")
        lines = self.server.output("survey", input=["sky.png", "broken.png", "harbour.png"], session=session)
        self.assertEqual(lines, ["sky.png: 7", 'broken.png: node "measure" (survey > measure): '
                                 "its process was killed by SIGABRT", "harbour.png: 11"])
        self.assertEqual(self.server.output("survey", input=["sky.png"], session=session), ["sky.png: 7"])
        first, _ = self.server.get(f"/sessions/{session}/flow").data
        survey, *measures = [call["status"] for call in first["calls"]]
        # In the order in which they began, which is that of the pool's threads.
        self.assertEqual((survey, sorted(measures)), ("Completed", ["Completed", "Completed", "Failed"]))

    def test_a_process_that_is_killed_is_replaced_and_all_end_with_their_session(self):
        session = self.server.new_session("survey")
        self.server.output("survey", input=["sky.png"], session=session)
        [process] = self.node_processes(session)
        os.kill(process, signal.SIGKILL)
        # A call may reach it before anybody knows.
        wait_for(lambda: self.server.output("survey", input=["sky.png"], session=session) == ["sky.png: 7"],
                 "another process in the place of one that was killed")
        [process] = [pid for pid in self.node_processes(session) if pid != process]
        self.server.delete(f"/sessions/{session}")
        wait_for(lambda: not Path(f"/proc/{process}").exists(), "the end of what ran its nodes")

    def stopped_run(self, session):
        """A run that does not go on, since the process of its node was stopped: its task, and that process."""
        self.server.output("survey", input=["sky.png"], session=session)
        [process] = self.node_processes(session)
        os.kill(process, signal.SIGSTOP)
        task = self.server.run("survey", input=["sky.png"], session=session, wait=False)["id"]
        return task, process

    def runs(self, session, state):
        """The runs of a session, once the newest is in this state."""
        def newest_is():
            runs = self.server.get(f"/sessions/{session}/flow").data
            return runs[-1]["state"] == state and runs
        return wait_for(newest_is, f"a run that is {state}")

    def test_a_run_is_seen_while_it_runs(self):
        session = self.server.new_session("survey")
        task, process = self.stopped_run(session)
        first, running = self.runs(session, "running")
        self.assertEqual((first["state"], running["task"]), ("over", task))
        self.assertEqual([(call["node"], call["status"]) for call in running["calls"]],
                         [("survey", "Open"), ("measure", "Open")])
        self.assertGreater(running["calls"][0]["us"], 0)
        shown = self.server.command("flow", "show", session).stdout.splitlines()
        self.assertTrue(shown[0].endswith("open") and "measure" in shown[1], shown)
        os.kill(process, signal.SIGCONT)
        self.assertEqual(self.server.final_task(task)["output"], ["sky.png: 7"])
        _, over = self.runs(session, "over")
        self.assertEqual([call["status"] for call in over["calls"]], ["Completed", "Completed"])
        self.assertIn("flow.progress", self.server.event_types(session))

    def test_how_far_a_run_was_is_seen_after_its_worker_was_killed(self):
        session = self.server.new_session("survey")
        task, _ = self.stopped_run(session)
        self.runs(session, "running")
        os.kill(self.server.worker(session), signal.SIGKILL)
        self.assertEqual(self.server.final_task(task)["status"], FAILED)
        _, cut = self.runs(session, "cut_short")
        self.assertEqual([call["status"] for call in cut["calls"]], ["Open", "Open"])
        self.assertIn("cut short", self.server.command("flow", "show", session).stderr)

    def test_a_cancel_stops_the_node_and_leaves_the_worker(self):
        session = self.server.new_session("survey")
        task, process = self.stopped_run(session)
        self.runs(session, "running")  # so that the node has begun
        worker = self.server.worker(session)
        self.server.post(f"/tasks/{task}/cancel")
        self.assertEqual(self.server.final_task(task)["status"], CANCELLED)
        wait_for(lambda: process not in self.node_processes(session), "the end of the process of a node that was stopped")
        self.assertEqual(self.server.worker(session), worker)
        self.assertEqual(self.server.output("survey", input=["sky.png"], session=session), ["sky.png: 7"])
