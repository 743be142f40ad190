/* Prediction of references; rules in predict.h. */
#include "predict/predict.h"

#define LESSON_BITS_MIN 8
#define PAGE_STEP 12   /* a longer way between two PAGE24 fields leads into another page */
#define NEAR 4         /* blocks on either side in which both ends of a distance are looked for */
#define NEAR_REACH 256 /* how far apart they may be, beside twice as far as they were */
#define CORRECTION_REACH 1024
#define LESSON_PROBES 32 /* a lesson that finds no place within this many is not kept */

ds_status ds_predictor_open(ds_predictor *predictor, const ds_image *old_image, ds_map *map, const ds_block *blocks,
                            uint64_t count, ds_arena *arena) {
    *predictor = (ds_predictor){.old_image = old_image,
                                .map = map,
                                .blocks = blocks,
                                .block_count = count,
                                .lesson_bits = LESSON_BITS_MIN,
                                .arena = arena};
    predictor->lessons = ds_arena_alloc(arena, sizeof *predictor->lessons << LESSON_BITS_MIN);
    return predictor->lessons == NULL ? DS_E_MEMORY : DS_OK;
}

void ds_predictor_close(ds_predictor *predictor) {
    ds_arena_free(predictor->arena, predictor->lessons);
}

/* Where the lesson on `old_target` stands, or may be put; NULL when its neighbourhood is full. */
static ds_lesson *lesson_place(ds_lesson *lessons, unsigned bits, ds_address old_target) {
    uint64_t mask = (UINT64_C(1) << bits) - 1;
    uint64_t at = (old_target * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - bits);
    for (unsigned probe = 0; probe < LESSON_PROBES; probe++) {
        ds_lesson *lesson = &lessons[(at + probe) & mask];
        if (lesson->old_target == old_target || lesson->old_target == 0)
            return lesson;
    }
    return NULL;
}

static ds_status grow_lessons(ds_predictor *predictor) {
    unsigned bits = predictor->lesson_bits + 1;
    ds_lesson *grown = ds_arena_alloc(predictor->arena, sizeof *grown << bits);
    if (grown == NULL)
        return DS_E_MEMORY;
    uint64_t count = 0;
    for (uint64_t i = 0; i < UINT64_C(1) << predictor->lesson_bits; i++) {
        ds_lesson lesson = predictor->lessons[i];
        ds_lesson *place = lesson.old_target == 0 ? NULL : lesson_place(grown, bits, lesson.old_target);
        if (place != NULL) {
            *place = lesson;
            count++;
        }
    }
    ds_arena_free(predictor->arena, predictor->lessons);
    predictor->lessons = grown;
    predictor->lesson_bits = bits;
    predictor->lesson_count = count;
    return DS_OK;
}

static bool is_local(ds_ref_kind kind) {
    switch (kind) {
    case DS_REF_REL8:
    case DS_REF_REL32:
    case DS_REF_B26:
    case DS_REF_IMM19:
    case DS_REF_IMM14:
    case DS_REF_ADR:
        return true;
    default:
        return false;
    }
}

static bool is_size(ds_ref_kind kind) {
    return kind == DS_REF_SIZE32 || kind == DS_REF_SIZE64 || (kind >= DS_REF_ULEB_SIZE1 && kind <= DS_REF_ULEB_SIZE4);
}

static bool is_distance(ds_ref_kind kind) {
    return kind >= DS_REF_ULEB1 && kind <= DS_REF_ULEB4;
}

/* The address of a new byte; most lie where the one before did. */
static ds_address new_address(const ds_predictor *predictor, ds_stay *stay, ds_offset offset) {
    if (offset < stay->from || offset >= stay->stop) {
        const ds_region *region = ds_layout_region(predictor->map->layout, offset, &stay->stop);
        stay->from = offset;
        stay->shift = region != NULL ? region->address - region->offset : DS_FILE_BASE;
    }
    return offset + stay->shift;
}

/* ds_image_offset of the old image; most addresses lie in the region that the one before lay in. */
static bool old_offset_of(ds_predictor *predictor, ds_address address, ds_offset *offset) {
    ds_stay *stay = &predictor->old_stay;
    if (address < stay->from || address >= stay->stop) {
        const ds_region *region = ds_image_region(predictor->old_image, address);
        /* From there on, addresses may be second names of bytes. */
        if (region == NULL || region->class_ == DS_REGION_NOBITS || region->address + region->size > DS_FILE_BASE)
            return ds_image_offset(predictor->old_image, address, offset);
        *stay = (ds_stay){region->address, region->address + region->size, region->offset - region->address};
    }
    *offset = address + stay->shift;
    return true;
}

