"""What can go wrong: one class for each code of the server's registry, against which a test holds them.

An error has the class of its code wherever it comes from. A call that was taken in and then failed raises an error
that is a CallFailed as well. Any other error says that nothing was run; only after a ConnectionFailed that is not
known.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple, Type

_classes: Dict[str, Type[Error]] = {}
_failed_classes: Dict[str, Type[CallFailed]] = {}


class Error(Exception):
    """Any failure. `str(error)` is its message.

    code       the word of the registry, for programs; of a newer server perhaps one that has no class here
    message    what was wrong, for people
    status     the HTTP status of the answer; of a failed call the one that goes with its code
    retryable  whether the same request may succeed later
    advice     what to do about it
    details    more for programs, often empty
    task       the call as last seen, where one was taken in, else None
    """

    code: str = "internal_error"
    status: int = 500
    retryable: bool = False
    advice: str = ""

    def __init_subclass__(cls, code: str = "", status: int = 0, retryable: bool = False) -> None:
        super().__init_subclass__()
        if code:
            cls.code, cls.status, cls.retryable = code, status, retryable
            _classes[code] = cls

    def __init__(
        self,
        message: str,
        *,
        code: Optional[str] = None,
        status: Optional[int] = None,
        retryable: Optional[bool] = None,
        advice: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
        task: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        kind = type(self)
        self.message = message
        self.code = kind.code if code is None else code
        self.status = kind.status if status is None else status
        self.retryable = kind.retryable if retryable is None else retryable
        self.advice = kind.advice if advice is None else advice
        self.details: Dict[str, Any] = dict(details or {})
        self.task = task

    def __reduce__(self) -> Tuple[Any, ...]:
        if isinstance(self, CallFailed):
            return _empty_failure, (self.code, self.message), self.__dict__
        return type(self), (self.message,), self.__dict__


class CallFailed(Error):
    """A call that was taken in and failed or was cancelled; `task` is that call, with the session that it was in."""


class SessionGone(Error):
    """The session is over or was never there: start a new one."""


def known(told: Mapping[str, Any]) -> Dict[str, Any]:
    """What an `error` object of the server says beside code and message, as arguments of Error."""
    kinds = {"retryable": bool, "advice": str, "details": dict}
    return {name: told[name] for name, kind in kinds.items() if isinstance(told.get(name), kind)}


def refusal(code: str, message: str, **known: Any) -> Error:
    """The error that the server answered."""
    kind = _classes.get(code, Error)
    return kind(message, code=code, **known)


def failure(code: str, message: str, **known: Any) -> CallFailed:
    """The error of a call that failed: a CallFailed that is also of the class of its code."""
    return _failed_class(code)(message, code=code, **known)


def _failed_class(code: str) -> Type[CallFailed]:
    kind = _classes.get(code)
    if kind is None:
        return CallFailed
    made = _failed_classes.get(code)
    if made is None:
        about = {"__doc__": f"A call that failed: {kind.__doc__}", "__module__": __name__}
        made = _failed_classes.setdefault(code, type(kind.__name__, (CallFailed, kind), about))
    return made


def _empty_failure(code: str, message: str) -> CallFailed:
    return _failed_class(code)(message)


class InvalidRequest(Error, code="invalid_request", status=400):
    """A field of the request, or what an app was given, is not as it must be."""

    advice = "Correct the request; the message names the field."


class InvalidJson(Error, code="invalid_json", status=400):
    """The body is not JSON as the server takes it."""

    advice = "Send one JSON text in UTF-8; the pointer names the offending value."


class NotSerializable(Error, code="not_serializable", status=422):
    """A value that JSON cannot hold."""

    advice = "Use only what JSON can hold; the pointer names the offending value."


class TooLarge(Error, code="too_large", status=413):
    """A value, body or answer past its limit."""

    advice = "Send less; the message names the limit."


class HeaderTooLarge(Error, code="header_too_large", status=431):
    """The header of a request is past its limit."""

    advice = "Send fewer or shorter header fields."


class Unauthorized(Error, code="unauthorized", status=401):
    """No API key, or one that the server does not know."""

    advice = "Show a valid API key."


class Forbidden(Error, code="forbidden", status=403):
    """The key lacks the scope, or the server refuses this address."""

    advice = "Ask with what the message names: a key with that scope, or another address."


class NotFound(Error, code="not_found", status=404):
    """The server has no such path."""

    advice = "Check the path or name; the server's start page lists its paths."


class MethodNotAllowed(Error, code="method_not_allowed", status=405):
    """The path does not take this method."""

    advice = "Use one of the methods that the message names."


class RequestTimeout(Error, code="request_timeout", status=408, retryable=True):
    """The request came too slowly."""

    advice = "Send the whole request without long pauses."


class AppNotFound(Error, code="app_not_found", status=404):
    """The server has no such app."""

    advice = "Choose one of the apps that the server lists; it reads their folder when it starts."


class FunctionNotFound(Error, code="function_not_found", status=404):
    """The app has no such function."""

    advice = "Choose one of the functions that the app lists."


class TaskNotFound(Error, code="task_not_found", status=404):
    """There is no such task."""

    advice = "Check the task's id."


class SessionNotFound(SessionGone, code="SESSION_NOT_FOUND", status=404):
    """There is no such session."""

    advice = "Check the id, or start a new session."


class SessionExpired(SessionGone, code="SESSION_EXPIRED", status=410):
    """The session was idle for longer than its time-out, or past its lifetime."""

    advice = "Start a new session; a longer session_timeout or a keepalive prevents this."


class SessionEnded(SessionGone, code="SESSION_ENDED", status=410):
    """The session was ended."""

    advice = "Start a new session."


class WorkerLost(SessionGone, code="WORKER_LOST", status=500):
    """The worker process is gone: in a call with that call, else with the session."""

    advice = "The session's memory is gone with its worker: start a new session."


class WorkerLeased(Error, code="WORKER_LEASED", status=409, retryable=True):
    """The worker serves another session."""

    advice = "The worker serves another session; try again later."


class AppMismatch(Error, code="APP_MISMATCH", status=400):
    """The session belongs to another app."""

    advice = "Call a session with the app that it was created with."


class VersionMismatch(SessionGone, code="VERSION_MISMATCH", status=400):
    """The app changed since the session was created."""

    advice = "The app changed since the session was created: start a new session."


class AlreadyExists(Error, code="already_exists", status=409):
    """There is one with this id."""

    advice = "Choose another id."


class StageNotAllowed(Error, code="stage_not_allowed", status=409):
    """The session is at a stage that does not allow this."""

    advice = "Move to one of the allowed stages in the details."


class StepNotStarted(Error, code="step_not_started", status=409):
    """The step was not started, or is over."""

    advice = "Start the step first, or report it with its duration."


class PreconditionFailed(Error, code="precondition_failed", status=412):
    """The session is not at the version that was asked for."""

    advice = "Read the session again; the details hold its version now."


class IdempotencyMismatch(Error, code="idempotency_mismatch", status=422):
    """The idempotency key was used for another request."""

    advice = "Use a new idempotency key for a new request."


class Uncertain(Error, code="uncertain", status=409):
    """A node of a flow had begun when its process ended, and nobody knows what it did."""

    advice = "The node that is named had begun when its process ended: see what it did, then begin the flow anew."


class QueueFull(Error, code="queue_full", status=429, retryable=True):
    """Too many calls of the session wait."""

    advice = "Wait for some of what the message names to end, then try again."


class TooManySessions(Error, code="too_many_sessions", status=429, retryable=True):
    """The app has as many sessions as it may have."""

    advice = "End sessions of this app, or try again later."


class CallTimeout(Error, code="call_timeout", status=504):
    """The call was stopped at its deadline (`call_timeout`)."""

    advice = "The call took longer than its deadline; raise call_timeout or do less per call."


class Cancelled(Error, code="cancelled", status=409):
    """The call was cancelled."""

    advice = "The call was cancelled before it ended."


class AppError(Error, code="app_error", status=500):
    """The app raised an error; `details` has its type and traceback, and `code` where it gave its own."""

    advice = "The app raised an error; details hold its type and traceback."


class WorkerStartFailed(Error, code="worker_start_failed", status=500):
    """The app's program did not start."""

    advice = "The app's program did not start serving; details hold its last output."


