"""A call of nobody's, which a fork makes while it waits.

What a first call touches lies on pages that a fork still shares with its parent: the code that it runs, by its
reference counts, and what that code reads and fills. Each page costs a fault and a copy, and a rehearsal has them before
somebody waits.
"""

from __future__ import annotations

import os
import socket

from .app import App
from .connection import Connection
from .session import Session
from .values import dumps
from .watcher import Watcher
from .worker import PROTOCOL, greet, serve_frames


def rehearse() -> None:
    """Serves a session that is no one's, and leaves nothing of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = Connection(ours)
        for frame in _FRAMES:
            server.send(dumps(frame))
        ours.shutdown(socket.SHUT_WR)  # there is no more to come
        os.environ[_ENTERED] = ""  # so that it enters no folder
        try:
            connection = Connection(theirs)
            greet(connection, "rehearsal", ["run"], False)
            serve_frames(_Nobody, ["run"], connection, _Unwatched())
        finally:
            del os.environ[_ENTERED]


class _Nobody(App):
    def run(self, session: Session, input: object) -> dict[str, object]:
        session.state["calls"] = session.state.get("calls", 0) + 1
        return {"input": input, "calls": session.state["calls"]}


class _Unwatched(Watcher):
    """Nobody cancels a rehearsal, so it takes no thread."""

    def __init__(self) -> None:
        self.working = False

    def begin(self) -> None:
        self.working = True

    def end(self) -> None:
        self.working = False


_ENTERED = "SOJOURN_SESSION"
_FRAMES = (
    {"type": "hello", "protocol": PROTOCOL},
    {"type": "open", "session": "", "context": {}, "setup": {}, "state": {"calls": 1}, "folder": "", "restored": False},
    {"type": "call", "request_id": "1", "function": "run", "input": {"key": "value"}, "state_set": {}, "state_deleted": []},
)
