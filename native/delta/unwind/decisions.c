/* What is decided of unwind tables, as both codings hold it; see state.h. */
#include "delta/unwind/state.h"

ds_status ds_unwinding_symbol(ds_unwinding *f, const ds_contexts *contexts, unsigned bits, uint8_t *value) {
    ds_coder *c = f->w->coder;
    if (c->model != NULL) {
        *value = (uint8_t)ds_code_symbol(c, contexts, bits, *value);
        return DS_OK;
    }
    if (c->writing)
        return ds_write_bytes(c->writer, DS_STREAM_LAYOUT, value, 1);
    DS_TRY(ds_read_bytes(c->reader, DS_STREAM_LAYOUT, value, 1));
    return *value >> bits == 0 ? DS_OK : DS_E_DELTA;
}

/* What is usual is a byte of zero. */
ds_status ds_unwinding_flag(ds_unwinding *f, const ds_contexts *contexts, bool *flag) {
    uint8_t unusual = !*flag;
    if (has_model(f)) {
        *flag = ds_code_flag(f->w->coder, contexts, *flag);
        return DS_OK;
    }
    DS_TRY(ds_unwinding_symbol(f, contexts, 1, &unusual));
    *flag = !unusual;
    return DS_OK;
}

ds_status ds_unwinding_right(ds_unwinding *f, unsigned what, unsigned guess_known, unsigned copied, bool *right) {
    uint32_t known = what << 8 | guess_known << 4 | copied, history = what == PROGRAM_RIGHT ? f->programs : f->rights;
    ds_contexts contexts = {
        .row = DS_DECIDE_FRAME_RIGHT,
        .select = what,
        .hash = {known, ds_mix(what << 8 | guess_known, history & 0xff), ds_mix(known, history & 7)}};
    return ds_unwinding_flag(f, &contexts, right);
}

static ds_contexts number_contexts(const ds_unwinding *f, unsigned what) {
    return (ds_contexts){.row = DS_DECIDE_FRAME_NUMBER,
                         .hash = {what, ds_mix(what, f->rights & 3), ds_mix(what, f->last[0])}};
}

ds_status ds_unwinding_number(ds_unwinding *f, unsigned what, uint64_t *value) {
    ds_contexts contexts = number_contexts(f, what);
    return ds_code_number(f->w->coder, DS_STREAM_LAYOUT, &contexts, value);
}

ds_status ds_unwinding_signed(ds_unwinding *f, unsigned what, uint64_t *value) {
    ds_contexts contexts = number_contexts(f, what);
    return ds_code_signed(f->w->coder, DS_STREAM_LAYOUT, &contexts, value);
}

/* ---- usual records: those that follow the next old one, all as expected; streams count them ---- */

ds_status ds_unwinding_write_usual(ds_unwinding *f) {
    DS_TRY(ds_write_number(f->w->coder->writer, DS_STREAM_LAYOUT, f->usual));
    f->usual = 0;
    return DS_OK;
}

/* The way of a record. One that follows may still turn out unusual when it is written. */
ds_status ds_unwinding_stream_way(ds_unwinding *f, uint8_t *way) {
    ds_coder *c = f->w->coder;
    if (c->writing) {
        if (*way == DS_FRAME_FOLLOWS)
            return DS_OK;
        DS_TRY(ds_unwinding_write_usual(f));
        return ds_write_bytes(c->writer, DS_STREAM_LAYOUT, way, 1);
    }
    if (!f->is_counting)
        DS_TRY(ds_read_number(c->reader, DS_STREAM_LAYOUT, &f->usual));
    f->is_counting = f->usual > 0;
    f->usual -= f->is_counting;
    *way = DS_FRAME_FOLLOWS;
    if (f->is_counting)
        return DS_OK;
    DS_TRY(ds_read_bytes(c->reader, DS_STREAM_LAYOUT, way, 1));
    return *way <= DS_FRAME_RAW ? DS_OK : DS_E_DELTA;
}

/* Whether all that an FDE says is as expected, where it follows the next old one. */
static ds_status stream_usual(ds_unwinding *f, bool *usual) {
    static const uint8_t follows[1] = {DS_FRAME_FOLLOWS};
    ds_coder *c = f->w->coder;
    if (!c->writing) {
        *usual = f->is_counting;
        return DS_OK;
    }
    f->usual += *usual;
    if (*usual)
        return DS_OK;
    DS_TRY(ds_unwinding_write_usual(f));
    return ds_write_bytes(c->writer, DS_STREAM_LAYOUT, follows, 1);
}

/* The first flag of an FDE that follows an old one. */
ds_status ds_unwinding_all_right(ds_unwinding *f, const ds_guess *g, unsigned copied, bool *right) {
    bool follows_next = (f->ways & 3) == DS_FRAME_FOLLOWS;
    return has_model(f) || !follows_next ? ds_unwinding_right(f, ALL_RIGHT, known_of(g), copied, right)
                                         : stream_usual(f, right);
}
