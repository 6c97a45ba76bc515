"""A model that is trained once for all sessions."""

from e2e.program import SOURCE, Served

APP = "ml-inference"


class MlApp(Served):
    @classmethod
    def make_apps(cls, folder):
        (folder / APP).symlink_to(SOURCE / "apps" / APP)

    def test_sessions_share_one_training(self):
        sessions = [self.server.new_session(APP) for _ in range(3)]
        image = self.server.output(APP, "sample", session=sessions[0])
        for session in sessions:
            for _ in range(10):
                self.assertEqual(self.server.output(APP, "predict", image, session=session)["digit"], image["digit"])
        found = [self.server.output(APP, "model_info", session=session) for session in sessions]
        self.assertEqual(len({info["pid"] for info in found}), 3)
        self.assertEqual([info["trainings"] for info in found], [1, 1, 1])
        self.assertEqual(len({info["training_seconds"] for info in found}), 1)  # of the one in their parent
        self.assertEqual([info["predictions"] for info in found], [10, 10, 10])

    def test_a_killed_worker_is_replaced_with_its_model_and_count(self):
        session = self.server.new_session(APP, setup={"model": "linear"})
        image = self.server.output(APP, "sample", session=session)
        before = self.server.output(APP, "predict", image, session=session)
        self.server.kill_worker(session)
        self.assertEqual(self.server.output(APP, "predict", image, session=session), before)
        info = self.server.output(APP, "model_info", session=session)
        self.assertEqual((info["model"], info["predictions"]), ("linear", 2))
