import time

from sojourn.steps import Algorithm, StepError


class Gauge(Algorithm):
    """Calibrates on a known part, then judges a part by what the first step left in the session."""

    def get_info(self):
        reading = {"key": "reading", "type": "float", "required": True, "min": 0, "unit": "counts"}
        known = {"key": "known_mm", "type": "float", "default": 10.0, "min": 0.1}
        tolerance = {"key": "tolerance_mm", "type": "float", "default": 0.05}
        settle = {"key": "settle_ms", "type": "int", "default": 0, "max": 60_000}
        return {
            "name": "gauge",
            "version": "1.0.0",
            "description": "Measures a part against a known one.",
            "supported_pids": ["bolt", "washer"],
            "steps": [
                {"index": 1, "name": "calibrate", "params": [reading, known]},
                {"index": 2, "name": "measure", "params": [reading, tolerance, settle]},
            ],
            "resumable": True,
        }

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return {"status": "OK", "data": {}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        if step_index == 1:
            if user_params["reading"] == 0:
                raise StepError("the sensor sees nothing", "image_load_failed")
            session.set("mm_per_count", user_params["known_mm"] / user_params["reading"])
            session.set("known_mm", user_params["known_mm"])
            return {"status": "OK", "data": {"result_status": "OK"}}
        if not session.exists("mm_per_count"):
            raise StepError("calibrate first", "step_not_allowed")
        time.sleep(user_params["settle_ms"] / 1000)
        mm = user_params["reading"] * session.get("mm_per_count")
        off = abs(mm - session.get("known_mm"))
        self.diagnostics.publish("off_mm", off)
        self.logger.info("measured", mm=mm)
        if off <= user_params["tolerance_mm"]:
            return {"status": "OK", "data": {"result_status": "OK", "mm": mm}}
        data = {"result_status": "NG", "ng_reason": "out of tolerance", "defect_rects": [], "mm": mm}
        return {"status": "OK", "data": data}
