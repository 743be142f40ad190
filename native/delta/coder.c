/* Decisions as streams or through the model; see coder.h. */
#include "delta/coder.h"

/* ---- numbers by the model: how many bits, then the bits ---- */

#define BUCKET_BITS 5
#define BUCKET_MORE ((1u << BUCKET_BITS) - 1) /* so many bits or more: six bits say how many more */
#define MORE_BITS 6
#define GROUP_BITS 4
#define NUMBER_STEPS 3      /* sets of weights: size and sign, bits that know all, the others */
#define GROUPS_IN_CONTEXT 2 /* further groups know only where they stand */

/* The contexts of one part of a number: what was known before, and the part. */
static unsigned code_part(ds_coder *c, const ds_contexts *known, unsigned step, uint32_t part, unsigned bits,
                          uint64_t value) {
    ds_contexts contexts = {.row = known->row, .select = known->select * NUMBER_STEPS + step};
    for (unsigned i = 0; i < ds_decision_rows[known->row].inputs; i++)
        contexts.hash[i] = ds_mix(known->hash[i], part);
    return ds_code_symbol(c, &contexts, bits, (unsigned)value & ((1u << bits) - 1));
}

/* Bits far from the leading one know where they stand. */
static unsigned code_tail(ds_coder *c, const ds_contexts *known, unsigned bucket, unsigned left, unsigned bits,
                          uint64_t value) {
    ds_contexts contexts = {.row = known->row, .select = known->select * NUMBER_STEPS + 2};
    for (unsigned i = 0; i < ds_decision_rows[known->row].inputs; i++)
        contexts.hash[i] = ds_mix(left, i == 1 ? bucket : i << 8);
    return ds_code_symbol(c, &contexts, bits, (unsigned)value & ((1u << bits) - 1));
}

static ds_status code_bucket(ds_coder *c, const ds_contexts *known, unsigned *bucket) {
    unsigned wanted = *bucket;
    *bucket = code_part(c, known, 0, 0, BUCKET_BITS, wanted < BUCKET_MORE ? wanted : BUCKET_MORE);
    if (*bucket == BUCKET_MORE)
        *bucket += code_part(c, known, 0, 1, MORE_BITS, wanted - BUCKET_MORE);
    return *bucket > 64 ? DS_E_DELTA : DS_OK;
}

/* The last bits of a number that leads to a place: each halves the places that are left, and knows what is seen at
 * those of either half. `coded`: the bits before them. What they cost is the number's. */
static uint64_t code_landing(ds_coder *c, const ds_contexts *known, unsigned bits, uint64_t coded, uint64_t value) {
    uint8_t seen[DS_LANDMARKS_MAX], *at = seen;
    const uint64_t before = ds_model_cost(c->model, DS_DECIDE_LANDMARK);
    ds_landmarks_look(c->landmarks, &known->lead, coded << bits, 1u << bits, seen);
    for (unsigned left = bits; left-- > 0;) {
        unsigned half = 1u << left;
        uint32_t views = ds_mix(ds_landmarks_view(at, half), ds_landmarks_view(at + half, half));
        uint32_t side = known->row << 1 | known->lead.back;
        ds_contexts contexts = {.row = DS_DECIDE_LANDMARK,
                                .select = left,
                                .hash = {ds_mix(views, left), ds_mix(views, (side + 1) << 2 | left)}};
        bool upper = ds_code_flag(c, &contexts, value >> left & 1);
        coded = coded << 1 | upper;
        at += upper ? half : 0;
    }
    ds_model_charge(c->model, DS_DECIDE_LANDMARK, before, known->row);
    return coded;
}

/* All bits below the leading one. */
static uint64_t code_mantissa(ds_coder *c, const ds_contexts *known, unsigned bucket, uint64_t value) {
    uint64_t coded = 1;
    unsigned left = bucket - 1;
    for (unsigned group = 0; left > 0; group++) {
        unsigned bits = left % GROUP_BITS == 0 ? GROUP_BITS : left % GROUP_BITS;
        left -= bits;
        if (left == 0 && known->lead.to != DS_LEADS_NOWHERE && !(c->without & DS_WITHOUT_LANDMARKS))
            return code_landing(c, known, bits, coded, value);
        uint32_t part = bucket << 2 | 2 | (uint32_t)coded << 10;
        coded = coded << bits | (group < GROUPS_IN_CONTEXT ? code_part(c, known, 1, part, bits, value >> left)
                                                           : code_tail(c, known, bucket, left, bits, value >> left));
    }
    return coded;
}

static ds_status model_number(ds_coder *c, const ds_contexts *known, uint64_t *value) {
    unsigned bucket = ds_bits_in(*value);
    DS_TRY(code_bucket(c, known, &bucket));
    *value = bucket == 0 ? 0 : code_mantissa(c, known, bucket, *value);
    return DS_OK;
}

/* Size, sign, and what is below: a negative number is coded as what it lacks to zero. */
static ds_status model_signed(ds_coder *c, const ds_contexts *known, uint64_t *value) {
    bool negative = *value >> 63;
    uint64_t magnitude = negative ? 0 - *value : *value;
    unsigned bucket = ds_bits_in(magnitude);
    DS_TRY(code_bucket(c, known, &bucket));
    if (bucket == 0) {
        *value = 0;
        return DS_OK;
    }
    negative = code_part(c, known, 0, bucket << 2 | 3, 1, negative);
    ds_contexts below = *known;
    below.lead.back = negative;
    magnitude = code_mantissa(c, &below, bucket, magnitude);
    *value = negative ? 0 - magnitude : magnitude;
    return DS_OK;
}

ds_status ds_code_signed(ds_coder *c, ds_stream stream, const ds_contexts *contexts, uint64_t *value) {
    if (c->model != NULL)
        return model_signed(c, contexts, value);
    uint64_t folded = ds_zigzag(*value);
    DS_TRY(c->writing ? ds_write_number(c->writer, stream, folded) : ds_read_number(c->reader, stream, &folded));
    *value = ds_unzigzag(folded);
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
