/* Bytes that no block covers. */
#include "delta/code.h"
#include "delta/steps.h"

/* ---- data by the model ---- */

static void code_data(ds_walk *w, ds_offset at, uint64_t size, uint8_t *bytes, const uint8_t *new_bytes) {
    const ds_span old_file = w->old_image->file;
    for (uint64_t i = 0; i < size; i++) {
        const uint8_t *next = bytes + i;
        uint8_t expected = 0;
        unsigned trust = ds_align_expect(&w->alignment, old_file, &expected), column = (unsigned)(at + i) & 7;
        ds_contexts contexts = {.row = DS_DECIDE_DATA,
                                .hash = {0, next[-1], ds_load16(next - 2), ds_load32(next - 3) & 0xffffff,
                                         ds_mix(1, ds_load32(next - 4)), ds_mix(trust, expected),
                                         ds_mix(column, next[-8]), ds_mix(ds_mix(2, expected), next[-1])}};
        bytes[i] = (uint8_t)ds_code_symbol(w->coder, &contexts, 8, new_bytes != NULL ? new_bytes[i] : 0);
        ds_align_take(&w->alignment, old_file, next + 1);
    }
}

/* ---- a gap ---- */

static ds_status model_run(ds_walk *w, uint64_t block, const ds_region *region, ds_offset at, uint64_t size,
                           uint8_t *bytes, const uint8_t *new_bytes) {
    if (region == NULL || (region->words && (at | size) % DS_WORD != 0)) {
        code_data(w, at, size, bytes, new_bytes);
        return ds_model_check(w->coder->model);
    }
    return (region->words ? ds_code_aarch64 : ds_code_x86_64)(w, block, at, size, bytes, new_bytes);
}

static ds_status literal_run(ds_walk *w, uint64_t block, const ds_region *region, ds_offset at, uint64_t size,
                             uint8_t *bytes) {
    ds_coder *c = w->coder;
    const uint8_t *new_bytes = c->writing ? w->new_bytes + at : NULL;
    if (c->model != NULL)
        return model_run(w, block, region, at, size, bytes, new_bytes);
    ds_stream stream = region != NULL ? DS_STREAM_CODE : DS_STREAM_DATA;
    return c->writing ? ds_write_bytes(c->writer, stream, new_bytes, size)
                      : ds_read_bytes(c->reader, stream, bytes, size);
}

static void enter_gap(ds_walk *w, uint64_t block) {
    const ds_block *before = block > 0 ? &w->blocks->list.items[block - 1] : NULL;
    ds_align_begin(&w->alignment, before != NULL ? before->old_offset + before->length : 0);
    if (before != NULL)
        ds_x86_64_follow(w, before);
}

ds_status ds_walk_literal(ds_walk *w, uint64_t block, ds_offset at, ds_offset end) {
    bool modelled = w->coder->model != NULL;
    if (at < end && modelled)
        enter_gap(w, block);
    while (at < end) {
        ds_offset stop;
        bool derived;
        const ds_region *region = ds_layout_code(w->layout, at, &stop);
        if (modelled && region != NULL && !region->words)
            ds_x86_64_teach(w, block);
        stop = ds_derived_run(w->derivations, at, stop < end ? stop : end, &derived);
        while (at < stop) {
            uint64_t size = stop - at < DS_CHUNK ? stop - at : DS_CHUNK;
            uint8_t *bytes;
            DS_TRY(ds_walk_make_room(w, size, &bytes));
            if (derived)
                memset(bytes, 0, size);
            else
                DS_TRY(literal_run(w, block, region, at, size, bytes));
            at += size;
        }
    }
    return DS_OK;
}
