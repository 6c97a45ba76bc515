"""Serves one session: answers the server's frames, one call at a time, on the main thread."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from .answers import Answers
from .app import App, Function, functions_of
from .connection import TO_SERVER_BYTES, Connection, Violation
from .error import Error, to_fields
from .generators import drain, drain_async, is_async_generator, is_generator
from .resources import attempt
from .session import Call, Session, checked_text
from .values import dumps, quote, size
from .version import __version__
from .watcher import Watcher

if TYPE_CHECKING:
    import asyncio  # apps without async functions start sooner without it

PROTOCOL = 1
DESCRIPTOR = 3
_ERROR_BYTES = 1024 * 1024

Frame = dict[str, Any]


def serve(app: type[App]) -> None:
    """Serves the session for which a Sojourn server started this process, and returns when it is closed.

    For an app with `prefork = true` this process loads the app and forks a worker for each session. In these it does
    not return: they end with it.
    """
    functions = functions_of(app)
    _show_lines_at_once()
    if "SOJOURN_PREFORK" in os.environ:
        from . import prefork

        prefork.fork_workers(app)
        try:
            _serve(app, functions, _server_socket())
            status = 0
        except SystemExit as exit:
            status = _exit_status(exit)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            status = 1
        prefork.leave(status)
    stream = _server_socket()
    if hasattr(app, "preload"):
        app.preload()
    _serve(app, functions, stream)


def _serve(app: type[App], functions: list[str], stream: socket.socket) -> None:
    connection = Connection(stream)
    signal.signal(signal.SIGTERM, _exit_on_term)
    try:
        greet(connection, app.__name__, functions, hasattr(app, "on_end"))
        worker = _Worker(app, functions, connection)
        try:
            worker.run()
        finally:
            worker.clean_up()
    except Violation as violation:
        connection.send(dumps({"type": "error", "code": "protocol_error", "message": str(violation)}))
        sys.exit(f"sojourn: the server sent {violation}")


def _exit_status(exit: SystemExit) -> int:
    """What the interpreter makes of it."""
    if exit.code is None or isinstance(exit.code, int):
        return exit.code or 0
    print(exit.code, file=sys.stderr)
    return 1


def _show_lines_at_once() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def _server_socket() -> socket.socket:
    try:
        if "SOJOURN_PROTOCOL" not in os.environ:
            raise OSError
        stream = socket.socket(fileno=DESCRIPTOR)
    except OSError:
        program = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0]))) or "NAME"
        sys.exit(
            "This is a Sojourn app. A server starts it, one process a session; by itself it has nobody to serve.\n"
            f"Put its folder, with an app.toml, into the folder of apps and run:\n\n"
            f"    sojourn serve --apps FOLDER\n"
            f"    sojourn run {program} --session new --input '{{}}'\n\n"
            "To try it without a server, see sojourn.testing.\n"
            "(There is no socket on descriptor 3, or SOJOURN_PROTOCOL is not set.)"
        )
    stream.setblocking(True)
    os.set_inheritable(DESCRIPTOR, False)
    os.register_at_fork(after_in_child=stream.close)  # what the app forks is not the worker
    return stream


def _exit_on_term(*_: Any) -> None:
    sys.exit(128 + signal.SIGTERM)


def greet(connection: Connection, name: str, functions: list[str], acts_on_end: bool) -> None:
    hello = connection.receive()
    if hello is None:
        sys.exit("sojourn: the server closed the connection before it said hello")
    if hello["type"] != "hello":
        raise Violation(f"a frame {hello['type']!r} before hello")
    if hello.get("protocol") != PROTOCOL:
        raise Violation(f"protocol {hello.get('protocol')!r}; this SDK {__version__} speaks protocol {PROTOCOL}")
    capabilities = ["progress", "checkpoint", "cancel", "resources", "app_call", "spare"]
    if acts_on_end:
        capabilities.append("on_end")
    answer = {"type": "hello", "protocol": PROTOCOL, "sdk": f"sojourn-python/{__version__}"}
    answer.update(app=os.environ.get("SOJOURN_APP", name), functions=functions, capabilities=capabilities)
    connection.send(dumps(answer))


def serve_frames(app: type[App], functions: list[str], connection: Connection, watcher: Watcher) -> None:
    """Serves what comes until nothing more does, and cleans nothing up."""
    _Worker(app, functions, connection, watcher).run()


class _Worker:
    def __init__(
        self, app: type[App], functions: list[str], connection: Connection, watcher: Optional[Watcher] = None
    ) -> None:
        self._type = app
        self._names = functions
        self._connection = connection
        self._watcher = watcher or Watcher(connection, self._handle_while_working)
        self._answers = Answers(self._watcher, self._read_on)
        self._app: Optional[App] = None
        self._session: Optional[Session] = None
        self._functions: dict[str, Function] = {}
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._task: Optional[asyncio.Task[Any]] = None
        self._cancelling: Optional[asyncio.Task[None]] = None  # kept, for the loop does not
        self._backlog: deque[Optional[Frame]] = deque()  # arrived while the app worked
        self._gone = False
        self._cleaned = False

    def run(self) -> None:
        while True:
            frame = self._next()
            if frame is None:
                return
            kind = frame["type"]
            if kind == "call" and self._session:
                self._serve_call(self._session, frame)
            elif kind == "ping":
                self._pong(frame)
            elif kind == "cancel" or self._answers.take(frame):
                pass  # a cancel of a call that is over
            elif kind == "open" and not self._session:
                self._open(frame)
            elif kind == "close":
                failures = self.clean_up(str(frame.get("reason")))
                self._connection.send(dumps({"type": "closed", "failures": failures}))
                return
            else:
                raise Violation(str(frame["message"]) if kind == "violation" else f"an unexpected frame {kind!r}")

    def clean_up(self, reason: str = "lost") -> list[dict[str, str]]:
        """Runs the app's on_end where its session is over, its unload, and the clean-up of its resources, once; returns what failed."""
        if self._cleaned:
            return []
        self._cleaned = True
        signal.signal(signal.SIGTERM, lambda *_: None)  # it asks for what is being done
        failures: list[dict[str, str]] = []
        session = self._session
        if session:
            for name in ("on_end", "unload") if reason in _OVER else ("unload",):
                if not (self._app and hasattr(self._app, name)):
                    continue
                hook = Function(self._app, name)
                failure = attempt(lambda: self._finish(hook(session, reason if name == "on_end" else None)))
                if failure:
                    failures.append({"id": name, "kind": "app", "message": failure})
            failures += session.resources.clean_up(lambda cleanup: self._finish(cleanup()))
        if self._loop:
            loop = self._loop
            attempt(lambda: self._end_tasks(loop))
            loop.close()
        return failures

    def _end_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancels what the app left running, and lets it clean up."""
        import asyncio

        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())

    def _next(self) -> Optional[Frame]:
        if self._backlog:
            return self._backlog.popleft()
        if self._gone:
            return None
        if self._loop and not self._connection.has_frame():
            self._run_loop_until_readable(self._loop)
            if self._backlog or self._gone:
                return self._next()
        return self._connection.receive()

    def _run_loop_until_readable(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets the app's background tasks go on between calls."""
        loop.add_reader(self._connection.fileno(), loop.stop)
        try:
            loop.run_forever()
        finally:
            loop.remove_reader(self._connection.fileno())

    def _read_on(self) -> None:
        """Wakes the event loop for what came while a background task of the app waited for the server."""
        if self._loop and (self._backlog or self._gone or self._connection.has_frame()):
            self._loop.stop()

    def _open(self, frame: Frame) -> None:
        _text_field(frame, "session")
        self._watcher.begin()
        try:
            _enter_session(frame)
            session = self._session = Session(frame, self._connection, self._answers)
            app = self._type.__new__(self._type)
            app.session = session  # there also in __init__
            app.__init__()  # type: ignore[misc]
            self._functions = {name: Function(app, name) for name in self._names}
            begin = "restore" if session.restored and hasattr(app, "restore") else "setup"
            if hasattr(app, begin):
                self._finish(Function(app, begin)(session, session.setup))
            self._app = app
            session.state.keep_unsent()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._watcher.end()
            self.clean_up()
            self._connection.send(_error_frame(error, ""))
            sys.exit(1)
        self._watcher.end()
        self._connection.send('{"type":"ready"}')

    def _serve_call(self, session: Session, frame: Frame) -> None:
        call = Call(_text_field(frame, "request_id"))
        state = session._state
        if frame.get("state_set") or frame.get("state_deleted"):
            state.adopt(frame.get("state_set") or {}, frame.get("state_deleted") or [])
        session._call = call
        self._watcher.begin()
        try:
            answer = self._result(session, call, frame)
            state.accept()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            state.discard()
            answer = _error_frame(error, f',"request_id":{quote(call.request_id)}')
        finally:
            session._end_call()
        self._watcher.end()
        self._connection.send(answer)

    def _result(self, session: Session, call: Call, frame: Frame) -> str:
        name = frame.get("function", "run")
        function = self._functions.get(name)
        if function is None:
            raise Error(
                "function_not_found",
                f"the app has no function {name!r}; it has: {', '.join(self._names) or 'none'}",
                False,
                {"functions": self._names},
            )
        output = function(session, frame.get("input"))
        if type(output) is not dict:  # most functions return one
            output = self._output(output, session, call)
        text = checked_text(f"the output of {name}", output)
        answer = (
            f'{{"type":"result","request_id":{quote(call.request_id)},"output":{text}'
            f"{session._state.changes()}{call.events_field() if call.events else ''}{_ENDS if call.ends else ''}}}"
        )
        if len(answer) > TO_SERVER_BYTES // 4 and size(answer) > TO_SERVER_BYTES:
            raise Error(
                "too_large",
                f"output and state changes of one call have more than {TO_SERVER_BYTES} bytes; "
                f"session.checkpoint() commits in parts",
                False,
            )
        return answer

    def _output(self, returned: Any, session: Session, call: Call) -> Any:
        if is_generator(returned):
            return drain(returned, session, call)
        return self._finish(drain_async(returned, session) if is_async_generator(returned) else returned)

    def _finish(self, value: Any) -> Any:
        """What a sync or async method returned at last."""
        if not hasattr(type(value), "__await__"):
            return value
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        self._task = asyncio.ensure_future(value, loop=self._loop)
        try:
            return self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            raise Error("cancelled", "the call was cancelled", False) from None
        finally:
            self._task = None

    def _pong(self, frame: Frame) -> None:
        self._connection.send(dumps({"type": "pong", "n": frame.get("n")}))

    def _handle_while_working(self, frame: Optional[Frame]) -> bool:
        """On the watcher's thread. Whether it shall read on."""
        kind = frame["type"] if frame else None
        call = self._session._call if self._session else None
        if frame is None:
            self._gone = True
            if call:
                self._cancel(call)
            self._answers.give_up()
            return False
        if kind == "ping":
            self._pong(frame)
        elif kind == "cancel":
            if call and call.request_id == frame.get("request_id"):
                self._cancel(call)
        elif not self._answers.take(frame):
            self._backlog.append(frame)
            return kind != "violation"
        return True

    def _cancel(self, call: Call) -> None:
        """On the watcher's thread, so the call is not over before this is."""
        if call.cancelled:
            return
        call.cancelled = True
        task, loop = self._task, self._loop
        if task and loop:
            try:
                loop.call_soon_threadsafe(self._cancel_task, task, loop)
            except RuntimeError:  # the loop was closed meanwhile: the call is over
                pass
        elif not (self._session and hasattr(self._app, "on_cancel")):
            call.must_stop = True
        else:
            stops_by_itself = False
            try:
                hook = self._on_cancel(self._session)
                if hasattr(type(hook), "__await__"):
                    import asyncio

                    hook = asyncio.run(_awaited(hook))
                stops_by_itself = hook is True
            except Exception as error:
                sys.excepthook(type(error), error, error.__traceback__)
            call.must_stop = not stops_by_itself

    def _cancel_task(self, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        """On the event loop: the app's hook, which may say that the function stops by itself, then asyncio's way."""
        if task.done() or not self._session or not hasattr(self._app, "on_cancel"):
            task.cancel()
            return
        session = self._session

        async def run() -> None:
            stops_by_itself = False
            try:
                hook = self._on_cancel(session)
                stops_by_itself = (await hook if hasattr(type(hook), "__await__") else hook) is True
            except Exception as error:
                sys.excepthook(type(error), error, error.__traceback__)
            if not stops_by_itself:
                task.cancel()

        self._cancelling = loop.create_task(run())

    def _on_cancel(self, session: Session) -> Any:
        assert self._app
        return Function(self._app, "on_cancel")(session, None)


_ENDS = ',"end":true'
_OVER = ("ended", "expired")  # reasons to close after which the session does not go on


async def _awaited(value: Any) -> Any:
    return await value


def _enter_session(frame: Frame) -> None:
    """What the server sets for a process that it starts for a session, for one that was there before."""
    if "SOJOURN_SESSION" in os.environ:
        return
    os.environ["SOJOURN_SESSION"] = frame["session"]
    folder = frame.get("folder")
    if folder:
        os.chdir(folder)
        os.environ.setdefault("HOME", folder)
        os.environ.setdefault("TMPDIR", f"{folder}/tmp")
        tempfile = sys.modules.get("tempfile")
        if tempfile is not None:
            tempfile.tempdir = None  # found by what was loaded before, perhaps


def _text_field(frame: Frame, name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise Violation(f"a frame {frame['type']!r} without the text {name!r}")
    return value


def _error_frame(error: BaseException, request_id: str) -> str:
    fields = to_fields(error)
    text = dumps(fields)
    if len(text) > _ERROR_BYTES:
        text = dumps({**fields, "details": {"cut": "the details were too large"}})
    return f'{{"type":"error"{request_id},{text[1:]}'
