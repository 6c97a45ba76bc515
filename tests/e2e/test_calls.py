"""Calls over HTTP: their answers, how they are followed, ordered, cancelled, and how they fail."""

import threading
import unittest

from e2e.program import CANCELLED, COMPLETED, FAILED, RUNNING, Served, wait_for


class Answers(Served):
    def test_envelope_without_a_version_header(self):
        answer = self.server.ask_run("counter", "increment", {"key": "a"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(set(answer.body), {"success", "status", "data", "messages"})
        self.assertEqual((answer.body["success"], answer.body["status"], answer.body["messages"]), (True, 200, []))
        self.assertEqual(answer.data["output"], {"key": "a", "previous": 0, "current": 1})

    def test_bare_object_with_version_2(self):
        bare = self.server.ask_run("counter", "increment", {"key": "a"}, headers={"X-API-Version": "2"})
        self.assertEqual(bare.status, 200)
        self.assertNotIn("success", bare.body)
        self.assertEqual(bare.body["status"], COMPLETED)
        self.assertEqual(bare.body["output"]["current"], 1)
        session = self.server.get(f"/sessions/{bare.body['session_id']}", **{"X-API-Version": "2"}).body
        self.assertEqual(session["id"], bare.body["session_id"])
        listed = self.server.get("/sessions", **{"X-API-Version": "2"}).body
        self.assertIsInstance(listed, list)

    def test_paths_with_and_without_v1(self):
        session = self.server.post("/v1/apps/run", {"app": "counter", "session": "new", "wait": True,
                                                    "input": {"key": "a"}}).data["session_id"]
        again = self.server.post("/v1/run", {"app": "counter", "session": session, "wait": True,
                                             "input": {"key": "a"}}).data
        self.assertEqual(again["output"]["current"], 2)
        self.assertEqual(self.server.get(f"/v1/sessions/{session}").data["id"], session)
        self.assertEqual(self.server.get(f"/v1/tasks/{again['id']}").data["id"], again["id"])

    def test_waited_call_answers_the_final_task(self):
        task = self.server.run("session-test", "set_value", {"key": "k", "value": [1, None]})
        self.assertEqual(task["status"], COMPLETED)
        self.assertEqual(task["status_text"], "completed")
        self.assertEqual(task["output"], {"success": True, "key": "k", "value": [1, None]})
        self.assertEqual(task["app_id"], "session-test")
        self.assertEqual(task["function"], "set_value")
        self.assertIsNone(task["error"])
        self.assertRegex(task["session_id"], r"^sess_\d{8}_\d{6}_[0-9a-f]{6}$")
        for time in ("created_at", "updated_at", "started_at", "ended_at"):
            self.assertRegex(task[time], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")

    def test_call_without_wait_answers_a_status_that_is_not_final_and_is_polled(self):
        task = self.server.run("counter", "increment", {"key": "a"}, wait=False)
        self.assertLess(task["status"], COMPLETED)
        self.assertIsNone(task["output"])

        def status():
            answer = self.server.get(f"/tasks/{task['id']}/status").data
            self.assertEqual(answer["id"], task["id"])
            return answer["status"] == COMPLETED and answer["status_text"]

        self.assertEqual(wait_for(status, "a completed task"), "completed")
        self.assertEqual(self.server.task(task["id"])["output"]["current"], 1)

    def test_names_of_apps_with_namespace_version_and_function(self):
        self.assertEqual(self.server.output("tests/probe", "echo", {"a": 1}), {"a": 1})
        self.assertEqual(self.server.output("tests/probe@1.2.3:pid", session="new") > 1, True)
        self.assertEqual(self.server.output("tests/probe", input=[1, "x", None]), [1, "x", None])

    def test_call_without_a_session_has_one_that_ends_with_it(self):
        task = self.server.run("session-test", "get_all", session=None)
        self.assertEqual(task["output"], {"state": {}, "call_count": 1})
        self.assertEqual(self.server.over(task["session_id"])["status"], "ended")

    def test_same_session_reaches_the_same_warm_worker(self):
        session = self.server.new_session("session-test")
        self.server.output("session-test", "set_value", {"key": "k", "value": "v"}, session=session)
        task = self.server.run("session-test", "get_value", {"key": "k"}, session=session)
        self.assertEqual(task["session_id"], session)
        self.assertEqual(task["output"], {"found": True, "key": "k", "value": "v"})
        other = self.server.output("session-test", "get_value", {"key": "k"})
        self.assertEqual(other, {"found": False, "key": "k"})

    def test_names_what_it_serves(self):
        apps = {app["name"]: app for app in self.server.get("/apps").data}
        self.assertLessEqual({"counter", "session-test", "data-processor", "tests/probe"}, set(apps))
        self.assertEqual(self.server.get("/apps/tests/probe").data, apps["tests/probe"])
        self.assertEqual(apps["tests/probe"]["version"], "1.2.3")
        self.assertIn("GET /healthz", self.server.get("/").body["paths"])

    def test_is_healthy_and_ready(self):
        self.assertEqual(self.server.get("/healthz").body, {"status": "ok"})
        self.assertEqual(self.server.get("/readyz").body["status"], "ready")

    def test_many_requests_on_one_connection(self):
        connection = self.server.connection()
        try:
            for _ in range(5):
                connection.request("GET", "/healthz")
                response = connection.getresponse()
                self.assertEqual((response.status, response.read()), (200, b'{"status":"ok"}'))
        finally:
            connection.close()

    def test_loads_real_data_once_and_analyses_it(self):
        session = self.server.new_session("data-processor")
        analyze = {"action": "analyze", "type": "summary"}
        loaded = self.server.output("data-processor", input={"action": "load", "dataset": "weather"}, session=session)
        summary = self.server.output("data-processor", input=analyze, session=session)
        self.assertTrue(loaded and summary)
        refused = self.server.run("data-processor", input=analyze)
        self.assertEqual(refused["status"], FAILED)


class Streams(Served):
    def followed(self, accept):
        gate = self.fifo()
        task = self.server.run("tests/probe", "emit", {"gate": gate.path}, wait=False)
        gate.wait_until_read()
        with self.server.stream(task["id"], accept) as stream:
            snapshot = stream.next()
            gate.write("one")
            first = self.skip_status(stream)
            gate.write("two")
            second = self.skip_status(stream)
            gate.open()
            rest = list(stream)
            content_type = stream.content_type
        # The snapshot comes first and is whole.
        self.assertEqual((snapshot["id"], snapshot["session_id"]), (task["id"], task["session_id"]))
        self.assertLess(snapshot["status"], COMPLETED)
        self.assertIsNone(snapshot["output"])
        # Then what came, with what of it changed.
        self.assertEqual(first["fields"], ["status", "output"])
        self.assertEqual(first["data"]["output"], {"seen": ["one"]})
        self.assertEqual(first["data"]["status"], RUNNING)
        self.assertEqual(second["data"]["output"], {"seen": ["one", "two"]})
        # The end stands alone: Python callers keep nothing of what came before.
        end = rest[-1]
        self.assertEqual(end["output"], {"seen": ["one", "two"], "done": True})
        self.assertEqual((end["id"], end["status"], end["session_id"]), (task["id"], COMPLETED, task["session_id"]))
        self.assertEqual([line for line in rest[:-1] if line.get("status", 0) >= COMPLETED], [])
        return content_type

    def skip_status(self, stream):
        while (line := stream.next())["fields"] == ["status"]:
            pass
        return line

    def test_ndjson_tells_snapshot_partials_and_end(self):
        self.assertEqual(self.followed("application/x-ndjson"), "application/x-ndjson")

    def test_sse_tells_the_same(self):
        self.assertEqual(self.followed("text/event-stream"), "text/event-stream")

    def test_snapshot_holds_the_newest_partial_output(self):
        gate = self.fifo()
        task = self.server.run("tests/probe", "emit", {"gate": gate.path}, wait=False)
        gate.wait_until_read()
        gate.write("one")
        with self.server.stream(task["id"]) as early:
            early.wait_for_output({"seen": ["one"]})
        with self.server.stream(task["id"]) as stream:
            self.assertEqual(stream.next()["output"], {"seen": ["one"]})
            gate.open()
            self.assertEqual(list(stream)[-1]["status"], COMPLETED)

    def test_late_follower_of_a_finished_task_gets_its_end(self):
        task = self.server.run("counter", "increment", {"key": "a"})
        for accept in ("application/x-ndjson", "text/event-stream"):
            with self.server.stream(task["id"], accept) as stream:
                self.assertEqual(list(stream), [self.server.task(task["id"])])

    def test_follower_that_goes_away_leaves_the_call_alone(self):
        gate = self.fifo()
        task = self.server.run("tests/probe", "hold", {"gate": gate.path}, wait=False)
        gate.wait_until_read()
        with self.server.stream(task["id"]) as stream:
            stream.next()
        gate.open()
        self.assertEqual(self.server.final_task(task["id"])["status"], COMPLETED)

    def test_failed_task_tells_its_error_at_the_end(self):
        gate = self.fifo()
        session = self.server.new_session("tests/probe")
        held = self.server.run("tests/probe", "hold", {"gate": gate.path}, session=session, wait=False)
        task = self.server.run("tests/probe", "fail", "this", session=session, wait=False)
        with self.server.stream(task["id"]) as stream:
            self.assertLess(stream.next()["status"], COMPLETED)
            gate.wait_until_read()
            gate.open()
            end = list(stream)[-1]
        self.assertEqual((end["status"], end["error"]), (FAILED, "ValueError: what went wrong: this"))
        self.assertEqual(self.server.final_task(held["id"])["status"], COMPLETED)


class Order(Served):
    def test_twenty_clients_of_one_session_are_served_one_at_a_time(self):
        session = self.server.new_session("counter")
        tasks, guard = [], threading.Lock()

        def call():
            for _ in range(3):
                task = self.server.run("counter", "increment", {"key": "n"}, session=session)
                with guard:
                    tasks.append(task)

        threads = [threading.Thread(target=call) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tasks.sort(key=lambda task: task["seq"])
        self.assertEqual([task["seq"] for task in tasks], list(range(1, 61)))
        self.assertEqual([task["output"]["current"] for task in tasks], list(range(1, 61)))
        for earlier, later in zip(tasks, tasks[1:]):
            self.assertLessEqual(earlier["created_at"], later["created_at"])
            self.assertLessEqual(earlier["ended_at"], later["started_at"])

    def test_different_sessions_are_served_at_the_same_time(self):
        gates = [self.fifo() for _ in range(3)]
        tasks = [self.server.run("tests/probe", "hold", {"gate": gate.path}, wait=False) for gate in gates]
        for gate in gates:
            gate.wait_until_read()
        self.assertEqual([self.server.task(task["id"])["status"] for task in tasks], [RUNNING] * 3)
        for gate in gates:
            gate.open()
        self.assertEqual([self.server.final_task(task["id"])["status"] for task in tasks], [COMPLETED] * 3)

    def test_queue_is_bounded(self):
        gate = self.fifo()
        session = self.server.new_session("tests/probe")
        held = self.server.run("tests/probe", "hold", {"gate": gate.path}, session=session, wait=False)
        gate.wait_until_read()
        waiting = [self.server.run("tests/probe", input=n, session=session, wait=False) for n in range(30)]
        answer = self.server.ask_run("tests/probe", input=30, session=session, wait=False)
        self.assertTrue(self.refused(answer, 429, "queue_full", session, "30 calls waiting")["retryable"])
        self.assertEqual(answer.headers["Retry-After"], "1")
        seen = self.server.session(session)
        self.assertEqual((seen["busy"], seen["queued"]), (True, 30))
        gate.open()
        outputs = [self.server.final_task(task["id"])["output"] for task in [held, *waiting]]
        self.assertEqual(outputs, [{"held": ""}, *range(30)])


class Cancelling(Served):
    def test_queued_call_never_runs(self):
        gate = self.fifo()
        session = self.server.new_session("tests/probe")
        held = self.server.run("tests/probe", "hold", {"gate": gate.path}, session=session, wait=False)
        queued = self.server.run("tests/probe", "set", {"ran": True}, session=session, wait=False)
        gate.wait_until_read()
        self.server.post(f"/tasks/{queued['id']}/cancel")
        gate.open()
        task = self.server.final_task(queued["id"])
        self.assertEqual((task["status"], task["error_info"]["code"]), (CANCELLED, "cancelled"))
        self.assertIsNone(task["started_at"])
        self.assertEqual(self.server.final_task(held["id"])["status"], COMPLETED)
        self.assertEqual(self.server.output("tests/probe", "state", session=session)["state"], {})

    def test_running_call_stops_and_its_session_goes_on(self):
        session = self.server.new_session("tests/probe")
        task = self.server.run("tests/probe", "wait_for_cancel", session=session, wait=False)
        with self.server.stream(task["id"]) as stream:
            stream.wait_for_output({"waiting": True})
            pid = self.server.session(session)["worker_id"]
            answer = self.server.post(f"/tasks/{task['id']}/cancel").data
            self.assertEqual(answer["id"], task["id"])
            end = list(stream)[-1]
        self.assertEqual((end["status"], end["error_info"]["code"]), (CANCELLED, "cancelled"))
        self.assertEqual(self.server.output("tests/probe", "state", session=session)["state"], {})
        self.assertEqual(self.server.session(session)["worker_id"], pid)
        self.assertIn("call.cancelled", self.server.event_types(session))

    def test_call_that_does_not_listen_is_ended_with_its_worker(self):
        gate = self.fifo()
        session = self.server.new_session("tests/probe")
        task = self.server.run("tests/probe", "hold", {"gate": gate.path}, session=session, wait=False)
        gate.wait_until_read()
        self.server.post(f"/tasks/{task['id']}/cancel")
        self.assertEqual(self.server.final_task(task["id"])["status"], CANCELLED)
        gate.open()
        self.assertEqual(self.server.output("tests/probe", "state", session=session), {"state": {}, "restored": True})

    def test_finished_call_stays_as_it_is(self):
        task = self.server.run("counter", "increment", {"key": "a"})
        self.assertEqual(self.server.post(f"/tasks/{task['id']}/cancel").data, task)
        self.assertEqual(self.server.task(task["id"]), task)

    def test_call_timeout_ends_the_call(self):
        task = self.server.run("tests/probe", "wait_for_cancel", call_timeout=1)
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "call_timeout"))
        self.assertIn("longer than 1", task["error"])


class Failing(Served):
    def test_exception_fails_the_call_and_drops_its_changes(self):
        session = self.server.new_session("tests/probe")
        self.server.output("tests/probe", "set", {"kept": "as it was"}, session=session)
        task = self.server.run("tests/probe", "fail", "this", session=session)
        self.assertEqual((task["status"], task["status_text"]), (FAILED, "failed"))
        self.assertIsNone(task["output"])
        self.assertEqual(task["error"], "ValueError: what went wrong: this")
        error = task["error_info"]
        self.assertEqual(error["code"], "app_error")
        self.assertEqual(error["details"]["type"], "ValueError")
        self.assertIn('raise ValueError("what went wrong: "', error["details"]["traceback"])
        self.assertEqual(self.server.task(task["id"]), task)
        state = self.server.output("tests/probe", "state", session=session)
        self.assertEqual(state, {"state": {"kept": "as it was"}, "restored": False})
        self.assertEqual(self.server.get(f"/sessions/{session}/state").data, {"kept": "as it was"})
        self.assertIn("call.failed", self.server.event_types(session))

    def test_error_of_the_app_keeps_its_code_and_details(self):
        task = self.server.run("tests/probe", "refuse", {"x": 1})
        self.assertEqual(task["error"], "this is not what I take")
        self.assertEqual(task["error_info"]["code"], "invalid_request")
        self.assertEqual(task["error_info"]["details"]["given"], {"x": 1})

    def test_output_that_json_cannot_hold_is_named(self):
        task = self.server.run("tests/probe", "unserializable")
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "not_serializable"))
        self.assertEqual(task["error_info"]["details"]["pointer"], "/a/1")

    def test_checkpoint_survives_a_later_failure(self):
        session = self.server.new_session("tests/probe")
        task = self.server.run("tests/probe", "checkpoint_then_fail", session=session)
        self.assertEqual((task["status"], task["error"]), (FAILED, "RuntimeError: after the checkpoint"))
        self.assertEqual(self.server.get(f"/sessions/{session}/state").data, {"before": 1})
        types = self.server.event_types(session)
        self.assertLess(types.index("call.checkpoint"), types.index("call.failed"))
        self.assertIn("probe.halfway", types)
        self.assertEqual(self.server.output("tests/probe", "state", session=session)["state"], {"before": 1})

    def test_what_a_worker_says_is_in_the_journal(self):
        session = self.server.new_session("tests/probe")
        task = self.server.run("tests/probe", "say", session=session)

        def logged():
            events = [event["data"] for event in self.server.events(session) if event["type"] == "log"]
            return len(events) >= 3 and {event["stream"]: event for event in events}

        # A line printed at the very end of a call may come after it: then the next commit brings it.
        self.server.output("tests/probe", "echo", 1, session=session)
        keepalive = f"/sessions/{session}/keepalive"
        said = wait_for(lambda: logged() or self.server.post(keepalive) and None, "three lines")
        self.assertEqual(said["stdout"]["message"], "to standard output")
        self.assertEqual(said["stderr"]["message"], "to standard error")
        self.assertEqual(said["app"]["message"], "to the log")
        self.assertEqual((said["app"]["level"], said["app"]["fields"]), ("warning", {"number": 7}))
        self.assertEqual(said["app"]["task"], task["id"])

    def test_logs_of_a_call_are_its_own_lines_in_order(self):
        session = self.server.new_session("tests/probe")
        self.server.run("tests/probe", "say", session=session)
        task = self.server.run("tests/probe", "say", session=session)
        self.server.run("tests/probe", "say", session=session)
        lines = self.server.get(f"/tasks/{task['id']}/logs").data
        self.assertEqual([line["content"] for line in lines if line["stream"] == "app"], ["to the log"])
        own = next(line for line in lines if line["stream"] == "app")
        self.assertEqual((own["task_id"], own["level"], own["fields"], own["log_type"]),
                         (task["id"], "warning", {"number": 7}, 4))
        self.assertEqual(self.server.get(f"/tasks/{task['id']}/logs?from={own['seq'] + 1}&limit=1").data,
                         [line for line in lines if line["seq"] > own["seq"]][:1])
        self.assertEqual(self.server.get(f"/tasks/{self.server.run('counter', input={'key': 'a'})['id']}/logs").data, [])
        self.refused(self.server.get(f"/tasks/{task['id']}/logs?limit=0"), 400, "invalid_request", "'limit'")


if __name__ == "__main__":
    unittest.main()
