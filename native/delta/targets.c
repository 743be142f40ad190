/* Naming targets; see targets.h. */
#include "delta/targets.h"

#include "image/refs.h"

/* Ways to name a target. */
enum { WAY_HINT, WAY_RECENT, WAY_RANK, WAY_DISTANCE };
#define WAY_BITS 2

#define RECENT_BITS 5
#define NEAR 4096 /* a distance below this says less than a rank */

/* What a distance counts from: the place itself, the latest target of the class that was far from its place (parts of
 * functions that were moved out of them lie in the order of the functions), or the hint. */
enum { FROM_PLACE, FROM_FAR, FROM_HINT };
#define FROM_BITS 2
#define FAR_GAIN 32 /* times nearer than the place, to be worth saying */
#define HINT_GAIN 4 /* times nearer than the far one */

/* ---- ranks ---- */

#define DIGIT_BITS 8
#define DIGITS (1u << DIGIT_BITS)
#define FEW 32 /* so few are sorted faster by insertion */

static void insert_each(ds_address *items, uint64_t count) {
    for (uint64_t i = 1; i < count; i++) {
        ds_address item = items[i];
        uint64_t at = i;
        for (; at > 0 && items[at - 1] > item; at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

/* Brings each item to the stretch of its digit; ends[d] becomes the end of that of digit d. */
static void spread_by_digit(ds_address *items, uint64_t count, unsigned shift, uint64_t *ends) {
    uint64_t next[DIGITS], sum = 0;
    memset(ends, 0, DIGITS * sizeof *ends);
    for (uint64_t i = 0; i < count; i++)
        ends[items[i] >> shift & (DIGITS - 1)]++;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        next[digit] = sum;
        sum = ends[digit] += sum;
    }
    for (unsigned digit = 0; digit < DIGITS; digit++)
        while (next[digit] < ends[digit]) {
            ds_address item = items[next[digit]];
            for (unsigned own; (own = item >> shift & (DIGITS - 1)) != digit;) {
                ds_address other = items[next[own]];
                items[next[own]++] = item;
                item = other;
            }
            items[next[digit]++] = item;
        }
}

/* In place, digit by digit from the upper one down: there are many, and memory for them once more is what an applier
 * lacks. As deep as there are digits, whatever the items are. */
static void sort_addresses(ds_address *items, uint64_t count, unsigned shift) {
    uint64_t ends[DIGITS], start = 0;
    if (count <= FEW) {
        insert_each(items, count);
        return;
    }
    spread_by_digit(items, count, shift, ends);
    for (unsigned digit = 0; shift > 0 && digit < DIGITS; start = ends[digit++])
        sort_addresses(items + start, ends[digit] - start, shift - DIGIT_BITS);
}

/* Of the uppermost digit that any of them has. */
static unsigned top_shift(const ds_address *items, uint64_t count) {
    ds_address any = 0;
    for (uint64_t i = 0; i < count; i++)
        any |= items[i];
    return any == 0 ? 0 : (ds_bits_in(any) - 1) / DIGIT_BITS * DIGIT_BITS;
}

static bool is_ranked(ds_ref_kind kind) {
    return kind == DS_REF_REL32 || kind == DS_REF_B26 || kind == DS_REF_ADRP;
}

static bool is_code(const ds_image *image, ds_address address) {
    const ds_region *region = ds_image_region(image, address);
    return region != NULL && region->class_ == DS_REGION_CODE;
}

static uint64_t collect(const ds_image *image, ds_target_class class_, ds_address *items) {
    uint64_t count = 0;
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &ref)) {
        if (!is_ranked(ds_ref_kind_of(&ref)) || is_code(image, ref.target) != (class_ == DS_TARGET_CODE))
            continue;
        if (items != NULL)
            items[count] = ref.target;
        count++;
    }
    return count;
}

/* One pair for each target of a sorted list: how often it stands there, counted down, and itself. Their number; without
 * `out` they are only counted. */
