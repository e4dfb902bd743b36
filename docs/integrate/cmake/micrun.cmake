# Makes container images of firmware as a part of its build. CMake 3.20 or later.
#
#   include(micrun.cmake)
#   add_executable(app main.c)
#   micrun_image(app
#     TAG registry.example/demo/app:1.0
#     BOARD qemu_cortex_m3
#     RTOS freertos
#     OPTIONS --set Memory=8 --sbom generate)
#
# gives two targets:
#
#   app-check   checks the ELF file, and fails on errors
#   app-image   makes app.oci.tar beside the build; made again when the ELF file was
#
# TAG, BOARD, PEDESTAL and RTOS are options of `micrun-image-builder pack`; OPTIONS takes any others. Without them the builder
# finds out what it can and says what it assumed. ALL makes the image with every build.

include_guard(GLOBAL)

find_program(MICRUN_IMAGE_BUILDER micrun-image-builder REQUIRED
  DOC "Checks firmware and packs it into container images")

function(micrun_image target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ALL" "TAG;BOARD;PEDESTAL;RTOS;OUTPUT" "OPTIONS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "micrun_image(${target}): unknown ${arg_UNPARSED_ARGUMENTS}; other options go behind OPTIONS")
  endif()
  if(NOT TARGET ${target})
    message(FATAL_ERROR "micrun_image(${target}): there is no such target; call add_executable() first")
  endif()

  # What check and pack both understand.
  set(facts)
  foreach(option BOARD PEDESTAL RTOS)
    if(arg_${option})
      string(TOLOWER ${option} name)
      list(APPEND facts --${name} ${arg_${option}})
    endif()
  endforeach()
  set(options ${arg_OPTIONS})
  if(arg_TAG)
    list(APPEND options --tag ${arg_TAG})
  endif()
  if(NOT arg_OUTPUT)
    set(arg_OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${target}.oci.tar)
  endif()

  add_custom_target(${target}-check
    COMMAND ${MICRUN_IMAGE_BUILDER} check $<TARGET_FILE:${target}> ${facts}
    DEPENDS ${target}
    VERBATIM)
  add_custom_command(
    OUTPUT ${arg_OUTPUT}
    COMMAND ${MICRUN_IMAGE_BUILDER} pack $<TARGET_FILE:${target}> ${facts} ${options} --output ${arg_OUTPUT}
    DEPENDS ${target}
    COMMENT "Packing ${target} into ${arg_OUTPUT}"
    VERBATIM)
  set(all)
  if(arg_ALL)
    set(all ALL)
  endif()
  add_custom_target(${target}-image ${all} DEPENDS ${arg_OUTPUT})
endfunction()
