from sojourn import steps


class NewAlgorithm(steps.Algorithm):
    """Is a product as bright as the reference? Step 1 keeps what it found on the reference picture in the session,
    step 2 judges the product's picture by it."""

    def get_info(self):
        tolerance = {"key": "tolerance", "type": "float", "default": 10.0, "min": 0, "max": 255,
                     "description": "how far a product may be off, in grey values"}
        return {
            "name": "new-algorithm",
            "version": "1.0.0",
            "description": "Is a product as bright as the reference?",
            "steps": [{"index": 1, "name": "calibrate"}, {"index": 2, "name": "judge", "params": [tolerance]}],
            "resumable": True,
        }

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return {"status": "OK", "data": {}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        found = brightness(steps.open_image(shared_mem_id, image_meta))
        data = {"result_status": "OK", "brightness": found}
        if step_index == 1:
            session.set("reference", found)
            return {"status": "OK", "data": data}
        if not session.exists("reference"):
            raise steps.StepError("calibrate first", "step_not_allowed")
        off = found - session.get("reference")
        self.diagnostics.publish("off", abs(off))
        self.logger.info("judged", brightness=found)
        if abs(off) > user_params["tolerance"]:
            data.update(result_status="NG", ng_reason="too dark" if off < 0 else "too bright", defect_rects=[])
        return {"status": "OK", "data": data}


def brightness(image):
    if image.format == "gray16":
        raise steps.StepError("the picture has 16 bits a pixel; send 8", "unsupported_color_space")
    row = image.width * image.channels
    total = sum(sum(image.data[y * image.stride : y * image.stride + row]) for y in range(image.height))
    return total / (row * image.height)
