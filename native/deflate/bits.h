/* Bits as deflate packs them: from the least significant of each byte on (RFC 1951, section 3.1.1). */
#ifndef DS_BITS_H
#define DS_BITS_H

#include "base/base.h"

/* ---- reading: zeros behind the end; ds_bits_inside tells whether any were taken ---- */

typedef struct ds_bits {
    ds_span data;
    uint64_t at; /* bits */
} ds_bits;

/* At least 32 bits, without taking them. */
static inline uint64_t ds_bits_peek(const ds_bits *bits) {
    uint64_t byte = bits->at >> 3, word = 0;
    if (byte < bits->data.size && bits->data.size - byte >= 8)
        return ds_load64(bits->data.data + byte) >> (bits->at & 7);
    for (unsigned i = 0; byte + i < bits->data.size; i++)
        word |= (uint64_t)bits->data.data[byte + i] << 8 * i;
    return word >> (bits->at & 7);
}

static inline unsigned ds_bits_take(ds_bits *bits, unsigned count) {
    unsigned value = (unsigned)(ds_bits_peek(bits) & ((UINT64_C(1) << count) - 1));
    bits->at += count;
    return value;
}

static inline bool ds_bits_inside(const ds_bits *bits) {
    return bits->at <= bits->data.size * 8;
}

/* ---- writing: into a given room ---- */

typedef struct ds_bit_pen {
    uint8_t *out;
    uint64_t size, at; /* bytes */
    uint64_t word;
    unsigned held;
    bool full; /* something did not fit */
} ds_bit_pen;

static inline void ds_pen_put(ds_bit_pen *pen, uint64_t value, unsigned count) { /* count <= 32 */
    pen->word |= value << pen->held;
    pen->held += count;
    while (pen->held >= 8) {
        if (pen->at < pen->size)
            pen->out[pen->at++] = (uint8_t)pen->word;
        else
            pen->full = true;
        pen->word >>= 8;
        pen->held -= 8;
    }
}

static inline void ds_pen_align(ds_bit_pen *pen, unsigned padding) {
    if (pen->held > 0)
        ds_pen_put(pen, padding & ((1u << (8 - pen->held)) - 1), 8 - pen->held);
}

#endif
