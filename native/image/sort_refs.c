/* Merging of ascending runs; see sort_refs.h.
 *
 * Neighbours are merged, level by level, so that order among equals is kept. Only the smaller of two runs, less what
 * stands right already, is set aside: the long run of the code's references stays where it is.
 */
#include "image/sort_refs.h"

typedef struct runs {
    DS_VEC(uint64_t) starts; /* and the end of the last */
    ds_found_ref *aside;
    uint64_t room;
    ds_arena *arena;
} runs;

static ds_status add_start(runs *r, uint64_t start) {
    DS_TRY(DS_VEC_RESERVE(r->arena, &r->starts, r->starts.count + 1));
    r->starts.items[r->starts.count++] = start;
    return DS_OK;
}

static ds_status find_runs(runs *r, const ds_found_ref *refs, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (i == 0 || refs[i].offset < refs[i - 1].offset)
            DS_TRY(add_start(r, i));
    return add_start(r, count);
}

/* How many of an ascending run have offsets below `offset`, or at most that. */
static uint64_t count_below(const ds_found_ref *run, uint64_t count, uint64_t offset) {
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (run[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static ds_status set_aside(runs *r, const ds_found_ref *refs, uint64_t count) {
    if (count > r->room) {
        ds_arena_free(r->arena, r->aside);
        r->room = 0;
        r->aside = ds_arena_alloc(r->arena, count * sizeof *r->aside);
        if (r->aside == NULL)
            return DS_E_MEMORY;
        r->room = count;
    }
    memcpy(r->aside, refs, count * sizeof *refs);
    return DS_OK;
}

/* The first run is aside: from the front. */
static void merge_forward(const ds_found_ref *first, uint64_t first_count, ds_found_ref *to, const ds_found_ref *second,
                          uint64_t second_count) {
    const ds_found_ref *first_end = first + first_count, *second_end = second + second_count;
    while (first < first_end && second < second_end)
        *to++ = second->offset < first->offset ? *second++ : *first++;
    memcpy(to, first, (size_t)(first_end - first) * sizeof *to);
}

/* The second run is aside: from the back. */
static void merge_backward(const ds_found_ref *first, uint64_t first_count, ds_found_ref *to_end,
                           const ds_found_ref *second, uint64_t second_count) {
    while (first_count > 0 && second_count > 0)
        *--to_end = second[second_count - 1].offset < first[first_count - 1].offset ? first[--first_count]
                                                                                    : second[--second_count];
    memcpy(to_end - second_count, second, second_count * sizeof *to_end);
}

/* Two runs, one behind the other. */
static ds_status merge(runs *r, ds_found_ref *first, uint64_t first_count, uint64_t second_count) {
    ds_found_ref *second = first + first_count;
    uint64_t right = count_below(first, first_count, (uint64_t)second[0].offset + 1);
    first += right;
    first_count -= right;
    if (first_count == 0)
        return DS_OK;
    second_count = count_below(second, second_count, first[first_count - 1].offset);
    bool forward = first_count <= second_count;
    DS_TRY(set_aside(r, forward ? first : second, forward ? first_count : second_count));
    if (forward)
        merge_forward(r->aside, first_count, first, second, second_count);
    else
        merge_backward(first, first_count, second + second_count, r->aside, second_count);
    return DS_OK;
}

/* Each run with its neighbour; half as many are left. */
static ds_status merge_level(runs *r, ds_found_ref *refs) {
    uint64_t *starts = r->starts.items, left = r->starts.count - 1, kept = 0;
    for (uint64_t i = 0; i < left; i += 2) {
        if (i + 1 < left)
            DS_TRY(merge(r, refs + starts[i], starts[i + 1] - starts[i], starts[i + 2] - starts[i + 1]));
        starts[kept++] = starts[i];
    }
    starts[kept] = starts[left];
    r->starts.count = kept + 1;
    return DS_OK;
}

ds_status ds_sort_refs(ds_found_ref *refs, uint64_t count, ds_arena *arena) {
    runs r = {.arena = arena};
    DS_TRY(find_runs(&r, refs, count));
    while (r.starts.count > 2)
        DS_TRY(merge_level(&r, refs));
    ds_arena_free(arena, r.aside);
    DS_VEC_FREE(arena, &r.starts);
    return DS_OK;
}
