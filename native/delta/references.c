/* References of copied blocks: predicted, put, and corrected where the new image says otherwise. */
#include "delta/steps.h"

#define FIELD_MAX 8

static bool same_bits(ds_ref_kind kind, const uint8_t *a, const uint8_t *b) {
    uint64_t mask = ds_ref_mask(kind);
    for (unsigned i = 0; i < ds_ref_length(kind); i++)
        if ((a[i] ^ b[i]) & mask >> 8 * i & 0xff)
            return false;
    return true;
}

static bool makes(const ds_prediction *p, const uint8_t *field, const uint8_t *new_field, ds_address target) {
    uint8_t trial[FIELD_MAX];
    memcpy(trial, field, ds_ref_length(p->kind));
    ds_ref_put(p->kind, trial, p->place, p->aux, p->base, target);
    return same_bits(p->kind, trial, new_field);
}

/* Writing: the target that makes the field what it is in the new image. False where no target does; then the field
 * stays as predicted and residuals mend it. Where a field tells less than its target, the parser of the new image may
 * know more: the page of an ADRP is not all that its partners need. */
static bool find_fix(const ds_walk *w, const ds_prediction *p, ds_offset new_offset, const uint8_t *field,
                     const uint8_t *new_field, ds_address *actual) {
    ds_ref ref;
    if (p->kind == DS_REF_ADRP && ds_refs_find(w->new_image, new_offset, &ref) && ds_ref_kind_of(&ref) == p->kind &&
        makes(p, field, new_field, ref.target)) {
        *actual = ref.target;
        return true;
    }
    *actual = ds_ref_solve(p->kind, new_field, p->place, p->aux, p->base, p->target);
    return makes(p, field, new_field, *actual);
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Where the predicted target lies: in a block or a gap, and how far from its ends. */
static uint32_t surroundings(const ds_walk *w, ds_address target) {
    const ds_block *blocks = w->blocks->list.items;
    ds_offset offset;
    if (!ds_layout_offset(w->layout, target, &offset))
        return 1;
    uint64_t at = ds_blocks_find(blocks, w->blocks->list.count, offset);
    ds_offset from = at == UINT64_MAX ? 0 : blocks[at].new_offset,
              end = at == UINT64_MAX ? 0 : from + blocks[at].length;
    bool inside = offset < end;
    if (!inside) {
        from = end;
        end = at + 1 < w->blocks->list.count ? blocks[at + 1].new_offset : UINT64_MAX;
    }
    return ds_mix((uint32_t)least(offset - from, 24) << 8 | (uint32_t)least(end - offset, 24), 2 + inside);
}

static void contexts_of_wrong(const ds_walk *w, const ds_prediction *p, const ds_ref *ref, const ds_block *block,
                              ds_contexts *contexts) {
    unsigned before = ds_bits_in(ref->offset - block->old_offset);
    unsigned after = ds_bits_in(block->old_offset + block->length - ref->offset);
    uint32_t kind = p->kind * 4 + p->rule;
    *contexts = (ds_contexts){.row = DS_DECIDE_REF_WRONG,
                              .select = p->rule,
                              .hash = {ds_mix(kind, w->wrong_history & 0xff), ds_mix(kind, before << 8 | after),
                                       ds_mix(kind, (uint32_t)(p->old_target >> 10)),
                                       ds_mix(kind, surroundings(w, p->target))}};
}

/* Kinds whose wrong targets are often known places, far from the predicted one. */
static bool is_named(ds_ref_kind kind) {
    switch (kind) {
    case DS_REF_REL32:
    case DS_REF_B26:
    case DS_REF_ADRP:
    case DS_REF_ABS64:
    case DS_REF_CHAIN36:
        return true;
    default:
        return false;
    }
}

/* A reference that is not as predicted, and what is known of where it may point. */
typedef struct wrong {
    const ds_prediction *p;
    const ds_block *block;
    ds_address kept;  /* the target with which the field stays as it was in the old image */
    ds_address aside; /* the place that distances count from */
} wrong;

/* Whether the field can hold the target. */
static bool holds(const ds_prediction *p, const uint8_t *field, ds_address target) {
    uint8_t trial[FIELD_MAX];
    memcpy(trial, field, ds_ref_length(p->kind));
    ds_ref_put(p->kind, trial, p->place, p->aux, p->base, target);
    return ds_ref_solve(p->kind, trial, p->place, p->aux, p->base, target) == target;
}

/* A target moves as others near it did; a branch that would be too far leads as far as it did. */
static wrong look_round(const ds_walk *w, const ds_prediction *p, const ds_block *block, const uint8_t *old_field) {
    wrong it = {.p = p,
                .block = block,
                .kept = ds_ref_solve(p->kind, old_field, p->place, p->aux, p->base, p->target),
                .aside = p->target};
    if (p->rule >= DS_RULE_LESSON)
        ds_predict_as_corrected(&w->predictor, p->old_target, &it.aside);
    if (!holds(p, old_field, it.aside))
        it.aside = it.kept;
    return it;
}

/* Bytes that only look like a reference (a table among code) stay as they are, and so does one whose target stayed. */
static bool code_kept(ds_walk *w, const wrong *it, bool kept) {
    uint32_t kind = it->p->kind, rule = kind * 4 + it->p->rule, history = w->kept_history;
    ds_contexts contexts = {.row = DS_DECIDE_REF_KEPT,
                            .hash = {kind, ds_mix(kind, history & 3), ds_mix(1, history & 0xff),
                                     ds_mix(rule, history & 1), ds_mix(2, ds_bits_in(it->block->length))}};
    kept = ds_code_flag(w->coder, &contexts, kept);
    w->kept_history = history << 1 | kept;
    return kept;
}

/* A known place, or one near the predicted. */
static ds_status code_name(ds_walk *w, const wrong *it, ds_address *actual) {
    const ds_prediction *p = it->p;
    const ds_region *region = ds_image_region(w->old_image, p->old_target);
    bool code = region != NULL && region->class_ == DS_REGION_CODE;
    ds_target target = {.place = p->target,
                        .hint = it->aside,
                        .has_hint = it->aside != p->target,
                        .class_ = code ? DS_TARGET_CODE : DS_TARGET_DATA,
                        .known = (uint32_t)p->kind << 4 | p->rule,
                        .around = surroundings(w, p->target),
                        .address = *actual};
    DS_TRY(ds_code_target(w->targets, w->coder, &target));
    *actual = target.address;
    return DS_OK;
}

static ds_status code_distance(ds_walk *w, const wrong *it, ds_address *actual) {
    const ds_prediction *p = it->p;
    uint64_t fix = *actual - it->aside;
    ds_contexts contexts = {.row = DS_DECIDE_REF_FIX,
                            .lead = {DS_LEADS_TO_NEW, .from = it->aside},
                            .hash = {p->kind, ds_mix(p->kind, p->rule), ds_mix(p->kind, w->wrong_history & 3),
                                     ds_mix(p->rule, w->last_fix), surroundings(w, p->target)}};
    DS_TRY(ds_code_signed(w->coder, DS_STREAM_REF_FIXES, &contexts, &fix));
    w->last_fix = (uint32_t)fix;
    *actual = it->aside + fix;
    return DS_OK;
}

static ds_status model_wrong(ds_walk *w, const wrong *it, ds_address *actual) {
    if (it->kept != it->p->target && code_kept(w, it, *actual == it->kept)) {
        *actual = it->kept;
        return DS_OK;
    }
    return (is_named(it->p->kind) ? code_name : code_distance)(w, it, actual);
}

/* One number is all of it: 0 for what is kept, else a distance, and 1. */
static ds_status stream_wrong(ds_walk *w, const wrong *it, ds_address *actual) {
    uint64_t number = *actual == it->kept ? 0 : ds_zigzag(*actual - it->aside) + 1;
    DS_TRY(ds_code_number(w->coder, DS_STREAM_REF_FIXES, NULL, &number));
    *actual = number == 0 ? it->kept : it->aside + ds_unzigzag(number - 1);
    return DS_OK;
}

/* The one distance that no number is left for: bytes mend it. */
static bool is_too_far(const wrong *it, ds_address actual) {
    return ds_zigzag(actual - it->aside) == UINT64_MAX;
}

ds_status ds_walk_reference(ds_walk *w, const ds_ref *ref, uint64_t block, uint8_t *field, const uint8_t *new_field) {
    const ds_block *b = &w->blocks->list.items[block];
    ds_prediction p = ds_predict(&w->predictor, ref, block);
    ds_address actual = p.target;
    ds_contexts contexts;
    uint8_t old_field[FIELD_MAX];
    wrong it;
    bool right = true, stays = new_field != NULL && same_bits(p.kind, field, new_field);
    memcpy(old_field, field, ds_ref_length(p.kind));
    ds_ref_put(p.kind, field, p.place, p.aux, p.base, p.target);
    if (new_field != NULL && !same_bits(p.kind, field, new_field)) {
        it = look_round(w, &p, b, old_field);
        right = !find_fix(w, &p, b->new_offset + (ref->offset - b->old_offset), field, new_field, &actual) ||
                is_too_far(&it, actual);
    }
    if (w->coder->model != NULL)
        contexts_of_wrong(w, &p, ref, b, &contexts);
    DS_TRY(ds_code_clean(w->coder, DS_STREAM_REF_GAPS, &contexts, &right));
    w->wrong_history = w->wrong_history << 1 | !right;
    w->coder->helped += right && !stays;
    w->coder->harmed += !right && stays;
    if (right)
        return ds_predictor_learn(&w->predictor, &p, p.target, false);
    it = look_round(w, &p, b, old_field);
    DS_TRY((w->coder->model != NULL ? model_wrong : stream_wrong)(w, &it, &actual));
    ds_ref_put(p.kind, field, p.place, p.aux, p.base, actual);
    return ds_predictor_learn(&w->predictor, &p, actual, true);
}
