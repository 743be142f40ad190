/* References while an image is read: in any order, in twelve bytes each, so that a parser takes no more memory than what
 * comes after it.
 *
 * The upper halves of all targets are a few numbers: kept once, and named. A target whose upper half has no number any
 * more, or an auxiliary value that does not fit, makes a reference a wide one, which is kept whole elsewhere.
 */
#ifndef DS_FOUND_H
#define DS_FOUND_H

#include "image/image.h"

#define DS_FOUND_HALF 32 /* bits of a half */
#define DS_FOUND_WIDE 255u
/* There are so many of no kind before the first. They leave room for it to be packed where it stands: refs.h. */
#define DS_FOUND_BEFORE 2

/* The number of the next one. */
static inline uint64_t ds_found_ref_next(const ds_image *image) {
    return image->found.count < DS_FOUND_BEFORE ? DS_FOUND_BEFORE : image->found.count;
}

static inline ds_found_ref ds_found_ref_of(const ds_ref *ref, unsigned half) {
    return (ds_found_ref){.offset = ref->offset,
                          .low = (uint32_t)ref->target,
                          .aux = (uint16_t)ds_ref_aux(ref),
                          .kind = (uint8_t)ds_ref_kind_of(ref),
                          .half = (uint8_t)half};
}

ds_status ds_found_ref_add_any(ds_image *image, const ds_ref *ref);

/* Most follow one whose target has the same upper half. */
static inline ds_status ds_found_ref_add(ds_image *image, const ds_ref *ref) {
    if (image->found.count == image->found.capacity || image->found.count < DS_FOUND_BEFORE || image->half_count == 0 ||
        ref->target >> DS_FOUND_HALF != image->halves[image->last_half] || ds_ref_aux(ref) > UINT16_MAX)
        return ds_found_ref_add_any(image, ref);
    image->found.items[image->found.count++] = ds_found_ref_of(ref, image->last_half);
    return DS_OK;
}

ds_ref ds_found_ref_get(const ds_image *image, uint64_t number);
/* Another target on the same page of 4096. */
void ds_found_ref_set_target(ds_image *image, uint64_t number, ds_address target);
void ds_found_ref_free(ds_image *image);

#endif
