# How everything is compiled: C++23, warnings as errors, assertions on in every build.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  message(FATAL_ERROR
    "GCC ${CMAKE_CXX_COMPILER_VERSION} miscompiles coroutines: it destroys owning temporaries twice in statements "
    "with co_await. Use clang++-19 (./scripts/setup installs it; cmake --preset release selects it) or GCC 14.")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)

# Never NDEBUG: assertions state what must hold, and they are cheap beside an fsync.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -gline-tables-only")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
                    -Wextra-semi -Wno-missing-designated-field-initializers -Werror)

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # -fno-pch-timestamp and the sloppiness let ccache keep what is compiled with a precompiled header.
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  add_link_options(-fuse-ld=lld)
endif()

# With the base folder, what needs no precompiled header is found again from a clone in another folder. (A precompiled
# header holds absolute paths, so what uses one is not.)
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

set(SOJOURN_SANITIZE "" CACHE STRING "What -fsanitize= gets; empty for none")
option(SOJOURN_FUZZ "Build the libFuzzer targets" OFF)
if(SOJOURN_SANITIZE)
  add_compile_options(-fsanitize=${SOJOURN_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SOJOURN_SANITIZE})
  if(SOJOURN_SANITIZE MATCHES "undefined")
    # The vptr check opens a pipe to see whether memory can be read, so it is wrong wherever a test uses up descriptors.
    add_compile_options(-fno-sanitize=vptr)
  endif()
endif()
