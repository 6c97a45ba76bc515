"""What the program makes of the descriptors it is started with."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from e2e.program import BINARY, PATIENCE, clean_environment


class ClosedDescriptors(unittest.TestCase):
    def test_a_closed_standard_error_does_not_write_the_log_into_a_file_of_the_store(self):
        folder = Path(tempfile.mkdtemp(prefix="sojourn-e2e-"))
        self.addCleanup(shutil.rmtree, folder)
        server = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" <&- 2>&-', "sh", BINARY, "serve", "--listen", "127.0.0.1:0", "--data",
             folder / "data", "--apps", folder],
            stdout=subprocess.PIPE, env=clean_environment(),
        )
        with server:
            try:
                self.assertTrue(select.select([server.stdout], [], [], PATIENCE)[0])
                self.assertTrue(server.stdout.readline().startswith(b"listening on "))
                for descriptor in (0, 2):
                    self.assertEqual(os.readlink(f"/proc/{server.pid}/fd/{descriptor}"), "/dev/null")
            finally:
                server.send_signal(signal.SIGTERM)
        self.assertEqual(server.returncode, 0)


if __name__ == "__main__":
    unittest.main()
