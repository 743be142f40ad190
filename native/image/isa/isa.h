/* Instruction sets: which bytes of code refer to what. A sweep decodes lengths
 * and operands, linearly from each function start; it models no program. */
#ifndef DS_ISA_H
#define DS_ISA_H

#include "image/image.h"

/* A stretch of executable bytes, wholly inside the file and inside one region. */
typedef struct ds_code {
    ds_offset offset;
    ds_address address;
    uint64_t size;
} ds_code;

/* Sweep `code`: mark instruction starts in image->starts and add references.
 * `entries` are sorted, distinct offsets inside the stretch where decoding starts
 * anew (function starts); the start of the stretch always counts as one. */
typedef ds_status (*ds_sweep)(ds_image *image, ds_code code, const ds_offset *entries, uint64_t entry_count);

ds_status ds_x86_64_sweep(ds_image *image, ds_code code, const ds_offset *entries, uint64_t entry_count);
ds_status ds_aarch64_sweep(ds_image *image, ds_code code, const ds_offset *entries, uint64_t entry_count);

/* Where the parts of one x86-64 instruction stand, counted from its first byte; 0: it has none. */
typedef struct ds_x86_64_parts {
    uint8_t length; /* 0: not an instruction */
    uint8_t modrm;
    uint8_t displacement; /* that is no reference */
    uint8_t immediate;
    uint8_t field; /* displacement or distance that names an address */
    uint8_t field_size;
} ds_x86_64_parts;

/* At least DS_X86_64_READ readable bytes. What stands behind a byte has no part in what it is for, but in whether this
 * is an instruction at all. */
#define DS_X86_64_READ 40
ds_x86_64_parts ds_x86_64_take_apart(const uint8_t *bytes);

#endif
