# Python tests run by ctest: each test_*.py is one test.

# Debian's own Python, which has the packages that scripts/setup installs; another one first in PATH may not.
set(SOJOURN_PYTHON /usr/bin/python3)

# sojourn_python_tests(NAME FOLDER [LABELS long ...])
#
# Adds each test_*.py in FOLDER as NAME.MODULE, if there are any. It finds the SDK as the module `sojourn`, and in the
# environment the program as SOJOURN_BINARY, the project's folder as SOJOURN_SOURCE, the build's as SOJOURN_BUILD.
function(sojourn_python_tests name folder)
  cmake_parse_arguments(ARG "" "" "LABELS" ${ARGN})
  set(environment
    PYTHONPATH=${CMAKE_SOURCE_DIR}/sdk/python
    PYTHONDONTWRITEBYTECODE=1
    SOJOURN_BINARY=$<TARGET_FILE:sojourn>
    SOJOURN_SOURCE=${CMAKE_SOURCE_DIR}
    SOJOURN_BUILD=${CMAKE_BINARY_DIR})
  set(top ${folder})
  if(EXISTS ${folder}/__init__.py)
    cmake_path(GET folder PARENT_PATH top)  # a package, so that its modules may import one another
  endif()
  file(GLOB modules CONFIGURE_DEPENDS ${folder}/test_*.py)
  foreach(module IN LISTS modules)
    cmake_path(GET module STEM stem)
    string(REGEX REPLACE "^test_" "" stem ${stem})
    set(test ${name}.${stem})
    add_test(NAME ${test} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
             COMMAND ${SOJOURN_PYTHON} -m unittest discover -s ${folder} -t ${top} -p test_${stem}.py)
    # A module without tests passes in Python 3.11, and says nothing about what it should test.
    set_tests_properties(${test} PROPERTIES
      FAIL_REGULAR_EXPRESSION "Ran 0 tests"
      LABELS "${ARG_LABELS}"
      ENVIRONMENT "${environment}")
  endforeach()
endfunction()