static bool moves_with(ds_predictor *predictor, uint64_t block, ds_offset target, ds_address *moved) {
    if (block >= predictor->block_count)
        return false;
    const ds_block *b = &predictor->blocks[block];
    if (target - b->old_offset >= b->length)
        return false;
    *moved = new_address(predictor, &predictor->new_stay, b->new_offset + (target - b->old_offset));
    return true;
}

static ds_address predict_far(const ds_predictor *predictor, ds_address old_target, ds_rule *rule) {
    if (predictor->lesson_count > 0 && old_target != 0) {
        const ds_lesson *lesson = lesson_place(predictor->lessons, predictor->lesson_bits, old_target);
        if (lesson != NULL && lesson->old_target == old_target) {
            *rule = DS_RULE_LESSON;
            return lesson->new_target;
        }
    }
    *rule = DS_RULE_MAP;
    return ds_map_address(predictor->map, old_target);
}

static ds_address predict_target(ds_predictor *predictor, ds_ref_kind kind, ds_address old_target, uint64_t block,
                                 ds_rule *rule) {
    ds_offset offset;
    ds_address moved;
    bool looks = is_local(kind) && !(predictor->without & DS_WITHOUT_NEIGHBOURS);
    if (looks && old_offset_of(predictor, old_target, &offset)) {
        *rule = DS_RULE_SAME_BLOCK;
        if (moves_with(predictor, block, offset, &moved))
            return moved;
        *rule = DS_RULE_NEXT_BLOCK;
        if (moves_with(predictor, block - 1, offset, &moved) || moves_with(predictor, block + 1, offset, &moved))
            return moved;
    }
    return predict_far(predictor, old_target, rule);
}

ds_address ds_predict_far(const ds_predictor *predictor, ds_address old_target) {
    ds_rule rule;
    return predict_far(predictor, old_target, &rule);
}

bool ds_predict_as_corrected(const ds_predictor *predictor, ds_address old_target, ds_address *target) {
    for (uint64_t back = 1; back <= DS_CORRECTIONS && back <= predictor->corrected; back++) {
        const ds_lesson *lesson = &predictor->corrections[(predictor->corrected - back) % DS_CORRECTIONS];
        ds_address away = old_target - lesson->old_target;
        if (away + CORRECTION_REACH >= 2 * CORRECTION_REACH)
            continue;
        *target = lesson->new_target + away;
        return true;
    }
    return false;
}

ds_address ds_predict_beside(ds_predictor *predictor, ds_address old_target, uint64_t block) {
    ds_rule rule;
    return predict_target(predictor, DS_REF_REL32, old_target, block, &rule);
}

/* The copy of the old byte at `address` in a block near the new byte at `anchor`, and less than `reach` bytes behind
 * it; before it where `backward` says so. */
static bool find_near(ds_predictor *predictor, ds_address address, ds_address anchor, bool backward, uint64_t reach,
                      ds_address *moved) {
    ds_offset old_offset, new_offset;
    if (!old_offset_of(predictor, address, &old_offset) ||
        !ds_layout_offset(predictor->map->layout, anchor, &new_offset))
        return false;
    uint64_t here = ds_blocks_find(predictor->blocks, predictor->block_count, new_offset);
    if (here == UINT64_MAX)
        here = 0;
    for (uint64_t i = 0; i < 2 * NEAR; i++) {
        uint64_t block = i % 2 == 0 ? here - i / 2 : here + i / 2;
        if (moves_with(predictor, block, old_offset, moved) && (backward ? anchor - *moved : *moved - anchor) < reach)
            return true;
    }
    return false;
}

static uint64_t reach_of(const ds_prediction *p) {
    return 2 * (p->old_target - p->old_base) + NEAR_REACH;
}

/* As far as the map says; as far as it was, where that is out of reach. */
static uint64_t keep_distance(const ds_prediction *p, uint64_t distance) {
    return distance < reach_of(p) ? distance : p->old_target - p->old_base;
}

/* The end of what begins at p->base. */
static void predict_end(ds_predictor *predictor, ds_prediction *p) {
    const ds_map *map = predictor->map;
    if (!find_near(predictor, p->old_target, p->base, false, reach_of(p), &p->target))
        p->target = p->base + keep_distance(p, ds_map_address(map, p->old_target) - ds_map_address(map, p->old_base));
}

static void predict_size(ds_predictor *predictor, ds_prediction *p, uint64_t block) {
    p->base = p->old_base == predictor->last_old ? predictor->last_new
                                                 : predict_target(predictor, p->kind, p->old_base, block, &p->rule);
    predict_end(predictor, p);
}

uint64_t ds_predict_size(ds_predictor *predictor, ds_address old_start, uint64_t old_size, ds_address new_start) {
    ds_prediction p = {.old_base = old_start, .old_target = old_start + old_size - 1, .base = new_start};
    predict_end(predictor, &p);
    return p.target - new_start + 1;
}

