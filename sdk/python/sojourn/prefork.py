"""The parent of an app with `prefork = true`: it loads the app once, and each worker is a fork of it.

The parent keeps one fork ahead, a *blank*, which waits for the server's next request and becomes its worker, so that a
new session waits for no fork. Between them is a process that exits at once: so the blank is a child of the supervisor,
which limits it, ends it and hears of its end, like any worker.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from .error import to_fields
from .rehearsal import rehearse

if TYPE_CHECKING:
    from .app import App

DESCRIPTOR = 3
VARIABLE = "SOJOURN_PREFORK"

_MESSAGE_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def fork_workers(app: type[App]) -> None:
    """Loads the app and forks workers; returns only in each worker, once that has its session's socket."""
    del os.environ[VARIABLE]
    control = socket.socket(fileno=DESCRIPTOR)
    os.set_inheritable(DESCRIPTOR, False)
    supervisor = os.getppid()
    try:
        preload(app)
        _refuse_what_forks_would_lack()
    except Exception as error:
        fields = to_fields(error)
        fields["message"] = str(error) if isinstance(error, Leftover) else f"preload failed: {fields['message']}"
        _say(control, {"type": "failed", "error": fields})
        sys.exit(1)
    gc.collect()
    gc.freeze()  # a collection in a fork then leaves the shared pages alone
    _say(control, {"type": "preloaded"})
    stem, taking = _keep_one_ahead(control)
    try:
        _become_own_process((DESCRIPTOR, taking))
        while os.getppid() == stem:
            time.sleep(0.001)
        _die_with(supervisor)
        rehearse()
        _take_session(control, taking, supervisor)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        _flush()
        os._exit(1)


def preload(app: type[App]) -> None:
    """Runs the class's own `preload`, where it has one."""
    hook = getattr(app, "preload", None)
    if hook is not None:
        hook()


class Leftover(Exception):
    """What preload left behind would be missing in every fork."""


def _refuse_what_forks_would_lack() -> None:
    threads = []
    for task in os.listdir("/proc/self/task"):
        if int(task) == os.getpid():
            continue
        with open(f"/proc/self/task/{task}/comm") as name:
            threads.append(f"{name.read().strip()} ({task})")
    if threads:
        raise Leftover(f"preload left threads: {', '.join(threads)}; a fork would lack them. Start them in setup")
    devices = sorted({path for path in map(_target, _descriptors()) if path.startswith("/dev/nvidia")})
    if devices:
        raise Leftover(f"preload left a GPU context: {', '.join(devices)}; a fork cannot use it. Open it in setup")


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]


def _target(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""  # the one that listed them


def _say(control: socket.socket, message: dict[str, Any]) -> None:
    try:
        text = json.dumps(message).encode()
        if len(text) > _MESSAGE_BYTES:
            text = json.dumps({**message, "error": {**message["error"], "details": {}}}).encode()
        control.send(text)
    except OSError:
        pass  # the server is gone, which the next to receive notices


def _keep_one_ahead(control: socket.socket) -> tuple[int, int]:
    """Forks a blank whenever there is none; returns in each, with the id of the process between it and its parent,
    and a descriptor on which it says that it was taken."""
    asked = False  # a request waits, and a first try failed
    while True:
        _flush()
        taken, taking = os.pipe()
        try:
            stem = _fork_blank()
        except OSError as error:
            os.close(taken)
            os.close(taking)
            if asked:
                _refuse_request(control, error.errno or 0)
            else:
                select.select([control], [], [])
            asked = not asked
            continue
        if stem:
            os.close(taken)
            return stem, taking
        asked = False
        os.close(taking)
        _wait_for_taken(control, taken)
        os.close(taken)


def _fork_blank() -> int:
    """The id of the process in between, in the blank; 0 in the parent. Raises OSError."""
    between = os.fork()
    if between == 0:
        stem = os.getpid()
        try:
            blank = os.fork()
        except OSError as error:
            os._exit(error.errno or 1)
        if blank:
            os._exit(0)
        return stem
    # By its id, since preload may have left other children; and where it ignores SIGCHLD, the kernel reaps it.
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(between, 0)[1])
    except ChildProcessError:
        code = 0
    if code > 0:
        raise OSError(code, os.strerror(code))
    return 0


def _wait_for_taken(control: socket.socket, taken: int) -> None:
    """Returns when the blank was taken, or died."""
    poll = select.poll()
    poll.register(taken, select.POLLIN)
    poll.register(control, 0)
    ready = {descriptor for descriptor, _ in poll.poll()}
    if control.fileno() in ready:  # the server is gone
        os._exit(0)
    if not os.read(taken, 1):
        _say(control, {"type": "failed"})  # it may have died of a request


def _refuse_request(control: socket.socket, errno: int) -> None:
    request = _next_request(control)
    for descriptor in request["descriptors"]:
        os.close(descriptor)
    _say(control, {"type": "failed", "n": request["n"], "errno": errno})


def _next_request(control: socket.socket) -> dict[str, Any]:
    """What the server asks for, with the worker's descriptors. Ends this process when the server is gone."""
    try:
        text, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 3, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        text = b""
    if not text:
        os._exit(0)
    return {**json.loads(text), "descriptors": descriptors}


def _become_own_process(kept: tuple[int, ...]) -> None:
    os.setsid()
    _reset_signals()
    _cover_descriptors(kept)
    _draw_new_seeds()


def _die_with(supervisor: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(1)


def _become(user: int) -> None:
    """Only once the server says hello, since until then it may not have been limited yet."""
    with socket.socket(fileno=os.dup(DESCRIPTOR)) as session:
        if not session.recv(1, socket.MSG_PEEK):
            os._exit(1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else its own /proc/self is closed to it


def _take_session(control: socket.socket, taking: int, supervisor: int) -> None:
    request = _next_request(control)
    _say(control, {"type": "forked", "n": request["n"], "pid": os.getpid()})
    control.detach()
    for target, source in zip((DESCRIPTOR, 1, 2), request["descriptors"]):
        os.dup2(source, target, inheritable=target != DESCRIPTOR)
        os.close(source)
    os.write(taking, b".")
    os.close(taking)
    if "user" in request:
        _become(request["user"])
        _die_with(supervisor)  # becoming another user forgot it


def _reset_signals() -> None:
    """As a Python program finds them when it starts."""
    own = {signal.SIGINT: signal.default_int_handler, signal.SIGPIPE: signal.SIG_IGN, signal.SIGXFSZ: signal.SIG_IGN}
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        wanted = own.get(number, signal.SIG_DFL)  # type: ignore[call-overload]
        if signal.getsignal(number) != wanted:
            signal.signal(number, wanted)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _cover_descriptors(kept: tuple[int, ...]) -> None:
    """Puts nothing in the place of what preload left open. The number stays taken, since an object of the app holds
    it and may close it: it must not come to mean another file."""
    others = [number for number in _descriptors() if number > 2 and number not in kept and _target(number)]
    if not others:
        return
    nothing = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    for number in others:
        os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


def _draw_new_seeds() -> None:
    """Python's random draws one after each fork, and OpenSSL mixes in the process id; numpy does not."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def leave(status: int) -> NoReturn:
    """Ends a worker without taking the interpreter down, which would copy every page that it shares."""
    import atexit

    atexit._run_exitfuncs()
    _flush()
    os._exit(status)
