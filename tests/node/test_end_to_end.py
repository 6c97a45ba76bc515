"""The real program with an app in JavaScript: what its callers see."""

from e2e.program import CANCELLED, COMPLETED, FAILED, SOURCE, Served, wait_for

PROBE = "tests/node-probe"


class Node(Served):
    @classmethod
    def make_apps(cls, folder):
        (folder / "probe").symlink_to(SOURCE / "tests" / "node" / "apps" / "probe")
        (folder / "markdown-notes").symlink_to(SOURCE / "apps" / "markdown-notes")
        (folder / "counter").symlink_to(SOURCE / "apps" / "counter")

    def cancelled(self, function):
        """The final task of a call that is cancelled once it runs, and its session."""
        session = self.server.new_session(PROBE)
        task = self.server.run(PROBE, function, session=session, wait=False)
        with self.server.stream(task["id"]) as stream:
            stream.wait_for_output({"waiting": True})
        self.server.post(f"/tasks/{task['id']}/cancel")
        return self.server.final_task(task["id"]), session

    def test_session_keeps_its_state_and_its_memory_over_calls(self):
        session = self.server.new_session(PROBE, setup={"size": 1})
        self.assertEqual([self.server.output(PROBE, "count", session=session) for _ in range(3)], [1, 2, 3])
        seen = self.server.output(PROBE, "state", session=session)
        self.assertEqual((seen["state"], seen["begun"]), ({"count": 3}, ["setup", {"size": 1}]))
        self.assertEqual(self.server.output(PROBE, "state", session=session)["pid"], seen["pid"])

    def test_values_of_any_kind_come_back_as_they_went(self):
        for value in (None, True, 0, -1.5, 2**53, 1e300, "ü\u2028\U0001f600\x00\\", [], {"": {"a": [None]}},
                      {"__proto__": {"x": 1}}, "x" * 3_000_000):
            with self.subTest(value=str(value)[:20]):
                self.assertEqual(self.server.output(PROBE, "echo", {"value": value}), {"value": value})

    def test_generator_shows_its_yields_before_it_ends(self):
        gate = self.fifo()
        task = self.server.run(PROBE, "gated", {"gate": gate.path}, wait=False)
        with self.server.stream(task["id"]) as stream:
            gate.wait_until_read()
            gate.write("one")
            stream.wait_for_output({"seen": ["one"]})
            gate.write("two")
            stream.wait_for_output({"seen": ["one", "two"]})
            gate.open()
        final = self.server.final_task(task["id"])
        self.assertEqual((final["status"], final["output"]), (COMPLETED, {"seen": ["one", "two"], "done": True}))

    def test_cancel_reaches_a_function_that_waits_and_one_that_is_busy(self):
        for function in ("wait", "spin"):
            with self.subTest(function=function):
                task, session = self.cancelled(function)
                self.assertEqual((task["status"], task.get("output")), (CANCELLED, None))
                self.assertEqual(self.server.output(PROBE, "state", session=session)["state"], {})
                self.assertNotIn("worker.lost", self.server.event_types(session))

    def test_busy_function_that_never_asks_is_ended_with_its_worker(self):
        task, session = self.cancelled("spin_blindly")
        self.assertEqual(task["status"], CANCELLED)
        self.assertEqual(self.server.output(PROBE, "state", session=session)["begun"], ["restore"])

    def test_errors_keep_code_message_retry_advice_and_details(self):
        failed = self.server.run(PROBE, "refuse", {"a": 1})
        error = failed["error_info"]
        self.assertEqual((failed["status"], error["code"], error["message"]), (FAILED, "queue_full", "not now"))
        self.assertEqual((error["retryable"], error["details"]), (True, {"given": {"a": 1}}))
        error = self.server.run(PROBE, "fail", 7)["error_info"]
        self.assertEqual((error["code"], error["message"]), ("app_error", "RangeError: what went wrong: 7"))
        self.assertEqual(error["details"]["type"], "RangeError")
        self.assertIn("at Probe.fail", error["details"]["traceback"])
        error = self.server.run(PROBE, "unserializable")["error_info"]
        self.assertEqual((error["code"], error["details"]["pointer"]), ("not_serializable", "/a/1"))

    def test_checkpoint_outlives_the_call_that_fails_after_it(self):
        session = self.server.new_session(PROBE)
        failed = self.server.run(PROBE, "checkpoint_then_fail", session=session)
        self.assertEqual(failed["error_info"]["message"], "Error: after the checkpoint")
        self.assertEqual(self.server.output(PROBE, "state", session=session)["state"], {"before": 1})
        self.assertIn("probe.halfway", self.server.event_types(session))

    def test_worker_that_crashes_fails_its_call_and_the_next_goes_on_with_the_state(self):
        gate = self.fifo()
        session = self.server.new_session(PROBE)
        self.server.output(PROBE, "count", session=session)
        task = self.server.run(PROBE, "hold", {"gate": gate.path}, session=session, wait=False)
        gate.wait_until_read()
        self.server.kill_worker(session)
        self.assertEqual(self.server.final_task(task["id"])["error_info"]["code"], "WORKER_LOST")
        self.assertEqual(self.server.output(PROBE, "count", session=session), 2)
        self.assertEqual(self.server.output(PROBE, "state", session=session)["begun"], ["restore"])

    def test_worker_that_leaves_says_its_last_words(self):
        session = self.server.new_session(PROBE)
        error = self.server.run(PROBE, "leave", {"code": 7}, session=session)["error_info"]
        self.assertEqual(error["code"], "WORKER_LOST")
        self.assertIn("last words", str(error) + str(self.server.events(session)))
        self.assertEqual(self.server.output(PROBE, "count", session=session), 1)

    def test_what_nobody_caught_fails_the_call_by_its_name(self):
        session = self.server.new_session(PROBE)
        error = self.server.run(PROBE, "stray", session=session)["error_info"]
        self.assertEqual((error["code"], error["message"]), ("app_error", "RangeError: nobody catches this"))
        wait_for(lambda: "worker.lost" in self.server.event_types(session)
                 or self.server.ask_run(PROBE, "count", session=session).status == 200, "the next worker")

    def test_prints_and_log_lines_are_in_the_journal(self):
        session = self.server.new_session(PROBE)
        self.server.output(PROBE, "say", session=session)
        lines = wait_for(lambda: (found := [event["data"] for event in self.server.events(session)
                                            if event["type"] == "log"]) and len(found) == 3 and found, "three lines")
        self.assertEqual({(line["message"], line["level"]) for line in lines},
                         {("to standard output", "info"), ("to standard error", lines_level(lines)),
                          ("to the log", "warning")})

    def test_resources_are_released_newest_first_at_the_end_and_all_are_tried(self):
        session = self.server.new_session(PROBE)
        self.server.output(PROBE, "acquire", {"names": ["one", "two"], "fails": True}, session=session)
        folder = self.folder / "data" / "sessions" / f"{session[5:9]}-{session[9:11]}-{session[11:13]}" / session
        self.assertTrue((folder / "one").is_dir())
        self.assertEqual(self.server.delete(f"/sessions/{session}").status, 204)
        self.assertEqual((folder / "released").read_text(), "two\none\n")
        self.assertIn("it does not let go", str(self.server.events(session)))

    def test_resources_of_a_killed_worker_are_released_as_noted(self):
        session = self.server.new_session(PROBE)
        self.server.output(PROBE, "acquire", {"names": ["one", "two"]}, session=session)
        folder = self.folder / "data" / "sessions" / f"{session[5:9]}-{session[9:11]}-{session[11:13]}" / session
        self.server.kill_worker(session)
        wait_for(lambda: not (folder / "one").exists() and not (folder / "two").exists(), "the clean-up")

    def test_app_in_javascript_calls_one_in_python(self):
        asked = {"app": "counter", "function": "increment", "input": {"key": "a", "amount": 2}}
        self.assertEqual(self.server.output(PROBE, "ask", asked)["output"]["current"], 2)
        refused = self.server.output(PROBE, "ask", {"app": "no-such-app", "function": "run"})
        self.assertEqual(refused, {"code": "app_not_found", "typed": True})

    def test_call_may_end_its_session(self):
        session = self.server.new_session(PROBE)
        self.assertEqual(self.server.output(PROBE, "end", session=session), "bye")
        self.assertEqual(self.server.over(session)["status"], "ended")

    def test_notebook_lives_through_the_loss_of_its_worker(self):
        session = self.server.new_session("markdown-notes")
        self.server.output("markdown-notes", "add", {"title": "One", "text": "*two*"}, session=session)
        self.server.kill_worker(session)
        note = self.server.output("markdown-notes", "get", {"id": 1}, session=session)
        self.assertEqual(note["html"], "<h1>One</h1>\n<p><em>two</em></p>\n")


def lines_level(lines):
    """The level that the server gives to standard error."""
    return next(line["level"] for line in lines if line["message"] == "to standard error")


if __name__ == "__main__":
    import unittest

    unittest.main()
