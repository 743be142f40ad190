/* Code of the new image; see made_code.h. */
#include "delta/made_code.h"

static bool is_code(const ds_region *region) {
    return region->class_ == DS_REGION_CODE;
}

ds_status ds_made_code_open(ds_made_code *code, const ds_layout *layout, ds_span written, ds_arena *arena) {
    uint64_t total = 0;
    *code = (ds_made_code){.layout = layout, .written = written};
    for (uint64_t i = 0; i < layout->loaded.count; i++)
        if (is_code(&layout->loaded.items[i]) && !ds_add(total, layout->loaded.items[i].size, &total))
            return DS_OK;
    code->is_on = total > 0 && total <= DS_MADE_CODE_MAX;
    if (!code->is_on || written.data != NULL)
        return DS_OK;
    code->kept = ds_arena_alloc(arena, total);
    return code->kept == NULL ? DS_E_MEMORY : DS_OK;
}

void ds_made_code_close(ds_made_code *code, ds_arena *arena) {
    if (code->kept != NULL)
        ds_arena_free(arena, code->kept);
    *code = (ds_made_code){0};
}

void ds_made_code_add(ds_made_code *code, const uint8_t *bytes, uint64_t size) {
    ds_offset at = code->made, end = at + size;
    uint64_t kept = 0;
    for (uint64_t i = 0; code->kept != NULL && i < code->layout->loaded.count; i++) {
        const ds_region *region = &code->layout->loaded.items[i];
        if (!is_code(region))
            continue;
        ds_offset from = at > region->offset ? at : region->offset, stop = region->offset + region->size;
        if (end < stop)
            stop = end;
        if (from < stop)
            memcpy(code->kept + kept + (from - region->offset), bytes + (from - at), stop - from);
        kept += region->size;
    }
    code->made = end;
}

ds_span ds_made_code_at(const ds_made_code *code, ds_address address, uint64_t size, ds_offset end) {
    ds_offset offset, stop, kept = 0;
    if (!code->is_on || size == 0 || !ds_layout_offset(code->layout, address, &offset))
        return (ds_span){0};
    const ds_region *region = ds_layout_code(code->layout, offset, &stop);
    if (region == NULL || size > stop - offset || offset + size > end)
        return (ds_span){0};
    if (code->written.data != NULL)
        return (ds_span){code->written.data + offset, size};
    for (const ds_region *before = code->layout->loaded.items; before < region; before++)
        kept += is_code(before) ? before->size : 0;
    return (ds_span){code->kept + kept + (offset - region->offset), size};
}