class ProtocolError(Error, code="protocol_error", status=500):
    """The app's program broke the worker protocol."""

    advice = "The app's program broke the worker protocol; its session was ended."


class CleanupFailed(Error, code="cleanup_failed", status=500):
    """Resources of the session could not be released."""

    advice = "Some resources could not be released; details list each."


class Unavailable(Error, code="unavailable", status=503, retryable=True):
    """The server stops or has too much to do."""

    advice = "The server is stopping or overloaded; try again later."


class StoreFull(Error, code="store_full", status=507, retryable=True):
    """The server's disk is full."""

    advice = "The disk of the data directory is full; nothing acknowledged was lost."


class StoreReadOnly(Error, code="store_read_only", status=503):
    """The server cannot write its data."""

    advice = "The data directory cannot be written; check its owner and mode."


class StoreLocked(Error, code="store_locked", status=503, retryable=True):
    """Another server uses the same data."""

    advice = "Another server uses this data directory."


class StoreCorrupt(Error, code="store_corrupt", status=500):
    """The server's store is damaged."""

    advice = "The store is damaged; restore it from a backup."


class StoreNewer(Error, code="store_newer", status=500):
    """The server's store was written by a newer version."""

    advice = "A newer Sojourn wrote this store; use that version."


class Conflict(Error, code="conflict", status=409, retryable=True):
    """Somebody else changed it meanwhile."""

    advice = "Somebody else changed it meanwhile; read it again and retry."


class Fenced(Error, code="fenced", status=409):
    """Another server owns the session now."""

    advice = "Another server owns this session now."


class IoError(Error, code="io_error", status=500):
    """An operation of the server's system failed."""

    advice = "The operating system refused; the message names the file and the reason."


class AddressInUse(Error, code="address_in_use", status=500):
    """A port is taken."""

    advice = "Stop the program on that port, or choose another; port 0 picks a free one."


class ConnectionFailed(Error, code="connection_failed", status=502, retryable=True):
    """The server cannot be reached, the connection broke, or what answers is no Sojourn server."""

    advice = "Check that the address is right and that something listens there."


class ConfigInvalid(Error, code="config_invalid", status=400):
    """A setting of the server is wrong."""

    advice = "Correct the setting; the message names its source."


class ManifestInvalid(Error, code="manifest_invalid", status=400):
    """An app.toml is wrong."""

    advice = "Correct app.toml; the message names the line or key."


class InternalError(Error, code="internal_error", status=500):
    """A defect of the server."""

    advice = "This is a defect of Sojourn; its log says more."


class TimedOut(ConnectionFailed, TimeoutError):
    """No answer within the time that this client was given. What was asked may still go on."""

    advice = "Ask again, or follow or cancel the call; give more time with timeout=."
