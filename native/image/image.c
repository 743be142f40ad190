/* The neutral model's own operations: append, settle (sort, drop overlaps), look up. See image.h. */
#include "image/image.h"

#include "image/found.h"
#include "image/refs.h"
#include "image/sort_refs.h"

/* Number of regions that begin at or before `address`. */
static uint64_t regions_to(const ds_image *image, ds_address address) {
    uint64_t low = 0, high = image->regions.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (image->regions.items[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Number of regions with bytes that begin at or before `offset`. */
static uint64_t loaded_to(const ds_image *image, ds_offset offset) {
    uint64_t low = 0, high = image->by_offset.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (image->regions.items[image->by_offset.items[middle]].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether a region that would be number `at` shares no address with its neighbours. */
static bool is_apart(const ds_image *image, uint64_t at, const ds_region *region) {
    const ds_region *items = image->regions.items;
    return (at == 0 || items[at - 1].address + items[at - 1].size <= region->address) &&
           (at == image->regions.count || region->address + region->size <= items[at].address);
}

/* The same for the bytes of a region that would be number `at` by offset. */
static bool has_own_bytes(const ds_image *image, uint64_t at, const ds_region *region) {
    const ds_region *items = image->regions.items;
    const uint32_t *by_offset = image->by_offset.items;
    if (at > 0 && items[by_offset[at - 1]].offset + items[by_offset[at - 1]].size > region->offset)
        return false;
    return at == image->by_offset.count || region->offset + region->size <= items[by_offset[at]].offset;
}

ds_status ds_image_add_region(ds_image *image, ds_region region) {
    bool loaded = region.class_ != DS_REGION_NOBITS;
    if (region.size == 0 || image->regions.count == DS_REGIONS_MAX || region.address + region.size < region.address)
        return DS_OK;
    if (loaded && !ds_within(region.offset, region.size, image->file.size))
        return DS_OK;
    uint64_t at = regions_to(image, region.address), rank = loaded_to(image, region.offset);
    if (!is_apart(image, at, &region) || (loaded && !has_own_bytes(image, rank, &region)))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->regions, image->regions.count + 1));
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->by_offset, image->by_offset.count + 1));
    ds_region *items = image->regions.items;
    uint32_t *by_offset = image->by_offset.items;
    memmove(items + at + 1, items + at, (size_t)(image->regions.count++ - at) * sizeof *items);
    items[at] = region;
    for (uint64_t i = 0; i < image->by_offset.count; i++)
        by_offset[i] += by_offset[i] >= at;
    if (!loaded)
        return DS_OK;
    memmove(by_offset + rank + 1, by_offset + rank, (size_t)(image->by_offset.count++ - rank) * sizeof *by_offset);
    by_offset[rank] = (uint32_t)at;
    return DS_OK;
}

ds_status ds_image_add_ref(ds_image *image, ds_offset offset, ds_ref_kind kind, uint32_t aux, ds_address target) {
    if (!ds_within(offset, ds_ref_length(kind), image->file.size) || aux >> 24 != 0)
        return DS_OK;
    ds_ref ref = {.offset = (uint32_t)offset, .kind_aux = (uint32_t)kind | aux << 8, .target = target};
    return ds_found_ref_add(image, &ref);
}

ds_status ds_image_add_field(ds_image *image, ds_offset offset, ds_address place, ds_ref_kind kind, ds_address base) {
    if (!ds_within(offset, ds_ref_length(kind), image->file.size))
        return DS_OK;
    return ds_image_add_ref(image, offset, kind, 0, ds_ref_solve(kind, image->file.data + offset, place, 0, base, 0));
}

void ds_image_add_fresh(ds_image *image, ds_offset offset, uint64_t size) {
    if (image->fresh_count < DS_FRESH_MAX && ds_within(offset, size, image->file.size))
        image->fresh[image->fresh_count++] = (ds_fresh){offset, size};
}

ds_status ds_image_add_slot(ds_image *image, ds_offset offset, ds_address target) {
    if (!ds_within(offset, 8, image->file.size))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->slots, image->slots.count + 1));
    image->slots.items[image->slots.count++] = (ds_slot){.offset = (uint32_t)offset, .target = target};
    return DS_OK;
}

