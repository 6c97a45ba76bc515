"""A counter behind one line of JSON each way: what a warm Python process costs without any SDK."""
import json
import os

values = {}
received = b""
while True:
    part = os.read(0, 65536)
    if not part:
        break
    received += part
    if not received.endswith(b"\n"):
        continue
    call = json.loads(received)["input"]
    received = b""
    key = call["key"]
    previous = values.get(key, 0)
    current = values[key] = previous + call["amount"]
    os.write(1, json.dumps({"output": {"key": key, "previous": previous, "current": current}}).encode() + b"\n")
