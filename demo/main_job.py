"""The main job, as a stranger meets it: scripts/demo runs this with SOJOURN_BINARY naming the program.

It starts a server on a free port with a data folder of its own, drives it over HTTP, shows what it sees, and leaves
nothing behind. Exit code 0 only when everything was as promised.
"""
import http.client
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ["SOJOURN_BINARY"]
# Settings of the user's own would change what the demo shows.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SOJOURN_")}
APP = "data-processor"
ROUNDS = 3
DEADLINE = 60  # seconds for any one thing to happen
LEAST_GAIN = 2  # how many times faster than the load each warm call is, at the very least


class Broken(Exception):
    """Something was not as promised."""


def expect(holds, what):
    if not holds:
        raise Broken(what)


class Server:
    """A real server in a process group of its own, so that Ctrl-C reaches it only through here."""

    def __init__(self, folder):
        self.log = folder / "server.log"
        self.data = folder / "data"
        self.port = None
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [ROOT / BINARY, "serve", "--apps", ROOT / "apps", "--data", self.data, "--listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=ENVIRONMENT,
                start_new_session=True)

    def wait_until_ready(self):
        line = self.process.stdout.readline()
        match = re.match(r"listening on http://127\.0\.0\.1:(\d+)", line)
        expect(match, f"the server did not start:\n{self.log.read_text(errors='replace')}")
        self.port = int(match.group(1))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


