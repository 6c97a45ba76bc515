"""The client side of Sojourn: run apps on a server, in sessions that stay warm.

    from sojourn.client import Client

    with Client() as client, client.session("counter") as session:
        print(session.run({"key": "a"}).output)

AsyncClient has the same names for asyncio. Every failure is an Error, of the class that its code in the server's
registry has; they stand in sojourn.client.errors, the ones that callers act on also here.
"""

from .aio import AsyncClient, AsyncSession, AsyncTaskStream
from .client import Client, Session, TaskStream
from .errors import (
    AppNotFound,
    CallFailed,
    CallTimeout,
    Cancelled,
    ConnectionFailed,
    Error,
    IdempotencyMismatch,
    PreconditionFailed,
    QueueFull,
    SessionEnded,
    SessionExpired,
    SessionGone,
    SessionNotFound,
    StageNotAllowed,
    StepNotStarted,
    TimedOut,
    WorkerLost,
)
from .recovery import AsyncSessionManager, SessionManager
from .task import Task, Update
from .webhook import BadWebhook, verify_webhook

__all__ = [
    "AppNotFound",
    "AsyncClient",
    "AsyncSession",
    "AsyncSessionManager",
    "AsyncTaskStream",
    "BadWebhook",
    "CallFailed",
    "CallTimeout",
    "Cancelled",
    "Client",
    "ConnectionFailed",
    "Error",
    "IdempotencyMismatch",
    "PreconditionFailed",
    "QueueFull",
    "Session",
    "SessionEnded",
    "SessionExpired",
    "SessionGone",
    "SessionManager",
    "SessionNotFound",
    "StageNotAllowed",
    "StepNotStarted",
    "Task",
    "TaskStream",
    "TimedOut",
    "Update",
    "WorkerLost",
    "verify_webhook",
]
