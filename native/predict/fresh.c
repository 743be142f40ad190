/* Expecting them, and leaving them out; see fresh.h. */
#include "predict/fresh.h"

static bool has_byte(const ds_region *region, ds_offset offset) {
    return region->class_ != DS_REGION_NOBITS && offset >= region->offset && offset - region->offset < region->size;
}

static ds_offset expect(const ds_image *old_image, ds_offset offset, const ds_region *regions, uint64_t count,
                        uint64_t new_size) {
    for (uint64_t i = 0; i < old_image->regions.count; i++) {
        const ds_region *old_region = &old_image->regions.items[i];
        if (has_byte(old_region, offset))
            return i < count ? regions[i].offset + (offset - old_region->offset) : offset;
    }
    return new_size - (old_image->file.size - offset);
}

ds_fresh_places ds_fresh_expect(const ds_image *old_image, const ds_region *regions, uint64_t count,
                                uint64_t new_size) {
    ds_fresh_places places = {0};
    for (unsigned i = 0; i < old_image->fresh_count; i++) {
        const ds_fresh *fresh = &old_image->fresh[i];
        ds_offset offset = expect(old_image, fresh->offset, regions, count, new_size);
        if (ds_within(offset, fresh->size, new_size))
            places.items[places.count++] = (ds_fresh){offset, fresh->size};
    }
    return places;
}

static bool came(const ds_fresh *place, const ds_fresh *old_fresh, const ds_image *old_image,
                 const ds_image *new_image) {
    for (unsigned i = 0; i < new_image->fresh_count; i++)
        if (new_image->fresh[i].offset == place->offset && new_image->fresh[i].size == place->size)
            return memcmp(new_image->file.data + place->offset, old_image->file.data + old_fresh->offset,
                          place->size) != 0;
    return false;
}

bool ds_fresh_came(const ds_fresh_places *places, const ds_image *old_image, const ds_image *new_image) {
    bool all = places->count > 0 && places->count == old_image->fresh_count;
    for (unsigned i = 0; all && i < places->count; i++)
        all = came(&places->items[i], &old_image->fresh[i], old_image, new_image);
    return all;
}

ds_offset ds_fresh_run(const ds_fresh_places *places, ds_offset at, ds_offset end, bool *fresh) {
    ds_offset next = end;
    for (unsigned i = 0; i < places->count; i++) {
        const ds_fresh *place = &places->items[i];
        *fresh = at >= place->offset && at - place->offset < place->size;
        if (*fresh)
            return place->offset + place->size < end ? place->offset + place->size : end;
        if (place->offset > at && place->offset < next)
            next = place->offset;
    }
    *fresh = false;
    return next;
}

static ds_offset run_of(const void *places, ds_offset at, ds_offset end, bool *fresh) {
    return ds_fresh_run(places, at, end, fresh);
}

ds_status ds_fresh_clip(const ds_fresh_places *places, ds_blocks *blocks, ds_arena *arena) {
    return places->count == 0 ? DS_OK : ds_blocks_leave_out(blocks, run_of, places, arena);
}