class Client:
    """One connection, as any HTTP client would make it."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)

    def request(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body), {"X-API-Version": "2"})
        response = self.connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None

    def run(self, session, call):
        """One call that is waited for: the HTTP status, the answer, and the milliseconds it took."""
        begun = time.perf_counter()
        status, answer = self.request(
            "POST", "/apps/run", {"app": APP, "session": session, "input": call, "wait": True})
        return status, answer, (time.perf_counter() - begun) * 1000

    def run_well(self, session, call):
        status, task, ms = self.run(session, call)
        expect(status == 200 and task["status_text"] == "completed", f"{call} failed: {json.dumps(task)}")
        return task, ms

    def session(self, session):
        status, view = self.request("GET", f"/sessions/{session}")
        expect(status == 200, f"GET /sessions/{session} answered {status}: {view}")
        return view

    def worker_pid(self, session):
        worker = self.session(session).get("worker_id", "")
        expect(worker.startswith("pid-"), f"session {session} shows no worker process")
        return int(worker.removeprefix("pid-"))


def load():
    return {"action": "load", "dataset": "weather"}


def analyze(kind):
    return {"action": "analyze", "type": kind}


# One line of what each analysis found.


def found_by_summary(output):
    hottest = output["columns"]["temp_max"]
    return f"{output['rows']} rows; daily highs {hottest['min']:g} to {hottest['max']:g} °C, {hottest['mean']:.1f} on average"


def found_by_correlations(output):
    pair = output["strongest"][0]
    return f"strongest: {' and '.join(pair['columns'])}, r = {pair['pearson']:.3f} over {pair['rows']} rows"


def found_by_outliers(output):
    wettest = output["columns"]["precipitation"]["examples"][0]
    day = wettest["values"]
    return f"{day['location']}, {day['date']}: {wettest['value']:g} mm of rain, {wettest['z']:.1f} deviations off the mean"


def found_by_trends(output):
    line = output["columns"]["temp_max"]
    return f"highs move {line['slope_per_year']:+.2f} °C a year, but the line explains {line['r_squared']:.1%} of them"


ANALYSES = {"summary": found_by_summary, "correlations": found_by_correlations, "outliers": found_by_outliers,
            "trends": found_by_trends}


def show(text=""):
    print(text, flush=True)


def heading(text):
    show(f"\n{text}")


def row(cells):
    return "".join(f"{cell:>9}" for cell in cells)


def warm_session(client):
    """Loads once, analyses many times; returns the session and what the analyses found."""
    heading("1. One session: the table is loaded once, then analysed by the same warm worker")
    task, cold = client.run_well("new", load())
    session = task["session_id"]
    pid = client.worker_pid(session)
    show(f"   session {session}, worker process {pid}\n")
    show(f"   {'milliseconds':<22}{row(['first', 'second', 'third'])}")
    show(f"   {'load (cold)':<22}{row([f'{cold:.1f}'])}")
    findings = {}
    times = {kind: [] for kind in ANALYSES}
    for _ in range(ROUNDS):
        for kind, finding in ANALYSES.items():
            task, ms = client.run_well(session, analyze(kind))
            times[kind].append(ms)
            expect(findings.setdefault(kind, finding(task["output"])) == finding(task["output"]),
                   f"{kind} found something else the second time")
    for kind, each in times.items():
        gain = cold / statistics.median(each)
        show(f"   {kind + ' (warm)':<22}{row([f'{ms:.1f}' for ms in each])}   {gain:4.0f} times faster than the load")
        expect(gain >= LEAST_GAIN, f"a warm {kind} is not {LEAST_GAIN} times faster than the load")
    show()
    for kind, finding in findings.items():
        show(f"   {kind:<14}{finding}")
    expect(client.worker_pid(session) == pid, "the session changed its worker without need")
    calls = client.session(session)["call_count"]
    expect(calls == 1 + ROUNDS * len(ANALYSES), f"the session counts {calls} calls")
    return session, findings


def lose_the_worker(client, session):
    heading("2. The worker dies: the session says so instead of starting over with nothing")
    pid = client.worker_pid(session)
    os.kill(pid, signal.SIGKILL)
    show(f"   kill -9 {pid}")
    # Whether the server has noticed yet decides the shape: the call fails, or it is refused.
    status, answer, _ = client.run(session, analyze("summary"))
    error = answer["error_info"] if status == 200 else answer["error"]
    shape = f"task {answer['status_text']}" if status == 200 else "refused"
    expect(error["code"] == "WORKER_LOST", f"a call after the kill got {status}: {json.dumps(answer)}")
    show(f"   the next call        {shape}: {error['code']}: {error['message']}")
    status, answer, _ = client.run(session, analyze("summary"))
    expect(status == 500 and answer["code"] == "WORKER_LOST", f"a later call got {status}: {json.dumps(answer)}")
    show(f"   every call after it  HTTP {status} {answer['code']}")
    show(f"   what to do           {answer['error']['advice']}")


def recover(client, findings):
    heading("3. A new session takes its place")
    task, cold = client.run_well("new", load())
    session = task["session_id"]
    for kind, finding in ANALYSES.items():
        task, _ = client.run_well(session, analyze(kind))
        expect(finding(task["output"]) == findings[kind], f"{kind} found something else in the new session")
    show(f"   session {session}, loaded in {cold:.1f} ms; the {len(ANALYSES)} analyses find the same")
    return session


def end(client, session):
    heading("4. The session ends")
    pid = client.worker_pid(session)
    status, answer = client.request("DELETE", f"/sessions/{session}")
    expect(status == 204, f"DELETE /sessions/{session} answered {status}: {answer}")
    status, answer, _ = client.run(session, analyze("summary"))
    expect(status == 410, f"a call of an ended session got {status}: {json.dumps(answer)}")
    expect(not os.path.exists(f"/proc/{pid}"), f"the worker {pid} of the ended session still runs")
    show(f"   its worker {pid} is gone; a call now gets HTTP {status}: {answer['detail']}")


def verify(server, sessions):
    heading("5. The server stops, and the journal is verified from its files")
    code = server.stop()
    expect(code == 0, f"the server exited with {code}:\n{server.log.read_text(errors='replace')}")
    done = subprocess.run([ROOT / BINARY, "audit", "verify", "--data", server.data], capture_output=True, text=True,
                          timeout=DEADLINE, env=ENVIRONMENT, check=False)
    for line in done.stdout.splitlines():
        show(f"   {line}")
    expect(done.returncode == 0, f"audit verify exited with {done.returncode}: {done.stderr}")
    expect(all(session in done.stdout for session in sessions), "audit verify left out a session")


def next_steps():
    heading("All as promised. What to type next:")
    show(f"   {BINARY} serve         # serves the apps in apps/ on 127.0.0.1:8080; then, in another shell:")
    show(f"   {BINARY} run {APP} --session new --input '{{\"action\": \"load\", \"dataset\": \"weather\"}}'")
    show(f"   {BINARY} sessions")
    show("   less docs/guide/getting-started.md   # the same, step by step")
    show("   ./scripts/test                       # the tests")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="sojourn-demo-") as folder:
        server = Server(pathlib.Path(folder))
        try:
            server.wait_until_ready()
            show(f"Sojourn keeps work warm between calls. A real server on port {server.port}, the app {APP} (pandas),")
            show("and four years of daily weather of Seattle and New York; each answer is durable before it is given.")
            client = Client(server.port)
            first, findings = warm_session(client)
            lose_the_worker(client, first)
            second = recover(client, findings)
            end(client, second)
            verify(server, [first, second])
            next_steps()
        finally:
            server.stop()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (Broken, OSError, http.client.HTTPException, subprocess.TimeoutExpired) as error:
        sys.exit(f"demo: not as promised: {error}")
