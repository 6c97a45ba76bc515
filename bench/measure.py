"""What scripts/bench measures: a function a section, each of which yields figures as it goes."""
import atexit
import contextlib
import functools
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import sqlite3
import statistics
import subprocess
import time
from concurrent import futures

from report import Figure, median_figures
from under_load import BUILD, PROGRAMS, ROOT, WORK, Server, call_body, command_of, load, request, send

OWN_APPS = ROOT / "bench" / "apps"

FACES = {"cpp": "an app in C++", "worker": "C++ workers", "python": "Python workers"}
STATE_SIZES = [1, 10, 100]  # KB
STORED = [10, 1_000, 100_000]


def program(section, name, *arguments):
    """The figures that a program prints, a JSON object a line."""
    done = subprocess.run([PROGRAMS / name, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        told = json.loads(line)
        yield Figure(section, told["name"].replace("_", " "), told["value"], told["unit"], told["asked"])


STEP = "a step of an algorithm in C++, 1 connection"
STEP_ROUNDS = 16  # of a third of a second: what disturbs a machine disturbs both of a round, or one round


def steps(plan):
    """A served step beside a served call of the same server, both of workers in C++, in turns."""
    if not plan.wants("steps", STEP):
        return
    apps, data = WORK / "apps", str(WORK / "data")
    shutil.rmtree(apps, ignore_errors=True)
    (apps / "gauge").mkdir(parents=True)
    (apps / "gauge" / "app.toml").write_text(
        f'name = "gauge"\ncommand = ["{BUILD}/examples/gauge_worker"]\nfunctions = ["info", "execute"]\nrecover = true\n',
        encoding="utf-8")
    (apps / "counter").symlink_to(PROGRAMS / "apps" / "counter")

    def shot(session, index):
        body = json.loads(call_body(session, "gauge", "execute"))
        return json.dumps({**body, "input": {"step_index": index, "pid": "bolt", "user_params": {"reading": 500.0}}})

    served, above = [], []
    with Server(command_of("sojourn", "python", data, apps), data) as running:
        for _ in range(STEP_ROUNDS):
            call = load(running, 1, 1, 0.35, warm_up=150)["p50_us"]
            served.append(load(running, 1, 1, 0.35, shot("new", 1), shot("{session}", 2), warm_up=150)["p50_us"])
            above.append(served[-1] - call)
    yield Figure("steps", STEP, statistics.median(served), "us p50", None, served)
    yield Figure("steps", STEP, statistics.median(above), "us above p50 of a call", 100, above)
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(apps, ignore_errors=True)


MOST_ROUNDS = 3  # of all but calls, to be done within a quarter of an hour


def rounds_of(plan, measure):
    return median_figures([list(measure()) for _ in range(min(plan.rounds, MOST_ROUNDS))])


# What is asked of calls, by face, connections and sessions.
CALLS = {
    ("cpp", 1, 1): {"p50": 1.3},
    ("cpp", 16, 16): {},
    ("cpp", 64, 64): {"ratio": 0.6, "p99_us": 5_000, "calls": 35_000},
    ("cpp", 16, 1): {},
    ("worker", 1, 1): {"above": 60},
    ("worker", 64, 64): {"calls": 25_000},
    ("python", 1, 1): {"p50": 1.6},
    ("python", 16, 16): {},
    ("python", 64, 64): {"ratio": 0.5, "calls": 15_000},
    ("python", 16, 1): {"calls": 5_000},
}


def calls(plan):
    data = str(WORK / "data")
    for (face, connections, sessions), asked in CALLS.items():
        name = f"{FACES[face]}, {connections} connection{'s' * (connections > 1)}, {sessions} session{'s' * (sessions > 1)}"
        if not plan.wants("calls", name):
            continue
        # The bare server keeps no order among the callers of one session.
        servers = ["sojourn"] if sessions < connections else ["bare", "sojourn"]
        rounds = {server: [] for server in servers}
        for _ in range(plan.rounds):
            for server, measured in rounds.items():
                with Server(command_of(server, face, data), data) as running:
                    measured.append(load(running, connections, sessions, plan.seconds))
        median = {server: {key: statistics.median(each[key] for each in measured) for key in measured[0]}
                  for server, measured in rounds.items()}

        def figure(server, key, unit, bound=None):
            return Figure("calls", name + ("" if server == "sojourn" else ", bare"), median[server][key], unit, bound,
                          [each[key] for each in rounds[server]])

        for server in servers:
            ours = server == "sojourn"
            yield figure(server, "calls_per_second", "calls/s", asked.get("calls") if ours else None)
            yield figure(server, "p50_us", "us p50")
            yield figure(server, "p99_us", "us p99", asked.get("p99_us") if ours else None)
        if len(servers) == 2:
            # Each round's two servers ran one after the other, so their ratio says more than that of two medians.
            for key, unit, bound in (("calls_per_second", "of bare calls/s", "ratio"), ("p50_us", "of bare p50", "p50")):
                ratios = [ours[key] / bare[key] for ours, bare in zip(rounds["sojourn"], rounds["bare"])]
                yield Figure("calls", name, statistics.median(ratios), unit, asked.get(bound), ratios)
            if "above" in asked:
                above = [ours["p50_us"] - bare["p50_us"] for ours, bare in zip(rounds["sojourn"], rounds["bare"])]
                yield Figure("calls", name, statistics.median(above), "us above bare p50", asked["above"], above)
    shutil.rmtree(data, ignore_errors=True)


def linear(plan):
    """How a call's cost grows with what is stored, and with the session's state."""
    yield from with_stored_sessions(plan)
    for face, app in (("cpp", "counter"), ("python", "figures")):
        for what, function, bound in (("a small key beside a state of", "increment", lambda kb: 1.25),
                                      ("a value written anew of", "fill", lambda kb: kb)):
            def measure(kb):
                data = str(WORK / "data")
                opening = call_body("new", app, "fill", bytes=kb * 1000, keys=1)
                again = {"bytes": kb * 1000, "keys": 1} if function == "fill" else {}
                with Server(command_of("sojourn", face, data, OWN_APPS), data) as running:
                    return load(running, 16, 16, plan.seconds, opening, call_body("{session}", app, function, **again))

            yield from growth(plan, STATE_SIZES, lambda kb: f"{FACES[face]}, {what} {kb} KB", measure,
                              "times the cost at 1 KB", bound)
    shutil.rmtree(WORK / "data", ignore_errors=True)


def with_stored_sessions(plan):
    folder = WORK / "stored"
    shutil.rmtree(folder, ignore_errors=True)

    def measure(stored):
        data = folder / str(stored)
        if not data.exists():
            data.mkdir(parents=True)
            subprocess.run([PROGRAMS / "memory_figures", "--data", data, "--make", str(stored)], check=True)
            os.sync()
        with Server(command_of("sojourn", "cpp", str(data)), data, fresh=False) as running:
            return load(running, 64, 64, plan.seconds)

    yield from growth(plan, STORED, lambda stored: f"64 connections, {stored:,} stored sessions", measure,
                      "times the cost with the fewest", lambda stored: 1.25)
    shutil.rmtree(folder, ignore_errors=True)


def growth(plan, sizes, name_of, measure, unit, bound):
    """Each round measures every size, so that a ratio compares what ran shortly one after the other."""
    sizes = [size for size in sizes if plan.wants("linear", name_of(size))]
    rounds = {size: [] for size in sizes}
    for _ in range(min(plan.rounds, MOST_ROUNDS)):
        for size in sizes:
            rounds[size].append(measure(size))
    for size in sizes:
        for key, of in (("calls_per_second", "calls/s"), ("p99_us", "us p99")):
            values = [each[key] for each in rounds[size]]
            yield Figure("linear", name_of(size), statistics.median(values), of, None, values)
        if size != sizes[0]:
            ratios = [first["calls_per_second"] / each["calls_per_second"]
                      for first, each in zip(rounds[sizes[0]], rounds[size])]
            yield Figure("linear", name_of(size), statistics.median(ratios), unit, bound(size), ratios)


def memory(plan):
    if plan.wants("memory", "sessions"):
        folder = WORK / "memory"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield from program("memory", "memory_figures", "--data", str(folder))
        shutil.rmtree(folder)
    if plan.wants("memory", "idle connections"):
        yield from idle_connections()


def idle_connections():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard // 2 - 1_000)  # the server keeps half of its descriptors for connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    data = str(WORK / "data")
    with Server(command_of("sojourn", "cpp", data), data) as running:
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

        def connect():
            client = socket.create_connection(("127.0.0.1", running.port))
            client.sendall(request)
            client.recv(4096)
            return client

        first = [connect() for _ in range(100)]
        before = running.resident()
        clients = [connect() for _ in range(count)]
        after = running.resident()
        for client in first + clients:
            client.close()
    shutil.rmtree(data, ignore_errors=True)
    yield Figure("memory", f"idle connection, {count:,} of them, each after one request", (after - before) / count,
                 "bytes resident each")


MICRO_ASKED = {"state_set/8": 1_000, "step_in_process": 5_000, "picture_from_shared_memory": 300_000}


def micro(plan):
    if not plan.wants("micro", "steps"):
        return

    def measure():
        done = subprocess.run([PROGRAMS / "micro", "--benchmark_format=json", f"--benchmark_min_time={plan.seconds / 10}"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        cases = json.loads(done.stdout)["benchmarks"]
        for case in cases:
            # Of the processor's time: others take turns on this machine.
            yield Figure("micro", f"`{case['name']}`", case["cpu_time"], case["time_unit"], MICRO_ASKED.get(case["name"]))
        times = {case["name"]: case["cpu_time"] for case in cases}
        for name in ("picture_from_shared_memory_touched", "picture_with_checksum"):
            yield Figure("micro", f"`{name}`, as a part of `picture_as_base64`", times[name] / times["picture_as_base64"],
                         "of it", 0.05)

    yield from rounds_of(plan, measure)


MILLION = 1_000_000


@functools.cache
def million():
    """A store with a million sessions, made once for all that need it, and gone with this process."""
    folder = WORK / "million"
    shutil.rmtree(folder, ignore_errors=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([PROGRAMS / "store_figures", "--fill", folder, "--stored", str(MILLION)], check=True)
    return folder


def store(plan):
    for kind in ("commits", "verify", "start"):
        if plan.wants("store", kind):
            filled = ["--filled", str(million())] if kind == "start" else []
            yield from program("store", "store_figures", "--folder", str(WORK / "store"), "--only", kind, "--seconds",
                               str(min(plan.seconds, 2)), *filled)


FIRMWARE = pathlib.Path("/usr/share/firmware-microbit-micropython/firmware.hex")
WEBASSEMBLY = ROOT / "build" / "devices"
# name -> (what must be there, the board's command, calls, bytes of the file: a micro:bit has room for no more)
BOARDS = {
    "micro:bit": (FIRMWARE, f"qemu-system-arm -M microbit -device loader,file={FIRMWARE} -display none -monitor none "
                  "-serial stdio", 500, 8192),
    "WebAssembly": (WEBASSEMBLY / "installed.json", f"node '{ROOT}/tests/devices/wasm_board.mjs' '{WEBASSEMBLY}'", 2000, 32768),
}


def boards(plan):
    for name, (needed, command, calls, file_bytes) in BOARDS.items():
        if plan.wants("boards", name) and needed.exists():
            yield from program("boards", "board_figures", name, f"subprocess:{command}", str(calls), str(file_bytes))


def flows(plan):
    if plan.wants("flows", "calls, sessions and threads"):
        yield from program("flows", "flow_figures")


def start(plan):
    """How long `sojourn serve` takes until it listens."""
    name = f"`sojourn serve` with {MILLION:,} stored sessions, until it listens"
    if not plan.wants("start", name):
        return
    folder = million()

    def measure():
        with Server(command_of("sojourn", "python", str(folder)), folder, fresh=False) as running:
            yield Figure("start", name, running.seconds_to_start, "s", 1.0)
            yield Figure("start", name, running.resident() / 2**20, "MiB resident")

    yield from rounds_of(plan, measure)


IN_FOLDERS = 20_000  # a million folders would take minutes to make and to remove
AUDITED = 1_000  # events

# What is asked of sessions as records, beside a million of them.
TRAIL = {"create": ("sessions created by 64 clients", "calls_per_second", "sessions/s", 8_000, 1),
         "get": ("a session by its id, p50", "p50_us", "us", 200, 1),
         "audit": (f"audit of {AUDITED:,} events, p50", "p50_us", "ms", 15, 1e-3),
         "list": ("first page of the list, p50", "p50_us", "ms", None, 1e-3),
         "steps": ("steps of one session by 64 writers", "calls_per_second", "steps/s", 5_000, 1)}


def trail(plan):
    wanted = [kind for kind, (name, *_) in TRAIL.items() if plan.wants("trail", name)]
    if not wanted:
        return
    seconds = min(plan.seconds, 2)
    data = str(WORK / "data")
    folder = million()
    with Server(command_of("sojourn", "python", str(folder)), folder, fresh=False) as running:
        stored = f"with {MILLION:,} stored"
        yield from trail_of(running, wanted, seconds, stored, "sess_20260115_103045_{id}", MILLION,
                            lambda: stored_in(folder / "sojourn.db"))
    with Server([str(PROGRAMS / "folder_server"), "--data", data, "--stored", str(IN_FOLDERS)], data) as running:
        yield from trail_of(running, wanted, seconds, f"folders and files, with {IN_FOLDERS:,} stored, nothing synced")
    shutil.rmtree(data, ignore_errors=True)


def trail_of(running, wanted, seconds, stored, any_id=None, ids=0, size=None):
    """The figures of one server. Sojourn's, of which something is asked, has the `size` of its store."""
    def told(kind, measured):
        name, key, unit, bound, factor = TRAIL[kind]
        return Figure("trail", f"{name}, {stored}", measured[key] * factor, unit, bound if size else None)

    def create():
        return json.loads(request(running.port, "POST", "/session/create", "{}"))["session_id"]

    def step(session):
        return f"/sessions/{session}/steps/s/report", '{"duration_ms": 1}'

    if "create" in wanted:
        before = size() if size else None
        yield told("create", send(running, "POST", "/session/create", "{}", 64, seconds))
        if size:
            yield Figure("trail", "a session with its first event", growth_of(before, size(), "sessions"), "bytes of the store")
    if "get" in wanted:
        path = f"/session/{any_id or create()}"
        yield told("get", send(running, "GET", path, "", 1, seconds, ids))
    if "list" in wanted:
        yield told("list", send(running, "GET", "/session/list?limit=50", "", 1, seconds))
    if "audit" in wanted and size:
        session = create()
        send(running, "POST", *step(session), 1, calls=AUDITED - 1)
        yield told("audit", send(running, "GET", f"/session/{session}/audit?limit={AUDITED}", "", 1, seconds))
    if "steps" in wanted:
        session = create()
        before = size() if size else None
        measured = send(running, "POST", *step(session), 64, seconds)
        yield told("steps", measured)
        if size:
            yield Figure("trail", "an event, of a step, with its row", growth_of(before, size(), "events"), "bytes of the store")
            kept = json.loads(request(running.port, "GET", f"/sessions/{session}"))["data"]["events"] - 1
            yield Figure("trail", f"steps of one session by 64 writers, acknowledged and lost, {stored}",
                         max(0, measured["calls"] - kept), "of them", 0)


def stored_in(database):
    """Bytes and rows of a store that a server has."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        def number(sql):
            return store.execute(sql).fetchone()[0]

        used = number("PRAGMA page_count") - number("PRAGMA freelist_count")
        return {"bytes": used * number("PRAGMA page_size"), "sessions": number("SELECT MAX(row) FROM sessions"),
                "events": number("SELECT MAX(rowid) FROM events")}


def growth_of(before, after, what):
    return (after["bytes"] - before["bytes"]) / (after[what] - before[what])


def stream(plan, count=10_000):
    data = str(WORK / "data")
    for face, app in (("cpp", "counter"), ("python", "figures")):
        name = f"{FACES[face]}, {count:,} partial outputs of 100 bytes to one follower"
        if not plan.wants("stream", name):
            continue

        def measure():
            with Server(command_of("sojourn", face, data, OWN_APPS), data) as running:
                opened = json.loads(request(running.port, "POST", "/apps/run", call_body("new", app)))
                session = opened.get("session_id") or opened["data"]["session_id"]
                body = json.loads(call_body(session, app, "stream", count=count, bytes=100)) | {"wait": False}
                began = time.monotonic()
                task = json.loads(request(running.port, "POST", "/apps/run", json.dumps(body)))
                task_id = task.get("id") or task["data"]["id"]
                lines = request(running.port, "GET", f"/tasks/{task_id}/stream").count(b'"fields":["status","output"]')
                took = time.monotonic() - began
            yield Figure("stream", name, count / took, "outputs/s")
            yield Figure("stream", name, lines / count * 100, "% that the follower saw")

        yield from rounds_of(plan, measure)
        shutil.rmtree(data, ignore_errors=True)


HEAVY_APPS = ROOT / "bench" / "heavy_apps"

# What is asked of a new session's first answer, in ms, by app.
NEW_SESSIONS = {"heavy": ("a process of its own", None), "forked": ("a fork", 10.0),
                "forked-spare": ("a fork that waited (`min_warm`)", 4.0), "spare": ("a process that waited (`min_warm`)", 10.0)}
NODE_SESSIONS = {"node": ("a Node process of its own", None), "node-spare": ("a Node process that waited (`min_warm`)", 10.0)}
BARE_NODE = "a bare start of Node, until it has said one line"


def ready(running, app):
    """Waits until what the app keeps ready is there."""
    while json.loads(request(running.port, "GET", f"/apps/{app}"))["data"].get("workers", {}).get("spares", 1) < 1:
        time.sleep(0.01)
    time.sleep(0.1)  # what was started in the background is done with its processor


def new_session(running, app):
    """Its id, and the milliseconds until its first answer."""
    began = time.perf_counter()
    answer = json.loads(request(running.port, "POST", "/apps/run", call_body("new", app, "run")))["data"]
    took = (time.perf_counter() - began) * 1000
    if not answer["output"]:
        raise SystemExit(f"bench: a session of {app} failed: {answer}")
    return answer["session_id"], took


def worker_memory(running, session, fields):
    return memory_of(told(running, session)["worker_id"].removeprefix("pid-"), fields)


def memory_of(pid, fields):
    """MiB of a process."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return sum(int(kilobytes) for kilobytes in re.findall(rf"^(?:{fields}):\s+(\d+) kB", text, re.MULTILINE)) / 1024


WAKE = "wake of a sleeping session, a fork"


def asleep(running, app, count):
    """Sessions that have been called once and sleep, without worker."""
    sessions = [new_session(running, app)[0] for _ in range(count)]
    while any("worker_id" in told(running, session) for session in sessions):
        time.sleep(0.05)
    return sessions


def wake(running, session):
    """Milliseconds from a request until its answer, of a session that sleeps."""
    ready(running, "sleeper")
    began = time.perf_counter()
    answer = json.loads(request(running.port, "POST", "/apps/run", call_body(session, "sleeper", "run")))["data"]
    took = (time.perf_counter() - began) * 1000
    if not answer["output"] or answer["seq"] != 2:
        raise SystemExit(f"bench: a session did not wake: {answer}")
    request(running.port, "DELETE", f"/sessions/{session}")
    return took


CROWD = "1,000 live sessions, forks"


def crowd(data, sessions=1_000, calls=5):
    """As many live sessions as an app may have, each called several times at once."""
    with Server(command_of("sojourn", "python", data, HEAVY_APPS), data) as running:
        with futures.ThreadPoolExecutor(8) as threads:
            began = time.monotonic()
            live = list(threads.map(lambda _: new_session(running, "forked")[0], range(sessions)))
            opened = time.monotonic() - began

            def call(session):
                body = json.dumps(json.loads(call_body(session, "forked", "run")) | {"wait": False})
                return json.loads(request(running.port, "POST", "/apps/run", body))["data"]

            began = time.monotonic()
            made = list(threads.map(call, live * calls))
            tasks = list(threads.map(lambda task: final(running, task["id"]), made))
            called = time.monotonic() - began
        for session in live:
            own = sorted((task for task in tasks if task["session_id"] == session), key=lambda task: task["seq"])
            times = [time for task in own for time in (task["started_at"], task["ended_at"])]
            if len(own) != calls or any(task["status"] != 10 for task in own) or times != sorted(times):
                raise SystemExit(f"bench: the calls of {session} were not answered in order: {own}")
        parent = json.loads(request(running.port, "GET", "/apps/forked"))["data"]["workers"]["parent"]
        pids = [told(running, session)["worker_id"].removeprefix("pid-") for session in live]
        memory = sum(memory_of(pid, "Pss") for pid in [*pids, parent]) + running.resident() / 2**20
    yield Figure("prefork", f"{CROWD}, until each has answered once", opened, "s")
    yield Figure("prefork", f"{CROWD}, {calls} more calls of each, not waited for, until all are over", called, "s")
    yield Figure("prefork", f"memory of {CROWD}, their parent and the server", memory, "MiB (PSS)", 24 * 1024)


def final(running, task):
    while (found := json.loads(request(running.port, "GET", f"/tasks/{task}"))["data"])["status"] < 10:
        time.sleep(0.01)
    return found


def told(running, session):
    return json.loads(request(running.port, "GET", f"/sessions/{session}"))["data"]


def bare_node():
    """Milliseconds that a process of Node takes to say one line, without Sojourn."""
    began = time.perf_counter()
    with subprocess.Popen(["/usr/bin/node", "-e", "console.log(1)"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        took = (time.perf_counter() - began) * 1000
    return took


def prefork(plan, sessions=100):
    data = str(WORK / "data")
    if plan.wants("prefork", BARE_NODE):
        yield Figure("prefork", f"{BARE_NODE}, p50", statistics.median(bare_node() for _ in range(20)), "ms")
    for app, (kind, asked) in (NEW_SESSIONS | NODE_SESSIONS).items():
        name = f"new session, {kind}"
        if not plan.wants("prefork", name):
            continue
        with Server(command_of("sojourn", "python", data, HEAVY_APPS), data) as running:
            new_session(running, app)  # starts the parent
            times = []
            for _ in range(9 if app in ("heavy", "node") else 50):
                ready(running, app)
                session, took = new_session(running, app)
                request(running.port, "DELETE", f"/sessions/{session}")
                times.append(took)
        yield Figure("prefork", f"{name}, request to first answer, p50", statistics.median(times), "ms", asked)
    if plan.wants("prefork", WAKE):
        with Server(command_of("sojourn", "python", data, HEAVY_APPS), data) as running:
            times = [wake(running, session) for session in asleep(running, "sleeper", 50)]
        yield Figure("prefork", f"{WAKE}, request to answer, p50", statistics.median(times), "ms", 15.0)
    if plan.wants("prefork", CROWD):
        yield from crowd(data)
    if plan.wants("prefork", "memory"):
        with Server(command_of("sojourn", "python", data, HEAVY_APPS), data) as running:
            live = [new_session(running, "forked")[0] for _ in range(sessions)]
            parent = json.loads(request(running.port, "GET", "/apps/forked"))["data"]["workers"]["parent"]
            forks = sum(worker_memory(running, session, "Pss") for session in live) + memory_of(parent, "Pss")
            few = [new_session(running, "heavy")[0] for _ in range(4)]
            alone = statistics.mean(worker_memory(running, session, "Private_Clean|Private_Dirty") for session in few)
        yield Figure("prefork", f"memory of {sessions} forks and their parent", forks, "MiB (PSS)")
        yield Figure("prefork", f"memory of {sessions} processes, what they share left out", alone * sessions, "MiB")
        yield Figure("prefork", "memory of forks, as a part of that of processes", forks / (alone * sessions), "of it", 0.2)
    shutil.rmtree(data, ignore_errors=True)


# name -> (what measures it, its title, what stands below its table)
SECTIONS = {
    "calls": (calls, "A durable call, beside the bare server", """\
*Bare* is `bench/bare_server.cpp`: the same HTTP, JSON and SQLite libraries, one commit a call by group commit and
nothing else, no process behind it for C++ workers either; with Python, one warm process a session behind a line of JSON each way. It serves each session
to one caller only, so nothing stands beside many callers of one session. Rounds alternate between the two."""),
    "linear": (linear, "A durable call with much stored, and with a large state", """\
A value that is written anew costs by its size; a small key beside it must not. What is asked of small keys leaves a
quarter for noise."""),
    "memory": (memory, "Memory", """\
Measured once, by what the allocator has given out. A live session counts what the store's writer remembers of it.
The caches and their bounds are in [limits](../docs/reference/limits.md)."""),
    "micro": (micro, "Single steps, without waiting", """\
Processor time of one step (`bench/micro.cpp`, `bench/micro_steps.cpp`); the number behind the name is the size of the value in bytes."""),
    "steps": (steps, "Steps of algorithms, served", """\
`examples/steps/gauge.hpp`: its second step reads the session's state, publishes a figure, logs a line and is recorded; the call beside it is the counter's, which
changes the state. Both are one durable commit a call. Sixteen short rounds alternate between the two on one server; the median is of their differences."""),
    "store": (store, "The store by itself", "`bench/store_figures.cpp`; measured once."),
    "boards": (boards, "MicroPython boards", """\
`bench/board_figures.cpp`, on the micro:bit's firmware in QEMU and the WebAssembly port in Node. *The bare client* waits in poll(), sends code as it is
and checks nothing; both have a board of their own and take turns. QEMU hands each byte from one of its threads to the other, which takes about 9 us here: the guard and
the probe of a cold session are 730 bytes. 16 boards share this machine's processors, whose time a call takes whether boards work in turn or at once;
*were no processor ever idle* is that time by the number of processors. [Performance](../docs/internals/performance.md#boards) says more. Measured once."""),
    "flows": (flows, "Flows", """\
`bench/flow_figures.cpp`: nodes that do next to nothing, on a pool of as many threads as the machine has processors, without log lines; the least of several
rounds, measured once. Nodes that compute: one and two threads take turns in 120 short rounds, of which the shortest of each count; bare threads with the same work
beside them are what this machine gives at all."""),
    "start": (start, "Start of a server", ""),
    "trail": (trail, "Sessions as records, beside sessions in folders", """\
`bench/folder_server.cpp` keeps a session as seed 001 does: a folder under its day, looked for in each of thirty, a file that is read and written anew for each step, and a list
that reads all of them; with the HTTP server and JSON of Sojourn, and without a sync, where Sojourn's are durable before they are answered. It keeps no events, so an audit has nothing
to stand beside. Measured once, after one another."""),
    "prefork": (prefork, "A new session of an app that imports pandas and scikit-learn", """\
A connection of its own for each request. The parent keeps one fork ahead, so a session that comes alone waits for none; its worker is greeted,
opened and called in the time shown, and one that waited (`min_warm`) has been greeted. The app in Node imports nothing but the SDK. A figure counts once the parent has made up for the last
session. A session that wakes comes from the store and gets a fork, which restores it. Memory of processes: what each has for itself, measured on
four."""),
    "stream": (stream, "Streaming", """\
From the call to the stream's end. A follower that is slower than the app is told the newest: partial outputs replace one
another."""),
}
