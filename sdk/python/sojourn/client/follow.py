"""Follows a call until it is over, on as many connections as that takes."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional

from . import errors
from .task import Task, Update
from .transport import Broken, Opened, Request, Transport
from .wire import LARGEST_BODY, BadAnswer, Patience

TOLD = ("status", "output")
STEADY_SECONDS = 5.0  # a stream that lasted so long was no failure


class Lines:
    """The texts of a stream, from the pieces in which its bytes come."""

    def __init__(self) -> None:
        self._tail: List[bytes] = []  # of a line whose end did not come yet
        self._size = 0
        self._ready: Deque[bytes] = deque()

    def add(self, piece: bytes) -> None:
        first, *rest = piece.split(b"\n")
        self._tail.append(first)
        self._size += len(first)
        if self._size > LARGEST_BODY:
            raise BadAnswer("a line of it does not end")
        for line in rest:
            self._ready.append(b"".join(self._tail))
            self._tail, self._size = [line], len(line)

    def take(self) -> Optional[bytes]:
        return self._ready.popleft().rstrip(b"\r") if self._ready else None


class Events(Lines):
    """The same for server-sent events: the data of each."""

    def __init__(self) -> None:
        super().__init__()
        self.last_id = ""
        self._data: List[bytes] = []

    def take(self) -> Optional[bytes]:
        while (line := super().take()) is not None:
            if not line and self._data:
                text, self._data = b"\n".join(self._data), []
                return text
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                self._data.append(value)
            elif field == b"id" and b"\0" not in value:
                self.last_id = value.decode("utf-8", "replace")
        return None


class Follower:
    """Each update of a call. A connection that is lost is replaced, and what was told before is not told again.

    Threads: one at a time.
    """

    def __init__(self, transport: Transport, task_id: str, path: str, sse: bool, patience: Patience) -> None:
        self.task = Task(id=task_id)
        self._transport = transport
        self._path = path
        self._sse = sse
        self._patience = patience
        self._stream: Optional[Opened] = None
        self._lines = Lines()
        self._last_id = ""
        self._last_delta = 0
        self._failures = 0
        self._opened_at = 0.0
        self._is_closed = False

    async def next(self) -> Optional[Update]:
        """The next update, or None after that of the call's end.

        Errors: CallFailed after the last update of a call that failed; ConnectionFailed or TimedOut where it cannot
        be followed any longer, though it may go on.
        """
        while not self._is_closed and not self.task.is_over:
            try:
                text = await self._next_text()
            except Broken as broken:
                await self._broke_off(broken)
                continue
            except errors.Error as error:
                self.close()
                error.task = self.task
                raise
            update = self._taken_in(text) if text else None
            if self.task.is_over:
                self.close()
            if update:
                return update
        if not self.task.is_over:
            raise RuntimeError(f"the stream of {self.task.id} was closed before the call's end")
        self.task.check()
        return None

    def close(self) -> None:
        self._is_closed = True
        if self._stream:
            self._stream.close()
            self._stream = None

    async def _next_text(self) -> bytes:
        if self._stream is None:
            self._stream = await self._transport.open(self._request(), self._patience)
            self._lines = Events() if self._sse else Lines()
            self._opened_at = time.monotonic()
        while (text := self._lines.take()) is None:
            piece = await self._stream.read_piece()
            try:
                self._lines.add(piece)
            except BadAnswer as error:
                raise Broken(str(error), arrived=True) from None
            if not piece:
                raise Broken("the stream ended before the call", arrived=True)
        return text

    def _request(self) -> Request:
        headers = {"Accept": "text/event-stream" if self._sse else "application/x-ndjson"}
        if isinstance(self._lines, Events) and self._lines.last_id:
            self._last_id = self._lines.last_id
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        return Request("GET", self._path, headers=headers, is_safe=True)

    async def _broke_off(self, broken: Broken) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None
        self._failures = 1 if time.monotonic() - self._opened_at > STEADY_SECONDS else self._failures + 1
        if await self._transport.pause(self._failures, self._patience):
            return
        self.close()
        url = self._transport.options.address.url
        if broken.timed_out:
            raise errors.TimedOut(f"{url} told nothing of {self.task.id} in time: {broken}", task=self.task)
        raise errors.ConnectionFailed(f"cannot follow {self.task.id} at {url}: {broken}", task=self.task)

    def _taken_in(self, text: bytes) -> Optional[Update]:
        """What one line tells that was not known. Lines of a newer server that mean nothing here are left out."""
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            raise self._stranger(text) from None
        if not isinstance(line, dict):
            raise self._stranger(text)
        if line.get("event") == "delta":
            return self._delta(line.get("data"))
        told, fields = line.get("data"), line.get("fields")
        if isinstance(told, dict) and isinstance(fields, list):
            self.task = Task({**self.task, **told})
            return Update(self.task, tuple(name for name in TOLD if name in fields))
        return self._snapshot(line) if line.get("id") == self.task.id and "status" in line else None

    def _snapshot(self, told: Dict[str, Any]) -> Optional[Update]:
        """Of the whole task what is new since the last line, which may have come on another connection."""
        before, self.task = self.task, Task(told)
        changed = tuple(name for name in TOLD if self.task.is_over or told.get(name) != before.get(name))
        return Update(self.task, changed) if changed else None

    def _delta(self, told: Any) -> Optional[Update]:
        if not isinstance(told, dict) or not isinstance(told.get("seq"), int) or told["seq"] <= self._last_delta:
            return None
        self._last_delta = told["seq"]
        return Update(self.task, (), told.get("delta"), told["seq"])

    def _stranger(self, text: bytes) -> errors.Error:
        self.close()
        url = self._transport.options.address.url
        return errors.ConnectionFailed(
            f"{url} streams what is no line of a Sojourn server: {text[:200].decode('utf-8', 'replace')!r}",
            retryable=False,
            task=self.task,
        )
