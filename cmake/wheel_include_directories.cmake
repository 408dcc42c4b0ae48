# What building against the ROS 2 wheels of a virtual environment needs. On a ROS installation every
# directory exists and none lies in the source tree, so that these functions change nothing.

# The wheels export targets whose Python and numpy include directories are those of the machine they
# were built on, and CMake refuses an imported target with a directory that does not exist. Replaces
# them, on every imported target in sight, by those of the Python in use.
function(replace_missing_include_directories)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(existing "")
    foreach(directory IN LISTS directories)
      if(directory MATCHES "^\\$<" OR EXISTS "${directory}")
        list(APPEND existing "${directory}")
      endif()
    endforeach()
    if(NOT "${existing}" STREQUAL "${directories}")
      find_package(Python3 REQUIRED COMPONENTS Interpreter Development.Module NumPy)
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES
        "${existing};${Python3_INCLUDE_DIRS};${Python3_NumPy_INCLUDE_DIRS}")
    endif()
  endforeach()
endfunction()

# CMake refuses to export a target with an include directory in the source tree, which is where the
# virtual environment, and with it numpy, lies: keep such directories to the build.
function(keep_source_tree_includes_to_the_build target)
  if(NOT TARGET ${target})
    return()
  endif()
  get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
  if(NOT directories)
    return()
  endif()
  set(exported "")
  foreach(directory IN LISTS directories)
    string(FIND "${directory}" "${CMAKE_CURRENT_SOURCE_DIR}/" position)
    if(position EQUAL 0)
      list(APPEND exported "$<BUILD_INTERFACE:${directory}>")
    else()
      list(APPEND exported "${directory}")
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${exported}")
endfunction()
