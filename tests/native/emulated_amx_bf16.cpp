// The table on AMX with registers in memory.
#define MVF_EMULATED_AMX
#define AmxBf16Table EmulatedAmxBf16Table
#include "kernels/amx_bf16.cpp"
