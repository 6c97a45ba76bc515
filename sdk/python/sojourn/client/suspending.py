"""asyncio's streams. No threads but those in which asyncio looks up names other than numbers and localhost."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Awaitable, Optional, TypeVar

from .blocking import is_readable, prepare
from .wire import Pipe

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")


async def within(timeout: float, wait: Awaitable[T]) -> T:
    """Raises TimeoutError past it.

    Unlike asyncio.wait_for up to Python 3.11 it loses no cancellation that comes at the moment of the result.
    """
    task = asyncio.current_task()
    if task is None or timeout == float("inf"):
        return await wait
    is_up = False

    def expire(waiting: asyncio.Task[Any]) -> None:
        nonlocal is_up
        is_up = True
        waiting.cancel()

    alarm = asyncio.get_running_loop().call_later(timeout, expire, task)
    try:
        return await wait
    except asyncio.CancelledError:
        # Only from 3.11 on can a cancellation by somebody else at the same moment be told apart.
        if is_up and not (hasattr(task, "uncancel") and task.uncancel()):
            raise TimeoutError from None
        raise
    finally:
        alarm.cancel()


class SuspendingPipe:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes, timeout: float) -> None:
        self.writer.write(data)
        await within(timeout, self.writer.drain())

    async def receive(self, timeout: float) -> bytes:
        return await within(timeout, self._reader.read(65536))

    def is_quiet(self) -> bool:
        if self.writer.is_closing() or self._reader.at_eof() or getattr(self._reader, "_buffer", None):
            return False
        return not is_readable(self.socket.fileno())  # the loop may not have looked yet

    def close(self) -> None:
        if not self._loop.is_closed():  # a closed one has closed its connections
            self.writer.close()

    @property
    def socket(self) -> Any:
        return self.writer.get_extra_info("socket")


class SuspendingNetwork:
    def owner(self) -> object:
        """Whose the open connections are: one loop's of one process."""
        return os.getpid(), asyncio.get_running_loop()

    async def connect(self, host: str, port: int, timeout: float) -> Pipe:
        if host != "localhost":
            return await self._open(host, port, timeout)
        try:  # as numbers, since a name takes a thread to look up
            return await self._open("127.0.0.1", port, timeout)
        except OSError as error:
            try:
                return await self._open("::1", port, timeout)
            except OSError:
                raise error from None

    async def secure(self, pipe: Pipe, context: Optional[ssl.SSLContext], host: str, timeout: float) -> Pipe:
        import ssl  # takes 10 ms, and few need it

        assert isinstance(pipe, SuspendingPipe)
        # Streams of Python 3.9 cannot change to TLS: new ones take over the connection.
        connected = pipe.socket.dup()
        pipe.writer.transport.abort()
        streams = asyncio.open_connection(
            sock=connected, ssl=context or ssl.create_default_context(), server_hostname=host
        )
        try:
            return SuspendingPipe(*await within(timeout, streams))
        except BaseException:
            connected.close()
            raise

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _open(self, host: str, port: int, timeout: float) -> Pipe:
        pipe = SuspendingPipe(*await within(timeout, asyncio.open_connection(host, port)))
        prepare(pipe.socket)
        return pipe
