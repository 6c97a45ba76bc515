"""scripts/demo does the main job, says so, and leaves nothing behind."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(os.environ["SOJOURN_SOURCE"])


class Demo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tmp = pathlib.Path(folder.name)

    def start(self, **environment):
        return subprocess.Popen([ROOT / "scripts" / "demo"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True,
                                # A shell that runs the tests in its background has it ignored.
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                                env={**os.environ, "TMPDIR": str(self.tmp), **environment})

    def test_shows_the_main_job(self):
        demo = self.start()
        out, err = demo.communicate(timeout=120)
        self.assertEqual((demo.returncode, err), (0, ""), out)
        for analysis in ("summary", "correlations", "outliers", "trends"):
            self.assertRegex(out, rf"{analysis} \(warm\) +[\d.]+ +[\d.]+ +[\d.]+ +\d+ times faster than the load")
        self.assertIn("temp_max and temp_min, r = 0.926 over 2922 rows", out)
        self.assertIn("New York, 2014-04-30: 118.9 mm of rain", out)
        self.assertRegex(out, r"kill -9 \d+\n   the next call +(task failed|refused): WORKER_LOST: .*SIGKILL")
        self.assertRegex(out, r"HTTP 410: session ended: sess_")
        self.assertRegex(out, r"2 sessions, \d+ events, 0 broken")
        self.assertIn("All as promised.", out)
        self.assertEqual(list(self.tmp.iterdir()), [], "it left something behind")

    def test_stops_its_server_when_it_is_interrupted(self):
        demo = self.start()
        first = demo.stdout.readline()
        port = int(re.search(r"port (\d+)", first).group(1))
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
        self.assertEqual(demo.returncode, 130)
        self.assertEqual(list(self.tmp.iterdir()), [])
        listening = pathlib.Path("/proc/net/tcp").read_text().splitlines()
        self.assertFalse([line for line in listening if f"0100007F:{port:04X} 00000000:0000 0A" in line])

    def test_fails_where_the_program_does(self):
        demo = self.start(SOJOURN_BINARY="/bin/false")
        _, err = demo.communicate(timeout=60)
        self.assertEqual(demo.returncode, 1)
        self.assertIn("the server did not start", err)


if __name__ == "__main__":
    unittest.main()
