"""Failure is an Error: a code that callers act on, a sentence for people, details for machines."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Optional

from .values import Refused, check

_MESSAGE_LENGTH = 8 * 1024
_TRACEBACK_LENGTH = 32 * 1024


class Error(Exception):
    """Raise it to fail a call with a code, a retry advice and details of your own choice.

    `code` is a word of the server's registry (GET /docs); any other arrives as app_error with `details.code`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        retryable: Optional[bool] = None,
        details: Optional[dict[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable  # None: the registry's word on it
        self.details = dict(details) if details else {}


class NotSerializable(Error, TypeError):
    """A value that JSON cannot hold. `pointer` (RFC 6901) names the place."""

    def __init__(self, what: str, refused: Refused) -> None:
        place = refused.pointer or "(the value itself)"
        super().__init__("not_serializable", f"{what}: {place} {refused.reason}", False, {"pointer": refused.pointer})
        self.pointer = refused.pointer


def from_fields(fields: Any) -> Error:
    """The Error that an `error` field of a frame holds."""
    if not isinstance(fields, dict):
        return Error("internal_error", f"the server sent an error that is no object: {fields!r}")
    return Error(
        str(fields.get("code", "internal_error")),
        str(fields.get("message", "the server gave no message")),
        fields.get("retryable"),
        fields.get("details") if isinstance(fields.get("details"), dict) else None,
    )


def to_fields(error: BaseException) -> dict[str, Any]:
    """What an `error` frame says of an exception; always something that JSON can hold."""
    if isinstance(error, Error):
        fields: dict[str, Any] = {"code": _text(error.code), "message": _text(error.message)}
        if error.retryable is not None:
            fields["retryable"] = bool(error.retryable)
        fields["details"] = _details(error.details)
        if isinstance(error, NotSerializable):
            frames = _app_frames(error)
            if frames:  # none where it was the output, which nothing but the pointer tells more of
                fields["details"].setdefault("traceback", _traceback(error, frames))
        return fields
    name = type(error).__qualname__
    text = _words(error)
    return {
        "code": "app_error",
        "message": _text(f"{name}: {text}" if text else name),
        "retryable": False,
        "details": {"type": name, "traceback": traceback_of(error)},
    }


def traceback_of(error: BaseException) -> str:
    """As text, from the app's first line on."""
    return _traceback(error, _app_frames(error))


def _app_frames(error: BaseException) -> Optional[TracebackType]:
    """The traceback from the app's first line on; the frames of this SDK and of asyncio above it say nothing to anybody."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__package__") in (__package__, f"{__package__}.steps", "asyncio"):
        frames = frames.tb_next
    return frames


def _traceback(error: BaseException, frames: Optional[TracebackType]) -> str:
    import traceback  # only here, to start sooner

    text = "".join(traceback.format_exception(type(error), error, frames)).encode("utf-8", "replace").decode()
    if len(text) > _TRACEBACK_LENGTH:
        half = _TRACEBACK_LENGTH // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters cut ...\n{text[-half:]}"
    return text


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an app's exception may fail to print itself
        return ""


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()[:_MESSAGE_LENGTH]


def _details(details: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in details.items():
        try:
            check(value)
            kept[_text(key)] = value
        except Refused:
            kept[_text(key)] = _text(repr(value))
    return kept
