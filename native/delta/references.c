/* References of copied blocks: predicted, put, and corrected where the new image says otherwise. */
#include "delta/steps.h"

static bool same_bits(ds_ref_kind kind, const uint8_t *a, const uint8_t *b) {
    uint64_t mask = ds_ref_mask(kind);
    for (unsigned i = 0; i < ds_ref_length(kind); i++)
        if ((a[i] ^ b[i]) & mask >> 8 * i & 0xff)
            return false;
    return true;
}

/* Writing: the target that makes the field what it is in the new image. False where no target does;
 * then the field stays as predicted and residuals mend it. */
static bool find_fix(const ds_prediction *p, const uint8_t *field, const uint8_t *new_field, ds_address *actual) {
    uint8_t trial[8];
    unsigned length = ds_ref_length(p->kind);
    *actual = ds_ref_solve(p->kind, new_field, p->place, p->aux, p->base, p->target);
    memcpy(trial, field, length);
    ds_ref_put(p->kind, trial, p->place, p->aux, p->base, *actual);
    return same_bits(p->kind, trial, new_field);
}

static unsigned log_of(uint64_t value) {
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

static void contexts_of_wrong(const ds_walk *w, const ds_prediction *p, const ds_ref *ref, const ds_block *block,
                              ds_contexts *contexts) {
    unsigned before = log_of(ref->offset - block->old_offset);
    unsigned after = log_of(block->old_offset + block->length - ref->offset), length = log_of(block->length);
    uint32_t kind = p->kind * 4 + p->rule, target = (uint32_t)(p->old_target * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    *contexts = (ds_contexts){.row = DS_DECIDE_REF_WRONG,
                              .select = p->rule,
                              .hash = {kind, ds_mix(kind, w->wrong_history & 0xff), ds_mix(kind, target),
                                       ds_mix(kind, length), ds_mix(kind, before << 8 | after),
                                       ds_mix(w->wrong_history & 7, target),
                                       ds_mix(p->rule, ds_mix(length, w->wrong_history & 0xf))}};
}

static ds_status code_fix(ds_walk *w, const ds_prediction *p, ds_address *actual) {
    uint64_t fix = *actual - p->target;
    ds_contexts contexts = {.row = DS_DECIDE_REF_FIX,
                            .low = p->target & 15,
                            .hash = {p->kind, ds_mix(p->kind, p->rule), w->wrong_history & 3, ds_mix(p->rule, w->last_fix)}};
    DS_TRY(ds_code_signed(w->coder, DS_STREAM_REF_FIXES, &contexts, &fix));
    w->last_fix = (uint32_t)fix;
    *actual = p->target + fix;
    return DS_OK;
}

ds_status ds_walk_reference(ds_walk *w, const ds_ref *ref, uint64_t block, uint8_t *field,
                            const uint8_t *new_field) {
    ds_prediction p = ds_predict(&w->predictor, ref, block);
    ds_contexts contexts;
    ds_ref_put(p.kind, field, p.place, p.aux, p.base, p.target);
    ds_address actual = p.target;
    bool right = true;
    if (new_field != NULL && !same_bits(p.kind, field, new_field))
        right = !find_fix(&p, field, new_field, &actual);
    if (w->coder->model != NULL)
        contexts_of_wrong(w, &p, ref, &w->blocks->list.items[block], &contexts);
    DS_TRY(ds_code_clean(w->coder, DS_STREAM_REF_GAPS, &contexts, &right));
    w->wrong_history = w->wrong_history << 1 | !right;
    if (right)
        return ds_predictor_learn(&w->predictor, &p, p.target, false);
    DS_TRY(code_fix(w, &p, &actual));
    ds_ref_put(p.kind, field, p.place, p.aux, p.base, actual);
    return ds_predictor_learn(&w->predictor, &p, actual, true);
}
