/* Compressed streams as derivations: what changed inside a stream is described in its content, not in its bytes.
 *
 * Behind each image stands its *tail*: contents and recipes (deflate/deflate.h) of the streams that are listed. The
 * tail of the new image is made like its other bytes, from blocks and literals; the listed streams of the new image
 * are then written from it, and nothing else describes them.
 *
 * Proved when the delta is made: what does not come back exactly is not listed.
 */
#ifndef DS_PACKED_H
#define DS_PACKED_H

#include "deflate/scan.h"
#include "predict/blocks.h"

/* Of each image. */
#define DS_PACKED_STREAMS_MAX 1024
#define DS_PACKED_PIECES_MAX 8192
/* Both tails together; and the new one beside its image. */
#define DS_TAILS_MAX ((uint64_t)64 << 20)
#define DS_TAIL_FACTOR 8
#define DS_TAIL_EXTRA ((uint64_t)1 << 16)

/* A listed stream. Its part of the tail: the content, then the recipe. */
typedef struct ds_packed {
    uint64_t first, count; /* of its pieces */
    uint64_t size;         /* of all pieces */
    uint64_t content_size, recipe_size;
    ds_deflate_style style;
    bool has_recipe; /* always, in the new image */
} ds_packed;

/* What is listed of one image: ascending, pieces disjoint and none empty. */
typedef struct ds_packed_side {
    DS_VEC(ds_packed) streams;
    DS_VEC(ds_piece) pieces;
    DS_VEC(uint64_t) made; /* of each piece: where its bytes lie among those of all */
    DS_VEC(uint8_t) tail;
} ds_packed_side;

typedef struct ds_packed_both {
    ds_packed_side old_side, new_side;
} ds_packed_both;

/* Streams of the new image that are not in the old one, and those of the old one that they resemble; both tails. */
ds_status ds_packed_find(ds_span old_file, ds_span new_file, unsigned threads, ds_arena *arena, ds_packed_both *both);
void ds_packed_free(ds_packed_both *both, ds_arena *arena);

/* Whether tails of these sizes are allowed. */
bool ds_tails_fit(uint64_t old_tail, uint64_t new_tail, uint64_t new_size);

/* Bytes that a new side's tail has. */
uint64_t ds_packed_tail_size(const ds_packed_side *new_side);

/* Makes the tail of an old side: DS_E_DELTA where something listed is no stream, DS_E_LIMIT where the tail would have
 * more than `limit` bytes. */
ds_status ds_packed_unpack(ds_packed_side *side, ds_span file, uint64_t limit, ds_arena *arena);

/* Writes the listed streams of a new side from its tail, one after the other: as many bytes as their pieces have. */
ds_status ds_packed_make(const ds_packed_side *side, ds_arena *arena, uint8_t **made);

/* To be called once all is listed. */
ds_status ds_packed_settle(ds_packed_side *side, ds_arena *arena);

/* Makes the blocks leave listed streams alone, and reach over the end of neither image into its tail. */
ds_status ds_packed_clip(const ds_packed_side *new_side, uint64_t old_size, uint64_t new_size, ds_blocks *blocks,
                         ds_arena *arena);

/* End of the longest stretch from `at` up to `end` that lies in one piece, or in none. `made` is where a piece's bytes
 * lie among those that ds_packed_make writes. */
ds_offset ds_packed_run(const ds_packed_side *side, ds_offset at, ds_offset end, bool *packed, uint64_t *made);

#endif
