/* Call frame instructions, as records of .eh_frame hold them. DWARF 5 table 7.29, GNU and AArch64 extensions. */
#ifndef DS_CALL_FRAME_H
#define DS_CALL_FRAME_H

#include <stdint.h>

/* What follows an instruction whose upper two bits are 0: how many LEB128 numbers, and whether the last one is the
 * length of bytes behind it; or a step of so many bytes. Opcodes from DS_CALL_FRAME_OPCODES on are unknown. */
enum { DS_OPERANDS_BLOCK = 4, DS_OPERANDS_STEP = 8, DS_OPERANDS_UNKNOWN = 0xff };
#define DS_CALL_FRAME_OPCODES 0x30
extern const uint8_t ds_call_frame_operands[DS_CALL_FRAME_OPCODES];

#endif
