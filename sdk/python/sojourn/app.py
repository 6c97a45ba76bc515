"""What an app is: a class whose public methods are the functions that callers may call."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .session import Session

RESERVED = frozenset({"setup", "unload", "on_cancel", "restore"})

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class App:
    """The base of every app. One instance serves one session, on one thread, one call at a time.

    Each public method is a function, sync or async, but for `setup`, `unload`, `on_cancel`, `restore` and names that start
    with an underscore. What a method gets is said by its signature: a first parameter called `session` gets the session;
    the next one (or the first, when it is not called `session`) gets the input of the call; more need defaults.
    `setup` runs once before the first call, and its input is the caller's "setup"; `unload` runs once at the end.
    """

    session: "Session"


def functions_of(app: type[App]) -> list[str]:
    """The names of an app's functions, as they stand in its source, inherited ones first. Raises TypeError for a method
    that cannot be a function."""
    if not (isinstance(app, type) and issubclass(app, App)):
        raise TypeError(f"serve() takes a class that inherits from sojourn.App, not {app!r}")
    names: dict[str, None] = {}
    for base in reversed(app.__mro__):
        if base in (App, object):
            continue
        for name in vars(base):
            if not name.startswith("_") and isinstance(inspect.getattr_static(app, name), FunctionType):
                names[name] = None
    for name in names:
        takes(getattr(app, name))
    return [name for name in names if name not in RESERVED]


def takes(method: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether an unbound method takes the session, and whether it takes the input. Raises TypeError."""
    name = method.__qualname__
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise TypeError(f"{name} is a generator: call session.emit(partial) and return the output instead")
    parameters = list(inspect.signature(method).parameters.values())
    places = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    if not places:
        raise TypeError(f"{name} lacks the parameter self")
    with_session = len(places) > 1 and places[1].name == "session"
    used = 2 if with_session else 1
    with_input = len(places) > used
    for parameter in places[used + with_input :] + [p for p in parameters if p.kind is p.KEYWORD_ONLY]:
        if parameter.default is parameter.empty:
            raise TypeError(
                f"{name} has a parameter {parameter.name!r} that nothing is passed for: a function takes (self), "
                f"(self, input), (self, session) or (self, session, input)"
            )
    return with_session, with_input


class Function:
    """One method of an app's instance, and how to call it."""

    __slots__ = ("_method", "_session", "_input")

    def __init__(self, app: App, name: str) -> None:
        self._method = getattr(app, name)
        self._session, self._input = takes(getattr(type(app), name))

    def __call__(self, session: "Session", input: Any) -> Any:
        if self._session:
            return self._method(session, input) if self._input else self._method(session)
        return self._method(input) if self._input else self._method()