/* For `more` that do not fit where they were found: wide ones take more than their place there. */
static ds_status pack_elsewhere(ds_image *image, uint64_t more) {
    ds_refs *refs = &image->refs;
    uint8_t *room = ds_arena_alloc(image->arena, refs->size + more * DS_REF_PACKED_MOST);
    if (room != NULL)
        memcpy(room, refs->bytes, refs->size);
    else
        refs->count = 0;
    refs->bytes = room;
    return room == NULL ? DS_E_MEMORY : DS_OK;
}

/* They are packed where they stand, as long as what is written does not reach what is still to be read. */
static ds_status pack_found(ds_image *image) {
    ds_ref_packer packer;
    uint64_t end = 0, count = image->found.count;
    uint8_t *found = (uint8_t *)image->found.items;
    DS_TRY(ds_refs_pack_open(&packer, image, found));
    for (uint64_t i = DS_FOUND_BEFORE; i < count; i++) {
        ds_ref ref = ds_found_ref_get(image, i);
        if (ref.offset < end)
            continue;
        if (image->refs.bytes == found && image->refs.size + DS_REF_PACKED_MOST > (i + 1) * sizeof(ds_found_ref))
            DS_TRY(pack_elsewhere(image, count - i));
        end = ds_refs_pack(&packer, &ref);
    }
    if (image->refs.bytes == found)
        image->found.items = NULL;
    ds_found_ref_free(image);
    return ds_refs_pack_close(&packer);
}

ds_status ds_image_settle(ds_image *image) {
    DS_TRY(ds_sort_refs(image->found.items, image->found.count, image->arena));
    if (image->found.count > 0)
        return pack_found(image);
    ds_found_ref_free(image);
    return DS_OK;
}

const ds_region *ds_image_region(const ds_image *image, ds_address address) {
    uint64_t before = regions_to(image, address);
    if (before == 0)
        return NULL;
    const ds_region *region = &image->regions.items[before - 1];
    return address - region->address < region->size ? region : NULL;
}

ds_address ds_image_address(const ds_image *image, ds_offset offset) {
    uint64_t before = loaded_to(image, offset);
    if (before > 0) {
        const ds_region *region = &image->regions.items[image->by_offset.items[before - 1]];
        if (offset - region->offset < region->size)
            return region->address + (offset - region->offset);
    }
    return DS_FILE_BASE + offset;
}

bool ds_image_offset(const ds_image *image, ds_address address, ds_offset *offset) {
    if (address - DS_FILE_BASE < image->file.size) {
        *offset = address - DS_FILE_BASE;
        return true;
    }
    const ds_region *region = ds_image_region(image, address);
    if (region == NULL || region->class_ == DS_REGION_NOBITS)
        return false;
    *offset = region->offset + (address - region->address);
    return true;
}

uint64_t ds_image_functions_before(const ds_image *image, ds_offset offset) {
    uint64_t low = 0, high = image->functions.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (image->functions.items[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

ds_status ds_image_open_list(ds_image *image, ds_list list) {
    list.first = image->listed.count;
    list.count = 0;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->lists, image->lists.count + 1));
    image->lists.items[image->lists.count++] = list;
    return DS_OK;
}

ds_status ds_image_add_listed(ds_image *image, ds_address address) {
    ds_list *list = &image->lists.items[image->lists.count - 1];
    ds_offset offset;
    if (!ds_image_offset(image, address, &offset) ||
        (list->count > 0 && offset <= image->listed.items[image->listed.count - 1]))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->listed, image->listed.count + 1));
    image->listed.items[image->listed.count++] = (uint32_t)offset;
    list->count++;
    return DS_OK;
}

void ds_image_free(ds_image *image) {
    DS_VEC_FREE(image->arena, &image->regions);
    DS_VEC_FREE(image->arena, &image->by_offset);
    ds_found_ref_free(image);
    ds_refs_free(image);
    DS_VEC_FREE(image->arena, &image->slots);
    DS_VEC_FREE(image->arena, &image->signatures);
    DS_VEC_FREE(image->arena, &image->spellings);
    DS_VEC_FREE(image->arena, &image->lists);
    DS_VEC_FREE(image->arena, &image->listed);
    DS_VEC_FREE(image->arena, &image->functions);
    ds_arena_free(image->arena, image->starts);
    *image = (ds_image){0};
}
