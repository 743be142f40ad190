/* Bytes that no block covers. */
#include "delta/code.h"
#include "delta/steps.h"
#include "delta/unwind/unwind.h"

/* ---- data by the model ---- */

#define TAUGHT 5 /* contexts of data that old bytes have too */

static void data_contexts(const uint8_t *next, ds_offset at, uint32_t *h) {
    h[0] = 0;
    h[1] = next[-1];
    h[2] = ds_load16(next - 2);
    h[3] = ds_mix(1, ds_load32(next - 4));
    h[4] = ds_mix(at & 7, next[-8]);
}

void ds_data_teach(ds_walk *w, ds_offset at, ds_offset end) {
    const uint8_t *old = w->old_image->file.data;
    for (at = at < 8 ? 8 : at; at < end; at++) {
        uint32_t h[TAUGHT];
        data_contexts(old + at, at, h);
        ds_model_teach(w->coder->model, DS_DECIDE_DATA, TAUGHT, h, 8, old[at]);
    }
}

static void code_data(ds_walk *w, ds_offset at, uint64_t size, uint8_t *bytes, const uint8_t *new_bytes) {
    for (uint64_t i = 0; i < size; i++) {
        const uint8_t *next = bytes + i;
        uint8_t expected = 0;
        unsigned trust = ds_align_expect(&w->alignment, &expected);
        ds_contexts contexts = {.row = DS_DECIDE_DATA};
        data_contexts(next, at + i, contexts.hash);
        contexts.hash[5] = ds_mix(trust, expected);
        contexts.hash[6] = ds_mix(ds_mix(2, expected), next[-1]);
        bytes[i] = (uint8_t)ds_code_symbol(w->coder, &contexts, 8, new_bytes != NULL ? new_bytes[i] : 0);
        ds_align_take(&w->alignment, next + 1);
        ds_coder_note(w->coder, at + i);
    }
}

#define PLAIN_LEAST 1024 /* bytes of a run that is asked */

/* Writing: bytes as even as these, compressed or encrypted, are worth no model's time. Of all pairs of bytes one in 256 is
 * equal, and one in 16 more at most. */
static bool is_even(const uint8_t *bytes, uint64_t size) {
    uint64_t counts[256] = {0}, equal = 0;
    for (uint64_t i = 0; i < size; i++)
        equal += counts[bytes[i]]++;
    return equal * 256 < size * (size - 1) / 2 * 17 / 16;
}

/* Codes a run as it is, if it is one of those: whether it was. */
static bool code_plain(ds_walk *w, ds_offset at, uint64_t size, uint8_t *bytes, const uint8_t *new_bytes) {
    if (size < PLAIN_LEAST)
        return false;
    ds_contexts contexts = {.row = DS_DECIDE_PLAIN_RUN, .hash = {w->was_plain}};
    w->was_plain = ds_code_flag(w->coder, &contexts, new_bytes != NULL && is_even(new_bytes, size));
    for (uint64_t i = 0; w->was_plain && i < size; i++) {
        unsigned byte = new_bytes != NULL ? new_bytes[i] : 0;
        bytes[i] = (uint8_t)ds_model_plain(w->coder->model, DS_DECIDE_DATA, 8, byte);
        ds_coder_note(w->coder, at + i);
    }
    w->alignment.at += w->was_plain ? size : 0;
    return w->was_plain;
}

/* ---- a gap ---- */

static ds_status model_run(ds_walk *w, uint64_t block, const ds_region *region, ds_offset at, uint64_t size,
                           uint8_t *bytes, const uint8_t *new_bytes) {
    if (region == NULL || (region->words && (at | size) % DS_WORD != 0)) {
        if (!code_plain(w, at, size, bytes, new_bytes))
            code_data(w, at, size, bytes, new_bytes);
        return ds_model_check(w->coder->model);
    }
    return (region->words ? ds_code_aarch64 : ds_code_x86_64)(w, block, at, size, bytes, new_bytes);
}

