/* Jump tables and the other bookkeeping of sweeps. See sweep.h. */
#include "image/isa/sweep.h"

#include "image/found.h"

ds_status ds_sweep_open(ds_sweep_state *state, ds_image *image, ds_code code, uint64_t per_reference) {
    *state = (ds_sweep_state){.image = image, .code = code, .first_ref = ds_found_ref_next(image)};
    if (image->starts == NULL || !ds_within(code.offset, code.size, image->file.size))
        return DS_E_ARGUMENT;
    return DS_VEC_RESERVE(image->arena, &image->found, image->found.count + code.size / per_reference + 1);
}

ds_status ds_sweep_add_table(ds_sweep_state *state, ds_table table) {
    if (state->tables.count == state->tables.capacity)
        DS_TRY(DS_VEC_RESERVE(state->image->arena, &state->tables, state->tables.count + 1));
    state->tables.items[state->tables.count++] = table;
    return DS_OK;
}

/* The table at `table` may run to `limit`, which lies in its region or just behind it. */
ds_status ds_sweep_read_table(ds_sweep_state *state, ds_table table, ds_address limit, ds_address *end) {
    ds_image *image = state->image;
    ds_address place = table.address;
    ds_offset offset = 0;
    *end = place;
    if (place % DS_TABLE_ENTRY != 0 || !ds_image_offset(image, place, &offset))
        return DS_OK;
    for (; place < limit && limit - place >= DS_TABLE_ENTRY; place += DS_TABLE_ENTRY, offset += DS_TABLE_ENTRY) {
        if (!ds_within(offset, DS_TABLE_ENTRY, image->file.size))
            break;
        uint64_t entry = ds_load32(image->file.data + offset);
        ds_address target = table.address + ((entry ^ 0x80000000u) - 0x80000000u);
        uint64_t in_code = target - state->code.address;
        if (in_code >= state->code.size || target - table.site + DS_TABLE_REACH > 2 * DS_TABLE_REACH ||
            !ds_sweep_marked(state, state->code.offset + in_code))
            break;
        DS_TRY(ds_image_add_ref(image, offset, DS_REF_BASE32, 0, target));
    }
    *end = place;
    return DS_OK;
}

static bool before(ds_table a, ds_table b) {
    return a.address != b.address ? a.address < b.address : a.site < b.site;
}

static void sift_down(ds_table *items, uint64_t root, uint64_t count) {
    ds_table item = items[root];
    for (uint64_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && before(items[child], items[child + 1]))
            child++;
        if (!before(item, items[child]))
            break;
        items[root] = items[child];
    }
    items[root] = item;
}

/* Heap sort: n log n whatever the input, in place. */
static void sort_tables(ds_table *items, uint64_t count) {
    for (uint64_t i = count / 2; i-- > 0;)
        sift_down(items, i, count);
    for (uint64_t i = count; i-- > 1;) {
        ds_table last = items[i];
        items[i] = items[0];
        items[0] = last;
        sift_down(items, 0, i);
    }
}

/* Of the same table noted twice the lowest load stays. */
static uint64_t drop_duplicates(ds_table *items, uint64_t count) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++)
        if (kept == 0 || items[kept - 1].address != items[i].address)
            items[kept++] = items[i];
    return kept;
}

/* Lowers the limit of the table below each address that the sweep's references name. */
static void limit_tables(const ds_sweep_state *state, ds_address *limits) {
    const ds_table *tables = state->tables.items;
    uint64_t count = state->tables.count;
    ds_address lowest = tables[0].address, highest = limits[count - 1];
    for (uint64_t i = state->first_ref; i < state->image->found.count; i++) {
        ds_ref ref = ds_found_ref_get(state->image, i);
        if (ref.target <= lowest || ref.target >= highest)
            continue;
        uint64_t low = 0, high = count; /* tables[low - 1] is the last below the target */
        while (low < high) {
            uint64_t middle = (low + high) / 2;
            if (tables[middle].address < ref.target)
                low = middle + 1;
            else
                high = middle;
        }
        if (ref.target < limits[low - 1])
            limits[low - 1] = ref.target;
    }
}

static ds_status read_tables(ds_sweep_state *state) {
    if (state->tables.count == 0)
        return DS_OK;
    ds_table *tables = state->tables.items;
    sort_tables(tables, state->tables.count);
    uint64_t count = state->tables.count = drop_duplicates(tables, state->tables.count);
    ds_address *limits = ds_arena_alloc(state->image->arena, count * sizeof *limits);
    if (limits == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < count; i++) {
        const ds_region *region = ds_image_region(state->image, tables[i].address);
        limits[i] = region == NULL ? tables[i].address : region->address + region->size;
        if (i + 1 < count && tables[i + 1].address < limits[i])
            limits[i] = tables[i + 1].address;
    }
    limit_tables(state, limits);
    ds_status status = DS_OK;
    for (uint64_t i = 0; i < count && status == DS_OK; i++) {
        ds_address end;
        status = ds_sweep_read_table(state, tables[i], limits[i], &end);
    }
    ds_arena_free(state->image->arena, limits);
    return status;
}

ds_status ds_sweep_close(ds_sweep_state *state, ds_status status) {
    if (status == DS_OK)
        status = read_tables(state);
    DS_VEC_FREE(state->image->arena, &state->tables);
    return status;
}
