// The table on AMX with registers in memory.
#define MVF_EMULATED_AMX
#define AmxInt8Table EmulatedAmxInt8Table
#include "kernels/amx_int8.cpp"
