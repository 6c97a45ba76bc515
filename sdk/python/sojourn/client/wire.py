"""HTTP/1.1 as a client speaks it, over any stream of bytes.

Everything here and what builds on it are coroutines over a Pipe. Those of a blocking pipe never suspend, so that the
synchronous client runs the same code as the asynchronous one.
"""

from __future__ import annotations

import time
from typing import Dict, Optional, Protocol

MEBIBYTE = 1024 * 1024
LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 256 * MEBIBYTE  # a session's state, at most 64 MiB, can be longer where it is written with escapes


class Pipe(Protocol):
    """One connection. `timeout` is in seconds; past it TimeoutError, and OSError once it is broken."""

    async def send(self, data: bytes, timeout: float) -> None: ...

    async def receive(self, timeout: float) -> bytes:
        """What came, at least one byte; none at the end."""
        ...

    def is_quiet(self) -> bool:
        """Whether it is still open and nothing came that nobody asked for."""
        ...

    def close(self) -> None: ...


class BadAnswer(Exception):
    """What came is no answer of HTTP, or only a part of one."""


class Patience:
    """How long something may take in all, and how long it may be silent."""

    def __init__(self, total: Optional[float], silence: float) -> None:
        self._end = None if total is None else time.monotonic() + total
        self._silence = silence

    def left(self) -> float:
        """Seconds that remain in all, perhaps infinitely many."""
        return float("inf") if self._end is None else self._end - time.monotonic()

    def for_next(self) -> float:
        """Seconds that the next wait may take. Raises TimeoutError where none are left."""
        left = min(self.left(), self._silence)
        if left <= 0:
            raise TimeoutError
        return left


class Head:
    """Status and header fields of an answer; names in small letters."""

    def __init__(self, text: bytes) -> None:
        lines = text.decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        status = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or len(status) != 3 or not status.isdecimal():
            raise BadAnswer(f"it does not begin like HTTP: {lines[0][:80]!r}")
        self.status = int(status)
        self.headers: Dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadAnswer(f"a header field is broken: {line[:80]!r}")
            name, value = name.lower(), value.strip()
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.is_chunked = "transfer-encoding" in self.headers
        if self.is_chunked and self.headers["transfer-encoding"].lower() != "chunked":
            raise BadAnswer("its Transfer-Encoding is not chunked")
        self.keeps_open = version == "HTTP/1.1" and "close" not in self.headers.get("connection", "").lower()
        if self.is_chunked and "content-length" in self.headers:
            self.keeps_open = False  # two readers may see different ends

    def length(self) -> Optional[int]:
        """Bytes of the body; None where its end is that of the connection."""
        if self.status in (204, 304):
            return 0
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not text.isascii() or not text.isdecimal() or len(text) > 18:
            raise BadAnswer(f"its Content-Length is {text[:80]!r}")
        return int(text)


class Answer:
    """Reads one answer from a pipe. `is_reusable` says that the pipe may serve another, once the body is read."""

    def __init__(self, pipe: Pipe, patience: Patience) -> None:
        self._pipe = pipe
        self._patience = patience
        self._came = bytearray()  # and was not taken yet
        self._remaining: Optional[int] = 0  # of the body, or of the chunk; None: up to the end of the connection
        self._in_chunks = False
        self._ended = False
        self._keeps_open = False

    def is_reusable(self) -> bool:
        return self._ended and self._keeps_open and not self._came and self._pipe.is_quiet()

    async def read_head(self) -> Head:
        head = Head(await self._until(b"\r\n\r\n"))
        while head.status < 200:
            if head.status == 101:
                raise BadAnswer("it changes to another protocol")
            head = Head(await self._until(b"\r\n\r\n"))
        self._in_chunks = head.is_chunked and head.status not in (204, 304)
        self._keeps_open = head.keeps_open
        self._remaining = 0 if self._in_chunks else head.length()
        self._ended = self._remaining == 0 and not self._in_chunks
        return head

    async def read_piece(self) -> bytes:
        """What came of the body, at least one byte; none at its end."""
        if self._in_chunks and self._remaining == 0 and not self._ended:
            await self._begin_chunk()
        if self._ended:
            return b""
        if not self._came and not await self._more():
            if self._remaining is not None:
                raise BadAnswer("it broke off in the middle")
            self._ended, self._keeps_open = True, False
            return b""
        piece = bytes(self._came if self._remaining is None else self._came[: self._remaining])
        del self._came[: len(piece)]
        if self._remaining is not None:
            self._remaining -= len(piece)
            if self._remaining == 0 and self._in_chunks:
                if await self._line():
                    raise BadAnswer("a chunk is longer than it says")
            elif self._remaining == 0:
                self._ended = True
        return piece

    async def read_body(self) -> bytes:
        body = bytearray()
        while piece := await self.read_piece():
            body += piece
            if len(body) > LARGEST_BODY:
                raise BadAnswer(f"it has more than {LARGEST_BODY // MEBIBYTE} MiB")
        return bytes(body)

    async def _begin_chunk(self) -> None:
        size = (await self._line()).partition(b";")[0].strip()
        if not size or len(size) > 15 or size.lower().strip(b"0123456789abcdef"):
            raise BadAnswer(f"a chunk has the size {size[:80]!r}")
        self._remaining = int(size, 16)
        if self._remaining == 0:
            while await self._line():  # trailers
                pass
            self._ended = True

    async def _line(self) -> bytes:
        return await self._until(b"\r\n")

    async def _until(self, end: bytes) -> bytes:
        while (found := self._came.find(end)) < 0:
            if len(self._came) > LARGEST_HEAD:
                raise BadAnswer(f"its head has more than {LARGEST_HEAD // 1024} KiB")
            if not await self._more():
                began = self._came or self._in_chunks
                raise BadAnswer("it broke off in the middle" if began else "the connection was closed without one")
        text = bytes(self._came[:found])
        del self._came[: found + len(end)]
        return text

    async def _more(self) -> bool:
        data = await self._pipe.receive(self._patience.for_next())
        self._came += data
        return bool(data)
