/* Copied bytes that are not as predicted. */
#include "delta/code.h"
#include "delta/steps.h"

/* ---- streams: runs of equal bytes, and differences ---- */

static uint64_t equal_run(const uint8_t *a, const uint8_t *b, uint64_t limit) {
    uint64_t run = 0;
    while (run + 8 <= limit && ds_load64(a + run) == ds_load64(b + run))
        run += 8;
    while (run < limit && a[run] == b[run])
        run++;
    return run;
}

static ds_status stream_residuals(ds_coder *c, ds_offset new_offset, uint8_t *bytes, const uint8_t *new_bytes,
                                  uint64_t size) {
    uint64_t at = 0;
    while (at < size) {
        uint64_t run = new_bytes != NULL ? equal_run(bytes + at, new_bytes + at, size - at) : 0;
        DS_TRY(ds_code_run(c, DS_STREAM_RESIDUAL_GAPS, size - at, &run));
        at += run;
        if (at == size)
            break;
        uint8_t residual = new_bytes != NULL ? (uint8_t)(new_bytes[at] - bytes[at]) : 0;
        DS_TRY(c->writing ? ds_write_bytes(c->writer, DS_STREAM_RESIDUALS, &residual, 1)
                          : ds_read_bytes(c->reader, DS_STREAM_RESIDUALS, &residual, 1));
        if (new_bytes == NULL)
            bytes[at] = (uint8_t)(bytes[at] + residual);
        ds_coder_note(c, new_offset + at);
        at++;
    }
    return DS_OK;
}

/* ---- the model: which units differ, then which bytes or words, then how ---- */

#define UNIT ((uint64_t)64)

/* Whether a unit holds words of AArch64, old and new. */
static bool is_words(const ds_walk *w, ds_offset old_offset, const ds_block *block, uint64_t size) {
    const ds_region *region = ds_image_region(w->old_image, ds_image_address(w->old_image, old_offset));
    ds_offset new_offset = block->new_offset + (old_offset - block->old_offset);
    return region != NULL && region->words && region->class_ == DS_REGION_CODE &&
           (old_offset | new_offset | size) % DS_WORD == 0;
}

static bool code_unit_flag(ds_walk *w, const ds_block *block, ds_offset old_offset, uint64_t size, bool differs) {
    uint64_t from = old_offset - block->old_offset;
    uint32_t ends = (from == 0 ? 2 : 0) | (from + size == block->length ? 1 : 0), length = ds_bits_in(block->length);
    uint32_t units = w->unit_history, place = ds_mix(length, ends);
    ds_contexts contexts = {
        .row = DS_DECIDE_UNIT_DIFFERS,
        .select = ds_image_is_start(w->old_image, old_offset) || ds_image_is_start(w->old_image, old_offset + size / 2),
        .hash = {place, ds_mix(1, units & 0xff), ds_mix(units & 7, place), ds_mix(2, ds_bits_in(size) << 2 | ends),
                 ds_mix(ds_mix(3, w->wrong_history & 0xf), units & 3), ds_mix(4, units & 0xffff)}};
    differs = ds_code_flag(w->coder, &contexts, differs);
    w->unit_history = units << 1 | differs;
    return differs;
}

static ds_status model_residuals(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                                 const uint8_t *new_bytes, uint64_t size) {
    for (uint64_t at = 0; at < size; at += UNIT) {
        uint64_t unit = size - at < UNIT ? size - at : UNIT;
        const uint8_t *new_unit = new_bytes != NULL ? new_bytes + at : NULL;
        bool differs = new_unit != NULL && memcmp(bytes + at, new_unit, unit) != 0;
        differs = code_unit_flag(w, block, old_offset + at, unit, differs);
        ds_coder_note(w->coder, block->new_offset + (old_offset - block->old_offset) + at);
        if (!differs)
            continue;
        (is_words(w, old_offset + at, block, unit) ? ds_recode_aarch64 : ds_recode_x86_64)(w, block, old_offset + at,
                                                                                           bytes + at, new_unit, unit);
    }
    return ds_model_check(w->coder->model);
}

ds_status ds_walk_residuals(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                            const uint8_t *new_bytes, uint64_t size) {
    return w->coder->model != NULL ? model_residuals(w, block, old_offset, bytes, new_bytes, size)
                                   : stream_residuals(w->coder, block->new_offset + (old_offset - block->old_offset),
                                                      bytes, new_bytes, size);
}
