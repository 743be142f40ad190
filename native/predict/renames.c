/* Where renames occur, and what becomes of the bytes there; see renames.h. */
#include "predict/renames.h"

#include "predict/map.h"

/* ---- which rename stands somewhere ---- */

#define TABLE_BITS 10
#define TABLE_SIZE ((uint64_t)1 << TABLE_BITS)
#define FREE UINT16_MAX
_Static_assert(TABLE_SIZE >= 4 * DS_RENAMES_MAX, "a search ends soon");

/* Renames by their first eight old bytes. */
typedef struct table {
    uint64_t keys[TABLE_SIZE];
    uint16_t numbers[TABLE_SIZE];
    uint64_t begins[UINT16_MAX / 64 + 1]; /* a bit for the first two bytes: most places have none of these */
} table;

static uint64_t place_of(const table *t, uint64_t key) {
    uint64_t at = (key * UINT64_C(0x9fb21c651e98df25)) >> (64 - TABLE_BITS);
    while (t->numbers[at] != FREE && t->keys[at] != key)
        at = (at + 1) % TABLE_SIZE;
    return at;
}

static ds_status fill(table *t, const ds_renames *renames, ds_span old_file) {
    memset(t->numbers, 0xff, sizeof t->numbers);
    memset(t->begins, 0, sizeof t->begins);
    for (uint64_t i = 0; i < renames->list.count; i++) {
        uint64_t key = ds_load64(old_file.data + renames->list.items[i].offset), at = place_of(t, key);
        if (t->numbers[at] != FREE)
            return DS_E_DELTA;
        t->keys[at] = key;
        t->numbers[at] = (uint16_t)i;
        t->begins[(key & UINT16_MAX) / 64] |= UINT64_C(1) << key % 64;
    }
    return DS_OK;
}

static bool may_begin(const table *t, const uint8_t *bytes) {
    uint64_t two = (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8;
    return t->begins[two / 64] >> two % 64 & 1;
}

/* ---- occurrences ---- */

/* In old bytes that lie in one region, or in none. */
static ds_status locate_in(ds_renames *renames, const table *t, ds_span old_file, ds_offset at, ds_offset end,
                           ds_arena *arena) {
    while (end - at >= DS_RENAME_SIZE_MIN) {
        const uint8_t *bytes = old_file.data + at;
        uint16_t number = may_begin(t, bytes) ? t->numbers[place_of(t, ds_load64(bytes))] : FREE;
        const ds_rename *rename = number != FREE ? &renames->list.items[number] : NULL;
        if (rename == NULL || rename->size > end - at ||
            memcmp(bytes, old_file.data + rename->offset, rename->size) != 0) {
            at++;
            continue;
        }
        DS_TRY(DS_VEC_RESERVE(arena, &renames->occurrences, renames->occurrences.count + 1));
        renames->occurrences.items[renames->occurrences.count++] = (ds_occurrence){(uint32_t)at, number};
        at += rename->size;
    }
    return DS_OK;
}

static ds_status locate(ds_renames *renames, const table *t, const ds_image *old_image, const ds_layout *layout,
                        ds_arena *arena) {
    for (ds_offset at = 0, end; at < old_image->file.size; at = end) {
        bool code = ds_layout_code(layout, at, &end) != NULL;
        end = end < old_image->file.size ? end : old_image->file.size;
        if (!code)
            DS_TRY(locate_in(renames, t, old_image->file, at, end, arena));
    }
    return DS_OK;
}

ds_status ds_renames_locate(ds_renames *renames, const ds_image *old_image, ds_arena *arena) {
    ds_layout layout = {0};
    renames->occurrences.count = 0;
    if (renames->list.count == 0)
        return DS_OK;
    table *t = ds_arena_alloc(arena, sizeof *t);
    if (t == NULL)
        return DS_E_MEMORY;
    DS_TRY(fill(t, renames, old_image->file));
    DS_TRY(ds_layout_build(&layout, old_image->regions.items, old_image->regions.count, arena));
    DS_TRY(locate(renames, t, old_image, &layout, arena));
    ds_layout_free(&layout, arena);
    ds_arena_free(arena, t);
    return DS_OK;
}

void ds_renames_free(ds_renames *renames, ds_arena *arena) {
    DS_VEC_FREE(arena, &renames->list);
    DS_VEC_FREE(arena, &renames->occurrences);
}

/* ---- renaming ---- */

/* The first occurrence that ends behind `at`. */
static uint64_t first_behind(const ds_renames *renames, ds_offset at) {
    uint64_t low = 0, high = renames->occurrences.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        const ds_occurrence *o = &renames->occurrences.items[middle];
        if (o->offset + renames->list.items[o->number].size <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void ds_renames_put(const ds_renames *renames, ds_offset at, uint8_t *bytes, uint64_t size) {
    uint64_t count = renames->occurrences.count;
    for (uint64_t i = count > 0 ? first_behind(renames, at) : 0; i < count; i++) {
        const ds_occurrence *o = &renames->occurrences.items[i];
        const ds_rename *rename = &renames->list.items[o->number];
        if (o->offset >= at + size)
            return;
        ds_offset from = o->offset > at ? o->offset : at, to = o->offset + rename->size;
        to = to < at + size ? to : at + size;
        memcpy(bytes + (from - at), rename->bytes + (from - o->offset), to - from);
    }
}
