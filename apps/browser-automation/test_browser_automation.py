import base64
import os
import socket
import struct
import threading
import time
import unittest
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sojourn import Error, testing

APP = Path(__file__).parent
PATIENCE = 60

FORM = """<!doctype html><title>Form</title>
<style>body { margin: 0; background: rgb(0, 128, 0) } #far { margin-top: 2000px }
  #box { width: 40px; height: 30px; background: rgb(255, 0, 0) }</style>
<div id="box"></div>
<form action="/welcome"><input id="username" name="user"><button id="login-btn">Log in</button></form>
<p id="clicks">0</p><button id="count" onclick="clicks.textContent = +clicks.textContent + 1">Count</button>
<button id="hidden" style="display: none">no</button>
<button id="later" onclick="setTimeout(() => { 
  document.body.insertAdjacentHTML('beforeend', '<i id=late>here</i>') }, 300)">
Later</button><p id="far">far below</p>"""


class Pages(BaseHTTPRequestHandler):
    """What the browser is shown. Its server's `waiting` is set once somebody asks for a page that does not come."""

    def do_GET(self):
        if self.path == "/never":
            self.server.waiting.set()
            self.server.stopping.wait(PATIENCE)
            return
        page = FORM
        if self.path.startswith("/welcome"):
            page = f"<title>Welcome</title><h1>{self.path}</h1>"
        elif self.path == "/cookie":
            page = f"<title>Cookie</title><p>{self.headers.get('Cookie', 'none')}</p>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_):
        pass


class Browsing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pages = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        cls.pages.daemon_threads = True
        cls.pages.waiting, cls.pages.stopping = threading.Event(), threading.Event()
        cls.addClassCleanup(cls.pages.server_close)
        threading.Thread(target=cls.pages.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.pages.shutdown)
        cls.addClassCleanup(cls.pages.stopping.set)
        cls.url = f"http://127.0.0.1:{cls.pages.server_port}"
        cls.worker = testing.start(APP)
        cls.addClassCleanup(cls.worker.kill)
        cls.addClassCleanup(cls.worker.close)
        cls.worker.call("start", {"width": 400, "height": 300})

    def setUp(self):
        self.call("open", url=f"{self.url}/")

    def call(self, function, **input):
        return self.worker.call(function, input).output

    def refused(self, code, words, function, **input):
        with self.assertRaises(Error) as caught:
            self.call(function, **input)
        self.assertEqual(caught.exception.code, code, caught.exception.message)
        self.assertIn(words, caught.exception.message)


class Use(Browsing):
    def test_clicks_are_seen_by_the_page(self):
        for _ in range(3):
            self.call("click", selector="#count")
        self.assertEqual(self.call("text", selector="#clicks")["text"], "3")

    def test_what_was_typed_can_be_read_back_and_sent(self):
        self.call("type", selector="#username", text="ann")
        self.call("type", selector="#username", text="@example.com")
        self.assertEqual(self.call("text", selector="#username")["value"], "ann@example.com")
        self.call("type", selector="#username", text="bob", clear=True)
        self.call("click", selector="#login-btn")
        self.assertEqual(self.call("text", selector="h1")["text"], "/welcome?user=bob")

    def test_enter_sends_a_form(self):
        self.call("type", selector="#username", text="eve", enter=True)
        self.assertEqual(self.call("text", selector="h1")["text"], "/welcome?user=eve")

    def test_an_element_that_comes_later_is_waited_for(self):
        self.call("click", selector="#later")
        self.assertEqual(self.call("text", selector="#late")["text"], "here")

    def test_scripts_take_and_give_json(self):
        self.assertEqual(self.call("script", script="return {sum: arguments[0] + arguments[1]}", arguments=[2, 3]),
                         {"result": {"sum": 5}})
        self.assertEqual(self.call("script", script="document.title = 'new'"), {"result": None})

    def test_a_screenshot_shows_the_page_in_its_size(self):
        shot = self.call("screenshot")
        png = (self.worker.folder / shot["file"]).read_bytes()
        self.assertEqual(base64.b64decode(shot["base64"]), png)
        width, height, pixel = picture(png)
        self.assertEqual((width, height, len(png)), (400, 300, shot["bytes"]))
        self.assertEqual((pixel(5, 5), pixel(39, 29)), ((255, 0, 0), (255, 0, 0)))
        self.assertEqual((pixel(45, 5), pixel(350, 250)), ((0, 128, 0), (0, 128, 0)))

    def test_a_screenshot_shows_an_element_or_the_whole_page(self):
        box = self.call("screenshot", selector="#box")
        self.assertEqual((box["width"], box["height"]), (40, 30))
        whole = self.call("screenshot", full_page=True)
        self.assertGreater(whole["height"], 2000)
        self.assertNotEqual(box["file"], whole["file"])

    def test_the_seeds_way_to_call_it(self):
        self.call("run", action="start", url=f"{self.url}/")
        self.call("run", action="type", selector="#username", text="user@example.com")
        self.call("run", action="click", selector="#login-btn")
        self.call("run", action="text", selector="h1")
        shot = self.call("run", action="screenshot")
        self.assertEqual((shot["url"], shot["title"]), (f"{self.url}/welcome?user=user%40example.com", "Welcome"))

    def test_a_failure_says_what_and_where_and_the_browser_stays(self):
        for code, words, function, input in (
            ("not_found", f"'#none' matches nothing on {self.url}/", "click", {"selector": "#none", "wait": 0}),
            ("conflict", "'#hidden' cannot be used", "click", {"selector": "#hidden", "wait": 0}),
            ("invalid_request", "invalid", "text", {"selector": "p[["}),
            ("invalid_request", "CSS selector", "click", {}),
            ("invalid_request", '"wait" is a number from 0 to 60', "click", {"selector": "p", "wait": 61}),
            ("invalid_request", '"text"', "type", {"selector": "#username"}),
            ("invalid_request", "no is not defined", "script", {"script": "return no"}),
            ("invalid_request", "JavaScript as text", "script", {}),
            ("invalid_request", "http://", "open", {"url": "file:///etc/passwd"}),
            ("invalid_request", "http://", "open", {}),
            ("invalid_request", '"width"', "start", {"width": 0}),
            ("invalid_request", "start, open", "run", {"action": "fly"}),
            ("connection_failed", "ERR_", "open", {"url": f"http://127.0.0.1:{nobodys_port()}/"}),
            ("not_serializable", "WebElement", "script", {"script": "return document.body"}),
        ):
            with self.subTest(function=function, input=input):
                self.refused(code, words, function, **input)
        self.call("open", url=f"{self.url}/")
        self.assertEqual(self.call("text", selector="#clicks")["text"], "0")

    def test_a_cancel_ends_a_wait_for_an_element_and_keeps_the_browser(self):
        call = self.worker.begin("click", {"selector": "#none", "wait": 60})
        self.worker.send({"type": "cancel", "request_id": call})
        with self.assertRaises(Error) as caught:
            self.worker.finish(call)
        self.assertEqual(caught.exception.code, "cancelled")


