/* Embedded deflate (RFC 1951), taken apart into what it says and how it says it, and written back exactly.
 *
 *   content  the bytes that the stream unpacks to: two versions of one resource are alike here
 *   recipe   how this stream differs from the one that zlib would have made of the content: nothing at all for
 *            most, else its blocks and tokens that are not as predicted
 *
 * The prediction is our own: zlib's choice of matches and of code lengths, in integers, the same for ever
 * (docs/spec/deflate.md). Nothing here calls zlib.
 *
 * Invariants
 *  - What ds_inflate takes apart and ds_recipe_write describes, ds_deflate_make writes back bit by bit, or the
 *    writer is told that it does not. Readers take any bytes: they end, in bounds and in bounded work.
 */
#ifndef DS_DEFLATE_H
#define DS_DEFLATE_H

#include "base/base.h"

#define DS_DEFLATE_WINDOW 32768
#define DS_MATCH_MIN 3
#define DS_MATCH_MAX 258

/* Content of one stream at most. */
#define DS_DEFLATE_CONTENT_MAX ((uint64_t)64 << 20)

/* A token: 0 for a literal (its byte is in the content), else length and distance. */
typedef uint32_t ds_token;
static inline ds_token ds_token_match(unsigned length, unsigned distance) {
    return (ds_token)length << 16 | distance;
}
static inline unsigned ds_token_length(ds_token token) { /* of content */
    return token == 0 ? 1 : token >> 16;
}
static inline unsigned ds_token_distance(ds_token token) {
    return token & 0xffff;
}

typedef enum ds_block_type { DS_BLOCK_STORED, DS_BLOCK_FIXED, DS_BLOCK_DYNAMIC } ds_block_type;

typedef struct ds_deflate_block {
    uint64_t tokens; /* of a stored block: bytes */
    uint64_t header; /* of a dynamic block: the bit where its code lengths begin, and how many bits they take */
    uint32_t header_bits;
    uint8_t type;
    uint8_t padding; /* of a stored block: the bits before its length */
} ds_deflate_block;

/* One stream, taken apart. */
typedef struct ds_inflated {
    DS_VEC(uint8_t) content;
    DS_VEC(ds_token) tokens;
    DS_VEC(ds_deflate_block) blocks; /* only the last has the final bit */
    uint64_t size;                   /* of the stream, bytes */
    uint8_t padding;                 /* the bits behind the last block */
    bool is_large;                   /* no stream because of the content's limit */
} ds_inflated;

/* The stream at the start of `data`. False in *is_stream where there is none, or one of more than `content_limit`
 * bytes; then `size` says how many bytes were looked at. Vectors are used again from call to call.
 * `with_tokens` false leaves tokens and blocks empty. */
ds_status ds_inflate(ds_span data, uint64_t content_limit, bool with_tokens, ds_arena *arena, ds_inflated *out,
                     bool *is_stream);
void ds_inflated_free(ds_inflated *inflated, ds_arena *arena);

/* What zlib was told: deflateInit2's level 1 to 9, memory level 1 to 9, window bits 9 to 15, strategy. */
typedef struct ds_deflate_style {
    uint8_t level, memory, window;
    bool filtered;
} ds_deflate_style;

/* One number: what a format holds of a style. False for numbers that name none. */
#define DS_STYLES (9 * 9 * 7 * 2)
uint64_t ds_style_number(const ds_deflate_style *style);
bool ds_style_of(uint64_t number, ds_deflate_style *style);

/* Steps of search that prediction may take: a reader ends there (DS_E_LIMIT), a writer takes another way. */
#define DS_DEFLATE_WORK 256
#define DS_DEFLATE_WORK_EXTRA ((uint64_t)1 << 20)
static inline uint64_t ds_deflate_work(uint64_t content_size) {
    return content_size * DS_DEFLATE_WORK + DS_DEFLATE_WORK_EXTRA;
}

typedef struct ds_recipe {
    DS_VEC(uint8_t) bytes;
} ds_recipe;

/* The style that predicts the stream best. `window`: what the stream's wrapper says, or 15. */
ds_status ds_style_guess(const ds_inflated *inflated, unsigned window, ds_arena *arena, ds_deflate_style *style);

/* The recipe of a stream, of which `data` holds the bytes. DS_E_LIMIT where the search would not end in time. */
ds_status ds_recipe_write(const ds_inflated *inflated, ds_span data, const ds_deflate_style *style, ds_arena *arena,
                          ds_recipe *recipe);

/* Writes the stream: exactly `size` bytes. DS_E_DELTA where content and recipe do not make that. */
ds_status ds_deflate_make(ds_span content, ds_span recipe, const ds_deflate_style *style, ds_arena *arena, uint8_t *out,
                          uint64_t size);

#endif
