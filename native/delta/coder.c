/* Decisions as streams or through the model; see coder.h. */
#include "delta/coder.h"

/* ---- numbers by the model: how many bits, then the bits ---- */

#define BUCKET_BITS 5
#define BUCKET_MORE ((1u << BUCKET_BITS) - 1) /* so many bits or more: six bits say how many more */
#define MORE_BITS 6
#define GROUP_BITS 4
#define GROUPS_IN_CONTEXT 2 /* further groups know only where they stand */

static unsigned bits_in(uint64_t value) {
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

static void derive(const ds_contexts *from, ds_contexts *to, unsigned step, uint32_t salt) {
    to->row = from->row;
    to->select = from->select * 3 + step;
    for (unsigned i = 0; i < ds_decision_rows[from->row].inputs; i++)
        to->hash[i] = ds_mix(from->hash[i], salt);
}

static ds_status model_number(ds_coder *c, const ds_contexts *contexts, uint64_t *value) {
    ds_contexts derived;
    unsigned size = bits_in(*value);
    derive(contexts, &derived, 0, 0);
    unsigned bucket = ds_code_symbol(c, &derived, BUCKET_BITS, size < BUCKET_MORE ? size : BUCKET_MORE);
    if (bucket == BUCKET_MORE) {
        derive(contexts, &derived, 0, 1);
        bucket += ds_code_symbol(c, &derived, MORE_BITS, size - BUCKET_MORE);
        if (bucket > 64)
            return DS_E_DELTA;
    }
    if (bucket <= 1) {
        *value = bucket;
        return DS_OK;
    }
    uint64_t coded = 1;
    unsigned left = bucket - 1;
    for (unsigned group = 0; left > 0; group++) {
        unsigned bits = left < GROUP_BITS ? left : GROUP_BITS;
        uint32_t known = group < GROUPS_IN_CONTEXT ? (uint32_t)coded : group;
        derive(contexts, &derived, group == 0 ? 1 : 2, (bucket << 8 | group << 4 | 2) + (known << 14));
        if (group >= GROUPS_IN_CONTEXT)
            for (unsigned i = 0; i < ds_decision_rows[contexts->row].inputs; i++)
                derived.hash[i] = ds_mix(i * 64 + left, group);
        left -= bits;
        coded = coded << bits | ds_code_symbol(c, &derived, bits, (unsigned)(*value >> left & ((1u << bits) - 1)));
    }
    *value = coded;
    return DS_OK;
}

ds_status ds_code_number(ds_coder *c, ds_stream stream, const ds_contexts *contexts, uint64_t *value) {
    if (c->model != NULL)
        return model_number(c, contexts, value);
    return c->writing ? ds_write_number(c->writer, stream, *value) : ds_read_number(c->reader, stream, value);
}

/* ---- events among clean items ---- */

static ds_status load_gap(ds_coder *c, ds_stream stream) {
    if (ds_stream_at_end(c->reader, stream)) {
        c->until[stream] = DS_NO_EVENT;
        return DS_OK;
    }
    DS_TRY(ds_read_number(c->reader, stream, &c->until[stream]));
    return c->until[stream] == DS_NO_EVENT ? DS_E_DELTA : DS_OK;
}

ds_status ds_code_run(ds_coder *c, ds_stream stream, uint64_t limit, uint64_t *run) {
    if (c->writing) {
        c->writer->runs[stream] += *run;
        if (*run == limit)
            return DS_OK;
        uint64_t gap = c->writer->runs[stream];
        c->writer->runs[stream] = 0;
        return ds_write_number(c->writer, stream, gap);
    }
    if (c->until[stream] >= limit) {
        c->until[stream] -= c->until[stream] == DS_NO_EVENT ? 0 : limit;
        *run = limit;
        return DS_OK;
    }
    *run = c->until[stream];
    return load_gap(c, stream);
}

ds_status ds_code_clean(ds_coder *c, ds_stream stream, const ds_contexts *contexts, bool *clean) {
    if (c->model != NULL) {
        *clean = !ds_code_flag(c, contexts, !*clean);
        return DS_OK;
    }
    uint64_t run = *clean;
    DS_TRY(ds_code_run(c, stream, 1, &run));
    *clean = run == 1;
    return DS_OK;
}

ds_status ds_coder_begin(ds_coder *c) {
    if (c->writing || c->model != NULL)
        return DS_OK;
    DS_TRY(load_gap(c, DS_STREAM_RESIDUAL_GAPS));
    return load_gap(c, DS_STREAM_REF_GAPS);
}

/* An event that lies behind the last item would never have happened. */
ds_status ds_coder_end(ds_coder *c) {
    if (c->model != NULL)
        return ds_model_check(c->model);
    if (c->writing)
        return DS_OK;
    if (c->until[DS_STREAM_RESIDUAL_GAPS] != DS_NO_EVENT || c->until[DS_STREAM_REF_GAPS] != DS_NO_EVENT)
        return DS_E_DELTA;
    return ds_stream_reader_finish(c->reader);
}
