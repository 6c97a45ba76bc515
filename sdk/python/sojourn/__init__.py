"""The worker side of Sojourn: write a class, call serve, and each of its instances serves one session.

    from sojourn import App, serve

    class Counter(App):
        def run(self, input):
            self.session.state["count"] = self.session.state.get("count", 0) + 1
            return {"count": self.session.state["count"]}

    if __name__ == "__main__":
        serve(Counter)

The client side is sojourn.client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import App
    from .error import Error, NotSerializable
    from .resources import Resource
    from .session import Session
    from .state import State
    from .version import __version__
    from .worker import serve

__all__ = ["App", "Error", "NotSerializable", "Resource", "Session", "State", "__version__", "serve"]

_modules = {
    "App": "app",
    "Error": "error",
    "NotSerializable": "error",
    "Resource": "resources",
    "Session": "session",
    "State": "state",
    "__version__": "version",
    "serve": "worker",
}


def __getattr__(name: str) -> Any:
    # Only now, since a program that uses sojourn.client alone needs none of it.
    if name not in _modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_modules[name]}", __name__), name)
    return value
