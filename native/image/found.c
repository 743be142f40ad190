/* References as they are found; see found.h. */
#include "image/found.h"

static ds_status push(ds_image *image, ds_found_ref found) {
    if (image->found.count == image->found.capacity)
        DS_TRY(DS_VEC_RESERVE(image->arena, &image->found, image->found.count + 1));
    image->found.items[image->found.count++] = found;
    return DS_OK;
}

/* The number of an upper half; DS_FOUND_WIDE where there is none left. Most have that of the one before. */
static unsigned number_of(ds_image *image, uint32_t half) {
    unsigned number = 0;
    if (image->half_count > 0 && image->halves[image->last_half] == half)
        return image->last_half;
    while (number < image->half_count && image->halves[number] != half)
        number++;
    if (number == DS_COUNT(image->halves))
        return DS_FOUND_WIDE;
    if (number == image->half_count)
        image->halves[image->half_count++] = half;
    return image->last_half = number;
}

static ds_status push_wide(ds_image *image, const ds_ref *ref) {
    if (image->wide.count > UINT32_MAX)
        return DS_E_MEMORY;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->wide, image->wide.count + 1));
    image->wide.items[image->wide.count++] = *ref;
    return push(image,
                (ds_found_ref){.offset = ref->offset, .low = (uint32_t)(image->wide.count - 1), .half = DS_FOUND_WIDE});
}

ds_status ds_found_ref_add_any(ds_image *image, const ds_ref *ref) {
    while (image->found.count < DS_FOUND_BEFORE)
        DS_TRY(push(image, (ds_found_ref){.offset = 0}));
    uint32_t aux = ds_ref_aux(ref);
    unsigned half = aux > UINT16_MAX ? DS_FOUND_WIDE : number_of(image, (uint32_t)(ref->target >> DS_FOUND_HALF));
    if (half == DS_FOUND_WIDE)
        return push_wide(image, ref);
    return push(image, ds_found_ref_of(ref, half));
}

ds_ref ds_found_ref_get(const ds_image *image, uint64_t number) {
    const ds_found_ref *found = &image->found.items[number];
    if (found->half == DS_FOUND_WIDE)
        return image->wide.items[found->low];
    return (ds_ref){.offset = found->offset,
                    .kind_aux = found->kind | (uint32_t)found->aux << 8,
                    .target = (ds_address)image->halves[found->half] << DS_FOUND_HALF | found->low};
}

void ds_found_ref_set_target(ds_image *image, uint64_t number, ds_address target) {
    ds_found_ref *found = &image->found.items[number];
    if (found->half == DS_FOUND_WIDE)
        image->wide.items[found->low].target = target;
    else
        found->low = (uint32_t)target;
}

void ds_found_ref_free(ds_image *image) {
    DS_VEC_FREE(image->arena, &image->found);
    DS_VEC_FREE(image->arena, &image->wide);
    image->half_count = image->last_half = 0;
}
