"""Serves an algorithm: python3 -m sojourn.steps MODULE:CLASS, as the command of an app.toml."""

import importlib
import os
import sys

from ..worker import serve
from .app import app


def main() -> None:
    module, _, name = (sys.argv[1] if len(sys.argv) == 2 else "").partition(":")
    if not (module and name):
        sys.exit("usage: python3 -m sojourn.steps MODULE:CLASS")
    # The working directory is the session's; the algorithm's modules lie in the app's.
    sys.path.insert(0, os.environ.get("SOJOURN_APP_DIR", "."))
    serve(app(getattr(importlib.import_module(module), name)))


if __name__ == "__main__":
    main()
