"""Try an app without a server: this starts its real process and plays the server's part of the protocol.

with sojourn.testing.start("apps/counter") as worker:
    assert worker.call("increment", {"key": "a"}).output["current"] == 1
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from .connection import TO_SERVER_BYTES, Connection
from .error import Error, from_fields
from .values import dumps

Frame = dict[str, Any]


def start(app: Union[str, Path], **opening: Any) -> "Worker":
    """Starts an app, given its folder (with an app.toml) or its Python file, and opens a session: keyword arguments
    are the fields of `open`, such as context, state, setup and restored. Raises Error as the app's setup fails."""
    worker = Worker(app)
    try:
        worker.hello()
        worker.open(**opening)
    except BaseException:
        worker.kill()
        raise
    return worker


@dataclass
class Result:
    """What one call did."""

    output: Any
    state_set: dict[str, Any]
    state_deleted: list[str]
    events: list[Frame]
    end: bool
    before: list[Frame] = field(default_factory=list)  # progress, log and other frames that came during the call


class Worker:
    """One worker process, seen from its server."""

    def __init__(self, app: Union[str, Path], timeout: float = 20.0) -> None:
        path = Path(app).absolute()
        self.folder = Path(tempfile.mkdtemp(prefix="sojourn-"))
        self.state: dict[str, Any] = {}  # as the server would have committed it
        self._request_ids = itertools.count(1)
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(timeout)
        self._connection = Connection(self._socket, TO_SERVER_BYTES)
        command, environment = _command(path)
        environment.update(SOJOURN_PROTOCOL="1", SOJOURN_SESSION="sess_test", SOJOURN_APP=path.stem)
        environment.update(SOJOURN_APP_DIR=str(path if path.is_dir() else path.parent))
        self._output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", os.defpath), **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            close_fds=False,  # all of ours close themselves; descriptor 3 must stay
            preexec_fn=lambda: _as_descriptor_3(theirs.fileno()),
        )
        theirs.close()

    def hello(self) -> Frame:
        self.send({"type": "hello", "protocol": 1, "server": "sojourn.testing"})
        return self.expect("hello")

    def open(self, **fields: Any) -> None:
        frame: Frame = {"type": "open", "session": "sess_test", "context": {}, "setup": None, "state": {}}
        frame.update(restored=False, folder=str(self.folder), app_version="0")
        frame.update(fields)
        self.state = dict(frame["state"])
        self.send(frame)
        self._answer("ready", [])

    def call(self, function: str = "run", input: Any = None, **fields: Any) -> Result:
        """Calls a function and waits for its end, saving checkpoints as they come. Raises Error as the call fails."""
        return self.finish(self.begin(function, input, **fields))

    def begin(self, function: str = "run", input: Any = None, **fields: Any) -> str:
        """Sends a call and returns its request id."""
        request_id = f"task_{next(self._request_ids)}"
        frame = {"type": "call", "request_id": request_id, "function": function, "input": input}
        frame.update(state_set={}, state_deleted=[], deadline_ms=600_000)
        frame.update(fields)
        self._commit(frame)
        self.send(frame)
        return request_id

    def finish(self, request_id: str) -> Result:
        before: list[Frame] = []
        frame = self._answer("result", before)
        assert frame["request_id"] == request_id, frame
        self._commit(frame)
        return Result(
            frame["output"],
            frame.get("state_set", {}),
            frame.get("state_deleted", []),
            frame.get("events", []),
            frame.get("end", False),
            before,
        )

    def close(self, reason: str = "ended") -> list[dict[str, str]]:
        """Closes the session; returns the failures of its clean-up. The process has ended with 0 then."""
        self.send({"type": "close", "reason": reason})
        failures: list[dict[str, str]] = self._answer("closed", [])["failures"]
        code = self.process.wait(20)
        assert code == 0, f"the worker exited with {code}: {self.output()}"
        self.kill()
        return failures

    def crash(self) -> None:
        """Kills the process, as a fault would; then start(app, state=worker.state, restored=True) goes on."""
        self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """Ends the process, if it still runs, and removes its folder."""
        if self.process.poll() is None:
            self.crash()
        self._socket.close()
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def output(self) -> str:
        """What the process wrote to standard output and standard error so far."""
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace")

    def hang_up(self) -> None:
        """Closes the server's end of the socket."""
        self._socket.close()

    def send(self, frame: Frame) -> None:
        self._connection.send(dumps(frame))

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Optional[Frame]:
        """The worker's next frame; None when it closed the socket."""
        return self._connection.receive()

    def expect(self, type: str) -> Frame:
        frame = self.receive()
        if frame is None or frame["type"] != type:
            raise AssertionError(f"the worker sent {frame!r}, not {type!r}; its output: {self.output()}")
        return frame

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self.process.poll() is None and self._socket.fileno() >= 0:
            self.close()
        self.kill()

    def _answer(self, type: str, before: list[Frame]) -> Frame:
        while True:
            frame = self.receive()
            if frame is None:
                code = self.process.wait(20)
                raise Error("WORKER_LOST", f"the worker exited with {code}: {self.output()}")
            if frame["type"] == type:
                return frame
            if frame["type"] == "error":
                error = from_fields(frame)
                error.before = before  # type: ignore[attr-defined]
                raise error
            before.append(frame)
            if frame["type"] == "checkpoint":
                self._commit(frame)
                self.send({"type": "saved", "request_id": frame["request_id"]})
            if frame["type"] == "resource" and "n" in frame:
                self.send({"type": "noted", "n": frame["n"]})

    def _commit(self, frame: Frame) -> None:
        self.state.update(frame.get("state_set", {}))
        for key in frame.get("state_deleted", []):
            self.state.pop(key, None)


def _command(path: Path) -> tuple[list[str], dict[str, str]]:
    if not path.is_dir():
        return [sys.executable, str(path)], {"PYTHONPATH": str(Path(__file__).parent.parent)}
    import tomllib  # Python 3.11; only this helper needs it

    manifest = tomllib.loads((path / "app.toml").read_text())
    command = [part.replace("{app}", str(path)) for part in manifest["command"]]
    return command, {name: value.replace("{app}", str(path)) for name, value in manifest.get("env", {}).items()}


def _as_descriptor_3(descriptor: int) -> None:
    if descriptor == 3:
        os.set_inheritable(3, True)
    else:
        os.dup2(descriptor, 3, inheritable=True)
