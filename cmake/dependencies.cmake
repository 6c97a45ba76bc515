# Every outside library, with its reason. All are Debian 12 packages that scripts/setup installs.

# Boost >= 1.81, headers only: Asio (coroutines, sockets), Beast (HTTP, WebSocket), JSON, URL.
# Debian's default is 1.74, which lacks JSON as we use it and Asio's channels; scripts/setup unpacks 1.81.
set(SOJOURN_BOOST_INCLUDE "" CACHE PATH "A folder that holds boost/version.hpp of Boost >= 1.81")
if(NOT SOJOURN_BOOST_INCLUDE)
  foreach(folder IN ITEMS /usr/include /usr/local/include ${CMAKE_SOURCE_DIR}/build/deps/boost/include)
    if(EXISTS ${folder}/boost/version.hpp)
      file(STRINGS ${folder}/boost/version.hpp line REGEX "^#define BOOST_VERSION [0-9]+")
      string(REGEX MATCH "[0-9]+" version "${line}")
      if(version GREATER_EQUAL 108100)
        set(SOJOURN_BOOST_INCLUDE ${folder})
        break()
      endif()
    endif()
  endforeach()
endif()
if(NOT SOJOURN_BOOST_INCLUDE)
  message(FATAL_ERROR "Boost >= 1.81 headers were not found; run ./scripts/setup first.")
endif()
add_library(sojourn_boost INTERFACE)
if(NOT SOJOURN_BOOST_INCLUDE MATCHES "^/usr/(local/)?include$")
  target_include_directories(sojourn_boost SYSTEM INTERFACE $<BUILD_INTERFACE:${SOJOURN_BOOST_INCLUDE}>)
endif()
target_compile_definitions(sojourn_boost INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION
  BOOST_ASIO_DISABLE_BOOST_REGEX BOOST_ALL_NO_LIB)

find_package(Threads REQUIRED)
find_package(SQLite3 REQUIRED)        # the store of one machine: embedded, durable, fast
find_package(OpenSSL REQUIRED)        # SHA-256 of the journal, TLS
find_package(fmt REQUIRED)            # formatting: libstdc++ 12 has no <format>
find_package(spdlog REQUIRED)         # the server's own log
find_package(tomlplusplus REQUIRED)   # app.toml, sojourn.toml
find_package(CLI11 REQUIRED)          # the command line
find_package(PNG REQUIRED)            # pictures that sojourn app run shows to algorithms
find_package(JPEG REQUIRED)
find_package(GTest REQUIRED)          # tests
find_package(benchmark REQUIRED)      # what single steps cost (bench/micro.cpp)

# The text form of /metrics. Only its core: its CMake package would also ask for the HTTP server and client that its other
# libraries use, and /metrics is a route of our own.
find_library(SOJOURN_PROMETHEUS_CORE prometheus-cpp-core REQUIRED)

# The allocator of the programs that serve: most of what a call allocates on the loop is freed by the store's thread, which
# glibc's arenas take a sixth more of the server's time for. A sanitizer brings its own.
find_package(mimalloc REQUIRED)
add_library(sojourn_allocator INTERFACE)
if(NOT SOJOURN_SANITIZE)
  target_link_libraries(sojourn_allocator INTERFACE mimalloc)
endif()

# Pictures: apps/coin-inspection decodes, measures and draws them. Only its parts that do; their packages have no CMake package.
find_path(SOJOURN_OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
add_library(sojourn_opencv INTERFACE)
target_include_directories(sojourn_opencv SYSTEM INTERFACE ${SOJOURN_OPENCV_INCLUDE})
foreach(part core imgproc imgcodecs)
  find_library(SOJOURN_OPENCV_${part} opencv_${part} REQUIRED)
  target_link_libraries(sojourn_opencv INTERFACE ${SOJOURN_OPENCV_${part}})
endforeach()
