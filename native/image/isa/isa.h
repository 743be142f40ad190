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

#endif
