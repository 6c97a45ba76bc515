# A room is one folder under sojourn/, one library and one test program; the tests stand beside the code.

# sojourn_room(NAME ROOMS base store ... LIBRARIES fmt::fmt ...)
#
# Builds sojourn_NAME from every *.cpp here but *_test.cpp, and NAME_tests from those. ROOMS are the rooms it may include;
# scripts/check-rooms holds the includes to the same arrows.
function(sojourn_room name)
  cmake_parse_arguments(ARG "" "" "ROOMS;LIBRARIES;TEST_LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp)
  list(REMOVE_ITEM sources ${tests} ${CMAKE_CURRENT_SOURCE_DIR}/main.cpp)

  list(TRANSFORM ARG_ROOMS PREPEND sojourn_)
  if(sources)
    add_library(sojourn_${name} STATIC ${sources})
    target_include_directories(sojourn_${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
    target_link_libraries(sojourn_${name} PUBLIC sojourn_boost ${ARG_ROOMS} ${ARG_LIBRARIES})
    sojourn_precompile(sojourn_${name})
  endif()
  if(tests)
    add_executable(${name}_tests ${tests})
    target_link_libraries(${name}_tests PRIVATE sojourn_${name} GTest::gmock ${ARG_TEST_LIBRARIES})
    if(NOT "sojourn_test_main" IN_LIST ARG_TEST_LIBRARIES)
      target_link_libraries(${name}_tests PRIVATE GTest::gtest_main)
    endif()
    sojourn_precompile(${name}_tests)
    gtest_discover_tests(${name}_tests TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60)
  endif()
endfunction()

# All rooms share one precompiled header of the outside headers that nearly every file needs.
function(sojourn_precompile target)
  if(NOT TARGET sojourn_outside_headers)
    file(WRITE ${CMAKE_BINARY_DIR}/outside_headers.cpp "")
    add_library(sojourn_outside_headers OBJECT ${CMAKE_BINARY_DIR}/outside_headers.cpp)
    target_link_libraries(sojourn_outside_headers PRIVATE sojourn_boost)
    target_precompile_headers(sojourn_outside_headers PRIVATE
      <boost/asio/awaitable.hpp> <boost/asio/any_io_executor.hpp> <boost/asio/use_awaitable.hpp>
      <boost/json/value.hpp> <boost/json/object.hpp> <boost/json/array.hpp>
      <algorithm> <chrono> <cstdint> <deque> <functional> <map> <memory> <optional> <span> <string> <string_view>
      <unordered_map> <utility> <vector>)
  endif()
  target_precompile_headers(${target} REUSE_FROM sojourn_outside_headers)
endfunction()
