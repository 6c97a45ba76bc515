"""The benchmark's own programs answer each other and tell failure from success; its report says what was measured."""
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import report  # noqa: E402
from report import Figure  # noqa: E402

PROGRAMS = pathlib.Path(os.environ["SOJOURN_BUILD"]) / "bench"
WORKER = pathlib.Path(os.environ["SOJOURN_SOURCE"]) / "bench" / "bare_worker.py"
OPEN = '{"input": {"key": "n", "amount": 1}, "session": "new"}'
CALL = '{"input": {"key": "n", "amount": 1}, "session": "{session}"}'
# The thread sanitizer has forms of new and delete of its own beside those that count.
COUNTS_HEAP = os.environ.get("SOJOURN_COUNTS_HEAP") != "no"


class Bench(unittest.TestCase):
    def serve(self, *arguments, program="bare_server"):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        server = subprocess.Popen([PROGRAMS / program, "--data", folder.name, *arguments], stdout=subprocess.PIPE,
                                  text=True)
        self.addCleanup(self.stop, server)
        return re.search(r":(\d+)$", server.stdout.readline()).group(1)

    def stop(self, server):
        server.terminate()
        server.stdout.close()
        self.assertEqual(server.wait(20), 0)

    def load(self, port, body=CALL):
        return subprocess.run(
            [PROGRAMS / "load_client", "--port", port, "--path", "/apps/run", "--connections", "3", "--open", OPEN,
             "--body", body, "--warm-up", "20", "--duration", "100"], capture_output=True, text=True)

    def assert_served(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        self.assertEqual(report["errors"], 0)
        self.assertGreater(report["calls"], 3)
        self.assertLessEqual(report["p50_us"], report["p99_us"])
        self.assertLessEqual(report["p99_us"], report["max_us"])

    def test_bare_server_answers_every_call(self):
        self.assert_served(self.load(self.serve()))

    def test_bare_server_answers_through_python_processes(self):
        self.assert_served(self.load(self.serve("--worker", WORKER)))

    def test_load_client_counts_refused_calls_as_errors(self):
        done = self.load(self.serve(), CALL.replace("{session}", "sess_20260101_000000_ffffff"))
        self.assertEqual(done.returncode, 1)
        self.assertGreater(json.loads(done.stdout)["errors"], 0)
        self.assertIn("session not found", done.stderr)

    def test_folder_server_keeps_sessions_as_seed_001_does(self):
        port = self.serve("--stored", "3", program="folder_server")

        def ask(method, path, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
            self.addCleanup(connection.close)
            connection.request(method, path, body)
            return json.loads(connection.getresponse().read())

        made = ask("POST", "/session/create", "{}")
        folder = pathlib.Path(made["audit_path"])
        self.assertEqual((folder.name, folder.parent.name), (made["session_id"], made["created_at"][:10]))
        ask("POST", f"/sessions/{made['session_id']}/steps/search/report", '{"duration_ms": 7}')
        self.assertEqual(json.loads((folder / "session_metadata.json").read_text())["timing"], {"search_ms": 7})
        self.assertEqual(ask("GET", f"/session/{made['session_id']}/audit")["steps_completed"], ["search"])
        self.assertEqual(ask("GET", f"/session/{made['session_id']}")["status"], "created")
        listed = ask("GET", "/session/list")
        self.assertEqual((listed["total"], listed["sessions"][0]["session_id"]), (4, made["session_id"]))
        self.assertEqual(len(list(folder.parent.parent.iterdir())), 4, "a day each")
        self.assertIn("not found", ask("GET", "/session/sess_20260115_103045_000001")["message"])

    def test_load_client_asks_for_other_ids_as_often_as_it_is_told(self):
        port = self.serve(program="folder_server")
        done = subprocess.run(
            [PROGRAMS / "load_client", "--port", port, "--method", "GET", "--path", "/session/{id}", "--ids", "16",
             "--calls", "1", "--duration", "200", "--warm-up", "0"], capture_output=True, text=True)
        self.assertRegex(done.stderr, "session not found: 0000[01][0-9a-f]")
        done = subprocess.run([PROGRAMS / "load_client", "--port", port, "--path", "/session/create", "--body", "{}", "--calls",
                               "30", "--connections", "3", "--duration", "0", "--warm-up", "0"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreaterEqual(json.loads(done.stdout)["calls"], 30)

    def figures_of(self, name, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([PROGRAMS / name, "--data", folder, *arguments], capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_memory_figures_count_what_live_sessions_take(self):
        live = self.figures_of("memory_figures", "--live", "200", "--resting", "0", "--ended", "0")[0]
        self.assertEqual((live["unit"], live["asked"]), ("bytes of heap each", 4096))
        if COUNTS_HEAP:
            self.assertGreater(live["value"], 500)

    def test_a_session_that_has_ended_takes_no_memory(self):
        ended, = self.figures_of("memory_figures", "--live", "0", "--resting", "0", "--ended", "1000")
        self.assertEqual((ended["unit"], ended["asked"]), ("bytes of heap each", 1))
        if COUNTS_HEAP:
            self.assertLess(ended["value"], 100)  # each was 350 and more while the store's writer remembered it


class Report(unittest.TestCase):
    HOST = {"date": "2026-01-15 10:30 UTC", "processor": "P", "cores": 2, "system": "S", "busy": 0.25, "fsync_us": 100.0,
            "bounce_us": 60.0, "rounds": 3, "seconds": 1.0}
    SECTIONS = {"calls": ("Calls", "A note."), "memory": ("Memory", "")}

    def test_rates_are_to_be_reached_and_all_else_is_not_to_be_passed(self):
        for unit, value, asked, met in (("calls/s", 10, 9, True), ("calls/s", 8, 9, False), ("calls/s", 9, 9, True),
                                        ("of bare calls/s", 0.7, 0.6, True), ("of bare calls/s", 0.5, 0.6, False),
                                        ("us p99", 8, 9, True), ("us p99", 10, 9, False), ("of bare p50", 1.4, 1.3, False),
                                        ("bytes of heap each", 4097, 4096, False), ("s", 2, None, None)):
            with self.subTest(unit=unit, value=value):
                self.assertIs(Figure("calls", "x", value, unit, asked).met, met)

    def test_rounds_become_the_median_of_each_figure(self):
        rounds = [[Figure("calls", "a", value, "calls/s", 5), Figure("calls", "a", -value, "us p50")] for value in (9, 1, 4)]
        rate, time = report.median_figures(rounds)
        self.assertEqual((rate.value, rate.rounds, rate.asked), (4, [9, 1, 4], 5))
        self.assertEqual((time.value, time.rounds), (-4, [-9, -1, -4]))

    def test_a_round_that_lacks_a_figure_is_an_error(self):
        with self.assertRaises(ValueError):
            report.median_figures([[Figure("calls", "a", 1, "s")], []])

    def test_page_names_each_missed_bound_first_and_each_figure_in_its_section(self):
        page = report.page(self.HOST, [Figure("memory", "session", 5_000, "bytes", 4_096), Figure("calls", "one", 12_345.6, "calls/s"),
                                       Figure("calls", "one", 0.75, "of bare calls/s", 0.6)], self.SECTIONS)
        self.assertIn("1 of 2 bounds are met.", page)
        missed, calls, memory = page.split("\n## ")
        self.assertIn("| session | 5,000 | bytes | at most 4,096 | **missed** |", missed)
        self.assertNotIn("one", missed)
        self.assertTrue(calls.startswith("Calls\n"))
        self.assertIn("| one | 12,346 | calls/s |  |  |", calls)
        self.assertIn("| one | 0.75 | of bare calls/s | at least 0.6 | met |", calls)
        self.assertIn("A note.", calls)
        self.assertIn("| session | 5,000 | bytes | at most 4,096 | **missed** |", memory)

    def test_page_without_a_missed_bound_lists_none(self):
        page = report.page(self.HOST, [Figure("calls", "one", 3, "s", 4)], self.SECTIONS)
        self.assertIn("1 of 1 bounds are met.", page)
        self.assertNotIn("issed", page)
        self.assertNotIn("Memory", page)

    def test_numbers_show_three_digits_that_count(self):
        self.assertEqual([report.number(value) for value in (0, 0.0001234, 0.5, 99.44, 1234567.8)],
                         ["0", "0.000123", "0.5", "99.4", "1,234,568"])


if __name__ == "__main__":
    unittest.main()
