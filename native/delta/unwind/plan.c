/* Which old record each new one follows; see plan.h. */
#include "delta/unwind/plan.h"

/* Starts of functions, and the numbers of their records; ascending by both. */
typedef struct starts {
    ds_pair *items;
    uint64_t count;
} starts;

/* `map` leads old starts to where they should be; NULL for those of a new table. */
static ds_status list_starts(const ds_frame_table *table, const ds_map *map, ds_arena *arena, starts *out) {
    *out = (starts){.items = ds_arena_alloc(arena, (table->records.count + 1) * sizeof *out->items)};
    if (out->items == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < table->records.count; i++) {
        const ds_frame_record *record = &table->records.items[i];
        if (record->kind == DS_FRAME_FDE)
            out->items[out->count++] = (ds_pair){map != NULL ? ds_map_address(map, record->start) : record->start, i};
    }
    ds_sort_pairs(out->items, out->count);
    return DS_OK;
}

/* The first pair of a start, at least of the number `from`; of the start alone where there is none. False: none. */
static bool find_start(const starts *all, ds_address start, uint64_t from, uint64_t *number) {
    uint64_t low = 0, high = all->count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        const ds_pair *pair = &all->items[middle];
        if (pair->key < start || (pair->key == start && pair->value < from))
            low = middle + 1;
        else
            high = middle;
    }
    if (low < all->count && all->items[low].key == start) {
        *number = all->items[low].value;
        return true;
    }
    if (low == 0 || all->items[low - 1].key != start)
        return false;
    *number = all->items[low - 1].value;
    return true;
}

static bool is_of_kind(const ds_frame_table *table, uint64_t number, uint8_t kind) {
    return number < table->records.count && table->records.items[number].kind == kind;
}

/* An old record of the kind, `next` or, of CIEs, the one of the same size that comes first. */
static bool find_other(const ds_frame_table *old_table, const ds_frame_record *record, uint64_t next,
                       uint64_t *number) {
    *number = next;
    if (is_of_kind(old_table, next, record->kind) && old_table->records.items[next].size == record->size)
        return true;
    for (uint64_t i = 0; record->kind == DS_FRAME_CIE && i < old_table->cies.count; i++) {
        *number = old_table->cies.items[i];
        if (old_table->records.items[*number].size == record->size)
            return true;
    }
    return false;
}

/* One that goes where an old function should, follows it. Else the next old one, if that should be where no function
 * is: it may have moved otherwise. */
static ds_frame_planned plan_fde(const ds_frame_record *record, uint64_t next, const ds_frame_table *old_table,
                                 const ds_map *map, const starts *led, const starts *there) {
    uint64_t number;
    if (find_start(led, record->start, next, &number))
        return (ds_frame_planned){DS_FRAME_FOLLOWS, (uint32_t)number};
    if (is_of_kind(old_table, next, DS_FRAME_FDE) &&
        !find_start(there, ds_map_address(map, old_table->records.items[next].start), 0, &number))
        return (ds_frame_planned){DS_FRAME_FOLLOWS, (uint32_t)next};
    return (ds_frame_planned){DS_FRAME_OWN, 0};
}

static void plan_all(ds_frame_plan *plan, const ds_frame_table *old_table, const ds_map *map, const starts *led,
                     const starts *there) {
    uint64_t next = 0, number;
    for (uint64_t i = 0; i < plan->table.records.count; i++) {
        const ds_frame_record *record = &plan->table.records.items[i];
        ds_frame_planned planned = {DS_FRAME_RAW, 0};
        if (record->kind == DS_FRAME_FDE)
            planned = plan_fde(record, next, old_table, map, led, there);
        else if (find_other(old_table, record, next, &number))
            planned = (ds_frame_planned){DS_FRAME_FOLLOWS, (uint32_t)number};
        if (planned.way == DS_FRAME_FOLLOWS)
            next = planned.number + (uint64_t)1;
        plan->records.items[plan->records.count++] = planned;
    }
}

ds_status ds_frame_plan_make(ds_frame_plan *plan, const ds_frame_table *old_table, const ds_map *map, ds_arena *arena) {
    starts led, there;
    DS_TRY(ds_frame_table_read(&plan->table, arena));
    DS_TRY(DS_VEC_RESERVE(arena, &plan->records, plan->table.records.count + 1));
    DS_TRY(list_starts(old_table, map, arena, &led));
    DS_TRY(list_starts(&plan->table, NULL, arena, &there));
    plan_all(plan, old_table, map, &led, &there);
    ds_arena_free(arena, led.items);
    ds_arena_free(arena, there.items);
    return DS_OK;
}

void ds_frame_plan_free(ds_frame_plan *plan, ds_arena *arena) {
    ds_frame_table_free(&plan->table, arena);
    DS_VEC_FREE(arena, &plan->records);
}
