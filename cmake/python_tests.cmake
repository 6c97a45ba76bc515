# Python tests run by ctest: each test_*.py is one test.

# Debian's own Python, which has the packages that scripts/setup installs; another one first in PATH may not.
set(SOJOURN_PYTHON /usr/bin/python3)

# sojourn_python_tests(NAME FOLDER [LABELS long ...])
#
# Adds each test_*.py in FOLDER as NAME.MODULE, if there are any. It finds the SDK as the module `sojourn`, the built
# binary by the environment's SOJOURN_BINARY, and the project's folder by SOJOURN_SOURCE.
function(sojourn_python_tests name folder)
  cmake_parse_arguments(ARG "" "" "LABELS" ${ARGN})
  file(GLOB modules CONFIGURE_DEPENDS ${folder}/test_*.py)
  foreach(module IN LISTS modules)
    cmake_path(GET module STEM stem)
    string(REGEX REPLACE "^test_" "" stem ${stem})
    set(test ${name}.${stem})
    add_test(NAME ${test} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
             COMMAND ${SOJOURN_PYTHON} -m unittest discover -s ${folder} -p test_${stem}.py)
    # A module without tests passes in Python 3.11, and says nothing about what it should test.
    set_tests_properties(${test} PROPERTIES
      FAIL_REGULAR_EXPRESSION "Ran 0 tests"
      LABELS "${ARG_LABELS}"
      ENVIRONMENT "PYTHONPATH=${CMAKE_SOURCE_DIR}/sdk/python;PYTHONDONTWRITEBYTECODE=1;SOJOURN_BINARY=${CMAKE_BINARY_DIR}/sojourn;SOJOURN_SOURCE=${CMAKE_SOURCE_DIR}")
  endforeach()
endfunction()
