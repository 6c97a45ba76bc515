"""A thousand clients of one session: all are answered, in the order in which their calls came."""

import http.client
import json
import resource
import socket

from e2e.program import COMPLETED, PATIENCE, Served, wait_for, write_app

CLIENTS = 1000  # as many as may wait for one session where its app does not say otherwise

APP = """
from sojourn import App, serve

class Crowd(App):
    def setup(self):
        self.count = 0

    def run(self, input):
        if "gate" in input:
            with open(input["gate"]) as gate:
                gate.read()
        self.count += 1
        return self.count

if __name__ == "__main__":
    serve(Crowd)
"""


class Client:
    """A connection of its own with one call on it."""

    def __init__(self, server, session):
        body = json.dumps({"session": session, "wait": True, "input": {}})
        self.socket = socket.create_connection((server.host, server.port), PATIENCE)
        self.socket.sendall(f"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n{body}".encode())

    def answer(self):
        with self.socket:
            response = http.client.HTTPResponse(self.socket)
            response.begin()
            return json.loads(response.read())["data"]


class Crowd(Served):
    @classmethod
    def make_apps(cls, apps):
        write_app(apps, "crowd", APP)

    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        super().setUpClass()

    def test_all_are_answered_in_order_and_one_more_is_told_to_come_again(self):
        gate = self.fifo()
        first = self.server.run("crowd", input={"gate": gate.path}, wait=False)
        session = first["session_id"]
        gate.wait_until_read()
        clients = [Client(self.server, session) for _ in range(CLIENTS)]
        wait_for(lambda: self.server.session(session)["queued"] == CLIENTS, "the calls of all clients")
        refused = self.server.ask_run("crowd", session=session)
        self.assertEqual(self.refused(refused, 429, "queue_full", str(CLIENTS))["details"], {"queue_limit": CLIENTS})
        self.assertEqual(refused.headers["Retry-After"], "1")
        gate.open()
        tasks = [client.answer() for client in clients]
        self.assertEqual({task["status"] for task in tasks}, {COMPLETED})
        tasks.sort(key=lambda task: task["seq"])
        self.assertEqual([task["seq"] for task in tasks], list(range(2, CLIENTS + 2)))
        self.assertEqual([task["output"] for task in tasks], list(range(2, CLIENTS + 2)))
        for earlier, later in zip(tasks, tasks[1:]):
            self.assertLessEqual(earlier["ended_at"], later["started_at"])
        self.assertEqual(self.server.output("crowd", session=session), CLIENTS + 2)
