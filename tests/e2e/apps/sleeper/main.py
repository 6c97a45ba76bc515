"""Keeps a number in its session's state, so that it may sleep."""

import os

from sojourn import App, serve


class Sleeper(App):
    def add(self, session, input):
        session.state["sum"] = session.state.get("sum", 0) + input
        return {"sum": session.state["sum"], "restored": session.restored}

    def pid(self):
        return os.getpid()

    def on_end(self, session, reason):
        (session.folder / "over").write_text(reason)


if __name__ == "__main__":
    serve(Sleeper)
