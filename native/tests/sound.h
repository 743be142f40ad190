/* Whether a parsed image keeps its promises; for unit tests and fuzz targets. */
#ifndef DS_SOUND_H
#define DS_SOUND_H

#include "image/refs.h"

/* The promises of image.h: inside the file, ascending, disjoint, and solving the field again at its
 * own place gives the target (for kinds that say all in the field). */
static inline bool ds_is_sound(const ds_image *image) {
    uint64_t end = 0;
    ds_ref_cursor cursor;
    ds_ref item;
    const ds_ref *ref = &item;
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &item)) {
        ds_ref_kind kind = ds_ref_kind_of(ref);
        uint64_t length = ds_ref_length(kind);
        if (ref->offset < end || !ds_within(ref->offset, length, image->file.size))
            return false;
        end = ref->offset + length;
        if (kind == DS_REF_ADRP || kind == DS_REF_LO12 || kind == DS_REF_NEXT12 || kind == DS_REF_NEXT11)
            continue;
        uint32_t aux = ds_ref_aux(ref);
        ds_address base = ds_ref_is_based(kind) ? ds_ref_base(image, ref) : 0;
        const uint8_t *field = image->file.data + ref->offset;
        if (ds_ref_solve(kind, field, ds_image_address(image, ref->offset), aux, base, 0) != ref->target)
            return false;
    }
    for (uint64_t i = 0; i + 1 < image->regions.count; i++)
        if (image->regions.items[i].address + image->regions.items[i].size > image->regions.items[i + 1].address)
            return false;
    return true;
}

#endif
