/* Several old files read as one image; docs/spec/image.md, "Joined files".
 *
 * Each part is parsed by itself, then what was found is moved behind what the parts before it have. So a parser
 * knows nothing of parts, and a part that cannot be read does not touch the others.
 */
#include "image/found.h"
#include "image/refs.h"

#define PART_SPACES 61 /* part p has the addresses from p << 61 on: 32 spaces, as many as a file has slices */

typedef struct shift {
    const ds_image *part;
    ds_offset offset;
    ds_address address;
} shift;

static bool is_placed(const ds_image *part, ds_address target) {
    return ds_image_region(part, target) != NULL || ds_image_region(part, target - 1) != NULL;
}

static ds_address moved(const shift *s, ds_address target) {
    if (is_placed(s->part, target))
        return target + s->address;
    return target - DS_FILE_BASE < s->part->file.size ? target + s->offset : target;
}

static ds_status move_regions(ds_image *whole, const shift *s) {
    uint64_t count = s->part->regions.count, before = whole->regions.count;
    DS_TRY(DS_VEC_RESERVE(whole->arena, &whole->regions, before + count + 1));
    DS_TRY(DS_VEC_RESERVE(whole->arena, &whole->by_offset, whole->by_offset.count + s->part->by_offset.count + 1));
    for (uint64_t i = 0; i < count; i++) {
        ds_region region = s->part->regions.items[i];
        region.offset += region.class_ == DS_REGION_NOBITS ? 0 : s->offset;
        region.address += s->address;
        whole->regions.items[whole->regions.count++] = region;
    }
    for (uint64_t i = 0; i < s->part->by_offset.count; i++)
        whole->by_offset.items[whole->by_offset.count++] = (uint32_t)(before + s->part->by_offset.items[i]);
    return DS_OK;
}

static ds_status move_references(ds_image *whole, const shift *s) {
    const ds_image *part = s->part;
    ds_ref_cursor cursor;
    ds_ref ref;
    DS_TRY(DS_VEC_RESERVE(whole->arena, &whole->found, whole->found.count + part->refs.count + DS_FOUND_BEFORE));
    DS_TRY(DS_VEC_RESERVE(whole->arena, &whole->slots, whole->slots.count + part->slots.count + 1));
    ds_refs_all(&cursor, part);
    while (ds_refs_next(&cursor, &ref)) {
        ref.offset += (uint32_t)s->offset;
        ref.target = moved(s, ref.target);
        DS_TRY(ds_found_ref_add(whole, &ref));
    }
    for (uint64_t i = 0; i < part->slots.count; i++) {
        ds_slot slot = part->slots.items[i];
        whole->slots.items[whole->slots.count++] = (ds_slot){slot.offset + (uint32_t)s->offset, moved(s, slot.target)};
    }
    return DS_OK;
}

static ds_status move_lists(ds_image *whole, const shift *s) {
    const ds_image *part = s->part;
    uint64_t before = whole->listed.count;
    DS_TRY(DS_VEC_RESERVE(whole->arena, &whole->lists, whole->lists.count + part->lists.count + 1));
    DS_TRY(DS_VEC_RESERVE(whole->arena, &whole->listed, before + part->listed.count + 1));
    for (uint64_t i = 0; i < part->lists.count; i++) {
        ds_list list = part->lists.items[i];
        list.offset += s->offset;
        list.base += s->address;
        list.first += before;
        whole->lists.items[whole->lists.count++] = list;
    }
    for (uint64_t i = 0; i < part->listed.count; i++)
        whole->listed.items[whole->listed.count++] = part->listed.items[i] + (uint32_t)s->offset;
    return DS_OK;
}

static ds_status move_functions(ds_image *whole, const shift *s) {
    const ds_image *part = s->part;
    DS_TRY(DS_VEC_RESERVE(whole->arena, &whole->functions, whole->functions.count + part->functions.count + 1));
    for (uint64_t i = 0; i < part->functions.count; i++)
        whole->functions.items[whole->functions.count++] = part->functions.items[i] + (uint32_t)s->offset;
    return DS_OK;
}

static void move_starts(ds_image *whole, const shift *s) {
    for (uint64_t i = 0; i < s->part->file.size; i++)
        if (ds_image_is_start(s->part, i))
            whole->starts[(s->offset + i) >> 3] |= (uint8_t)(1u << ((s->offset + i) & 7));
}

static ds_status add_part(ds_image *whole, const ds_image *part, ds_offset offset, unsigned number) {
    shift s = {part, offset, (ds_address)number << PART_SPACES};
    if (part->starts == NULL || whole->regions.count + part->regions.count > DS_REGIONS_MAX)
        return DS_OK;
    if (whole->arch == DS_ARCH_NONE)
        whole->arch = part->arch;
    DS_TRY(move_regions(whole, &s));
    DS_TRY(move_references(whole, &s));
    DS_TRY(move_lists(whole, &s));
    DS_TRY(move_functions(whole, &s));
    move_starts(whole, &s);
    return DS_OK;
}

ds_status ds_image_parse_joined(ds_span file, const uint64_t *sizes, unsigned count, ds_arena *arena, ds_image *out) {
    if (count < 2)
        return ds_image_parse(file, arena, out);
    *out = (ds_image){.file = file, .arena = arena};
    if (file.size > DS_IMAGE_LIMIT)
        return DS_OK;
    out->starts = ds_arena_alloc(arena, file.size / 8 + 1);
    if (out->starts == NULL)
        return DS_E_MEMORY;
    ds_offset offset = 0;
    for (unsigned number = 0; number < count; offset += sizes[number++]) {
        ds_image part;
        DS_TRY(ds_image_parse((ds_span){file.data + offset, sizes[number]}, arena, &part));
        DS_TRY(add_part(out, &part, offset, number));
        ds_image_free(&part);
    }
    return ds_image_settle(out);
}
