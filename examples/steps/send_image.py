"""Takes two pictures and has them inspected; nothing of them goes through the server."""

from sojourn.client import Client
from sojourn.steps import put_image

with Client() as client:
    for value in (30, 90):
        pixels = bytes([value]) * (640 * 480)  # a camera's
        image_id, image_meta = put_image(pixels, 640, 480, "gray8")
        shot = {"shared_mem_id": image_id, "image_meta": {**image_meta, "camera_id": "left"}}
        outcome = client.run({"app": "brightness", "input": {"steps": [shot]}}).output
        print(outcome["result_status"], outcome.get("ng_reason"), outcome["steps"][0]["data"]["mean"])
