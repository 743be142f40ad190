/* What parsers of file formats share. See format.h. */
#include "image/format/format.h"

ds_status ds_choose_regions(ds_image *image, ds_region_list *proposed) {
    uint64_t count = 0, end = 0;
    ds_pair *order = ds_arena_alloc(image->arena, proposed->count * sizeof *order);
    if (order == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < proposed->count; i++)
        order[i] = (ds_pair){proposed->items[i].offset, i};
    ds_sort_pairs(order, proposed->count);
    for (uint64_t i = 0; i < proposed->count; i++) {
        ds_region *region = &proposed->items[order[i].value];
        if (region->class_ == DS_REGION_NOBITS)
            continue;
        if (region->offset < end)
            region->size = 0;
        else
            end = region->offset + region->size;
    }
    for (uint64_t i = 0; i < proposed->count; i++)
        if (proposed->items[i].size != 0)
            order[count++] = (ds_pair){proposed->items[i].address, i};
    ds_sort_pairs(order, count);
    end = 0;
    ds_status status = DS_OK;
    for (uint64_t i = 0; i < count && image->regions.count < DS_REGION_LIMIT && status == DS_OK; i++) {
        ds_region region = proposed->items[order[i].value];
        if (region.address < end)
            continue;
        end = region.address + region.size;
        status = ds_image_add_region(image, region);
    }
    ds_arena_free(image->arena, order);
    return status;
}

/* Those behind the ones of regions before. */
static ds_status keep_functions(ds_image *image, const ds_offset *entries, uint64_t count) {
    uint64_t kept = image->functions.count;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->functions, kept + count + 1));
    if (count > 0 && (kept == 0 || entries[0] > image->functions.items[kept - 1]))
        for (uint64_t i = 0; i < count; i++)
            image->functions.items[kept++] = (uint32_t)entries[i];
    image->functions.count = kept;
    return DS_OK;
}

static ds_status sweep_region(ds_image *image, ds_sweep sweep, const ds_region *region, const uint8_t *functions,
                              ds_offset first) {
    DS_VEC(ds_offset) entries = {0};
    ds_status status = DS_OK;
    uint64_t end = region->offset + region->size - first;
    for (uint64_t at = region->offset - first; at < end && status == DS_OK; at++) {
        if (functions[at / 8] == 0) {
            at |= 7; /* none in this byte */
            continue;
        }
        if ((functions[at / 8] >> at % 8 & 1) == 0)
            continue;
        status = DS_VEC_RESERVE(image->arena, &entries, entries.count + 1);
        if (status == DS_OK)
            entries.items[entries.count++] = first + at;
    }
    if (status == DS_OK)
        status = sweep(image, (ds_code){region->offset, region->address, region->size}, entries.items, entries.count);
    if (status == DS_OK)
        status = keep_functions(image, entries.items, entries.count);
    DS_VEC_FREE(image->arena, &entries);
    return status;
}

ds_status ds_sweep_code(ds_image *image, ds_arch arch, ds_address space, const uint8_t *functions, ds_offset first) {
    ds_sweep sweep = arch == DS_ARCH_X86_64 ? ds_x86_64_sweep : ds_aarch64_sweep;
    for (uint64_t i = 0; i < image->regions.count; i++) {
        ds_region *region = &image->regions.items[i];
        if (region->class_ != DS_REGION_CODE || (region->address & DS_SPACE_MASK) != space)
            continue;
        region->words = arch == DS_ARCH_AARCH64;
        DS_TRY(sweep_region(image, sweep, region, functions, first));
    }
    return DS_OK;
}

ds_status ds_keep_names(ds_image *image, ds_extent strings) {
    const uint8_t *bytes = image->file.data + strings.offset;
    uint64_t kept = image->functions.count;
    if (kept > 0 && strings.offset <= image->functions.items[kept - 1])
        return DS_OK;
    for (uint64_t at = 1; at < strings.size; at++) {
        if (bytes[at - 1] != 0 || bytes[at] == 0)
            continue;
        DS_TRY(DS_VEC_RESERVE(image->arena, &image->functions, kept + 1));
        image->functions.items[kept++] = (uint32_t)(strings.offset + at);
        image->functions.count = kept;
    }
    return DS_OK;
}
