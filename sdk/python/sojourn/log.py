"""Structured log lines of an app; they appear in the session's journal."""

from __future__ import annotations

from typing import Any, Callable

from .values import Refused, dumps

_MESSAGE_LENGTH = 8 * 1024


class Log:
    def __init__(self, send: Callable[[str], None]) -> None:
        """`send` gets a frame that lacks its last brace."""
        self._send = send

    def debug(self, message: object, **fields: Any) -> None:
        self.line("debug", message, fields)

    def info(self, message: object, **fields: Any) -> None:
        self.line("info", message, fields)

    def warning(self, message: object, **fields: Any) -> None:
        self.line("warning", message, fields)

    def error(self, message: object, **fields: Any) -> None:
        self.line("error", message, fields)

    def line(self, level: str, message: object, fields: dict[str, Any]) -> None:
        """Says `message` with a level that is a word, for who passes on what another logger was told."""
        shown = {_readable(name): _loggable(value) for name, value in fields.items()}
        frame = {"type": "log", "level": level, "message": _cut(_readable(message)), "fields": shown}
        self._send(dumps(frame)[:-1])


def _loggable(value: Any) -> Any:
    """A log line never fails for what it is about: what JSON cannot hold, or is too long, is shown as text."""
    try:
        text = dumps(value)
        if len(text) <= _MESSAGE_LENGTH:
            return value
    except Refused:
        text = _readable(repr(value))
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]} ... (cut)"


def _readable(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()
