"""The session as an algorithm sees it: who it is, and JSON values by key, checked and copied on the way in and out."""

from __future__ import annotations

from typing import Any, Optional

from ..frozen import thaw
from ..state import State
from ..values import Refused, check


class Session:
    """`Session(id, context)` works alone, in memory. Where the algorithm is served, it is the served session."""

    def __init__(self, id: str, context: Optional[dict[str, Any]] = None, state: Optional[State] = None) -> None:
        if not (isinstance(id, str) and 1 <= len(id) <= 128 and all("!" <= letter <= "~" for letter in id)):
            raise ValueError(f"a session id has 1 to 128 printable ASCII characters without spaces, not {id!r}")
        self._id = id
        self._context = thaw(context or {})
        try:
            check(self._context)
        except Refused as refused:
            raise TypeError(f"the session's context: {refused.pointer} {refused.reason}") from None
        self._state = State() if state is None else state

    @property
    def id(self) -> str:
        return self._id

    @property
    def context(self) -> dict[str, Any]:
        """A copy, all of it: changing it changes nothing here."""
        copy: dict[str, Any] = thaw(self._context)
        return copy

    def get(self, key: str, default: Any = None) -> Any:
        """A copy of the value, or the default where the key is not there."""
        return self._state.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keeps a copy. Raises TypeError for what JSON cannot hold (NaN, sets, bytes, objects, keys that are no text,
        cycles, more than 64 levels; of numpy only float64, which is a Python float), naming the place."""
        self._state[key] = value

    def delete(self, key: str) -> bool:
        """Whether the key was there."""
        return self._state.pop(key, _MISSING) is not _MISSING

    def exists(self, key: str) -> bool:
        return key in self._state

    @property
    def state(self) -> State:
        return self._state


_MISSING = object()
