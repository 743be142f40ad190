/* Copied bytes that are not as predicted. */
#include "delta/code.h"

/* ---- streams: runs of equal bytes or words, and differences ---- */

static uint64_t equal_run(const uint8_t *a, const uint8_t *b, uint64_t limit) {
    uint64_t run = 0;
    while (run + 8 <= limit && ds_load64(a + run) == ds_load64(b + run))
        run += 8;
    while (run < limit && a[run] == b[run])
        run++;
    return run;
}

static ds_status stream_byte(ds_coder *c, uint8_t *byte, const uint8_t *new_byte) {
    uint8_t residual = new_byte != NULL ? (uint8_t)(*new_byte - *byte) : 0;
    DS_TRY(c->writing ? ds_write_bytes(c->writer, DS_STREAM_RESIDUALS, &residual, 1)
                      : ds_read_bytes(c->reader, DS_STREAM_RESIDUALS, &residual, 1));
    if (new_byte == NULL)
        *byte = (uint8_t)(*byte + residual);
    return DS_OK;
}

static ds_status stream_bytes(ds_coder *c, ds_offset new_offset, uint8_t *bytes, const uint8_t *new_bytes,
                              uint64_t size) {
    uint64_t at = 0;
    while (at < size) {
        uint64_t run = new_bytes != NULL ? equal_run(bytes + at, new_bytes + at, size - at) : 0;
        DS_TRY(ds_code_run(c, DS_STREAM_RESIDUAL_GAPS, size - at, &run));
        at += run;
        if (at == size)
            break;
        DS_TRY(stream_byte(c, bytes + at, new_bytes != NULL ? new_bytes + at : NULL));
        ds_coder_note(c, new_offset + at);
        at++;
    }
    return DS_OK;
}

/* Copied words of AArch64 in one region. */
typedef struct words {
    ds_offset old_offset, new_offset; /* of the first */
    uint8_t *bytes;
    const uint8_t *new_bytes; /* NULL when reading */
    uint64_t count;
} words;

static uint32_t predict_word(ds_walk *w, const words *all, uint64_t at) {
    (void)ds_shifts_enter(&w->shifts, w->old_image, all->old_offset + at * DS_WORD);
    return ds_aarch64_moved_in_frame(&w->shifts, ds_load32(all->bytes + at * DS_WORD));
}

/* Makes words as predicted from `at` on, up to `end`, or the first that is not; where that is. */
static uint64_t predict_words(ds_walk *w, const words *all, uint64_t at, uint64_t end) {
    while (at < end) {
        if (w->shifts.moving == 0) { /* nor is anything in the next function */
            if (all->new_bytes == NULL)
                return end;
            uint64_t place = at * DS_WORD, limit = (end - at) * DS_WORD;
            return at + equal_run(all->bytes + place, all->new_bytes + place, limit) / DS_WORD;
        }
        uint32_t word = predict_word(w, all, at);
        if (all->new_bytes != NULL && word != ds_load32(all->new_bytes + at * DS_WORD))
            return at;
        ds_store32(all->bytes + at++ * DS_WORD, word);
    }
    return at;
}

/* The difference as a signed number of 32 bits: fields that changed a little make it small, equal changes equal. */
static ds_status stream_word(ds_walk *w, const words *all, uint64_t at) {
    uint8_t *bytes = all->bytes + at * DS_WORD;
    uint32_t copied = ds_load32(bytes), predicted = predict_word(w, all, at), difference = 0;
    if (all->new_bytes != NULL)
        difference = ds_load32(all->new_bytes + at * DS_WORD) - predicted;
    uint64_t number = (uint32_t)(difference << 1 ^ (difference >> 31 != 0 ? UINT32_MAX : 0));
    DS_TRY(ds_code_number(w->coder, DS_STREAM_RESIDUALS, NULL, &number));
    if (number > UINT32_MAX)
        return DS_E_DELTA;
    ds_store32(bytes, predicted + (uint32_t)ds_unzigzag(number));
    ds_aarch64_learn_frame(&w->shifts, copied, ds_load32(bytes));
    ds_coder_note(w->coder, all->new_offset + at * DS_WORD);
    return DS_OK;
}

static ds_status stream_words(ds_walk *w, const words *all) {
    uint64_t at = 0;
    while (at < all->count) {
        bool writing = all->new_bytes != NULL;
        uint64_t run = writing ? predict_words(w, all, at, all->count) - at : 0;
        DS_TRY(ds_code_run(w->coder, DS_STREAM_RESIDUAL_GAPS, all->count - at, &run));
        at = writing ? at + run : predict_words(w, all, at, at + run);
        if (at < all->count)
            DS_TRY(stream_word(w, all, at++));
    }
    return DS_OK;
}

