"""The benchmark's own programs: they answer each other, and tell failure from success."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

PROGRAMS = pathlib.Path(os.environ["SOJOURN_BUILD"]) / "bench"
WORKER = pathlib.Path(os.environ["SOJOURN_SOURCE"]) / "bench" / "bare_worker.py"
OPEN = '{"input": {"key": "n", "amount": 1}, "session": "new"}'
CALL = '{"input": {"key": "n", "amount": 1}, "session": "{session}"}'


class Bench(unittest.TestCase):
    def serve(self, *arguments):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        server = subprocess.Popen([PROGRAMS / "bare_server", "--data", folder.name, *arguments], stdout=subprocess.PIPE,
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


if __name__ == "__main__":
    unittest.main()
