"""What an app sees of the session that it serves."""

from __future__ import annotations

import itertools
import re
import threading
from functools import partial
from pathlib import Path
from typing import Any, Optional

from .answers import Answers
from .connection import TO_SERVER_BYTES, Connection
from .error import Error, NotSerializable, from_fields
from .frozen import FrozenDict, freeze
from .log import Log
from .resources import Resources
from .state import State
from .values import VALUE_BYTES, Refused, dumps, quote, size

_EVENTS = 1_000
_EVENT_BYTES = 256 * 1024
_EVENT_TYPE = re.compile(r"[a-z0-9._-]{1,64}")
_OWN_EVENTS = ("session.", "worker.", "call.", "state.", "resource.", "artifact.", "audit.", "step.", "log")  # Sojourn's own


class Call:
    """The call that runs now."""

    __slots__ = ("request_id", "events", "event_bytes", "ends", "cancelled", "must_stop")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.events: list[str] = []
        self.event_bytes = 0
        self.ends = False
        self.cancelled = False
        self.must_stop = False  # cancelled, and the app did not say that it stops by itself

    def events_field(self) -> str:
        return f',"events":[{",".join(self.events)}]' if self.events else ""


class Session:
    """One session: who it is, what it remembers, and what a running call may do."""

    def __init__(
        self,
        opening: dict[str, Any],
        connection: Connection,
        answers: Answers,
    ) -> None:
        self._connection = connection
        self._answers = answers
        self._call: Optional[Call] = None
        self._call_changes = threading.Lock()  # a frame of a call that is over would break the protocol
        self._call_ids = itertools.count(1)
        self._id: str = opening["session"]
        self._context: FrozenDict = freeze(opening.get("context", {}))
        self._state = State(opening.get("state", {}))
        self._setup = opening.get("setup")
        self._folder = Path(opening.get("folder") or ".").absolute()
        self._restored = bool(opening.get("restored", False))
        self._app_version = str(opening.get("app_version", ""))
        self._log = Log(self._send_log)
        self._resources = Resources(connection.send, answers)

    @property
    def id(self) -> str:
        return self._id

    @property
    def context(self) -> FrozenDict:
        """What the session was created with; deeply immutable."""
        return self._context

    @property
    def state(self) -> State:
        """What the session remembers. Reading and writing copy; the changes of a call are committed with it, or
        dropped when it raises."""
        return self._state

    @property
    def setup(self) -> Any:
        """What the caller gave as "setup" when the session was created."""
        return self._setup

    @property
    def folder(self) -> Path:
        """The session's own folder, the working directory. It stays when the worker goes."""
        return self._folder

    @property
    def restored(self) -> bool:
        """Whether another worker served this session before; its state is there, its memory is not."""
        return self._restored

    @property
    def app_version(self) -> str:
        return self._app_version

    @property
    def log(self) -> Log:
        return self._log

    @property
    def resources(self) -> Resources:
        return self._resources

    @property
    def cancel_requested(self) -> bool:
        """Whether the caller wants the running call to stop. Look at it where a call takes long."""
        return self._call is not None and self._call.cancelled

    def emit(self, partial: Any) -> None:
        """Shows who follows the call a partial output. Provisional: nothing is committed."""
        self._progress("output", partial)

    def emit_delta(self, delta: Any) -> None:
        """Shows who follows the call what is to be merged into the partial output so far."""
        self._progress("delta", delta)

    def record(self, type: str, data: Optional[dict[str, Any]] = None) -> None:
        """Appends an event of the app's own to the journal, with the next commit of this call."""
        call = self._running("record")
        if not isinstance(type, str) or not _EVENT_TYPE.fullmatch(type) or type.startswith(_OWN_EVENTS):
            raise Error(
                "invalid_request",
                f"{type!r} is no event type of an app: 1 to 64 of a-z, 0-9, '.', '_' and '-', such as "
                f"'parcel.weighed', and not starting with one of {', '.join(_OWN_EVENTS)}",
                False,
            )
        if data is not None and not isinstance(data, dict):
            raise TypeError(f"an event's data is a dict, not {data!r}")
        text = checked_text(f"the event {type!r}", data or {})
        if size(text) > _EVENT_BYTES:
            raise Error("too_large", f"the event {type!r} has more than {_EVENT_BYTES} bytes", False)
        if len(call.events) >= _EVENTS or call.event_bytes + size(text) > VALUE_BYTES:
            raise Error(
                "too_large", f"a commit holds at most {_EVENTS} events and {VALUE_BYTES} bytes of them", False
            )
        call.events.append(f'{{"type":{quote(type)},"data":{text}}}')
        call.event_bytes += size(text)

    def checkpoint(self) -> None:
        """Commits the state and events so far and returns when they are durable; what comes after may still fail."""
        checkpoint = _Checkpoint(self, self._running("checkpoint"))
        checkpoint.take(self._answers.ask("saved", checkpoint.send))

    async def checkpoint_async(self) -> None:
        """checkpoint() for async functions: their event loop goes on meanwhile. A cancel waits until it is over."""
        import asyncio

        checkpoint = _Checkpoint(self, self._running("checkpoint_async"))
        saving = asyncio.ensure_future(self._answers.ask_async("saved", checkpoint.send))
        cancelled: Optional[BaseException] = None
        while not saving.done():
            try:
                await asyncio.wait({saving})
            except asyncio.CancelledError as asked:
                cancelled = asked
        checkpoint.take(saving.result())
        if cancelled:
            raise cancelled

    def end(self) -> None:
        """The session ends when this call is over and answered; not if it raises."""
        self._running("end").ends = True

    def call_app(self, app: str, function: str = "run", input: Any = None) -> Any:
        """Runs a function of another app in a session of its own; returns its output, raises Error as it fails."""
        call, call_id, frame = self._app_call(app, function, input)
        return _output(self._answers.ask(call_id, partial(self._send, call, frame)))

    async def call_app_async(self, app: str, function: str = "run", input: Any = None) -> Any:
        """call_app() for async functions: their event loop goes on meanwhile, and several calls can."""
        call, call_id, frame = self._app_call(app, function, input)
        return _output(await self._answers.ask_async(call_id, partial(self._send, call, frame)))

    def _app_call(self, app: str, function: str, input: Any) -> tuple[Call, str, str]:
        call = self._running("call_app")
        call_id = f"call-{next(self._call_ids)}"
        text = checked_text(f"the input of {app}", input)
        frame = f'{{"type":"app_call","request_id":{quote(call.request_id)},"call_id":"{call_id}","app":'
        frame += f'{checked_text("app", app)},"function":{checked_text("function", function)},"input":{text}}}'
        return call, call_id, frame

    def _progress(self, field: str, value: Any) -> None:
        call = self._running("emit")
        text = checked_text("what was emitted", value)
        self._send(call, f'{{"type":"progress","request_id":{quote(call.request_id)},"{field}":{text}}}')

    def _end_call(self) -> None:
        with self._call_changes:
            self._call = None

    def _send(self, call: Call, text: str) -> None:
        """Sends a frame of a call; a thread that the call left behind is refused."""
        with self._call_changes:
            if self._call is not call:
                raise Error("invalid_request", "the call that this belongs to is over", False)
            self._connection.send(text)

    def _send_log(self, text: str) -> None:
        """Sends a log line, given without its last brace, as one of the running call, if any."""
        with self._call_changes:
            request_id = f',"request_id":{quote(self._call.request_id)}' if self._call else ""
            self._connection.send(f"{text}{request_id}}}")

    def _running(self, what: str) -> Call:
        if self._call is None:
            raise Error("invalid_request", f"session.{what}() works only while a call runs", False)
        return self._call


