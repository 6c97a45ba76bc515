# What `cmake --install` puts under its prefix: the program, the rooms as libraries with their headers, a package for
# find_package(sojourn), the SDK for Python, and what `sojourn app new` copies. The build's own folder has the package and
# share/sojourn at the same places, so that it serves as a prefix too.
include(CMakePackageConfigHelpers)

# What was compiled with a sanitizer can be linked with it only.
if(SOJOURN_SANITIZE)
  target_compile_options(sojourn_boost INTERFACE $<INSTALL_INTERFACE:-fsanitize=${SOJOURN_SANITIZE}>
                                                 $<INSTALL_INTERFACE:-fno-sanitize=vptr>)
  target_link_options(sojourn_boost INTERFACE $<INSTALL_INTERFACE:-fsanitize=${SOJOURN_SANITIZE}>)
endif()

set(rooms base http client store session flow worker crew steps device runtime server)
foreach(room IN LISTS rooms)
  set_target_properties(sojourn_${room} PROPERTIES EXPORT_NAME ${room})
endforeach()
set_target_properties(sojourn_boost PROPERTIES EXPORT_NAME boost)
list(TRANSFORM rooms PREPEND sojourn_ OUTPUT_VARIABLE libraries)

set_target_properties(sojourn_headers PROPERTIES EXPORT_NAME headers)
install(TARGETS ${libraries} sojourn_boost sojourn_headers EXPORT sojourn ARCHIVE DESTINATION lib INCLUDES DESTINATION include)
install(TARGETS sojourn sojourn_algorithm RUNTIME DESTINATION bin)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/sojourn DESTINATION include FILES_MATCHING
        PATTERN *.hpp PATTERN *.def PATTERN *_test.hpp EXCLUDE PATTERN test_*.hpp EXCLUDE PATTERN testdata EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/sdk/python/sojourn DESTINATION share/sojourn/python PATTERN __pycache__ EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/templates DESTINATION share/sojourn)

set(package ${CMAKE_BINARY_DIR}/lib/cmake/sojourn)
configure_file(${CMAKE_CURRENT_LIST_DIR}/sojournConfig.cmake.in ${package}/sojournConfig.cmake @ONLY)
write_basic_package_version_file(${package}/sojournConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${package}/sojournConfig.cmake ${package}/sojournConfigVersion.cmake DESTINATION lib/cmake/sojourn)
install(EXPORT sojourn NAMESPACE sojourn:: FILE sojournTargets.cmake DESTINATION lib/cmake/sojourn)
export(EXPORT sojourn NAMESPACE sojourn:: FILE ${package}/sojournTargets.cmake)

file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/sojourn)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/sdk/python ${CMAKE_BINARY_DIR}/share/sojourn/python SYMBOLIC)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/templates ${CMAKE_BINARY_DIR}/share/sojourn/templates SYMBOLIC)
