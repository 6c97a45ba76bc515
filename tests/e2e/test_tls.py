"""Commands and clients reach a server through a proxy that speaks TLS for it."""

import json
import select
import socket
import ssl
import subprocess
import threading

from e2e.program import Served


class TlsProxy:
    """Takes TLS off, and passes on what it holds."""

    def __init__(self, certificate, key, target):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(raw,))
            self.threads.append(thread)
            thread.start()

    def _pass_on(self, raw):
        try:
            with self.tls.wrap_socket(raw, server_side=True) as client, socket.create_connection(self.target) as server:
                self.connections += 1
                while True:
                    ready = [client] if client.pending() else select.select([client, server], [], [])[0]
                    for source, sink in ((client, server), (server, client)):
                        if source in ready:
                            data = source.recv(1 << 16)
                            if not data:
                                return
                            sink.sendall(data)
        except OSError:
            pass  # one side went away, or did not like the certificate

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()


class Tls(Served):
    def setUp(self):
        self.certificate, key = self.folder / "certificate.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", self.certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        host, port = self.server.url.removeprefix("http://").rsplit(":", 1)
        self.proxy = TlsProxy(self.certificate, key, (host, int(port)))
        self.addCleanup(self.proxy.close)

    def command(self, *words, host="localhost", **environment):
        return self.server.command(*words, "--url", f"https://{host}:{self.proxy.port}", environment=environment)

    def test_a_command_asks_over_one_connection(self):
        done = self.command("run", "counter", "--input", '{"key": "a"}', SSL_CERT_FILE=str(self.certificate))
        self.assertEqual((done.returncode, json.loads(done.stdout)["current"]), (0, 1), done.stderr)
        self.assertEqual(self.proxy.connections, 1)

    def test_a_certificate_that_is_not_trusted_is_refused(self):
        for host, environment in (("localhost", {}), ("127.0.0.1", {"SSL_CERT_FILE": str(self.certificate)})):
            done = self.command("apps", host=host, **environment)
            self.assertEqual(done.returncode, 3, done.stdout)
            self.assertIn("certificate verify failed", done.stderr)