static uint64_t count_equal(const ds_address *items, uint64_t count, ds_pair *out) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        bool again = i > 0 && items[i] == items[i - 1];
        kept += !again;
        if (out != NULL)
            out[kept - 1] = (ds_pair){again ? out[kept - 1].key - 1 : UINT64_MAX, items[i]};
    }
    return kept;
}

static ds_status rank(ds_target_list *list, const ds_image *image, ds_target_class class_, ds_arena *arena) {
    uint64_t count = collect(image, class_, NULL);
    ds_address *all = ds_arena_alloc(arena, (count + 1) * sizeof *all);
    if (all == NULL)
        return DS_E_MEMORY;
    collect(image, class_, all);
    sort_addresses(all, count, top_shift(all, count));
    uint64_t kept = count_equal(all, count, NULL);
    ds_pair *ranked = ds_arena_alloc(arena, (kept + 1) * sizeof *ranked);
    if (ranked == NULL)
        return DS_E_MEMORY;
    count_equal(all, count, ranked);
    ds_arena_free(arena, all);
    ds_sort_pairs(ranked, kept);
    DS_TRY(DS_VEC_RESERVE(arena, &list->list, kept + 1));
    for (uint64_t i = 0; i < kept; i++)
        list->list.items[i] = ranked[i].value;
    list->list.count = kept;
    ds_arena_free(arena, ranked);
    return DS_OK;
}

ds_status ds_targets_rank(ds_targets *targets, const ds_image *old_image, ds_arena *arena) {
    *targets = (ds_targets){.arena = arena};
    for (ds_target_class class_ = 0; class_ < DS_TARGET_CLASSES; class_++)
        DS_TRY(rank(&targets->ranked[class_], old_image, class_, arena));
    return ds_landmarks_open(&targets->landmarks, old_image, arena);
}

/* ---- ranks of new addresses ---- */

static uint64_t hash_of(ds_address address, unsigned bits) {
    return address * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits);
}

/* Targets that the map leads to one address may stand far from where they should: looked for no farther than this. */
#define PROBES 64

static ds_status index_list(ds_target_list *list, const ds_predictor *predictor, ds_arena *arena) {
    list->index_bits = 4;
    while (UINT64_C(1) << list->index_bits < 2 * list->list.count)
        list->index_bits++;
    list->index = ds_arena_alloc(arena, sizeof *list->index << list->index_bits);
    if (list->index == NULL)
        return DS_E_MEMORY;
    uint64_t mask = (UINT64_C(1) << list->index_bits) - 1;
    for (uint64_t i = 0; i < list->list.count; i++) {
        uint64_t at = hash_of(ds_map_address(predictor->map, list->list.items[i]), list->index_bits);
        for (unsigned probe = 0; probe < PROBES; probe++, at = (at + 1) & mask)
            if (list->index[at] == 0) {
                list->index[at] = (uint32_t)i + 1;
                break;
            }
    }
    return DS_OK;
}

ds_status ds_targets_begin(ds_targets *targets, const ds_predictor *predictor, bool writing) {
    targets->predictor = targets->landmarks.predictor = predictor;
    for (ds_target_class class_ = 0; writing && class_ < DS_TARGET_CLASSES; class_++)
        DS_TRY(index_list(&targets->ranked[class_], predictor, targets->arena));
    return DS_OK;
}

void ds_targets_close(ds_targets *targets) {
    ds_landmarks_close(&targets->landmarks, targets->arena);
    for (ds_target_class class_ = 0; class_ < DS_TARGET_CLASSES; class_++) {
        DS_VEC_FREE(targets->arena, &targets->ranked[class_].list);
        ds_arena_free(targets->arena, targets->ranked[class_].index);
    }
}

static ds_address address_of(const ds_targets *t, ds_target_class class_, uint64_t rank) {
    return ds_predict_far(t->predictor, t->ranked[class_].list.items[rank]);
}

