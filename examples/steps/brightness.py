from sojourn.steps import Algorithm, StepError, open_image


class Brightness(Algorithm):
    """Is the picture bright enough to inspect anything on it?"""

    def get_info(self):
        least = {"key": "least", "type": "int", "default": 60, "min": 0, "max": 255}
        steps = [{"index": 1, "name": "look", "params": [least]}]
        return {"name": "brightness", "version": "1.0.0", "steps": steps}

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return {"status": "OK", "data": {}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        image = open_image(shared_mem_id, image_meta)  # or read_image_from_shared_memory, for a numpy array
        if image.format == "gray16":
            raise StepError("the picture has 16 bits a pixel; send 8", "unsupported_color_space")
        mean = sum(image.data) / len(image.data)
        if mean >= user_params["least"]:
            return {"status": "OK", "data": {"result_status": "OK", "mean": mean}}
        frame = {"x": 0, "y": 0, "width": image.width, "height": image.height, "label": "dark"}
        data = {"result_status": "NG", "ng_reason": "too dark", "defect_rects": [frame], "mean": mean}
        return {"status": "OK", "data": data}
