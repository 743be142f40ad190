/* File formats: where things lie. A parser claims a file by its magic, adds regions,
 * references and slots to the image, collects function starts, and sweeps code
 * through the instruction set. Foreign bytes are hostile: every offset and count is checked
 * against the file before use; time is linear in the file. */
#ifndef DS_FORMAT_H
#define DS_FORMAT_H

#include "image/image.h"
#include "image/isa/isa.h"

/* Parse the image in [offset, offset + size) of image->file into `space`. *claimed says
 * whether the bytes are of this format at all. Errors: DS_E_MEMORY only. */
ds_status ds_elf_parse(ds_image *image, ds_offset offset, uint64_t size, unsigned space, bool *claimed);
ds_status ds_macho_parse(ds_image *image, ds_offset offset, uint64_t size, unsigned space, bool *claimed);

/* Longest ULEB128 number that can be a field (DS_REF_ULEB4 and its like). */
#define DS_ULEB_FIELD_BYTES 4u

/* ULEB128 forward in [at, end) of `data`; *bytes is 0 when there is none of at most 64 bits. */
static inline uint64_t ds_read_uleb(const uint8_t *data, uint64_t at, uint64_t end, unsigned *bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && at + i < end; i++) {
        value |= (uint64_t)(data[at + i] & 0x7f) << 7 * i;
        if (data[at + i] < 0x80) {
            *bytes = i + 1;
            return value;
        }
    }
    *bytes = 0;
    return 0;
}

/* Regions that a file's headers tell of. */
typedef DS_VEC(ds_region) ds_region_list;

/* Regions of all images of a file together; those past it are left out. Real files have some
 * hundred; the limit bounds look-ups by offset, which go through all regions. Part of the delta format. */
#define DS_REGION_LIMIT 4096

/* Adds those of `proposed` that share neither bytes nor addresses with one before: first by
 * place in the file, then by address; ties: the one proposed first. Regions with bytes must lie
 * inside the file. Changes `proposed`. */
ds_status ds_choose_regions(ds_image *image, ds_region_list *proposed);

/* Sweeps the code regions of one space. Bit i of `functions` says that a function starts at file
 * offset `first` + i; it has a bit for each byte of these regions. */
ds_status ds_sweep_code(ds_image *image, ds_arch arch, ds_address space, const uint8_t *functions, ds_offset first);

/* Behind all functions: where each string of a table of symbols' names starts, so that blocks may be told by names. */
ds_status ds_keep_names(ds_image *image, ds_extent strings);

#endif
