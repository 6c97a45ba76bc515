"""What an algorithm is, and what it may say while it works."""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from typing import Any, Callable, Optional, TextIO

from ..error import Error, NotSerializable
from ..values import Refused, check, dumps, loads, size
from .session import Session

Fields = dict[str, Any]
MOST_BYTES = 64 * 1024  # of a step's diagnostics, as text


class Diagnostics:
    """What an algorithm wants known of a step beside its result. It goes into the step's record, and starts empty with
    each step."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def publish(self, key: str, value: Any) -> None:
        """Keeps a copy. Raises TypeError for what JSON cannot hold, Error too_large past MOST_BYTES in all."""
        if not isinstance(key, str):
            raise TypeError(f"a key of the diagnostics is text, not {type(key).__name__}")
        try:
            texts = {**self._texts, key: dumps(value)}
        except Refused as refused:
            raise NotSerializable(f"diagnostics[{key!r}]", refused) from None
        if sum(size(name) + size(text) for name, text in texts.items()) > MOST_BYTES:
            raise Error("too_large", f"the diagnostics of a step have at most {MOST_BYTES} bytes", False)
        self._texts = texts

    def get(self) -> Fields:
        return {key: loads(text) for key, text in self._texts.items()}

    def clear(self) -> None:
        self._texts.clear()


class StructuredLogger:
    """One line for each message. Each has the ids of the session, the step and the trace, which no field can replace."""

    def __init__(self, sink: Optional[TextIO] = None) -> None:
        self._sink = sink
        self._ids: Fields = {}
        self._write: Optional[Callable[[str, str, Fields], None]] = None

    def debug(self, message: object, **fields: Any) -> None:
        self._line("debug", message, fields)

    def info(self, message: object, **fields: Any) -> None:
        self._line("info", message, fields)

    def warning(self, message: object, **fields: Any) -> None:
        self._line("warning", message, fields)

    def error(self, message: object, **fields: Any) -> None:
        self._line("error", message, fields)

    def bind(self, ids: Fields, write: Optional[Callable[[str, str, Fields], None]] = None) -> None:
        """What each line has from now on, and who writes it; the runner's to call."""
        self._ids, self._write = ids, write

    def _line(self, level: str, message: object, fields: Fields) -> None:
        fields = {**fields, **self._ids}
        if self._write:
            self._write(level, str(message), fields)
            return
        line = {**_loggable(fields), "level": level, "timestamp_ms": int(time.time() * 1000), "message": str(message)}
        print(json.dumps(line, ensure_ascii=False), file=self._sink or sys.stderr, flush=True)


def _loggable(fields: Fields) -> Fields:
    """A log line never fails for what it is about: what JSON cannot hold is shown as text."""
    shown: Fields = {}
    for key, value in fields.items():
        try:
            check(value)
        except Refused:
            value = repr(value)
        shown[key] = value
    return shown


class Algorithm(ABC):
    """An inspection algorithm that works in steps and keeps in its session what one step found for the next.

    Order: setup; for each step on_step_start, pre_execute, execute, on_step_finish; at last teardown. execute is left
    out where pre_execute failed, pre_execute where the caller asks for execute alone. What any of them raises fails that
    step only, and the session's state is then what it was before the step.
    """

    logger: StructuredLogger
    diagnostics: Diagnostics

    def __new__(cls, *_: Any, **__: Any) -> "Algorithm":
        made = super().__new__(cls)
        # Here, for an algorithm's own __init__ need not call this class's.
        made.logger = StructuredLogger()
        made.diagnostics = Diagnostics()
        return made

    def __init__(self) -> None:
        self._resources_loaded = False
        self._model_version: Optional[str] = None
        self._supported_pids: list[str] = []

    def setup(self) -> None:
        """Loads models, opens cameras."""

    def teardown(self) -> None:
        """Gives back what setup made; also after a fatal error."""

    def on_step_start(self, step_index: int, session: Session, context: Fields) -> None:
        """`context` holds the pid and the trace_id."""

    def on_step_finish(self, step_index: int, session: Session, result: Fields) -> None: ...

    def reset(self, session: Session) -> None:
        """The detection is given up or over. The session's state is cleared after it."""

    @abstractmethod
    def get_info(self) -> Fields:
        """{"name", "version", "description", "supported_pids", "steps": [{"index": 1, "name", "params": [...]}],
        "resumable"}."""

    @abstractmethod
    def pre_execute(
        self, step_index: int, pid: str, session: Session, user_params: Fields, shared_mem_id: str, image_meta: Fields
    ) -> Fields:
        """What must be known before the shot, such as where to look; never a verdict."""

    @abstractmethod
    def execute(
        self, step_index: int, pid: str, session: Session, user_params: Fields, shared_mem_id: str, image_meta: Fields
    ) -> Fields:
        """The verdict on the shot."""


BaseAlgorithm = Algorithm  # its name in the original
