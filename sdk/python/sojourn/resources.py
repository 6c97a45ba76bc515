"""What a session acquired and must release: whatever happens, each resource is cleaned up once, the newest first."""

from __future__ import annotations

import itertools
import signal
import sys
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterator, NamedTuple, Optional

from .answers import Answers
from .error import Error, NotSerializable, from_fields
from .values import Refused, dumps

CLEANUP_SECONDS = 30.0
_MOST = 10_000


class Resource(NamedTuple):
    id: str
    kind: str
    cleanup: Callable[[], Any]
    cost: int = 0


class Resources:
    def __init__(self, send: Callable[[str], None], answers: Answers) -> None:
        self._send = send
        self._answers = answers
        self._numbers = itertools.count(1)
        self._open: dict[str, Resource] = {}  # oldest first

    def add(self, id: str, kind: str, cleanup: Callable[[], Any], cost: int = 0, cleanup_note: Any = None) -> None:
        """Takes over a resource: `cleanup()`, sync or async, releases it when the session closes.

        `cost` is an estimate in units of your choice. `cleanup_note` says how the server can clean up when this
        process is gone: {"path": ...} below the session's folder, /tmp or /dev/shm; {"shm": name}; or {"pid": ...,
        "start": ...}, the start being field 22 of /proc/PID/stat, so that no other process of that number is ended.
        Give it before you acquire the resource where you can: with a note this returns only when the note is
        durable, so that whatever happens from then on the resource is cleaned up. Raises Error as that fails.
        """
        for name, value in (("id", id), ("kind", kind)):
            if not isinstance(value, str) or not value:
                raise TypeError(f"a resource's {name} is text with at least one character, not {value!r}")
        if not callable(cleanup):
            raise TypeError(f"the clean-up of resource {id!r} is a function without arguments, not {cleanup!r}")
        if isinstance(cost, bool) or not isinstance(cost, int):
            raise TypeError(f"the cost of resource {id!r} is an int, not {cost!r}")
        if id in self._open:
            raise Error("already_exists", f"the session already holds a resource {id!r}", False)
        if len(self._open) >= _MOST:
            raise Error("too_large", f"a session holds at most {_MOST} resources", False)
        frame = {"type": "resource", "op": "add", "id": id, "kind": kind, "cost": cost, "cleanup": cleanup_note}
        if cleanup_note is not None:
            frame["n"] = next(self._numbers)
        try:
            text = dumps(frame)
        except Refused as refused:
            raise NotSerializable(f"resource {id!r}", refused) from None
        self._open[id] = Resource(id, kind, cleanup, cost)
        if cleanup_note is None:
            self._send(text)
            return
        answer = self._answers.ask(f"noted-{frame['n']}", partial(self._send, text))
        if "error" in answer:
            self.release(id)
            raise from_fields(answer["error"])

    def release(self, id: str) -> bool:
        """Forgets a resource that the app itself released; its clean-up is not run. Whether it was held."""
        if self._open.pop(id, None) is None:
            return False
        self._send(dumps({"type": "resource", "op": "release", "id": id}))
        return True

    def __contains__(self, id: object) -> bool:
        return id in self._open

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._open.values()))

    def clean_up(self, run: Callable[[Callable[[], Any]], Any]) -> list[dict[str, str]]:
        """Cleans up all that is held, newest first, each within its deadline; returns the failures. `run` calls a
        function that may be async."""
        failures: list[dict[str, str]] = []
        while self._open:
            id, resource = self._open.popitem()
            failure = attempt(partial(run, resource.cleanup))
            if failure:
                failures.append({"id": id, "kind": resource.kind, "message": failure})
        return failures


def attempt(step: Callable[[], Any]) -> Optional[str]:
    """Runs one step of closing within the deadline; returns what went wrong, with the traceback on standard error."""
    try:
        with _deadline(CLEANUP_SECONDS):
            step()
    except BaseException as error:  # also SystemExit: the other clean-ups must still run
        sys.excepthook(type(error), error, error.__traceback__)  # prints the traceback
        return f"{type(error).__qualname__}: {error}".encode("utf-8", "replace").decode()
    return None


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Interrupts the main thread, also where it waits in a system call."""

    def interrupt(*_: Any) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
