/* Prediction of references; rules in predict.h. */
#include "predict/predict.h"

#define LESSON_BITS_MIN 8
#define PAGE_STEP 12     /* a longer way between two PAGE24 fields leads into another page */
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

static bool is_distance(ds_ref_kind kind) {
    return kind >= DS_REF_ULEB1 && kind <= DS_REF_ULEB4;
}

static bool moves_with(const ds_predictor *predictor, uint64_t block, ds_offset target, ds_address *moved) {
    if (block >= predictor->block_count)
        return false;
    const ds_block *b = &predictor->blocks[block];
    if (target - b->old_offset >= b->length)
        return false;
    *moved = ds_layout_address(predictor->map->layout, b->new_offset + (target - b->old_offset));
    return true;
}

static ds_address predict_far(const ds_predictor *predictor, ds_address old_target, unsigned *rule) {
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

ds_address ds_predict_far(const ds_predictor *predictor, ds_address old_target) {
    unsigned rule;
    return predict_far(predictor, old_target, &rule);
}

static ds_address predict_target(const ds_predictor *predictor, ds_ref_kind kind, ds_address old_target,
                                 uint64_t block, unsigned *rule) {
    ds_offset offset;
    ds_address moved;
    if (is_local(kind) && ds_image_offset(predictor->old_image, old_target, &offset)) {
        *rule = DS_RULE_SAME_BLOCK;
        if (moves_with(predictor, block, offset, &moved))
            return moved;
        *rule = DS_RULE_NEXT_BLOCK;
        if (moves_with(predictor, block - 1, offset, &moved) || moves_with(predictor, block + 1, offset, &moved))
            return moved;
    }
    return predict_far(predictor, old_target, rule);
}

ds_address ds_predict_beside(const ds_predictor *predictor, ds_address old_target, uint64_t block) {
    unsigned rule;
    return predict_target(predictor, DS_REF_REL32, old_target, block, &rule);
}

ds_prediction ds_predict(const ds_predictor *predictor, const ds_ref *ref, uint64_t block) {
    const ds_block *b = &predictor->blocks[block];
    ds_prediction p = {.kind = ds_ref_kind_of(ref), .aux = ds_ref_aux(ref), .old_target = ref->target};
    p.place = ds_layout_address(predictor->map->layout, b->new_offset + (ref->offset - b->old_offset));
    if (ds_ref_is_based(p.kind) && p.aux < predictor->old_image->bases.count)
        p.base = predict_target(predictor, p.kind, predictor->old_image->bases.items[p.aux], block, &p.rule);
    p.target = predict_target(predictor, p.kind, ref->target, block, &p.rule);
    if (p.kind == DS_REF_PAGE24)
        p.base = p.place - predictor->page_place <= PAGE_STEP ? predictor->page_base : p.target;
    return p;
}

ds_status ds_predictor_learn(ds_predictor *predictor, const ds_prediction *prediction, ds_address actual,
                             bool corrected) {
    if (prediction->kind == DS_REF_PAGE24) {
        predictor->page_place = prediction->place;
        predictor->page_base = prediction->base + (prediction->target - actual);
        return DS_OK;
    }
    ds_map_see(predictor->map, prediction->old_target, actual);
    if (!corrected || prediction->old_target == 0 || is_distance(prediction->kind))
        return DS_OK;
    if (predictor->lesson_count >= (UINT64_C(1) << predictor->lesson_bits) / 2)
        DS_TRY(grow_lessons(predictor));
    ds_lesson *lesson = lesson_place(predictor->lessons, predictor->lesson_bits, prediction->old_target);
    if (lesson == NULL)
        return DS_OK;
    predictor->lesson_count += lesson->old_target == 0;
    *lesson = (ds_lesson){prediction->old_target, actual};
    return DS_OK;
}