class Endings(Browsing):
    def test_a_cancelled_load_costs_the_browser_not_the_session(self):
        call = self.worker.begin("open", {"url": f"{self.url}/never"})
        self.assertTrue(self.pages.waiting.wait(PATIENCE))
        self.worker.send({"type": "cancel", "request_id": call})
        with self.assertRaises(Error) as caught:
            self.worker.finish(call)
        self.assertEqual(caught.exception.code, "cancelled")
        self.refused("invalid_request", "call start first", "text")
        self.assertEqual(self.call("start", url=f"{self.url}/")["title"], "Form")

    def test_a_browser_that_dies_is_said_and_can_be_replaced(self):
        [browser] = [pid for pid in self.processes(self.worker) if "--type=" not in command(pid)
                     and "/chromium/chromium " in command(pid)]
        os.kill(browser, 9)
        self.refused("app_error", "the browser is gone", "text")
        self.assertEqual(self.call("start", url=f"{self.url}/")["title"], "Form")

    def test_two_sessions_share_no_cookies(self):
        self.call("script", script="document.cookie = 'who=ann; path=/'")
        with testing.start(APP) as other:
            self.assertEqual(self.call("open", url=f"{self.url}/cookie")["title"], "Cookie")
            self.assertEqual(self.call("text")["text"], "who=ann")
            other.call("start", {"url": f"{self.url}/cookie"})
            self.assertEqual(other.call("text").output["text"], "none")

    def test_nothing_stays_of_a_closed_browser(self):
        for end in (lambda worker: worker.call("close"), lambda worker: worker.close()):
            worker = testing.start(APP)
            self.addCleanup(worker.kill)
            worker.call("start")
            profiles = self.profiles(worker)
            self.assertEqual(len(profiles), 1)
            self.assertGreater(len(users(profiles)), 3)
            end(worker)
            self.assertFalse(profiles[0].exists())
            wait_for(lambda: not users(profiles), "the end of the browser's processes")

    def processes(self, worker):
        return users(self.profiles(worker))

    def profiles(self, worker):
        """The folders of a worker's browsers, as its drivers show them."""
        children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
        return [Path(os.readlink(f"/proc/{child}/cwd")) for child in children]


def users(folders):
    """The processes whose command line or environment names one of these folders."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            text = read(f"/proc/{name}/cmdline") + read(f"/proc/{name}/environ")
            if any(str(folder).encode() in text for folder in folders):
                found.append(int(name))
    return found


def nobodys_port():
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        return unheard.getsockname()[1]


def command(pid):
    return read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")


def read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def wait_for(condition, what):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.01)


def picture(png):
    """Width, height and a function that tells the colour of a pixel, of a PNG with 8 bits a channel."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise AssertionError("no PNG")
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8 and kind in (2, 6), (depth, kind)
    size = 3 if kind == 2 else 4
    data, at = b"", 8
    while at < len(png):
        [length] = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, rows, above = zlib.decompress(data), [], bytearray(width * size)
    for y in range(height):
        filter, row = raw[y * (width * size + 1)], bytearray(raw[y * (width * size + 1) + 1 :][: width * size])
        for x in range(width * size):
            left, up = row[x - size] if x >= size else 0, above[x]
            corner = above[x - size] if x >= size else 0
            nearest = min((left, up, corner), key=lambda value: abs(left + up - corner - value))
            row[x] = (row[x] + (0, left, up, (left + up) // 2, nearest)[filter]) & 255
        rows.append(row)
        above = row
    return width, height, lambda x, y: tuple(rows[y][x * size : x * size + 3])


if __name__ == "__main__":
    unittest.main()
