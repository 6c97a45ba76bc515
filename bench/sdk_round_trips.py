#!/usr/bin/python3
"""What a call costs through a worker SDK alone, without server and store: ./bench/sdk_round_trips.py [CALLS]

One caller over a socket pair, a function that counts on session.state, each SDK in turn, three times.
"""

import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

SDK = Path(__file__).resolve().parent.parent / "sdk"
sys.path.insert(0, str(SDK / "python"))

from sojourn import testing  # noqa: E402
from sojourn.values import dumps  # noqa: E402

PYTHON = """
from sojourn import App, serve
class X(App):
    def run(self, session):
        session.state["count"] = session.state.get("count", 0) + 1
        return {"count": session.state["count"]}
serve(X)
"""
NODE = f"""
import {{ App, serve }} from "{SDK}/node/index.js";
class X extends App {{
  run(input, {{ state }}) {{
    state.set("count", state.get("count", 0) + 1);
    return {{ count: state.get("count") }};
  }}
}}
serve(X);
"""


def app(folder, name, program, text, environment=""):
    path = Path(folder) / name
    path.mkdir()
    (path / program).write_text(text)
    interpreter = "/usr/bin/node" if program.endswith("mjs") else "/usr/bin/python3"
    (path / "app.toml").write_text(f'command = ["{interpreter}", "{{app}}/{program}"]\n[env]\n{environment}\n')
    return path


def measure(path, calls):
    """Microseconds of each call, in order of size."""
    with testing.start(path) as worker:
        stream = worker._socket
        body = dumps({"type": "call", "request_id": "task_1", "function": "run", "input": {}, "deadline_ms": 1}).encode()
        frame = struct.pack(">I", len(body)) + body
        took = []
        for _ in range(calls + calls // 5):  # the first fifth warms up
            begun = time.perf_counter()
            stream.sendall(frame)
            data = stream.recv(65536)
            while len(data) < 4 + struct.unpack_from(">I", data)[0]:
                data += stream.recv(65536)
            took.append(1e6 * (time.perf_counter() - begun))
        return sorted(took[calls // 5:])


def main():
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder:
        apps = [app(folder, "python", "main.py", PYTHON, f'PYTHONPATH = "{SDK}/python"'),
                app(folder, "node", "main.mjs", NODE)]
        for _ in range(3):
            for path in apps:
                took = measure(path, calls)
                print(f"{path.name:8} {1e6 * calls / sum(took):8,.0f} calls/s   p50 {statistics.median(took):6.1f} us   "
                      f"p99 {took[calls * 99 // 100]:7.1f} us", flush=True)


if __name__ == "__main__":
    main()
