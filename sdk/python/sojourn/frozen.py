"""A session's context: dicts and lists that can be read, compared and serialised like any, and never changed."""

from __future__ import annotations

from typing import Any


def freeze(value: Any) -> Any:
    """A deeply immutable copy of a JSON value."""
    if isinstance(value, dict):
        return FrozenDict((key, freeze(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return FrozenList(freeze(item) for item in value)
    return value


def thaw(value: Any) -> Any:
    """A copy of a frozen value that may be changed."""
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value


def _refuse(self: Any, *_: Any, **__: Any) -> Any:
    raise TypeError("a session's context is immutable; keep what changes in session.state")


class FrozenDict(dict[str, Any]):  # a dict, so that it equals one and json.dumps takes it
    __slots__ = ()

    def __new__(cls, items: Any = ()) -> "FrozenDict":
        made = dict.__new__(cls)
        dict.update(made, items)
        return made

    def __init__(self, items: Any = ()) -> None:
        pass  # filled by __new__, so that calling __init__ again changes nothing

    def copy(self) -> dict[str, Any]:
        return {key: thaw(item) for key, item in self.items()}

    def __reduce__(self) -> Any:
        return thaw, (dict(self),)

    __setitem__ = __delitem__ = __ior__ = clear = _refuse
    pop = popitem = setdefault = update = _refuse


class FrozenList(list[Any]):
    __slots__ = ()

    def __new__(cls, items: Any = ()) -> "FrozenList":
        made = list.__new__(cls)
        list.extend(made, items)
        return made

    def __init__(self, items: Any = ()) -> None:
        pass

    def copy(self) -> list[Any]:
        return [thaw(item) for item in self]

    def __reduce__(self) -> Any:
        return thaw, (list(self),)

    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = _refuse
    extend = insert = pop = remove = reverse = sort = _refuse
