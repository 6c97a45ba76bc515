"""Frames over the socket to the server: a 4-byte big-endian length, then one JSON object."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any, Optional

from .values import scan

TO_SERVER_BYTES = 16 * 1024 * 1024
TO_WORKER_BYTES = 80 * 1024 * 1024

_LENGTH = struct.Struct(">I")
_CHUNK = 32 * 1024


class Violation(Exception):
    """The other side broke the protocol."""


class Connection:
    """Send from any thread; receive from one at a time."""

    def __init__(self, stream: socket.socket, limit: int = TO_WORKER_BYTES) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = b""
        self._send_lock = threading.Lock()

    def fileno(self) -> int:
        return self._stream.fileno()

    def send(self, text: str) -> None:
        """Sends one frame. When the other side is gone this does nothing: receive() tells."""
        body = text.encode()
        try:
            with self._send_lock:
                self._stream.sendall(_LENGTH.pack(len(body)) + body)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> Optional[dict[str, Any]]:
        """The next frame, waited for; None when the other side is gone. Raises Violation."""
        try:  # nearly always a whole frame, and no other
            data = self._buffer or self._stream.recv(_CHUNK)
        except ConnectionResetError:
            return None
        while len(data) < 4:
            more = self._receive_some(_CHUNK) if data else b""
            if not more:
                return None
            data += more
        end = 4 + _LENGTH.unpack_from(data)[0]
        if not 4 < end <= 4 + self._limit:
            raise Violation(f"a frame of {end - 4} bytes; it has 1 to {self._limit}")
        if len(data) < end:
            parts = [data]
            missing = end - len(data)
            while missing > 0:
                parts.append(self._receive_some(max(missing, _CHUNK)))
                if not parts[-1]:
                    return None
                missing -= len(parts[-1])
            data = b"".join(parts)
        self._buffer = data[end:]
        return _parse(data[4:end])

    def has_frame(self) -> bool:
        """Whether receive() would return without waiting for the socket."""
        size = len(self._buffer)
        return size >= 4 and size >= 4 + _LENGTH.unpack_from(self._buffer)[0]

    def _receive_some(self, size: int) -> bytes:
        try:
            return self._stream.recv(min(size, 32 * _CHUNK))
        except ConnectionResetError:
            return b""


def _parse(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
        frame, end = scan(text, 0)
    except (ValueError, StopIteration, RecursionError) as error:  # UnicodeDecodeError among them
        raise Violation(f"a frame that is no JSON: {error or 'no value'}") from None
    if end != len(text):
        raise Violation("a frame that holds more than one JSON value")
    if type(frame) is not dict or not isinstance(frame.get("type"), str):
        raise Violation('a frame that is no object with a "type"')
    return frame