static ds_status literal_run(ds_walk *w, uint64_t block, const ds_region *region, ds_offset at, uint64_t size,
                             uint8_t *bytes) {
    ds_coder *c = w->coder;
    const uint8_t *new_bytes = c->writing ? ds_image_bytes(w->new_image, at) : NULL;
    if (c->model != NULL)
        return model_run(w, block, region, at, size, bytes, new_bytes);
    ds_stream stream = region != NULL ? DS_STREAM_CODE : DS_STREAM_DATA;
    if (c->writing)
        return ds_write_bytes(c->writer, stream, new_bytes, size);
    DS_TRY(ds_read_bytes(c->reader, stream, bytes, size));
    if (c->trace != NULL)
        ds_trace_take_literals(c->trace, at, size);
    return DS_OK;
}

static void begin_alignment(ds_walk *w, bool in_tail, ds_offset at) {
    ds_align_begin(&w->alignment, w->old_image, in_tail, at);
    if (w->coder->without & DS_WITHOUT_OLD_BYTES)
        w->alignment.old.size = 0;
}

static void enter_gap(ds_walk *w, uint64_t block) {
    ds_offset old_end = w->old_image->file.size;
    if (block == w->first_block) {
        begin_alignment(w, w->in_tail, w->in_tail ? old_end : 0);
        return;
    }
    const ds_block *before = &w->blocks->list.items[block - 1];
    begin_alignment(w, before->old_offset >= old_end, before->old_offset + before->length);
    ds_x86_64_follow(w, before);
}

/* Bytes of a listed stream: made, or when writing known. */
static void copy_packed(ds_walk *w, ds_offset at, uint64_t size, uint64_t made, uint8_t *bytes) {
    memcpy(bytes, w->coder->writing ? ds_image_bytes(w->new_image, at) : w->output.made + made, size);
}

/* Unwind tables are made where the first derived byte of one is met: all code before it is there. */
static ds_status make_frames(ds_walk *w, ds_offset at) {
    const ds_derivations *d = w->derivations;
    uint64_t table = ds_derive_find_kind(d, DS_DERIVED_FRAMES), header = ds_derive_find_kind(d, DS_DERIVED_HEADER);
    if (w->has_made_frames || table == d->list.count)
        return DS_OK;
    const ds_derivation *first = &d->list.items[header < table ? header : table];
    if (at != first->digests)
        return DS_OK;
    w->has_made_frames = true;
    if (w->coder->writing)
        return ds_walk_unwind(w, at, NULL, NULL);
    DS_TRY(ds_walk_flush(w));
    return ds_walk_unwind(w, at, ds_deriver_whole(w->output.deriver, table),
                          header < d->list.count ? ds_deriver_whole(w->output.deriver, header) : NULL);
}

ds_status ds_walk_literal(ds_walk *w, uint64_t block, ds_offset at, ds_offset end) {
    bool modelled = w->coder->model != NULL;
    if (at < end && modelled)
        enter_gap(w, block);
    while (at < end) {
        ds_offset stop;
        uint64_t made = 0;
        bool derived, packed;
        const ds_region *region = ds_layout_code(w->layout, at, &stop);
        if (modelled)
            ds_walk_teach(w, block, region, end - at);
        stop = ds_derived_run(w->derivations, at, stop < end ? stop : end, &derived);
        if (derived)
            DS_TRY(make_frames(w, at));
        stop = ds_packed_run(w->packed, at, stop, &packed, &made);
        while (at < stop) {
            uint64_t size = stop - at < DS_CHUNK ? stop - at : DS_CHUNK;
            uint8_t *bytes;
            DS_TRY(ds_walk_make_room(w, size, &bytes));
            if (derived)
                memset(bytes, 0, size);
            else if (packed)
                copy_packed(w, at, size, made, bytes);
            else
                DS_TRY(literal_run(w, block, region, at, size, bytes));
            at += size;
            made += size;
        }
    }
    return DS_OK;
}
