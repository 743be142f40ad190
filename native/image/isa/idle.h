/* What stands between code and the next code: instructions that do nothing, behind one that leads away. Inline, since
 * every instruction of an image is asked. Of an instruction of `size` bytes, at least one.
 */
#ifndef DS_IDLE_H
#define DS_IDLE_H

#include "base/base.h"

/* NOP, and in all lengths that assemblers use; INT3. */
static inline bool ds_x86_64_does_nothing(const uint8_t *bytes, uint64_t size) {
    enum { OPERAND_SIZE = 0x66, SEGMENT_CS = 0x2e };
    if (size == 1 && bytes[0] == 0xcc)
        return true;
    for (; size > 1 && (bytes[0] == OPERAND_SIZE || bytes[0] == SEGMENT_CS); size--)
        bytes++;
    return size == 1 ? bytes[0] == 0x90 : size > 2 && bytes[0] == 0x0f && bytes[1] == 0x1f;
}

/* Returns, and jumps without condition: what stands behind is reached from elsewhere alone. */
static inline bool ds_x86_64_leads_away(const uint8_t *bytes, uint64_t size) {
    enum { NOTRACK = 0x3e };
    if (bytes[0] == NOTRACK && size > 1)
        bytes++, size--;
    switch (bytes[0]) {
    case 0xc3:
        return size == 1;
    case 0xeb:
        return size == 2;
    case 0xe9:
        return size == 5;
    case 0xff:
        return size > 1 && (bytes[1] >> 3 & 7) == 4;
    default:
        return false;
    }
}

/* NOP. */
static inline bool ds_aarch64_does_nothing(const uint8_t *bytes, uint64_t size) {
    return size == 4 && ds_load32(bytes) == 0xd503201f;
}

/* B; BR and RET. */
static inline bool ds_aarch64_leads_away(const uint8_t *bytes, uint64_t size) {
    return size == 4 &&
           ((ds_load32(bytes) & 0xfc000000) == 0x14000000 || (ds_load32(bytes) & 0xffbffc1f) == 0xd61f0000);
}

#endif
