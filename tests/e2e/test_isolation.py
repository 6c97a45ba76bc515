"""Workers that harm what is around them: only their own session suffers, by whatever this machine holds them.

What that is, the server says in /readyz; each test says what it expects of each. tests/cgroups runs the same tests on
a kernel of its own that has cgroup v2.
"""

import os
import unittest

from e2e.program import COMPLETED, FAILED, Served, wait_for
from e2e.test_hostile_workers import HEAD

IN_CALL = HEAD + '''
def result(call, output=None):
    send(type="result", request_id=call["request_id"], output=output)
def echo(call): result(call, call["input"])

def fork_bomb(call):
    made = 0
    for _ in range(call["input"]["most"]):
        try:
            if os.fork() == 0: signal.pause(); os._exit(0)
            made += 1
        except OSError as error: return result(call, {"made": made, "errno": error.errno})
    result(call, {"made": made, "errno": None})
def endless_fork_bomb(call):
    while True:
        try: os.fork()
        except OSError: pass
def memory_hog(call):
    kept = []
    try:
        while True: kept.append(bytearray(b"x") * (4 << 20))
    except MemoryError: kept.clear(); result(call, "MemoryError")
def forked_memory_hogs(call):
    """No process of it has much, all of them together do."""
    ends = os.pipe()
    for _ in range(8):
        if os.fork() == 0:
            kept = bytearray(b"x") * (30 << 20); os.write(ends[1], b"x"); hang()
    for _ in range(8): os.read(ends[0], 1)
    result(call, "had it")
def disk_filler(call):
    for n in range(100):
        with open(f"file-{n}", "wb") as file: file.write(bytes(1 << 20))
    hang()
def runaway_printer(call):
    while True: os.write(1, b"a line that means nothing\\n" * 1000)
def cpu_hog(call):
    end = time.monotonic() + call["input"]; before = time.process_time()
    while time.monotonic() < end: pass
    result(call, time.process_time() - before)
def large_output(call): result(call, "x" * (1 << 20))

read(); send(**HELLO); read(); send(type="ready")
while True:
    call = read()
    if call["type"] == "close": send(type="closed", failures=[]); sys.exit(0)
    if call["type"] == "call": globals()[call["function"]](call)
'''

FUNCTIONS = [line.split("(")[0][4:] for line in IN_CALL.splitlines() if line.startswith("def ") and "(call)" in line]


def write_hostile(folder, name, manifest="", limits=""):
    (folder / name).mkdir(mode=0o755)
    (folder / name / "main.py").write_text(IN_CALL)
    (folder / name / "app.toml").write_text(
        f'name = "{name}"\ncommand = ["/usr/bin/python3", "{{app}}/main.py"]\nfunctions = {FUNCTIONS}\n'
        f'{manifest}\n[limits]\n{limits}\n'
    )


class Isolated(Served):
    """A server beside whose hostile sessions a healthy one is served."""

    @classmethod
    def make_apps(cls, folder):
        write_hostile(folder, "healthy")
        write_hostile(folder, "hostile", "recover = true",
                      "memory_mb = 200\nprocesses = 50\nfolder_mb = 20\ncpus = 0.5")
        # Without a limit of memory: where the data lies in memory, files count as that.
        write_hostile(folder, "filler", "recover = true", "folder_mb = 20\noutput_mb = 1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.limits = cls.server.get("/readyz").body["limits"]
        cls.healthy = cls.server.new_session("healthy")
        cls.calls = 0
        cls.call_healthy()
        cls.family = {pid for pid, _ in cls.server.family()}

    @classmethod
    def call_healthy(cls):
        cls.calls += 1
        if cls.server.output("healthy", "echo", cls.calls, session=cls.healthy) != cls.calls:
            raise AssertionError("the healthy session answered wrongly")

    def served_beside(self, function, input=None, app="hostile", **fields):
        """The final task of a hostile call, beside which the healthy session is served; nothing of it is left."""
        task = self.server.run(app, function, input, wait=False, **fields)
        served = 0
        while served < 10 or self.server.task(task["id"])["status"] < COMPLETED:
            self.call_healthy()
            served += 1
        task = self.server.task(task["id"])
        if self.server.session(task["session_id"])["status"] == "active":
            self.server.delete(f"/sessions/{task['session_id']}")
        self.nothing_is_left()
        return task

    def nothing_is_left(self):
        self.call_healthy()
        wait_for(lambda: {pid for pid, _ in self.server.family()} <= self.family, "the end of a hostile worker")

    def completes(self, *words, **fields):
        task = self.served_beside(*words, **fields)
        self.assertEqual(task["status"], COMPLETED, task.get("error"))
        return task["output"]

    def is_lost(self, task, *words):
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "WORKER_LOST"), task)
        for word in words:
            self.assertIn(word, task["error"])


class Limits(Isolated):
    """As this machine holds workers."""

    def test_the_log_says_what_is_in_force(self):
        expected = os.environ.get("EXPECT_LIMITS")
        self.assertIn(self.limits, [expected] if expected else ["cgroup", "rlimits"])
        self.assertIn(f'limits={self.limits}', self.server.log().replace('"', ""))

    def test_memory_hog(self):
        task = self.served_beside("memory_hog")
        if self.limits == "cgroup":
            self.is_lost(task, "killed for memory: limit 200 MiB")
        else:
            self.assertEqual(task["output"], "MemoryError")

    def test_forked_memory_hogs(self):
        task = self.served_beside("forked_memory_hogs")
        if self.limits == "cgroup":
            self.is_lost(task, "killed for memory: limit 200 MiB")
        else:
            self.assertEqual(task["output"], "had it")  # each of them alone is within the limit

    def test_fork_bomb(self):
        outcome = self.completes("fork_bomb", {"most": 100})
        if self.limits == "cgroup":
            self.assertEqual(outcome, {"made": 49, "errno": 11})
        else:
            self.assertEqual(outcome, {"made": 100, "errno": None})  # nothing holds root

    def test_endless_fork_bomb(self):
        if self.limits == "cgroup":
            task = self.served_beside("endless_fork_bomb", call_timeout=2)
            self.assertEqual(task["status"], FAILED)
            self.assertIn(task["error_info"]["code"], ("WORKER_LOST", "call_timeout", "protocol_error"))

    def test_disk_filler(self):
        self.is_lost(self.served_beside("disk_filler", app="filler", call_timeout=60), "holds more than 20 MiB")

    def test_session_whose_folder_is_full_gets_no_worker(self):
        task = self.server.run("filler", "disk_filler", call_timeout=60)
        self.is_lost(task, "holds more than 20 MiB")
        task = self.server.run("filler", "echo", session=task["session_id"])
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "too_large"))
        self.assertIn("gets no worker", task["error"])
        self.server.delete(f"/sessions/{task['session_id']}")
        self.nothing_is_left()

    def test_output_past_the_limit_of_its_app(self):
        task = self.served_beside("large_output", app="filler")
        self.assertEqual((task["status"], task["error_info"]["code"]), (FAILED, "too_large"))
        self.assertEqual(len(self.completes("large_output", app="healthy")), 1 << 20)

    def test_runaway_printer(self):
        task = self.served_beside("runaway_printer", call_timeout=2)
        self.assertEqual(task["error_info"]["code"], "call_timeout")

    def test_cpu_hog(self):
        if self.limits == "cgroup":
            self.assertLess(self.completes("cpu_hog", 3), 2.2)
        else:
            self.assertGreater(self.completes("cpu_hog", 0.2), 0)


if __name__ == "__main__":
    unittest.main()
