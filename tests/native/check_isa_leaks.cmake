# A weak symbol in an object compiled with ISA flags can be the copy that the linker keeps for the whole library, and
# then runs on CPUs without that ISA. Each object may define its table's getter and no other code that others can link
# to (V is a weak object: data).
if(NOT OBJECTS)
  message(FATAL_ERROR "no objects given")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} --defined-only --extern-only -C ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES " V " AND NOT line MATCHES " T mvf::[A-Za-z0-9]+Table\\(\\)$")
      message(SEND_ERROR "${object} leaks: ${line}")
    endif()
  endforeach()
endforeach()
