"""A stand-in for a MicroPython with `_thread`, which no package brings: CPython behind a raw REPL.

This is NOT MicroPython. What is real is `_thread` itself, which has the same interface in both, and that code, output and
Ctrl-C meet in one interpreter whose threads go on while nothing is asked. What MicroPython has besides and the code that
runs here needs is imitated: ticks_ms and its like in time, sys.print_exception, exec and eval whose names are global,
integers that are made of text as of bytes, and a soft reset that begins with an empty memory and ends all threads.

    python3 thread_board.py [--raw]     the REPL on standard input and output; --raw: in raw mode, as after a soft reset there
    python3 thread_board.py --refuse    a board that refuses every thread, as one whose second core is taken
"""

import builtins
import collections
import gc
import os
import queue
import signal
import sys
import time
import traceback

import _thread

CTRL_A, CTRL_B, CTRL_C, CTRL_D, CTRL_E = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"
TICKS = 1 << 30  # where the clock of milliseconds begins anew, as on boards


class Wire:
    """Standard output, with the line ends of a board."""

    def write(self, text):
        self.send(text.replace("\n", "\r\n").encode("utf-8", "surrogateescape"))
        return len(text)

    def flush(self):
        pass

    def send(self, data):
        while data:
            data = data[os.write(1, data):]


def ticks_diff(end, start):
    return (end - start + TICKS // 2) % TICKS - TICKS // 2


def print_exception(error, file=None):
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    lines = ["Traceback (most recent call last):"]
    lines += [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in frames]
    text = str(error)
    lines.append(type(error).__name__ + (f": {text}" if text else ""))
    (file or sys.stdout).write("\n".join(lines) + "\n")


class Integer(int):
    @classmethod
    def from_bytes(cls, data, order="big"):
        return int.from_bytes(data.encode() if isinstance(data, str) else data, order)


def refuse(*_):
    raise OSError("core1 in use")


class Repl:
    def __init__(self, raw):
        self.wire = Wire()
        self.raw = raw
        self.names = {"__name__": "__main__", "int": Integer}
        self.typed = queue.SimpleQueue()  # byte by byte; b"" at the end
        self.runs = False                 # code does that Ctrl-C ends

    def imitate(self):
        """Makes of this interpreter what the code that is sent expects."""
        implementation = collections.namedtuple("implementation", "name version cache_tag")
        sys.implementation = implementation("cpython", sys.version_info[:3], None)
        sys.print_exception = print_exception
        sys.stdout = self.wire
        gc.mem_free = lambda: 1 << 20
        gc.mem_alloc = lambda: 1 << 16
        time.ticks_ms = lambda: (time.monotonic_ns() // 1_000_000) % TICKS
        time.ticks_add = lambda ticks, more: (ticks + more) % TICKS
        time.ticks_diff = ticks_diff
        time.sleep_ms = lambda milliseconds: time.sleep(milliseconds / 1000)
        run, value_of = builtins.exec, builtins.eval
        builtins.exec = lambda code, *names: run(code, *(names or (self.names,)))
        builtins.eval = lambda code, *names: value_of(code, *(names or (self.names,)))

    def read(self):
        while data := os.read(0, 4096):
            for byte in data:
                if byte == CTRL_C[0] and self.runs:
                    _thread.interrupt_main()
                else:
                    self.typed.put(bytes([byte]))
        os._exit(0)  # whoever started it has gone

    def interrupt(self, *_):
        if self.runs:
            raise KeyboardInterrupt

    def greet(self):
        self.wire.send(b"raw REPL; CTRL-B to exit\r\n>" if self.raw else b"\r\nstand-in with threads\r\n>>> ")

    def serve(self):
        _thread.start_new_thread(self.read, ())
        if "--refuse" in sys.argv:
            _thread.start_new_thread = refuse
        signal.signal(signal.SIGINT, self.interrupt)
        self.greet()
        line = b""
        while True:
            byte = self.typed.get()
            if byte == CTRL_A or byte == CTRL_B:
                line, self.raw = b"", byte == CTRL_A
                self.greet()
            elif byte == CTRL_C:
                line = b""
                if not self.raw:
                    self.wire.send(b"\r\n>>> ")
            elif byte == CTRL_D and line:
                self.run(line)
                line = b""
            elif byte == CTRL_D:
                self.reset()
            elif byte == b"A" and line == CTRL_E:
                self.typed.get()  # the Ctrl-A of the question for raw paste, which this has not
                self.wire.send(b"R\x00>")
                line = b""
            elif self.raw:
                line += byte

    def run(self, code):
        self.wire.send(b"OK")
        said = b""
        try:
            try:
                self.runs = True
                exec(compile(code, "<stdin>", "exec"))
            finally:
                self.runs = False
        except BaseException as error:
            self.runs = False
            if isinstance(error, SystemExit):
                self.reset()
            text = []
            print_exception(error, type("Text", (), {"write": staticmethod(text.append)}))
            said = text[0].replace("\n", "\r\n").encode("utf-8", "surrogateescape")
        for part in (b"\x04", said, b"\x04", b">"):  # as MicroPython does it: what a thread prints may come between
            self.wire.send(part)

    def reset(self):
        """The process begins anew, so all its threads end, as those of a board do."""
        self.wire.send(b"OK\r\nMPY: soft reboot\r\n" if self.raw else b"\r\nMPY: soft reboot\r\n")
        options = [option for option in sys.argv[1:] if option != "--raw"]
        os.execv(sys.executable, [sys.executable, __file__, *options, *(["--raw"] if self.raw else [])])


repl = Repl("--raw" in sys.argv)
repl.imitate()
repl.serve()
