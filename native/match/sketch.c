/* A sketch of an image's code, so that those that hold the same functions are found: hashes of the reference-free
 * bytes behind instruction starts, those whose hash ends in zeros. What a function refers to does not matter, but what
 * stands there does, so a function that moved to another image has the same hashes. Nothing of it is part of the format. */
#include <stdlib.h>

#include "match/match.h"

#define WINDOW 24
#define SAMPLED ((UINT64_C(1) << 6) - 1) /* one window of 64 */

static uint64_t hash_window(const uint8_t *bytes) {
    uint64_t h = 0;
    for (unsigned i = 0; i < WINDOW; i += 8)
        h = (h ^ ds_load64(bytes + i)) * UINT64_C(0xd6e8feb86659fd93), h ^= h >> 32;
    return h;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static ds_status sample(const ds_side *side, const ds_region *region, ds_sketch *sketch, ds_arena *arena) {
    if (region->class_ != DS_REGION_CODE || region->size < WINDOW)
        return DS_OK;
    for (uint64_t at = region->offset; at + WINDOW <= region->offset + region->size; at++) {
        uint64_t hash = ds_image_is_start(side->image, at) ? hash_window(side->bytes + at) : 1;
        if ((hash & SAMPLED) != 0)
            continue;
        DS_TRY(DS_VEC_RESERVE(arena, &sketch->list, sketch->list.count + 1));
        sketch->list.items[sketch->list.count++] = (uint32_t)(hash >> 32);
    }
    return DS_OK;
}

ds_status ds_sketch_make(const ds_image *image, ds_arena *arena, ds_sketch *sketch) {
    ds_side side;
    *sketch = (ds_sketch){0};
    if (image->starts == NULL)
        return DS_OK;
    DS_TRY(ds_side_open(&side, image, arena));
    DS_TRY(ds_side_label_content(&side, arena));
    for (uint64_t i = 0; i < image->regions.count; i++)
        DS_TRY(sample(&side, &image->regions.items[i], sketch, arena));
    ds_side_close(&side, arena);
    uint64_t kept = 0;
    uint32_t *items = sketch->list.items;
    if (sketch->list.count > 0)
        qsort(items, sketch->list.count, sizeof *items, compare);
    for (uint64_t i = 0; i < sketch->list.count; i++)
        if (i == 0 || items[i] != items[i - 1])
            items[kept++] = items[i];
    sketch->list.count = kept;
    return DS_OK;
}
