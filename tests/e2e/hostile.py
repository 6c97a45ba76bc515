"""Apps whose workers harm what is around them, and the user ids of the tests that run them."""

import os

from e2e.test_hostile_workers import HEAD

IN_CALL = HEAD + '''
def result(call, output=None):
    send(type="result", request_id=call["request_id"], output=output)
def echo(call): result(call, call["input"])
def who(call):
    result(call, {"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "pid": os.getpid(),
                  "folder": os.getcwd()})
def attempt(call):
    """What each of the things that it tries comes to: an errno, or nothing."""
    other, folder, data = call["input"]["pid"], call["input"]["folder"], call["input"]["data"]
    outcome = {}
    for name, act in {
        "signal": lambda: os.kill(other, 0),
        "list": lambda: os.listdir(folder),
        "read": lambda: open(folder + "/secret").read(),
        "write": lambda: open(folder + "/new", "w"),
        "store": lambda: open(data + "/sojourn.db", "rb").read(1),
        "memory": lambda: open(f"/proc/{other}/mem", "rb"),
        "etc": lambda: open("/etc/sojourn-was-here", "w"),
        "app": lambda: open(os.environ["SOJOURN_APP_DIR"] + "/new", "w"),
    }.items():
        try: act(); outcome[name] = None
        except OSError as error: outcome[name] = error.errno
    result(call, outcome)
def view(call):
    """What of the machine it sees."""
    outcome = {"pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
               "devices": [name for _, name in socket.if_nameindex()],
               "tmp": os.listdir("/tmp"), "folder": sorted(os.listdir(".")), "cwd": os.getcwd()}
    try:
        socket.create_connection(("127.0.0.1", call["input"]), 5).close(); outcome["connects"] = True
    except OSError: outcome["connects"] = False
    result(call, outcome)
def keeps(call):
    with open("secret", "w") as file: file.write("mine")
    os.makedirs("inner/deeper", exist_ok=True)
    with open("inner/deeper/file", "w") as file: file.write("mine too")
    os.symlink("/etc/passwd", "link")
    result(call)
def reads(call):
    with open("inner/deeper/file", "a") as file: file.write("!")
    result(call, open("inner/deeper/file").read())
def traps(call):
    """A link where the server will write when the session's next worker starts."""
    os.symlink(call["input"], "session_metadata.json.new"); result(call)

def notes_and_dies(call):
    send(type="resource", op="add", id="r", kind="k", cleanup=call["input"], n=1)
    while read()["type"] != "noted": pass
    os._exit(1)
def sheds_its_mark(call):
    """Leaves a process in a session of its own that takes off what it was marked with; its id."""
    ends = os.pipe()
    if os.fork() == 0:
        os.setsid()
        resource.setrlimit(10, (0, 0))  # RLIMIT_LOCKS, which Python has no name for
        if os.fork() == 0: server.close(); os.write(ends[1], b"%d" % os.getpid()); hang()
        os._exit(0)
    os.wait(); result(call, int(os.read(ends[0], 20)))

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
# Nobody else's, also where these tests run several times at once.
FIRST = 10_000_000 + os.getpid() * 100
LAST = FIRST + 99


def write_hostile(folder, name, manifest="", limits=""):
    (folder / name).mkdir(mode=0o755)
    (folder / name / "main.py").write_text(IN_CALL)
    (folder / name / "app.toml").write_text(
        f'name = "{name}"\ncommand = ["/usr/bin/python3", "{{app}}/main.py"]\nfunctions = {FUNCTIONS}\n'
        f'{manifest}\n[limits]\n{limits}\n'
    )


PYTHON_APP = '''
import os, sojourn

class App(sojourn.App):
    @classmethod
    def preload(cls): cls.loader = os.getpid()

    def who(self):
        return {"uid": os.getuid(), "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(),
                "folder": os.getcwd(), "descriptors": os.listdir("/proc/self/fd"),
                "signals_parents": [self.refused(lambda: os.kill(pid, 0)) for pid in {self.loader, os.getppid()}
                                    if pid != os.getpid()]}

    def writes(self):
        with open("written", "a") as file: file.write("!")
        return open("written").read()

    def reads_file(self, input):
        path = input["file"]["path"]
        with open(path) as content: text = content.read()
        os.rename(path, path + "-mine")
        return text

    def fork_bomb(self, input):
        made = 0
        for _ in range(input["most"]):
            try:
                if os.fork() == 0: os.read(os.pipe()[0], 1)
                made += 1
            except OSError as error: return {"made": made, "errno": error.errno}
        return {"made": made, "errno": None}

    def refused(self, act):
        try: act()
        except OSError as error: return error.errno

sojourn.serve(App)
'''


def write_python(folder, name, manifest="", limits=""):
    (folder / name).mkdir(mode=0o755)
    (folder / name / "main.py").write_text(PYTHON_APP)
    functions = ["who", "writes", "reads_file", "fork_bomb"]
    (folder / name / "app.toml").write_text(
        f'name = "{name}"\ncommand = ["/usr/bin/python3", "{{app}}/main.py"]\nfunctions = {functions}\n'
        f'recover = true\n{manifest}\n[limits]\n{limits}\n'
        f'[env]\nPYTHONPATH = "{folder.parent / "sdk"}"\n'
    )