/* The lowest rank that leads to the address now: what was learned since the index was made counts. */
static bool find_rank(const ds_targets *t, ds_target_class class_, ds_address address, uint64_t *rank) {
    const ds_target_list *list = &t->ranked[class_];
    uint64_t mask = (UINT64_C(1) << list->index_bits) - 1, at = hash_of(address, list->index_bits);
    for (unsigned probe = 0; probe < PROBES && list->index[at] != 0; probe++, at = (at + 1) & mask) {
        *rank = list->index[at] - 1;
        if (address_of(t, class_, *rank) == address)
            return true;
    }
    return false;
}

/* ---- naming ---- */

static unsigned find_recent(const ds_targets *t, ds_address address) {
    unsigned i = 0;
    while (i < DS_TARGETS_RECENT && t->recent[i] != address)
        i++;
    return i;
}

static void remember(ds_targets *t, ds_address address) {
    unsigned i = find_recent(t, address);
    memmove(t->recent + 1, t->recent, (i < DS_TARGETS_RECENT ? i : DS_TARGETS_RECENT - 1) * sizeof *t->recent);
    t->recent[0] = address;
}

static uint64_t magnitude(uint64_t distance) {
    return distance >> 63 ? 0 - distance : distance;
}

/* Writing: the base that says least. */
static unsigned choose_base(const ds_targets *t, const ds_target *target) {
    uint64_t place = magnitude(target->address - target->place) / FAR_GAIN,
             far = magnitude(target->address - t->latest_far[target->class_]),
             hint = target->has_hint ? magnitude(target->address - target->hint) : UINT64_MAX;
    if (far < place && far / HINT_GAIN <= hint)
        return FROM_FAR;
    return hint < place ? FROM_HINT : FROM_PLACE;
}

/* Writing: the way that says least. Its number, where it has one, in *recent or *rank. */
static unsigned choose_way(const ds_targets *t, const ds_target *target, unsigned *recent, uint64_t *rank) {
    *recent = find_recent(t, target->address);
    if (target->has_hint && target->hint == target->address)
        return WAY_HINT;
    if (*recent < DS_TARGETS_RECENT)
        return WAY_RECENT;
    if (target->address - target->place + NEAR < 2 * NEAR)
        return WAY_DISTANCE;
    return find_rank(t, target->class_, target->address, rank) ? WAY_RANK : WAY_DISTANCE;
}

static unsigned code_way(ds_targets *t, ds_coder *c, const ds_target *target, unsigned way) {
    uint32_t known = target->known, hint = target->has_hint;
    ds_contexts contexts = {.row = DS_DECIDE_TARGET_WAY,
                            .select = hint,
                            .hash = {hint, ds_mix(1, known), ds_mix(known, hint), ds_mix(t->last_ways, hint),
                                     ds_mix(ds_mix(known, t->last_ways & 15), hint)}};
    way = ds_code_symbol(c, &contexts, WAY_BITS, way);
    t->last_ways = t->last_ways << 2 | way;
    return way;
}

static void code_recent(ds_targets *t, ds_coder *c, ds_target *target, unsigned recent) {
    ds_contexts contexts = {.row = DS_DECIDE_TARGET_RECENT,
                            .hash = {target->class_, ds_mix(1, target->known), ds_mix(2, t->last_ways & 0xff)}};
    target->address = t->recent[ds_code_symbol(c, &contexts, RECENT_BITS, recent)];
}

static ds_status code_rank(ds_targets *t, ds_coder *c, ds_target *target, uint64_t rank) {
    ds_contexts contexts = {.row = DS_DECIDE_TARGET_RANK,
                            .hash = {target->class_, ds_mix(target->known, target->class_)}};
    DS_TRY(ds_code_number(c, DS_STREAM_REF_FIXES, &contexts, &rank));
    if (rank >= t->ranked[target->class_].list.count)
        return DS_E_DELTA;
    target->address = address_of(t, target->class_, rank);
    return DS_OK;
}

