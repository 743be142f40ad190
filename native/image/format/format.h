/* File formats: where things lie. A parser claims a file by its magic, adds regions,
 * bases, references and slots to the image, collects function starts, and sweeps code
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

/* Bytes of the file that lie together: `address` is DS_FILE_BASE + offset where no region
 * covers them. Size 0: absent. */
typedef struct ds_extent {
    ds_offset offset;
    ds_address address;
    uint64_t size;
} ds_extent;

/* As ds_image_add_field for a caller that knows the address of the field already. */
static inline ds_status ds_add_field_at(ds_image *image, ds_offset offset, ds_address place, ds_ref_kind kind,
                                        uint32_t aux) {
    if (!ds_within(offset, ds_ref_length(kind), image->file.size))
        return DS_OK;
    ds_address base = ds_ref_is_based(kind) && aux < image->bases.count ? image->bases.items[aux] : 0;
    return ds_image_add_ref(image, offset, kind, aux,
                            ds_ref_solve(kind, image->file.data + offset, place, aux, base, 0));
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

/* A key and what it belongs to; sorted by both, so that the order never depends on the method. */
typedef struct ds_pair {
    uint64_t key, value;
} ds_pair;

/* In place, n log n whatever the keys are. */
void ds_sort_pairs(ds_pair *pairs, uint64_t count);

#endif
