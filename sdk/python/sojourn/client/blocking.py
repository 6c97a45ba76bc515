"""Sockets that block: its coroutines never suspend, and `finish` runs one to its end."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Coroutine, Optional, TypeVar

from .wire import Pipe

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing but blocking pipes."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking operation suspended")


def prepare(connected: socket.socket) -> None:
    """Sends at once, and notices a peer whose machine is gone within about a minute, also in a silent wait."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not on every system
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


def is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class BlockingPipe:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected

    async def send(self, data: bytes, timeout: float) -> None:
        self._give(timeout)
        try:
            self.socket.sendall(data)
        except socket.timeout:  # no TimeoutError before Python 3.10
            raise TimeoutError from None

    async def receive(self, timeout: float) -> bytes:
        self._give(timeout)
        try:
            return self.socket.recv(65536)
        except socket.timeout:
            raise TimeoutError from None

    def is_quiet(self) -> bool:
        return self.socket.fileno() >= 0 and not is_readable(self.socket.fileno())

    def close(self) -> None:
        self.socket.close()

    def _give(self, timeout: float) -> None:
        self.socket.settimeout(None if timeout == float("inf") else timeout)


class BlockingNetwork:
    def owner(self) -> object:
        """Whose the open connections are: a forked child must not speak on its parent's."""
        return os.getpid()

    async def connect(self, host: str, port: int, timeout: float) -> Pipe:
        try:
            connected = socket.create_connection((host, port), timeout)
        except socket.timeout:
            raise TimeoutError from None
        prepare(connected)
        return BlockingPipe(connected)

    async def secure(self, pipe: Pipe, context: Optional[ssl.SSLContext], host: str, timeout: float) -> Pipe:
        import ssl  # takes 10 ms, and few need it

        assert isinstance(pipe, BlockingPipe)
        context = context or ssl.create_default_context()
        pipe.socket.settimeout(timeout)
        try:
            return BlockingPipe(context.wrap_socket(pipe.socket, server_hostname=host))
        except socket.timeout:
            raise TimeoutError from None

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
