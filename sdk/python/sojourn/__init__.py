"""The worker side of Sojourn: write a class, call serve, and each of its instances serves one session.

    from sojourn import App, serve

    class Counter(App):
        def run(self, input):
            self.session.state["count"] = self.session.state.get("count", 0) + 1
            return {"count": self.session.state["count"]}

    if __name__ == "__main__":
        serve(Counter)
"""

from .app import App
from .error import Error, NotSerializable
from .resources import Resource
from .session import Session
from .state import State
from .version import __version__
from .worker import serve

__all__ = ["App", "Error", "NotSerializable", "Resource", "Session", "State", "__version__", "serve"]
