"""Keeps a browser open across the calls of a session."""

import base64
import struct
import time
from urllib.parse import urlsplit

from browser import Browser
from selenium.common import exceptions
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from urllib3.exceptions import HTTPError

from sojourn import App, Error, serve

WAIT_SECONDS = 5
MOST_WAIT_SECONDS = 60
PAGE_SECONDS = 30
LOOK_SECONDS = 0.05
WIDTH, HEIGHT = 1280, 720
LARGEST_SIDE = 8192
INLINE_BYTES = 1024 * 1024
KEPT_SCREENSHOTS = 100


class BrowserAutomation(App):
    def setup(self):
        self.browser = None
        self.busy = False  # in a command that only the end of the browser can interrupt

    def run(self, input):
        actions = {
            "start": self.start, "open": self.open, "click": self.click, "type": self.type, "text": self.text,
            "screenshot": self.screenshot, "script": self.script, "close": lambda _: self.close(),
        }
        action = input.get("action") if isinstance(input, dict) else None
        if not isinstance(action, str) or action not in actions:
            raise refused(f'"action" is one of {", ".join(actions)}, not {action!r}')
        return actions[action](input)

    def start(self, input):
        """Starts the browser, if none runs, and opens a page, if one is named."""
        input = checked(input)
        width = int(number(input, "width", WIDTH, 1, LARGEST_SIDE))
        height = int(number(input, "height", HEIGHT, 1, LARGEST_SIDE))
        url = checked_url(input["url"]) if "url" in input else None
        if self.browser is None:
            self.browser = self._browser_errors(lambda: Browser(self.session.resources, width, height))
            self._command(lambda driver: driver.set_page_load_timeout(PAGE_SECONDS))
            self._command(lambda driver: driver.set_script_timeout(PAGE_SECONDS))
        if url:
            self._command(lambda driver: driver.get(url))
        return self._page()

    def open(self, input):
        url = checked_url(checked(input).get("url"))
        self._command(lambda driver: driver.get(url))
        return self._page()

    def click(self, input):
        self._element(input, lambda element: element.click())
        return self._page()

    def type(self, input):
        """Types behind what an element holds or, with `clear`, in its place; `enter` sends what was typed."""
        text = checked(input).get("text")
        if not isinstance(text, str):
            raise refused(f'"text" is the text to type, not {text!r}')

        def type_into(element):
            if input.get("clear"):
                element.clear()
            element.send_keys(text, *([Keys.ENTER] if input.get("enter") else []))

        self._element(input, type_into)
        return self._page()

    def text(self, input):
        """What an element shows, and what it holds where it is one to fill in."""
        return self._element(
            {"selector": "body", **checked(input)},
            lambda element: {"text": element.text, "value": element.get_property("value")},
        )

    def screenshot(self, input):
        """A picture of what is seen, of the whole page, or of one element; in the session's folder."""
        input = checked(input)
        if "selector" in input:
            png = self._element(input, lambda element: element.screenshot_as_png)
        elif input.get("full_page"):
            png = self._command(lambda _: base64.b64decode(self.browser.devtools(
                "Page.captureScreenshot", captureBeyondViewport=True)["data"]))
        else:
            png = self._command(lambda driver: driver.get_screenshot_as_png())
        count = self.session.state.get("screenshots", 0) + 1
        self.session.state["screenshots"] = count
        name = f"screenshot-{count:06}.png"
        (self.session.folder / name).write_bytes(png)
        (self.session.folder / f"screenshot-{count - KEPT_SCREENSHOTS:06}.png").unlink(missing_ok=True)
        width, height = struct.unpack(">II", png[16:24])
        output = {"file": name, "width": width, "height": height, "bytes": len(png), **self._page()}
        if len(png) <= INLINE_BYTES:
            output["base64"] = base64.b64encode(png).decode()
        return output

    def script(self, input):
        """Runs JavaScript in the page, as the body of a function; its result is what `return` gives."""
        input = checked(input)
        source, arguments = input.get("script"), input.get("arguments", [])
        if not isinstance(source, str) or not isinstance(arguments, list):
            raise refused('"script" is JavaScript as text, and "arguments" is a list')
        return {"result": self._command(lambda driver: driver.execute_script(source, *arguments))}

    def close(self):
        """Ends the browser; the session goes on, and may start another."""
        closed = self.browser is not None
        self._drop()
        return {"closed": closed}

    def on_cancel(self):
        browser = self.browser
        if self.busy and browser:
            browser.kill()

    def _page(self):
        """Address and title of one and the same page: a click may just be leading to the next."""

        def look(driver):
            while True:
                url = driver.current_url
                title = driver.title
                if driver.current_url == url:
                    return {"url": url, "title": title}

        return self._command(look)

    def _element(self, input, use):
        """Does something with the first element that a CSS selector matches, once that can be done."""
        selector = checked(input).get("selector")
        if not isinstance(selector, str) or not selector:
            raise refused(f'"selector" is a CSS selector, not {selector!r}')
        wait = number(input, "wait", WAIT_SECONDS, 0, MOST_WAIT_SECONDS)
        until = time.monotonic() + wait
        while True:
            found = self._command(lambda driver: self._try(driver, selector, use), short=True)
            if not isinstance(found, NotYet):
                return found
            if self.session.cancel_requested:
                raise Error("cancelled", f"stopped waiting for {selector!r}")
            if time.monotonic() >= until:
                page = self._page()
                raise Error("not_found" if found.missing else "conflict",
                            f"{selector!r} {found.why} on {page['url']} after {wait:g} s", False, page)
            time.sleep(LOOK_SECONDS)

    def _try(self, driver, selector, use):
        try:
            return use(driver.find_element(By.CSS_SELECTOR, selector))
        except (exceptions.NoSuchElementException, exceptions.StaleElementReferenceException):
            return NotYet("matches nothing", True)
        except (exceptions.ElementNotInteractableException, exceptions.InvalidElementStateException) as error:
            return NotYet(f"cannot be used: {words(error)}", False)

    def _command(self, command, short=False):
        if self.browser is None:
            raise refused("no browser runs in this session; call start first")
        return self._browser_errors(lambda: command(self.browser.driver), short)

    def _browser_errors(self, command, short=False):
        """What a command of the browser answers, or its failure in this project's words. A cancel ends the browser
        for a command that may take long, and waits for one that is short."""
        self.busy = not short
        try:
            return command()
        except exceptions.TimeoutException as error:
            raise Error("call_timeout", f"not done after {PAGE_SECONDS} s: {words(error)}", True) from None
        except (exceptions.InvalidSelectorException, exceptions.InvalidArgumentException) as error:
            raise refused(words(error)) from None
        except exceptions.JavascriptException as error:
            raise refused(f"the script failed: {words(error)}") from None
        except (exceptions.InvalidSessionIdException, exceptions.NoSuchWindowException, HTTPError, OSError) as error:
            self._drop()
            raise self._lost(error) from None
        except exceptions.WebDriverException as error:
            if "net::ERR" in words(error):
                raise Error("connection_failed", words(error), True) from None
            if "disconnected" in words(error) or "crashed" in words(error) or "session not created" in words(error):
                self._drop()
                raise self._lost(error) from None
            raise Error("app_error", words(error), False) from None
        finally:
            self.busy = False

    def _lost(self, error):
        if self.session.cancel_requested:
            return Error("cancelled", "the call was cancelled, and its browser ended; start another")
        return Error("app_error", f"the browser is gone; call start for another: {words(error)}", True)

    def _drop(self):
        browser, self.browser = self.browser, None
        if browser:
            browser.close()


class NotYet:
    """Why an element could not be used; it may be later."""

    def __init__(self, why, missing):
        self.why, self.missing = why, missing


def words(error):
    """The first line of what the driver says, which the addresses in its own program follow."""
    text = getattr(error, "msg", None) or str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


def checked(input):
    if input is None:
        return {}
    if not isinstance(input, dict):
        raise refused(f"the input is an object, not {input!r}")
    return input


def checked_url(url):
    if not isinstance(url, str) or (urlsplit(url).scheme not in ("http", "https") and url != "about:blank"):
        raise refused(f'"url" starts with http:// or https://, not {url!r}')
    return url


def number(input, name, default, low, high):
    value = input.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise refused(f'"{name}" is a number from {low} to {high}, not {value!r}')
    return value


def refused(message):
    return Error("invalid_request", message, False)


if __name__ == "__main__":
    serve(BrowserAutomation)
