"""The tests of isolation where cgroup v2 is there: in a kernel that runs as a process (User-mode Linux, of Debian).

Most machines that run tests have cgroup v1, or none that may be written. This kernel takes no rights, sees the
machine's files, and keeps those that it makes in its own memory.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ["SOJOURN_SOURCE"])
KERNEL = shutil.which("linux.uml", path=f"{os.environ.get('PATH', '')}:/usr/bin")

FIRST_PROCESS = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs -o mode=755 files {folder}/tmp
ip link set lo up
cd {source}/tests
export TMPDIR={folder}/tmp {variables}
{command} > {folder}/output 2>&1
echo $? > {folder}/status
ls -d /sys/fs/cgroup/sojourn-* > {folder}/groups 2> /dev/null
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


class Cgroups(unittest.TestCase):
    def setUp(self):
        self.assertTrue(KERNEL, "there is no linux.uml; scripts/setup installs the package user-mode-linux")
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-uml-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        (self.folder / "tmp").mkdir()

    def run_there(self, *command):
        """What `command` prints, as root of that kernel. Fails with it unless it ends well, or leaves a group."""
        variables = [f"{name}={shlex.quote(os.environ[name])}" for name in
                     ("SOJOURN_SOURCE", "SOJOURN_BUILD", "SOJOURN_BINARY", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")]
        first = self.folder / "init"
        first.write_text(FIRST_PROCESS.format(folder=self.folder, source=SOURCE, variables=" ".join(variables),
                                              command=shlex.join(command)))
        first.chmod(0o755)
        kernel = subprocess.run([KERNEL, "mem=1500M", "rootfstype=hostfs", "rootflags=/", "rw", f"init={first}",
                                 "con=null", "con0=null,fd:1", "quiet"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = self.folder / "output"
        said = output.read_text(errors="replace") if output.exists() else ""
        said += kernel.stdout.decode(errors="replace")
        status = self.folder / "status"
        self.assertTrue(status.exists() and status.read_text() == "0\n", said)
        self.assertEqual((self.folder / "groups").read_text(), "")
        return said

    def test_groups_are_found_made_and_removed(self):
        program = Path(os.environ["SOJOURN_BUILD"]) / "rooms" / "worker" / "worker_tests"
        said = self.run_there(str(program), "--gtest_filter=*Cgroup*:SupervisorTest.*")
        self.assertIn("IsAFolderThatCanBeUsedOrSaysWhyThereIsNone", said)

    def test_limits_hold_all_processes_of_a_worker_together(self):
        self.run_there("env", "EXPECT_LIMITS=cgroup", sys.executable, "-m", "unittest", "e2e.test_isolation",
                       "e2e.test_isolation_starts")


if __name__ == "__main__":
    unittest.main()
