/* Deflate's prefix codes: canonical codes from lengths, lengths from counts as zlib chooses them, and the header
 * that tells the lengths of a dynamic block. */
#ifndef DS_CODES_H
#define DS_CODES_H

#include "deflate/bits.h"
#include "deflate/deflate.h"

/* Symbols that codes may have lengths for, and those that mean something. */
#define DS_LITERAL_CODES 288
#define DS_LITERAL_SYMBOLS 286
#define DS_DISTANCE_CODES 32
#define DS_DISTANCE_SYMBOLS 30
#define DS_END_OF_BLOCK 256
#define DS_CODE_BITS 15

extern const uint16_t ds_length_base[29], ds_distance_base[30];
extern const uint8_t ds_length_extra[29], ds_distance_extra[30];

unsigned ds_length_symbol(unsigned length); /* 0 to 28 */
unsigned ds_distance_symbol(unsigned distance);

/* How often a block uses each symbol; one end of block included. */
typedef struct ds_counts {
    uint32_t literals[DS_LITERAL_SYMBOLS], distances[DS_DISTANCE_SYMBOLS];
} ds_counts;

typedef struct ds_lengths {
    uint8_t literals[DS_LITERAL_CODES], distances[DS_DISTANCE_CODES];
    unsigned literal_count, distance_count; /* that a header tells */
} ds_lengths;

void ds_lengths_fixed(ds_lengths *lengths);
/* As zlib builds them. */
void ds_lengths_build(const ds_counts *counts, ds_lengths *lengths);

/* Bits that the block's symbols take, extra bits included. */
uint64_t ds_counts_cost(const ds_counts *counts, const ds_lengths *lengths);

/* The header of a dynamic block as zlib writes it. */
#define DS_HEADER_ITEMS (DS_LITERAL_SYMBOLS + DS_DISTANCE_SYMBOLS)
typedef struct ds_code_header {
    uint16_t items[DS_HEADER_ITEMS]; /* symbol of the code for lengths, and its extra value << 8 */
    unsigned item_count;
    uint8_t lengths[19];
    unsigned length_count; /* of them told */
    const ds_lengths *of;
    uint64_t cost; /* bits */
} ds_code_header;

void ds_header_build(const ds_lengths *lengths, ds_code_header *header);
void ds_header_write(const ds_code_header *header, ds_bit_pen *pen);

/* Canonical codes, first bit lowest. */
void ds_codes_assign(const uint8_t *lengths, unsigned count, uint16_t *codes);

/* ---- decoding ---- */

#define DS_FAST_BITS 10
typedef struct ds_decoder {
    uint16_t fast[1 << DS_FAST_BITS]; /* symbol << 4 | length; 0: a longer code */
    uint16_t symbols[DS_LITERAL_CODES];
    uint16_t counts[DS_CODE_BITS + 1]; /* codes of each length */
} ds_decoder;

/* False for a set of lengths that zlib does not take: too many codes, or too few but for a single one. */
bool ds_decoder_build(const uint8_t *lengths, unsigned count, ds_decoder *decoder);

#define DS_NO_SYMBOL 0xffff
unsigned ds_decode_long(const ds_decoder *decoder, ds_bits *bits);
static inline unsigned ds_decode(const ds_decoder *decoder, ds_bits *bits) {
    unsigned entry = decoder->fast[ds_bits_peek(bits) & ((1 << DS_FAST_BITS) - 1)];
    if (entry == 0)
        return ds_decode_long(decoder, bits);
    bits->at += entry & 15;
    return entry >> 4;
}

/* A dynamic block's header. False for one that is not valid. */
bool ds_header_read(ds_bits *bits, ds_lengths *lengths);

#endif