/* Words where old code of AArch64 lies in aligned words, old and new; bytes elsewhere. */
static ds_status stream_residuals(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                                  const uint8_t *new_bytes, uint64_t size) {
    ds_offset new_offset = block->new_offset + (old_offset - block->old_offset);
    bool aligned = (new_offset - old_offset) % DS_WORD == 0;
    for (uint64_t at = 0, end; at < size; at = end) {
        ds_offset stop;
        const ds_region *region = ds_layout_code(&w->predictor.map->old_layout, old_offset + at, &stop);
        end = stop - old_offset < size ? stop - old_offset : size;
        const uint8_t *new_part = new_bytes != NULL ? new_bytes + at : NULL;
        uint64_t head = (0 - (old_offset + at)) % DS_WORD;
        if (!aligned || region == NULL || !region->words || end - at < head + DS_WORD) {
            DS_TRY(stream_bytes(w->coder, new_offset + at, bytes + at, new_part, end - at));
        } else if (head > 0) {
            end = at + head;
            DS_TRY(stream_bytes(w->coder, new_offset + at, bytes + at, new_part, head));
        } else {
            words all = {old_offset + at, new_offset + at, bytes + at, new_part, (end - at) / DS_WORD};
            end = at + all.count * DS_WORD;
            DS_TRY(stream_words(w, &all));
        }
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

/* A unit, and the old instructions in it. */
typedef struct unit {
    ds_offset old_offset;
    uint64_t size;
    unsigned site_count;
    ds_site sites[UNIT];
} unit;

static bool code_unit_flag(ds_walk *w, const ds_block *block, const unit *u, bool differs) {
    uint64_t from = u->old_offset - block->old_offset;
    uint32_t ends = (from == 0 ? 2 : 0) | (from + u->size == block->length ? 1 : 0);
    uint32_t units = w->unit_history;
    uint32_t by_form = ds_risk_level(&w->risk, DS_RISK_BY_FORM, u->sites, u->site_count);
    uint32_t shifts = ds_shifts_level(&w->shifts, u->sites, u->site_count);
    uint32_t by_operand = ds_risk_level(&w->risk, DS_RISK_BY_OPERAND, u->sites, u->site_count);
    ds_contexts contexts = {.row = DS_DECIDE_UNIT_DIFFERS,
                            .select = ds_image_is_start(w->old_image, u->old_offset) ||
                                      ds_image_is_start(w->old_image, u->old_offset + u->size / 2),
                            .hash = {ds_mix(ds_bits_in(block->length), ends),
                                     ds_mix(1, ds_bits_in(u->size) << 2 | ends), ds_mix(2, by_form),
                                     ds_mix(3, by_operand), ds_mix(ds_mix(4, by_form), by_operand),
                                     ds_mix(ds_mix(5, shifts), units & 3)}};
    differs = ds_code_flag(w->coder, &contexts, differs);
    w->unit_history = units << 1 | differs;
    return differs;
}

static void learn_sites(ds_walk *w, const unit *u, const uint8_t *predicted, const uint8_t *bytes) {
    for (unsigned i = 0; i < u->site_count; i++) {
        const ds_site *site = &u->sites[i];
        uint64_t size = u->size - site->at < site->size ? u->size - site->at : site->size;
        ds_risk_learn(&w->risk, site, memcmp(predicted + site->at, bytes + site->at, size) != 0);
    }
}

static void model_unit(ds_walk *w, const ds_block *block, unit *u, uint8_t *bytes, const uint8_t *new_bytes) {
    bool words = is_words(w, u->old_offset, block, u->size);
    uint8_t predicted[UNIT];
    memcpy(predicted, bytes, u->size);
    u->site_count =
        (words ? ds_sites_aarch64 : ds_sites_x86_64)(w->old_image, u->old_offset, (unsigned)u->size, u->sites);
    if (ds_shifts_enter(&w->shifts, w->old_image, u->old_offset))
        ds_aarch64_forget(w);
    if (code_unit_flag(w, block, u, new_bytes != NULL && memcmp(bytes, new_bytes, u->size) != 0))
        (words ? ds_recode_aarch64 : ds_recode_x86_64)(w, block, u->old_offset, bytes, new_bytes, u->size);
    learn_sites(w, u, predicted, bytes);
}

static ds_status model_residuals(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                                 const uint8_t *new_bytes, uint64_t size) {
    for (uint64_t at = 0; at < size; at += UNIT) {
        unit u = {.old_offset = old_offset + at, .size = size - at < UNIT ? size - at : UNIT};
        model_unit(w, block, &u, bytes + at, new_bytes != NULL ? new_bytes + at : NULL);
    }
    return ds_model_check(w->coder->model);
}

ds_status ds_walk_residuals(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                            const uint8_t *new_bytes, uint64_t size) {
    return w->coder->model != NULL ? model_residuals(w, block, old_offset, bytes, new_bytes, size)
                                   : stream_residuals(w, block, old_offset, bytes, new_bytes, size);
}
