"""A session's state: JSON values by key, checked and copied on the way in and on the way out.

Values are kept as the JSON text that is stored for them, so that neither the caller's object nor what `state[key]`
returned can change the state later, and only what really changed is sent. Changes are kept apart until the server has
made them durable (`accept`) or the call failed (`discard`).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Iterator, Optional

from .error import Error, NotSerializable
from .values import Refused, dumps, loads, quote, scan, size

KEY_BYTES = 256
VALUE_BYTES = 4 * 1024 * 1024
STATE_BYTES = 64 * 1024 * 1024
KEYS = 10_000


class State(MutableMapping[str, Any]):
    __slots__ = ("_texts", "_before", "_bytes", "_unsent")

    def __init__(self, values: Optional[dict[str, Any]] = None) -> None:
        self._texts: dict[str, str] = {}
        self._before: dict[str, Optional[str]] = {}  # of the keys that changed
        self._unsent: set[str] = set()  # changed by setup, to be sent with the first commit
        self._bytes = 0
        self.adopt(values or {}, [])

    def __getitem__(self, key: str) -> Any:
        return loads(self._texts[key])

    def get(self, key: str, default: Any = None) -> Any:  # the mapping's own costs an exception for a new key
        text = self._texts.get(key)
        return default if text is None else scan(text, 0)[0]

    def __setitem__(self, key: str, value: Any) -> None:
        if not (type(key) is str and key.isascii() and 1 <= len(key) <= KEY_BYTES):
            _check_key(key)
        try:
            text = dumps(value)
        except Refused as refused:
            raise NotSerializable(f"state[{key!r}]", refused) from None
        taken = len(text) if text.isascii() else size(text)
        if taken > VALUE_BYTES:
            raise Error("too_large", f"state[{key!r}] has {taken} bytes; a value has at most {VALUE_BYTES}", False)
        before = self._texts.get(key)
        if before is None and len(self._texts) >= KEYS:
            raise Error("too_large", f"a session's state has at most {KEYS} keys", False)
        total = self._bytes + taken
        if before is not None:
            total -= len(before) if before.isascii() else size(before)
        if total > STATE_BYTES:
            raise Error("too_large", f"state[{key!r}] would take the state past {STATE_BYTES} bytes", False)
        self._before.setdefault(key, before)
        self._texts[key] = text
        self._bytes = total

    def __delitem__(self, key: str) -> None:
        text = self._texts.pop(key)
        self._bytes -= size(text)
        self._before.setdefault(key, text)

    def __contains__(self, key: object) -> bool:
        return key in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._texts))  # a copy: changing the state while walking it is allowed

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        return f"State({dict(self)!r})"

    def adopt(self, values: dict[str, Any], deleted: list[str]) -> None:
        """Takes over what the server says the state is; no change of ours."""
        for key in deleted:
            self._bytes -= size(self._texts.pop(key, ""))
            self._unsent.discard(key)
        for key, value in values.items():
            text = dumps(value)
            self._bytes += size(text) - size(self._texts.get(key, ""))
            self._texts[key] = text
            self._unsent.discard(key)

    def changes(self) -> str:
        """The frame fields `state_set` and `state_deleted`, led by a comma; a key set to what it was is left out."""
        if not self._before and not self._unsent:
            return ""
        changed: list[str] = []
        deleted: list[str] = []
        keys = sorted(self._unsent.union(self._before)) if self._unsent or len(self._before) > 1 else self._before
        for key in keys:
            now = self._texts.get(key)
            before = self._before.get(key, now)
            if now is None:
                if before is not None or key in self._unsent:
                    deleted.append(quote(key))
            elif now != before or key in self._unsent:
                changed.append(f"{quote(key)}:{now}")
        return f',"state_set":{{{",".join(changed)}}},"state_deleted":[{",".join(deleted)}]'

    def pending(self) -> dict[str, Optional[str]]:
        """What the keys that changed are now, for accept()."""
        return {key: self._texts.get(key) for key in self._unsent.union(self._before)}

    def accept(self, durable: Optional[dict[str, Optional[str]]] = None) -> None:
        """The changes are durable; where `durable` is given, only up to what pending() said."""
        if durable is None:
            self._before.clear()
            self._unsent.clear()
            return
        self._unsent.difference_update(durable)
        for key, text in durable.items():
            if self._texts.get(key) == text:
                self._before.pop(key, None)
            else:
                self._before[key] = text

    def discard(self) -> None:
        """Puts back what was before the changes."""
        for key, text in self._before.items():
            self._bytes -= size(self._texts.pop(key, ""))
            if text is not None:
                self._texts[key] = text
                self._bytes += size(text)
        self._before.clear()

    def keep_unsent(self) -> None:
        """What setup changed: no failing call drops it, and the first commit carries it."""
        self._unsent.update(key for key, text in self._before.items() if text != self._texts.get(key))
        self._before.clear()


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise TypeError(f"a state key is text, not {type(key).__name__}")
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise TypeError(f"the state key {key!r} is no valid Unicode") from None
    if not 1 <= length <= KEY_BYTES:
        raise Error("invalid_request", f"a state key has 1 to {KEY_BYTES} bytes, this one has {length}", False)
