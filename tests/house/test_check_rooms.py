"""scripts/check-rooms finds what breaks the arrows, and nothing else."""
import unittest

from checked_tree import CheckedTree


class CheckRooms(CheckedTree):
    script = "check-rooms"

    def setUp(self):
        super().setUp()
        self.write("sojourn/base/error.hpp", "#pragma once\n#include <string>\n")

    def assert_fault(self, line):
        self.assertEqual(self.check(), (1, [line]))

    def test_room_may_include_itself_and_what_stands_to_its_left(self):
        self.write("sojourn/session/state.cpp", '#include "sojourn/session/state.hpp"\n#include "sojourn/base/error.hpp"\n')
        self.write("sojourn/runtime/actor.cpp", '#include "sojourn/worker/frame.hpp"\n#include "sojourn/http/client.hpp"\n')
        self.write("sojourn/http/server.cpp", "#include <boost/beast/http.hpp>\n")
        self.write("sojourn/runtime/CMakeLists.txt", "sojourn_room(runtime ROOMS worker session base LIBRARIES fmt::fmt)\n")
        self.assertEqual(self.check(), (0, []))

    def test_names_an_include_of_a_room_to_the_right(self):
        self.write("sojourn/store/record.hpp", '#pragma once\n#include "sojourn/session/app.hpp"\n')
        self.assert_fault("sojourn/store/record.hpp:2: store may not include session: sojourn/session/app.hpp")

    def test_tests_and_angle_brackets_are_no_way_round(self):
        self.write("sojourn/base/error_test.cpp", "#  include <sojourn/http/message.hpp>\n")
        self.assert_fault("sojourn/base/error_test.cpp:1: base may not include http: sojourn/http/message.hpp")

    def test_the_four_in_the_middle_do_not_know_one_another(self):
        self.write("sojourn/steps/runner.cpp", '#include "sojourn/flow/node.hpp"\n')
        self.assert_fault("sojourn/steps/runner.cpp:1: steps may not include flow: sojourn/flow/node.hpp")

    def test_beast_lives_in_http_only(self):
        self.write("sojourn/server/routes.cpp", "#include <boost/beast/http/verb.hpp>\n")
        self.assert_fault(
            "sojourn/server/routes.cpp:1: server includes boost/beast/http/verb.hpp: Beast lives in http only")

    def test_names_an_arrow_to_the_right_in_a_rooms_cmakelists(self):
        self.write("sojourn/store/CMakeLists.txt", "sojourn_room(store ROOMS base\n  session LIBRARIES SQLite::SQLite3)\n")
        self.assert_fault("sojourn/store/CMakeLists.txt:1: store may not use session")

    def test_linking_a_rooms_library_is_no_way_round(self):
        self.write("sojourn/store/CMakeLists.txt", "sojourn_room(store ROOMS base TEST_LIBRARIES sojourn_runtime)\n")
        self.assert_fault("sojourn/store/CMakeLists.txt:1: store may not link sojourn_runtime")

    def test_names_a_room_that_the_design_does_not_have(self):
        self.write("sojourn/util/strings.hpp", "#pragma once\n")
        self.assert_fault("sojourn/util:1: util is no room; say in scripts/check-rooms where it stands")


if __name__ == "__main__":
    unittest.main()
