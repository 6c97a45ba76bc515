"""A server under load answers every call and stops cleanly; in a build with a sanitizer, with nothing to report."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

PROGRAMS = pathlib.Path(os.environ["SOJOURN_BUILD"]) / "bench"
MILLISECONDS = os.environ.get("SOJOURN_LOAD_MS", "1000")
CALL = {"app": "counter", "function": "increment", "input": {"key": "n", "amount": 1}}


class Load(unittest.TestCase):
    def load(self, port):
        done = subprocess.run(
            [PROGRAMS / "load_client", "--port", port, "--path", "/apps/run", "--header", "X-API-Version: 2",
             "--connections", "16", "--open", json.dumps(CALL | {"session": "new"}),
             "--body", json.dumps(CALL | {"session": "{session}"}), "--warm-up", "50", "--duration", MILLISECONDS], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        self.assertEqual(report["errors"], 0)
        self.assertGreater(report["calls"], 16)

    def test_bench_server_serves_and_stops_cleanly(self):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
            server = subprocess.Popen([PROGRAMS / "bench_server", "--data", folder], stdout=subprocess.PIPE, stderr=said,
                                      text=True)
            try:
                port = re.search(r":(\d+)", server.stdout.readline()).group(1)
                self.load(port)
            finally:
                server.terminate()
                server.stdout.close()
                code = server.wait(120)
            said.seek(0)
            self.assertEqual((code, re.findall("Sanitizer.*|runtime error.*", said.read())), (0, []))


if __name__ == "__main__":
    unittest.main()
