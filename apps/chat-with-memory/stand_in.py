"""Speaks the protocol of an OpenAI-compatible endpoint and says that it is a stand-in: it only counts.

    /usr/bin/python3 stand_in.py [PORT]
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn(ThreadingHTTPServer):
    """Tests set `fault` for the requests to come, and see those that came in `requests`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.fault = None
        self.requests = []
        self.hung_up = threading.Event()  # a caller went away while it was kept waiting

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        fault = self.server.fault
        if self.path != "/v1/chat/completions":
            self.refuse(404, f"there is no {self.path}")
        elif isinstance(fault, int):
            echo = f"refused as the test asked for; you showed {self.headers.get('Authorization')}"
            self.refuse(fault, echo, {"Retry-After": "7"} if fault == 429 else {})
        elif fault == "silent":
            self.wait_for_hang_up()
        elif fault == "whole":
            text = answer(body)
            message = {"role": "assistant", "content": text}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            self.reply(200, {"choices": choices, "usage": usage(body, text)}, {})
        else:
            self.stream(body, fault)

    def stream(self, body, fault):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b": a comment\n\n")
        text = answer(body)
        words = text.split(" ")
        for number, word in enumerate(words):
            if number == 3 and fault:
                return self.break_off(fault)
            self.event({"choices": [{"index": 0, "delta": {"content": word + " " * (number < len(words) - 1)}}]})
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.event({"choices": [], "usage": usage(body, text)})
        self.wfile.write(b"data: [DONE]\n\n")

    def break_off(self, fault):
        if fault == "broken":
            self.wfile.write(b'data: {"choices": [{"delta": {"cont\n\n')
        elif fault == "error":
            self.event({"error": {"message": "out of memory"}})
        elif fault == "slow":
            self.wait_for_hang_up()

    def wait_for_hang_up(self):
        self.wfile.flush()
        if not self.connection.recv(1):
            self.server.hung_up.set()
        self.close_connection = True

    def event(self, value):
        value = {"object": "chat.completion.chunk", "model": "stand-in", **value}
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())

    def refuse(self, status, message, headers={}):
        self.reply(status, {"error": {"message": message, "type": "stand_in"}}, headers)

    def reply(self, status, value, headers):
        text = json.dumps(value).encode()
        self.send_response(status)
        for name, header in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, header)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def answer(body):
    said = [message["content"] for message in body["messages"] if message["role"] == "user"]
    seen = f"This is your message {len(said)} that I see: {said[-1]} Before it: {said[:-1]}"
    return f"I am a stand-in, no model. {seen}"


def usage(body, text):
    """Words for tokens."""
    asked = sum(len(message["content"].split()) for message in body["messages"])
    return {"prompt_tokens": asked, "completion_tokens": len(text.split()), "total_tokens": asked + len(text.split())}


if __name__ == "__main__":
    server = StandIn(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(f"a stand-in for a model at {server.url}", flush=True)
    server.serve_forever()
