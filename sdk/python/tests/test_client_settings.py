"""What the client takes from arguments and the environment, and what it looks like: its names, errors and imports."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import sojourn.client as package
from sojourn.client import AsyncClient, AsyncSession, AsyncSessionManager, AsyncTaskStream, ConnectionFailed, errors
from sojourn.client.address import parse_address

from .bad_server import BadServer, Step, WithAsyncClient, WithBlockingClient, read_request, reply

SDK = Path(__file__).resolve().parent.parent
REGISTRY = SDK.parent.parent / "sojourn" / "base" / "error_codes.def"


class Errors(unittest.TestCase):
    def test_there_is_a_class_for_each_code_of_the_registry_and_for_no_other(self) -> None:
        pattern = r'^SOJOURN_ERROR\((\w+), "(\w+)", (\d+), (true|false), "((?:[^"\\]|\\.)*)"\)'
        rows = re.findall(pattern, REGISTRY.read_text(), flags=re.MULTILINE)
        told = {row[1]: (int(row[2]), row[3] == "true", row[4].replace('\\"', '"')) for row in rows}
        self.assertEqual(told, {c.code: (c.status, c.retryable, c.advice) for c in errors._classes.values()})
        for name, code, *_ in rows:
            with self.subTest(code=code):
                kind = getattr(errors, "".join(word.capitalize() for word in name.split("_")))
                self.assertEqual(type(errors.refusal(code, "m")), kind)
                self.assertTrue(isinstance(errors.failure(code, "m"), kind))
                self.assertTrue(kind.__doc__)

    def test_errors_go_through_pickle(self) -> None:
        for error in (
            errors.refusal("queue_full", "m", details={"a": 1}), errors.refusal("other", "m", status=418),
            errors.failure("WORKER_LOST", "m", task={"id": "x"}), errors.failure("other", "m"),
            errors.TimedOut("m", task={"id": "x"}),
        ):
            copy = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(copy), copy.__dict__, str(copy)), (type(error), error.__dict__, "m"))


class Shape(unittest.TestCase):
    def test_import_loads_neither_the_worker_side_nor_what_is_slow(self) -> None:
        code = "import sys, sojourn.client; print(*sys.modules)"
        told = subprocess.run([sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(SDK)}, check=True,
                              capture_output=True, text=True).stdout.split()
        slow = {"asyncio", "ssl", "http.client", "email", "urllib.request", "random", "dataclasses", "logging"}
        self.assertEqual(slow & set(told), set())
        own = {name for name in told if name.startswith("sojourn")}
        self.assertEqual({name for name in own if not name.startswith("sojourn.client")}, {"sojourn"})
        self.assertNotIn("sojourn.client.suspending", own)

    def test_both_clients_have_the_same_names_with_the_same_arguments(self) -> None:
        for asynchronous in (AsyncClient, AsyncSession, AsyncTaskStream, AsyncSessionManager):
            blocking = getattr(package, asynchronous.__name__.removeprefix("Async"))
            self.assertEqual(words_of(blocking), words_of(asynchronous))

    def test_everything_has_hints_and_what_is_public_is_documented(self) -> None:
        for path in sorted((SDK / "sojourn" / "client").glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    given = [*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
                    bare = [one.arg for one in given if one and not one.annotation and one.arg not in ("self", "cls")]
                    self.assertTrue(node.returns and not bare, f"{path.name}:{node.lineno}: {node.name} {bare}")
        for name in package.__all__:
            kind = getattr(package, name)
            self.assertTrue(kind.__doc__, name)
            for method, value in vars(kind).items():
                if inspect.isfunction(value) and not method.startswith("_") and method != "close":
                    self.assertTrue(value.__doc__, f"{name}.{method}")


def words_of(kind: type) -> dict:
    """Each public name of a class, with the names and defaults of its arguments."""
    found = {}
    for name, value in vars(kind).items():
        if inspect.isfunction(value) and (not name.startswith("_") or name == "__init__"):
            found[name] = [(one.name, one.kind, one.default) for one in inspect.signature(value).parameters.values()]
        elif not name.startswith("_"):
            found[name] = []
    return found


class Addresses(unittest.TestCase):
    def test_urls(self) -> None:
        for url, expected in {
            "http://localhost": ("localhost", 80, False, "localhost", ""),
            "https://a.example/": ("a.example", 443, True, "a.example", ""),
            "http://[::1]:8080/x/": ("::1", 8080, False, "[::1]:8080", "/x"),
        }.items():
            self.assertEqual(parse_address(url, {})[1:6], expected)
        for url in ("", "localhost:8080", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://user:key@a",
                    "http://a?b", "http://a#b", "http://a b", "http://a\r\nX: y", "http://ä"):
            with self.subTest(url=url), self.assertRaises(ValueError) as caught:
                parse_address(url, {})
            self.assertNotIn("key", str(caught.exception))

    def test_proxies_of_the_environment(self) -> None:
        both = {"http_proxy": "http://p.example:3128", "HTTPS_PROXY": "u%40:s@q.example"}
        self.assertEqual(parse_address("http://a.example", both).proxy, ("p.example", 3128, ""))
        self.assertEqual(parse_address("https://a.example", both).proxy, ("q.example", 80, "Basic dUA6cw=="))
        for host in ("localhost", "127.0.0.1", "127.1.2.3", "[::1]", "a.localhost"):
            self.assertIsNone(parse_address(f"http://{host}", {**both, "all_proxy": "http://p"}).proxy)
        for exempt in ("a.example", ".example", "x, EXAMPLE", "*"):
            self.assertIsNone(parse_address("http://a.example", {**both, "no_proxy": exempt}).proxy)
        self.assertIsNotNone(parse_address("http://ba.example", {**both, "no_proxy": "a.example"}).proxy)
        cgi = {"HTTP_PROXY": "http://evil.example", "REQUEST_METHOD": "GET"}
        self.assertIsNone(parse_address("http://a.example", cgi).proxy)
        self.assertRaises(ValueError, parse_address, "http://a.example", {"http_proxy": "socks5://p"})


class Behaviour:
    server: Any
    client: Any

    def test_settings_come_from_arguments_then_the_environment(self: Any) -> None:
        server = self.server(reply([]))
        told = {"SOJOURN_URL": server.url, "SOJOURN_API_KEY": "sjn_env", "http_proxy": "http://127.0.0.1:1"}
        with mock.patch.dict("os.environ", told):
            self.client(None).apps()
            self.client(None, api_key="sjn_own").apps()
            self.client(None, api_key="").apps()
        with mock.patch.dict("os.environ", {"SOJOURN_URL": "http://nowhere.invalid", "SOJOURN_API_KEY": ""}):
            self.client(server.url).apps()
        keys = [asked.headers.get("Authorization") for asked in server.asked]
        self.assertEqual(keys, ["Bearer sjn_env", "Bearer sjn_own", None, None])
        with mock.patch.dict("os.environ", {"SOJOURN_TIMEOUT": "soon"}):
            self.assertRaises(ValueError, self.client, server.url)
        times = ({"timeout": 0}, {"connect_timeout": -1}, {"read_timeout": 0})
        for wrong in ({"api_key": "a\r\nb"}, {"retries": -1}, *times):
            self.assertRaises(ValueError, self.client, server.url, **wrong)

    def test_goes_through_the_proxy_of_the_environment(self: Any) -> None:
        proxy = self.server(reply([]))
        with mock.patch.dict("os.environ", {"http_proxy": f"http://u:p@127.0.0.1:{proxy.port}", "no_proxy": ""}):
            self.assertEqual(self.client("http://sojourn.invalid:81/x").apps(), [])
        asked = proxy.asked[0]
        self.assertEqual(asked.target, "http://sojourn.invalid:81/x/apps")
        self.assertEqual(asked.headers["Host"], "sojourn.invalid:81")
        self.assertEqual(asked.headers["Proxy-Authorization"], "Basic dTpw")

    def test_localhost_is_reached_by_its_name(self: Any) -> None:
        server = self.server(reply([]))
        self.assertEqual(self.client(f"http://localhost:{server.port}").apps(), [])

    def test_speaks_tls_with_who_can_prove_itself(self: Any) -> None:
        serving, trusting = contexts(self)
        server = self.server(reply([]), context=serving)
        url = server.url.replace("127.0.0.1", "localhost")
        client = self.client(url, ssl_context=trusting)
        self.assertEqual([client.apps(), client.apps()], [[], []])
        for wrong in (self.client(url, retries=0), self.client(server.url, ssl_context=trusting, retries=0)):
            with self.assertRaises(ConnectionFailed) as caught:
                wrong.apps()
            self.assertIn("CERTIFICATE_VERIFY_FAILED", str(caught.exception))

    def test_speaks_tls_through_a_proxy(self: Any) -> None:
        serving, trusting = contexts(self)
        tunnel = Tunnel(self.server(reply([]), context=serving))
        self.addCleanup(tunnel.close)
        with mock.patch.dict("os.environ", {"https_proxy": f"http://u:p@127.0.0.1:{tunnel.port}", "no_proxy": ""}):
            client = self.client("https://sojourn.invalid:444", ssl_context=trusting, api_key="sjn_x")
        self.assertEqual([client.apps(), client.apps()], [[], []])
        self.assertEqual(len(tunnel.asked), 1)
        self.assertEqual((tunnel.asked[0].method, tunnel.asked[0].target), ("CONNECT", "sojourn.invalid:444"))
        self.assertEqual(tunnel.asked[0].headers["Proxy-Authorization"], "Basic dTpw")
        self.assertNotIn("Authorization", tunnel.asked[0].headers)
        refusing = self.server(Step(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"))
        with mock.patch.dict("os.environ", {"https_proxy": f"127.0.0.1:{refusing.port}", "no_proxy": ""}):
            client = self.client("https://sojourn.invalid", retries=0)
        with self.assertRaises(ConnectionFailed) as caught:
            client.apps()
        self.assertIn("407", str(caught.exception))


class Blocking(Behaviour, WithBlockingClient):
    pass


class Asynchronous(Behaviour, WithAsyncClient):
    pass


class Tunnel(BadServer):
    """A proxy whose every CONNECT leads to one server."""

    def __init__(self, server: BadServer) -> None:
        self._to = server
        super().__init__(reply(None))

    def _serve(self, connection: Any, number: int) -> None:
        import socket

        with connection, connection.makefile("rb", buffering=0) as file:
            self.asked.append(read_request(file, number))
            with socket.create_connection(("127.0.0.1", self._to.port)) as beyond:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pour, args=(beyond, connection))
                back.start()
                pour(connection, beyond)
                back.join()


def pour(one: Any, other: Any) -> None:
    import socket

    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side is gone


def contexts(test: unittest.TestCase) -> tuple:
    """TLS of a server called localhost or sojourn.invalid, and of a client that trusts it."""
    folder = tempfile.TemporaryDirectory(prefix="sojourn-tls-")
    test.addCleanup(folder.cleanup)
    key, certificate = f"{folder.name}/key", f"{folder.name}/certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,DNS:sojourn.invalid"], check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    return serving, ssl.create_default_context(cafile=certificate)


if __name__ == "__main__":
    unittest.main()
