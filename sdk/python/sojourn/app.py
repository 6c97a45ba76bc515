"""What an app is: a class whose public methods are the functions that callers may call."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .session import Session

RESERVED = frozenset({"preload", "setup", "unload", "on_end", "on_cancel", "restore"})

# Of a code object's co_flags, as module inspect names them; importing that doubles the time a worker takes to start.
_GENERATOR = 0x20 | 0x200  # CO_GENERATOR, CO_ASYNC_GENERATOR


class App:
    """The base of every app. One instance serves one session, on one thread, one call at a time.

    Each public method is a function, sync or async, but for `preload`, `setup`, `unload`, `on_end`, `on_cancel`, `restore`
    and names that start with an underscore. What a method gets is said by its signature: a first parameter called
    `session` gets the session; the next one (or the first, when it is not called `session`) gets the input of the call;
    any more need defaults. One that yields, sync or async, shows what it yields as partial outputs; what it returns, or else
    yielded last, is its output.
    `preload`, a class method, runs once in each process before any session is known, and with `prefork = true` once for
    all sessions: what it loads they share.
    `setup` runs once before the first call, and its input is the caller's "setup"; `unload` runs once at the
    end of this worker. `on_end` runs before it where the session is over for good, and its input says how: "ended" or
    "expired".
    `restore`, where there is one, runs instead of `setup` when another worker served the session before.
    `on_cancel` runs when the running call shall stop: beside a sync function, on a thread of its own, so that it can
    set a flag or close what the function waits for; on the event loop of an async function, which is then cancelled
    the way of asyncio unless `on_cancel` returned True, "it stops by itself".
    """

    session: "Session"


def functions_of(app: type[App]) -> list[str]:
    """The names of an app's functions, as they stand in its source, inherited ones first. Raises TypeError for a
    method that cannot be a function."""
    if not (isinstance(app, type) and issubclass(app, App)):
        raise TypeError(f"serve() takes a class that inherits from sojourn.App, not {app!r}")
    names: dict[str, None] = {}
    for base in reversed(app.__mro__):
        if base in (App, object):
            continue
        for name in vars(base):
            if not name.startswith("_") and isinstance(_plain(app, name), FunctionType):
                names[name] = None
    if isinstance(_plain(app, "preload"), FunctionType):
        raise TypeError(f"{app.__name__}.preload gets no session, for it runs before any: put @classmethod above it")
    for name in names:
        takes(getattr(app, name))
    return [name for name in names if name not in RESERVED]


def _plain(app: type, name: str) -> Any:
    """The attribute as it stands in the class, so that static methods and properties differ from functions."""
    return next((vars(base)[name] for base in app.__mro__ if name in vars(base)), None)


def takes(method: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether an unbound method takes the session, and whether it takes the input. Raises TypeError."""
    name = method.__qualname__
    while hasattr(method, "__wrapped__"):  # a decorator passes on what the function below it takes
        method = method.__wrapped__
    code = method.__code__
    if name.rpartition(".")[2] in RESERVED and code.co_flags & _GENERATOR:
        raise TypeError(f"{name} is a generator: a hook shows nobody partial outputs; only functions may yield")
    places = code.co_varnames[: code.co_argcount]
    if not places:
        raise TypeError(f"{name} lacks the parameter self")
    with_session = len(places) > 1 and places[1] == "session"
    used = 2 if with_session else 1
    with_input = len(places) > used
    needed = places[used + with_input : len(places) - len(method.__defaults__ or ())]
    only_by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    for parameter in (*needed, *(key for key in only_by_name if key not in (method.__kwdefaults__ or {}))):
        raise TypeError(
            f"{name} has a parameter {parameter!r} that nothing is passed for: a function takes (self), "
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
