/* Naming targets; see targets.h. */
#include "delta/targets.h"

#include <stdlib.h>

/* Ways to name a target. */
enum { WAY_HINT, WAY_RECENT, WAY_RANK, WAY_DISTANCE };
#define WAY_BITS 2
#define RECENT_BITS 5

typedef struct counted {
    ds_address target;
    uint32_t count;
} counted;

static int by_target(const void *a, const void *b) {
    const counted *x = a, *y = b;
    return (x->target > y->target) - (x->target < y->target);
}
static int by_count(const void *a, const void *b) {
    const counted *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return (x->target > y->target) - (x->target < y->target);
}

static bool is_code_kind(ds_ref_kind kind) {
    return kind == DS_REF_REL32 || kind == DS_REF_B26 || kind == DS_REF_ADRP;
}

static uint64_t hash_of(ds_address address, unsigned bits) {
    return address * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits);
}

static ds_status rank(ds_target_list *list, counted *all, uint64_t count, const ds_predictor *predictor, bool writing,
                      ds_arena *arena) {
    qsort(all, count, sizeof *all, by_target);
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++)
        if (kept > 0 && all[kept - 1].target == all[i].target)
            all[kept - 1].count++;
        else
            all[kept++] = all[i];
    qsort(all, kept, sizeof *all, by_count);
    DS_TRY(DS_VEC_RESERVE(arena, &list->list, kept + 1));
    for (uint64_t i = 0; i < kept; i++)
        list->list.items[i] = all[i].target;
    list->list.count = kept;
    if (!writing)
        return DS_OK;
    list->index_bits = 4;
    while (UINT64_C(1) << list->index_bits < 2 * kept)
        list->index_bits++;
    list->index = ds_arena_alloc(arena, sizeof *list->index << list->index_bits);
    if (list->index == NULL)
        return DS_E_MEMORY;
    uint64_t mask = (UINT64_C(1) << list->index_bits) - 1;
    for (uint64_t i = 0; i < kept; i++) {
        uint64_t at = hash_of(ds_map_address(predictor->map, list->list.items[i]), list->index_bits);
        while (list->index[at] != 0)
            at = (at + 1) & mask;
        list->index[at] = (uint32_t)i + 1;
    }
    return DS_OK;
}

ds_status ds_targets_open(ds_targets *targets, const ds_predictor *predictor, bool writing, ds_arena *arena) {
    const ds_image *image = predictor->old_image;
    *targets = (ds_targets){.predictor = predictor};
    counted *all = ds_arena_alloc(arena, (image->refs.count + 1) * sizeof *all);
    if (all == NULL)
        return DS_E_MEMORY;
    for (unsigned class_ = 0; class_ < 2; class_++) {
        uint64_t count = 0;
        for (uint64_t i = 0; i < image->refs.count; i++) {
            const ds_ref *ref = &image->refs.items[i];
            if (!is_code_kind(ds_ref_kind_of(ref)))
                continue;
            const ds_region *region = ds_image_region(image, ref->target);
            if ((region != NULL && region->class_ == DS_REGION_CODE) == (class_ == 0))
                all[count++] = (counted){ref->target, 1};
        }
        DS_TRY(rank(&targets->ranked[class_], all, count, predictor, writing, arena));
    }
    ds_arena_free(arena, all);
    return DS_OK;
}

void ds_targets_close(ds_targets *targets, ds_arena *arena) {
    for (unsigned class_ = 0; class_ < 2; class_++) {
        DS_VEC_FREE(arena, &targets->ranked[class_].list);
        ds_arena_free(arena, targets->ranked[class_].index);
    }
}

/* ---- */

static ds_address address_of_rank(const ds_targets *t, unsigned class_, uint64_t rank) {
    return ds_predict_far(t->predictor, t->ranked[class_].list.items[rank]);
}

static bool find_rank(const ds_targets *t, unsigned class_, ds_address target, uint64_t *rank) {
    const ds_target_list *list = &t->ranked[class_];
    uint64_t mask = (UINT64_C(1) << list->index_bits) - 1;
    bool found = false;
    for (uint64_t at = hash_of(target, list->index_bits); list->index[at] != 0; at = (at + 1) & mask) {
        uint64_t r = list->index[at] - 1;
        if (address_of_rank(t, class_, r) == target && (!found || r < *rank)) {
            *rank = r;
            found = true;
        }
    }
    return found;
}

static unsigned find_recent(const ds_targets *t, ds_address target) {
    unsigned i = 0;
    while (i < DS_TARGETS_RECENT && t->recent[i] != target)
        i++;
    return i;
}

static void remember(ds_targets *t, ds_address target) {
    unsigned i = find_recent(t, target);
    i = i < DS_TARGETS_RECENT ? i : DS_TARGETS_RECENT - 1;
    memmove(t->recent + 1, t->recent, i * sizeof *t->recent);
    t->recent[0] = target;
}

#define NEAR 4096

ds_status ds_code_target(ds_targets *t, ds_coder *c, ds_address place, bool has_hint, ds_address hint, uint32_t known,
                         uint32_t around, unsigned class_, ds_address *target) {
    unsigned way = WAY_DISTANCE, recent = 0;
    uint64_t rank = 0;
    if (c->writing) {
        uint64_t distance = *target - place;
        recent = find_recent(t, *target);
        if (has_hint && hint == *target)
            way = WAY_HINT;
        else if (recent < DS_TARGETS_RECENT)
            way = WAY_RECENT;
        else if (distance + NEAR < 2 * NEAR)
            way = WAY_DISTANCE;
        else if (find_rank(t, class_, *target, &rank))
            way = WAY_RANK;
    }
    ds_contexts contexts = {.row = DS_DECIDE_TARGET_WAY,
                            .select = has_hint,
                            .hash = {has_hint, known, ds_mix(known, has_hint), ds_mix(t->last_way, has_hint),
                                     ds_mix(ds_mix(known, t->last_way & 15), has_hint)}};
    way = ds_code_symbol(c, &contexts, WAY_BITS, way);
    t->last_way = t->last_way << 2 | way;
    switch (way) {
    case WAY_HINT:
        *target = hint;
        break;
    case WAY_RECENT: {
        ds_contexts in = {.row = DS_DECIDE_TARGET_RECENT, .hash = {class_, known, ds_mix(1, t->last_way & 255)}};
        recent = ds_code_symbol(c, &in, RECENT_BITS, recent);
        *target = t->recent[recent];
        break;
    }
    case WAY_RANK: {
        ds_contexts in = {.row = DS_DECIDE_TARGET_RANK, .hash = {class_, ds_mix(known, class_), ds_mix(2, class_)}};
        DS_TRY(ds_code_number(c, 0, &in, &rank));
        if (rank >= t->ranked[class_].list.count)
            return DS_E_DELTA;
        *target = address_of_rank(t, class_, rank);
        break;
    }
    default: {
        uint64_t distance = *target - place;
        ds_contexts in = {.low = place & 15, .row = DS_DECIDE_TARGET_DISTANCE, .hash = {class_, known, ds_mix(known, t->last_way & 15)}};
        in.hash[4] = ds_mix(around, 5);
        in.hash[5] = ds_mix(around, known);
        in.hash[3] = ds_mix(class_, t->last_distance);
        DS_TRY(ds_code_signed(c, 0, &in, &distance));
        t->last_distance = (uint32_t)distance;
        *target = place + distance;
    }
    }
    remember(t, *target);
    return DS_OK;
}