static void predict_distance(ds_predictor *predictor, ds_prediction *p) {
    const ds_map *map = predictor->map;
    bool follows = p->old_base == predictor->last_old;
    if (follows || p->old_base == predictor->distance_base.old_base) {
        p->base = follows ? predictor->last_new : predictor->distance_base.new_base;
        if (!find_near(predictor, p->old_target, p->base, false, reach_of(p), &p->target))
            p->target = p->base + keep_distance(p, ds_map_address(map, p->old_target) - p->base);
    } else {
        p->target = ds_map_address(map, p->old_target);
        if (!find_near(predictor, p->old_base, p->target, true, reach_of(p), &p->base))
            p->base = p->target - keep_distance(p, p->target - ds_map_address(map, p->old_base));
    }
}

ds_prediction ds_predict(ds_predictor *predictor, const ds_ref *ref, uint64_t block) {
    const ds_block *b = &predictor->blocks[block];
    ds_prediction p = {
        .kind = ds_ref_kind_of(ref), .aux = ds_ref_aux(ref), .old_target = ref->target, .rule = DS_RULE_MAP};
    p.place = new_address(predictor, &predictor->place_stay, b->new_offset + (ref->offset - b->old_offset));
    if (ds_ref_is_based(p.kind))
        p.old_base = ds_ref_base(predictor->old_image, ref);
    if (is_size(p.kind)) {
        predict_size(predictor, &p, block);
        return p;
    }
    if (is_distance(p.kind)) {
        predict_distance(predictor, &p);
        return p;
    }
    if (ds_ref_is_step(p.kind)) {
        p.base = ds_map_address(predictor->map, p.old_base);
        p.target = ds_map_address(predictor->map, p.old_target);
        return p;
    }
    if (ds_ref_is_based(p.kind))
        p.base = predict_target(predictor, p.kind, p.old_base, block, &p.rule);
    p.target = predict_target(predictor, p.kind, ref->target, block, &p.rule);
    if (p.kind == DS_REF_PAGE24)
        p.base = p.place - predictor->page_place <= PAGE_STEP ? predictor->page_base : p.target;
    return p;
}

/* Takes in how a distance came out. True when that says that its base was wrong, and not its target. */
static bool learn_base(ds_base *base, const ds_image *old_image, const ds_prediction *p, ds_address actual) {
    if (base->old_base != p->old_base) {
        const ds_region *region = ds_image_region(old_image, p->old_base);
        *base = (ds_base){.old_base = p->old_base,
                          .new_base = p->base,
                          .in_code = region != NULL && region->class_ == DS_REGION_CODE};
    }
    ds_address error = actual - p->target;
    if (error == 0) {
        base->right = true;
        base->error = 0;
        return false;
    }
    if (!base->in_code || base->new_base != p->base)
        return false;
    if (base->right && error != base->error) {
        base->error = error;
        return false;
    }
    base->new_base -= error;
    base->right = true;
    return true;
}

ds_status ds_predictor_learn(ds_predictor *predictor, const ds_prediction *prediction, ds_address actual,
                             bool corrected) {
    if (ds_ref_is_step(prediction->kind))
        return DS_OK;
    if (prediction->kind == DS_REF_PAGE24) {
        predictor->page_place = prediction->place;
        predictor->page_base = prediction->base + (prediction->target - actual);
        return DS_OK;
    }
    predictor->last_old = prediction->old_target;
    predictor->last_new = actual;
    if (is_distance(prediction->kind) &&
        learn_base(&predictor->distance_base, predictor->old_image, prediction, actual))
        predictor->last_new = prediction->target;
    /* Inside a region of bytes there is nothing to see; its start may end one without. */
    const ds_stay *stay = &predictor->old_stay;
    if (prediction->old_target <= stay->from || prediction->old_target >= stay->stop)
        ds_map_see(predictor->map, prediction->old_target, actual);
    if (!corrected || prediction->old_target == 0 || is_distance(prediction->kind))
        return DS_OK;
    if (predictor->without & DS_WITHOUT_LESSONS)
        return DS_OK;
    predictor->corrections[predictor->corrected++ % DS_CORRECTIONS] = (ds_lesson){prediction->old_target, actual};
    if (predictor->lesson_count >= (UINT64_C(1) << predictor->lesson_bits) / 2)
        DS_TRY(grow_lessons(predictor));
    ds_lesson *lesson = lesson_place(predictor->lessons, predictor->lesson_bits, prediction->old_target);
    if (lesson == NULL)
        return DS_OK;
    predictor->lesson_count += lesson->old_target == 0;
    *lesson = (ds_lesson){prediction->old_target, actual};
    return DS_OK;
}
