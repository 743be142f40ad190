/* Taking a stream apart; see deflate.h. RFC 1951, section 3.2.
 *
 * Invariant: no more than `content_limit` bytes of content are made, and none before they are known to fit.
 */
#include "deflate/codes.h"

typedef struct inflater {
    ds_bits bits;
    uint64_t content_limit;
    bool with_tokens;
    ds_arena *arena;
    ds_inflated *out;
    ds_decoder literals, distances;
    bool is_stream;
} inflater;

#define STOP_IF(condition)         \
    do {                           \
        if (condition) {           \
            in->is_stream = false; \
            return DS_OK;          \
        }                          \
    } while (0)

/* Whether so much content may be added. */
static bool has_room(inflater *in, uint64_t size) {
    in->out->is_large |= size > in->content_limit - in->out->content.count;
    return !in->out->is_large;
}

static ds_status add_token(inflater *in, ds_token token) {
    if (!in->with_tokens)
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(in->arena, &in->out->tokens, in->out->tokens.count + 1));
    in->out->tokens.items[in->out->tokens.count++] = token;
    return DS_OK;
}

static ds_status read_stored(inflater *in, ds_deflate_block *block) {
    block->padding = (uint8_t)ds_bits_take(&in->bits, -in->bits.at & 7);
    unsigned size = ds_bits_take(&in->bits, 16), check = ds_bits_take(&in->bits, 16);
    uint64_t at = in->bits.at / 8;
    STOP_IF((size ^ check) != 0xffff || !ds_within(at, size, in->bits.data.size));
    STOP_IF(!has_room(in, size));
    DS_TRY(DS_VEC_RESERVE(in->arena, &in->out->content, in->out->content.count + size));
    if (size > 0)
        memcpy(in->out->content.items + in->out->content.count, in->bits.data.data + at, size);
    in->out->content.count += size;
    in->bits.at += (uint64_t)size * 8;
    block->tokens = size;
    return DS_OK;
}

static void copy_match(uint8_t *to, unsigned distance, unsigned length) {
    const uint8_t *from = to - distance;
    if (distance >= length)
        memcpy(to, from, length);
    else
        for (unsigned i = 0; i < length; i++)
            to[i] = from[i];
}

static ds_status read_match(inflater *in, unsigned symbol) {
    ds_inflated *out = in->out;
    STOP_IF(symbol >= DS_LITERAL_SYMBOLS);
    symbol -= DS_END_OF_BLOCK + 1;
    unsigned length = ds_length_base[symbol] + ds_bits_take(&in->bits, ds_length_extra[symbol]);
    /* The longest match has a symbol of its own; told by another one it would not come back. */
    STOP_IF(symbol == 27 && length == DS_MATCH_MAX);
    symbol = ds_decode(&in->distances, &in->bits);
    STOP_IF(symbol >= DS_DISTANCE_SYMBOLS);
    unsigned distance = ds_distance_base[symbol] + ds_bits_take(&in->bits, ds_distance_extra[symbol]);
    STOP_IF(distance > out->content.count || !has_room(in, length));
    DS_TRY(DS_VEC_RESERVE(in->arena, &out->content, out->content.count + length));
    copy_match(out->content.items + out->content.count, distance, length);
    out->content.count += length;
    return add_token(in, ds_token_match(length, distance));
}

static ds_status read_tokens(inflater *in, ds_deflate_block *block) {
    ds_inflated *out = in->out;
    for (;; block->tokens++) {
        unsigned symbol = ds_decode(&in->literals, &in->bits);
        STOP_IF(symbol == DS_NO_SYMBOL || !ds_bits_inside(&in->bits));
        if (symbol == DS_END_OF_BLOCK)
            return DS_OK;
        if (symbol < DS_END_OF_BLOCK) {
            STOP_IF(!has_room(in, 1));
            DS_TRY(DS_VEC_RESERVE(in->arena, &out->content, out->content.count + 1));
            out->content.items[out->content.count++] = (uint8_t)symbol;
            DS_TRY(add_token(in, 0));
        } else {
            DS_TRY(read_match(in, symbol));
            if (!in->is_stream)
                return DS_OK;
        }
    }
}

static ds_status read_block(inflater *in, bool *final) {
    ds_deflate_block block = {0};
    ds_lengths lengths;
    *final = ds_bits_take(&in->bits, 1);
    block.type = (uint8_t)ds_bits_take(&in->bits, 2);
    STOP_IF(block.type > DS_BLOCK_DYNAMIC || !ds_bits_inside(&in->bits));
    if (block.type == DS_BLOCK_STORED) {
        DS_TRY(read_stored(in, &block));
    } else {
        block.header = in->bits.at;
        if (block.type == DS_BLOCK_FIXED)
            ds_lengths_fixed(&lengths);
        else
            STOP_IF(!ds_header_read(&in->bits, &lengths));
        block.header_bits = (uint32_t)(in->bits.at - block.header);
        STOP_IF(!ds_decoder_build(lengths.literals, DS_LITERAL_CODES, &in->literals) ||
                !ds_decoder_build(lengths.distances, DS_DISTANCE_CODES, &in->distances));
        DS_TRY(read_tokens(in, &block));
    }
    if (!in->is_stream || !in->with_tokens)
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(in->arena, &in->out->blocks, in->out->blocks.count + 1));
    in->out->blocks.items[in->out->blocks.count++] = block;
    return DS_OK;
}

ds_status ds_inflate(ds_span data, uint64_t content_limit, bool with_tokens, ds_arena *arena, ds_inflated *out,
                     bool *is_stream) {
    inflater in = {.bits = {.data = data},
                   .content_limit = content_limit < DS_DEFLATE_CONTENT_MAX ? content_limit : DS_DEFLATE_CONTENT_MAX,
                   .with_tokens = with_tokens,
                   .arena = arena,
                   .out = out,
                   .is_stream = true};
    out->content.count = out->tokens.count = out->blocks.count = 0;
    out->is_large = false;
    ds_status status = DS_OK;
    for (bool final = false; !final && in.is_stream && status == DS_OK;)
        status = read_block(&in, &final);
    in.is_stream = in.is_stream && status == DS_OK && ds_bits_inside(&in.bits);
    out->padding = (uint8_t)ds_bits_take(&in.bits, -in.bits.at & 7);
    out->size = in.bits.at / 8 < data.size ? in.bits.at / 8 : data.size;
    *is_stream = in.is_stream;
    return status;
}

void ds_inflated_free(ds_inflated *inflated, ds_arena *arena) {
    DS_VEC_FREE(arena, &inflated->content);
    DS_VEC_FREE(arena, &inflated->tokens);
    DS_VEC_FREE(arena, &inflated->blocks);
}