class _Checkpoint:
    """The changes of a call on their way into the store; it may make others meanwhile."""

    def __init__(self, session: Session, call: Call) -> None:
        self._session = session
        self._call = call
        self._state = session._state.pending()
        self._events = len(call.events)
        self._event_bytes = call.event_bytes
        self._frame = f'{{"type":"checkpoint","request_id":{quote(call.request_id)}'
        self._frame += f"{session._state.changes()}{call.events_field()}}}"
        if size(self._frame) > TO_SERVER_BYTES:
            raise Error(
                "too_large", f"the changes since the last commit have more than {TO_SERVER_BYTES} bytes", False
            )

    def send(self) -> None:
        self._session._send(self._call, self._frame)

    def take(self, answer: dict[str, Any]) -> None:
        """Raises Error as the commit failed."""
        _output(answer)
        if self._session._call is self._call:
            self._session._state.accept(self._state)
            del self._call.events[: self._events]
            self._call.event_bytes -= self._event_bytes


def _output(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise from_fields(answer["error"])
    return answer.get("output")


def checked_text(what: str, value: Any) -> str:
    """The JSON text of a value that goes to the server. Raises NotSerializable, or Error too_large."""
    try:
        text = dumps(value)
    except Refused as refused:
        raise NotSerializable(what, refused) from None
    if len(text) > VALUE_BYTES // 4 and size(text) > VALUE_BYTES:  # most need no count
        raise Error("too_large", f"{what} has {size(text)} bytes; at most {VALUE_BYTES} are allowed", False)
    return text
