/* The adaptive model: codes decisions one bit at a time, each predicted by what both sides know where it is made.
 *
 * A decision has a few contexts (32-bit hashes). Each context owns a counter for every bit of the decision
 * (codec/counters.h). A mixer weighs the counters' opinions, and learns which to trust; an
 * arithmetic coder spends what the bit was worth. Integers only: the same bytes on every machine. All of it is part
 * of the format: docs/spec/delta-model.md.
 */
#ifndef DS_MODEL_H
#define DS_MODEL_H

#include "codec/relay.h"

#define DS_MODEL_INPUTS 10 /* most contexts of a decision */
#define DS_MODEL_BITS 8    /* most bits of a symbol */
#define DS_MODEL_SELECTS 8 /* most sets of weights of a row */

/* What the model must know of a kind of decision. */
typedef struct ds_model_row {
    const char *name;
    uint8_t inputs;  /* contexts, at most DS_MODEL_INPUTS */
    uint8_t selects; /* sets of weights that the caller chooses from, at most DS_MODEL_SELECTS */
} ds_model_row;

typedef struct ds_model ds_model;

/* `rows` stay the caller's. `lines`: of counters, 64 bytes each; even. */
ds_status ds_model_open_write(ds_model **model, const ds_model_row *rows, unsigned row_count, uint32_t lines,
                              ds_arena *arena);
/* `relay`: where the bytes behind `coded` come from while they are written, or NULL. */
ds_status ds_model_open_read(ds_model **model, const ds_model_row *rows, unsigned row_count, uint32_t lines,
                             ds_span coded, ds_relay *relay, ds_arena *arena);
/* Writing, before the first decision: bytes go there too, as soon as they are final. */
void ds_model_relay(ds_model *model, ds_relay *relay);
void ds_model_close(ds_model *model);

/* One bit. When reading, `bit` is ignored; the bit that was read is returned. */
bool ds_model_flag(ds_model *model, unsigned row, unsigned select, const uint32_t *contexts, bool bit);
/* The low `bits` bits (1 to DS_MODEL_BITS) of value, most significant first. */
unsigned ds_model_symbol(ds_model *model, unsigned row, unsigned select, const uint32_t *contexts, unsigned bits,
                         unsigned value);
/* The same of bits that nothing is known of: each takes one. What they cost is the row's. */
unsigned ds_model_plain(ds_model *model, unsigned row, unsigned bits, unsigned value);
/* Teach without coding: the counters of the first `inputs` contexts see the symbol, the weights do not. */
void ds_model_teach(ds_model *model, unsigned row, unsigned inputs, const uint32_t *contexts, unsigned bits,
                    unsigned value);

/* Writing: the end. The bytes stay the model's. */
ds_status ds_model_finish(ds_model *model, ds_span *coded);
/* Reading: DS_E_DELTA when more was read than there is. Cheap; to be asked now and then, and at the end. */
ds_status ds_model_check(const ds_model *model);
/* Reading, at the end: that all bytes were needed. */
bool ds_model_at_end(ds_model *model);

/* What the decisions of one row have cost, in 1/4096 bit, nearly. */
uint64_t ds_model_cost(const ds_model *model, unsigned row);

/* What a row has cost since it had cost `before` is another's. */
void ds_model_charge(ds_model *model, unsigned row, uint64_t before, unsigned other);

/* Hashes that contexts are made of. */
static inline uint32_t ds_hash_bytes(const uint8_t *bytes, unsigned size) {
    uint32_t hash = size;
    for (unsigned i = 0; i < size; i++)
        hash = (hash + bytes[i] + 1) * 0x9e3779b1u;
    return hash ^ hash >> 15;
}
static inline uint32_t ds_mix(uint32_t a, uint32_t b) {
    uint32_t h = a * 0x9e3779b1u ^ (b + 0x7f4a7c15u) * 0x85ebca6bu;
    return h ^ h >> 15;
}

#endif
