"""A call as the server tells of it."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple

from . import errors

COMPLETED, FAILED, CANCELLED = 10, 11, 12


class Task(Dict[str, Any]):
    """A call as last seen: the fields of docs/formats/http.md#task, those that are needed most also as attributes."""

    @property
    def id(self) -> str:
        return str(self["id"])

    @property
    def session_id(self) -> str:
        return str(self["session_id"])

    @property
    def output(self) -> Any:
        """Of a call that still runs its newest partial output, else None."""
        return self.get("output")

    @property
    def is_over(self) -> bool:
        return bool(self.get("status", 0) >= COMPLETED)

    def check(self) -> Task:
        """This call, if it did not fail. Errors: CallFailed."""
        if self.get("status") not in (FAILED, CANCELLED):
            return self
        told = self.get("error_info") or {}
        fallback = "cancelled" if self["status"] == CANCELLED else "app_error"
        code, message = told.get("code", fallback), told.get("message") or self.get("error") or f"task {fallback}"
        raise errors.failure(str(code), str(message), task=self, **errors.known(told))


class Update(NamedTuple):
    """One step of a call that is followed.

    task     the call as it stands then
    changed  what is new: "status", "output", both, or nothing where there is a delta
    delta    what the app emitted, if this is a delta
    seq      grows from delta to delta
    """

    task: Task
    changed: Tuple[str, ...]
    delta: Any = None
    seq: Optional[int] = None