static unsigned code_base(ds_targets *t, ds_coder *c, const ds_target *target) {
    uint32_t class_ = target->class_, known = target->known, hint = target->has_hint;
    unsigned from = c->writing ? choose_base(t, target) : FROM_PLACE;
    ds_contexts contexts = {.row = DS_DECIDE_TARGET_BASE,
                            .select = hint,
                            .hash = {ds_mix(class_, hint), ds_mix(1, known), ds_mix(class_ + 2, t->last_bases & 15),
                                     ds_mix(ds_mix(known, hint), t->last_bases & 3)}};
    from = ds_code_symbol(c, &contexts, FROM_BITS, from);
    t->last_bases = t->last_bases << FROM_BITS | from;
    return from;
}

static ds_status code_from_place(ds_targets *t, ds_coder *c, ds_target *target) {
    uint64_t distance = target->address - target->place;
    uint32_t class_ = target->class_, known = target->known, around = target->around;
    ds_contexts contexts = {.row = DS_DECIDE_TARGET_DISTANCE,
                            .lead = {DS_LEADS_TO_NEW, .from = target->place},
                            .hash = {class_, ds_mix(1, known), ds_mix(known, t->last_ways & 15),
                                     ds_mix(class_ + 2, t->last_distance), ds_mix(around, 5), ds_mix(around, known)}};
    DS_TRY(ds_code_signed(c, DS_STREAM_REF_FIXES, &contexts, &distance));
    t->last_distance = (uint32_t)distance;
    target->address = target->place + distance;
    return DS_OK;
}

static ds_status code_from_other(ds_targets *t, ds_coder *c, ds_target *target, unsigned from) {
    ds_address base = from == FROM_HINT ? target->hint : t->latest_far[target->class_];
    uint64_t step = target->address - base;
    uint32_t kind = target->class_ << 2 | from, known = target->known, *last = &t->last_steps[target->class_];
    ds_contexts contexts = {.row = DS_DECIDE_TARGET_STEP,
                            .lead = {DS_LEADS_TO_NEW, .from = base},
                            .hash = {kind, ds_mix(kind, known), ds_mix(kind + 8, ds_bits_in(*last)),
                                     ds_mix(kind + 16, *last), ds_mix(ds_mix(kind, known), ds_bits_in(*last))}};
    DS_TRY(ds_code_signed(c, DS_STREAM_REF_FIXES, &contexts, &step));
    if (from == FROM_FAR)
        *last = (uint32_t)step;
    target->address = base + step;
    return DS_OK;
}

static ds_status code_distance(ds_targets *t, ds_coder *c, ds_target *target) {
    unsigned from = code_base(t, c, target);
    if (from > FROM_HINT || (from == FROM_HINT && !target->has_hint))
        return DS_E_DELTA;
    DS_TRY(from == FROM_PLACE ? code_from_place(t, c, target) : code_from_other(t, c, target, from));
    if (magnitude(target->address - target->place) >= NEAR)
        t->latest_far[target->class_] = target->address;
    return DS_OK;
}

ds_status ds_code_target(ds_targets *t, ds_coder *c, ds_target *target) {
    unsigned way = WAY_HINT, recent = 0;
    uint64_t rank = 0;
    if (c->writing)
        way = choose_way(t, target, &recent, &rank);
    way = code_way(t, c, target, way);
    if (way == WAY_HINT && !target->has_hint)
        return DS_E_DELTA;
    if (way == WAY_HINT)
        target->address = target->hint;
    else if (way == WAY_RECENT)
        code_recent(t, c, target, recent);
    else
        DS_TRY(way == WAY_RANK ? code_rank(t, c, target, rank) : code_distance(t, c, target));
    remember(t, target->address);
    return DS_OK;
}
