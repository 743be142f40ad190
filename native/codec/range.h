/* Arithmetic coding of bits of known probability: a 32-bit range with carries (docs/spec/delta-model.md, "Range
 * coder"; after G. N. N. Martin, "Range encoding", 1979).
 *
 * Probabilities are 16 bits, of a 1, from 1 to 65535. The coder's bytes end where only zeros would follow: a decoder
 * reads zeros behind the end, at most PAST_END of them.
 */
#ifndef DS_RANGE_H
#define DS_RANGE_H

#include "codec/relay.h"

#define DS_RANGE_TOP ((uint32_t)1 << 24)
#define DS_RANGE_PAST_END 4

typedef struct ds_range_encoder {
    uint64_t low;
    uint32_t range;
    DS_VEC(uint8_t) out;
    ds_arena *arena;
    ds_relay *relay;  /* where bytes go that no carry can change any more; NULL: nowhere */
    uint64_t relayed; /* so many of them went there */
    ds_status status; /* of the first failure; nothing is written after it */
} ds_range_encoder;

typedef struct ds_range_decoder {
    uint32_t range, code;
    const uint8_t *at, *end;
    ds_relay *relay;   /* where more bytes come from, or NULL */
    uint32_t past_end; /* bytes that were read behind the end */
} ds_range_decoder;

void ds_range_encoder_open(ds_range_encoder *encoder, ds_arena *arena);
void ds_range_put_byte(ds_range_encoder *encoder);
ds_status ds_range_encoder_finish(ds_range_encoder *encoder, ds_span *coded);
/* `relay`: where the bytes behind `coded` come from, or NULL. */
void ds_range_decoder_open(ds_range_decoder *decoder, ds_span coded, ds_relay *relay);
/* More bytes where there are none at hand: false at the end. */
bool ds_range_refill(ds_range_decoder *decoder);

static inline ds_status ds_range_decoder_check(const ds_range_decoder *decoder) {
    return decoder->past_end > DS_RANGE_PAST_END ? DS_E_DELTA : DS_OK;
}

static inline void ds_range_encode(ds_range_encoder *e, uint32_t p, bool bit) {
    uint32_t bound = (e->range >> 16) * p;
    if (bit)
        e->range = bound;
    else {
        e->low += bound;
        e->range -= bound;
    }
    while (e->range < DS_RANGE_TOP) {
        ds_range_put_byte(e);
        e->range <<= 8;
    }
}

static inline void ds_range_take_byte(ds_range_decoder *d) {
    uint32_t byte = 0;
    if (d->at < d->end || ds_range_refill(d))
        byte = *d->at++;
    else
        d->past_end += d->past_end < UINT32_MAX;
    d->code = d->code << 8 | byte;
}

static inline bool ds_range_decode(ds_range_decoder *d, uint32_t p) {
    uint32_t bound = (d->range >> 16) * p;
    bool bit = d->code < bound;
    if (bit)
        d->range = bound;
    else {
        d->code -= bound;
        d->range -= bound;
    }
    while (d->range < DS_RANGE_TOP) {
        ds_range_take_byte(d);
        d->range <<= 8;
    }
    return bit;
}

#endif
