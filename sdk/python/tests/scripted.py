"""What the tests of algorithms stand on: one that does what it is told and notes what it was asked, and a recorder that
keeps what it was told."""

from sojourn.steps import BaseAlgorithm, Recorder


class Scripted(BaseAlgorithm):
    """Does what it is told, and notes what it was asked."""

    def __init__(self, script):
        # As in the original, where an algorithm may leave the base's __init__ out.
        self.script = script
        script["made"] = script.get("made", 0) + 1

    def note(self, call, step_index=None):
        line = call if step_index is None else f"{call} {step_index}"
        self.script["log"].append(line)
        if self.script.get("throws") in (call, line):
            self.script["throws"] = self.script.pop("then_throws", None)
            raise self.script.pop("error", ValueError("no luck"))

    def setup(self):
        self.note("setup")

    def teardown(self):
        self.note("teardown")

    def on_step_start(self, step_index, session, context):
        session.set("started", context)
        self.note("on_step_start", step_index)

    def on_step_finish(self, step_index, session, result):
        self.note("on_step_finish" if result["status"] == "OK" else "on_step_finish failed", step_index)

    def reset(self, session):
        self.note("reset")

    def get_info(self):
        limit = {"key": "limit", "type": "int", "default": 3, "min": 0, "max": 9}
        return {
            "name": "scripted",
            "version": "1.2.0",
            "description": "",
            "supported_pids": ["A01", "A02"],
            "steps": [{"index": 1, "name": "calibrate", "params": []}, {"index": 2, "name": "judge", "params": [limit]}],
            "resumable": self.script.get("resumable", False),
        }

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("prepared", step_index)
        self.note("pre_execute", step_index)
        return {"status": "OK", "data": {"calibration_rects": [{"x": 1, "y": 2, "width": 3, "height": 4}]}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set(f"step {step_index}", user_params)
        self.note("execute", step_index)
        self.diagnostics.publish("limit", user_params)
        self.logger.info("judged", step_index="the algorithm's own", n=1)
        return self.script.get("answer", {"status": "OK", "data": {"result_status": "OK"}})


class Kept(Recorder):
    def __init__(self):
        self.lines, self.records = [], []

    def write(self, level, message, fields):
        self.lines.append({**fields, "message": message})

    def step_finished(self, record):
        self.records.append(record)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now
