/* Decisions go through here: written or read, as typed streams or by the model. The walk says what is decided and what
 * is known there; streams have no use for the second, the model lives of it.
 */
#ifndef DS_CODER_H
#define DS_CODER_H

#include "codec/streams.h"
#include "delta/decisions.h"
#include "delta/landmarks.h"
#include "delta/trace.h"

typedef struct ds_coder {
    bool writing;
    ds_stream_writer *writer; /* one of the three is set */
    ds_stream_reader *reader;
    ds_model *model;
    const ds_landmarks *landmarks;   /* beside a model */
    ds_trace *trace;                 /* looks on while reading, or NULL */
    uint32_t without;                /* writing, for measurement: techniques to do without (deltaseal.h) */
    uint64_t helped, harmed;         /* writing: references that prediction spared; that it broke */
    uint64_t until[DS_STREAM_COUNT]; /* reading streams of gaps: clean items before the next event */
} ds_coder;

/* What is known where a decision is made; only looked at by the model. */
typedef struct ds_contexts {
    unsigned row;    /* ds_decision */
    unsigned select; /* set of weights */
    ds_lead lead;    /* of numbers: where they lead */
    uint32_t hash[DS_MODEL_INPUTS];
} ds_contexts;

#define DS_NO_EVENT UINT64_MAX /* in a stream of gaps: all further items are clean */

/* A number; `contexts` may be NULL where there is no model. */
ds_status ds_code_number(ds_coder *coder, ds_stream stream, const ds_contexts *contexts, uint64_t *value);
/* The same for a number around zero, two's complement. */
ds_status ds_code_signed(ds_coder *coder, ds_stream stream, const ds_contexts *contexts, uint64_t *value);
/* Whether the next item is clean, in a stream of gaps; or a flag of the model. */
ds_status ds_code_clean(ds_coder *coder, ds_stream stream, const ds_contexts *contexts, bool *clean);
/* Streams only: how many of the next `limit` items are clean, *run, before one that is not (or the limit). */
ds_status ds_code_run(ds_coder *coder, ds_stream stream, uint64_t limit, uint64_t *run);

/* Reading streams of gaps: the first gap; at the end, whether no event is left. */
ds_status ds_coder_begin(ds_coder *coder);
ds_status ds_coder_end(ds_coder *coder);

/* What was decided since the last such call was decided on the new byte `at`. */
static inline void ds_coder_note(const ds_coder *coder, ds_offset at) {
    if (coder->trace != NULL)
        ds_trace_take(coder->trace, at);
}

static inline unsigned ds_code_symbol(ds_coder *coder, const ds_contexts *contexts, unsigned bits, unsigned value) {
    return ds_model_symbol(coder->model, contexts->row, contexts->select, contexts->hash, bits, value);
}
static inline bool ds_code_flag(ds_coder *coder, const ds_contexts *contexts, bool flag) {
    return ds_model_flag(coder->model, contexts->row, contexts->select, contexts->hash, flag);
}

#endif
