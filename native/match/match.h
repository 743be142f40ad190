/* Matching: which old bytes become which new bytes.
 *
 * Rounds of: normalise both images (reference fields become labels, so that code which only moved is
 * equal), find seeds, choose the block list of least estimated cost by dynamic programming. The map of
 * one round's blocks gives the labels of the next; those of the first show which strings were renamed.
 * From the third round on only what is labelled otherwise than before is matched again (watch.h). The
 * new image is cut into a few ranges by its size, each matched by itself, so that several threads can.
 * Nothing here is part of the format: any block list makes a valid delta.
 */
#ifndef DS_MATCH_H
#define DS_MATCH_H

#include "image/image.h"
#include "predict/blocks.h"
#include "predict/renames.h"

/* False cancels. */
typedef bool (*ds_match_progress)(void *context, unsigned round, unsigned rounds);

/* Which coding the blocks are chosen for. */
typedef enum ds_price_coding { DS_PRICES_STREAMS, DS_PRICES_MODEL } ds_price_coding;

typedef struct ds_match_prepared ds_match_prepared;

typedef struct ds_match_options {
    ds_price_coding coding;
    unsigned rounds;
    unsigned threads;
    uint32_t without;                  /* DS_WITHOUT_LABELS, DS_WITHOUT_PRICES, DS_WITHOUT_RENAMES */
    const ds_match_prepared *prepared; /* of the old image without a tail; or NULL */
    ds_match_progress progress;
    void *context;
} ds_match_options;

/* Blocks, and the renames that they are chosen for. */
ds_status ds_match(const ds_image *old_image, const ds_image *new_image, const ds_match_options *options,
                   ds_arena *arena, ds_blocks *blocks, ds_renames *renames);

/* Hashes of some of an image's code, ascending, each once; none for what is no image. */
typedef struct ds_sketch {
    DS_VEC(uint32_t) list;
} ds_sketch;

ds_status ds_sketch_make(const ds_image *image, ds_arena *arena, ds_sketch *sketch);

/* ---- between the files of this room ---- */

#define DS_SIDE_BEHIND 40

/* One side in reference-free form. */
typedef struct ds_side {
    const ds_image *image;
    const ds_renames *renames; /* of the old side, once they are known; or NULL */
    uint8_t *bytes;   /* the file with labels in its reference fields; DS_SIDE_BEHIND may be read behind its end */
    uint8_t *anchors; /* one bit per byte: matches may start here; may be read behind too */
    uint64_t size;
} ds_side;

ds_status ds_side_open(ds_side *side, const ds_image *image, ds_arena *arena);
/* Leaves of each eight anchors only those of the pattern: an index takes less memory, and finds less. */
void ds_side_thin(ds_side *side, uint8_t pattern);
uint64_t ds_side_anchors(const ds_side *side);
void ds_side_close(ds_side *side, ds_arena *arena);
/* No labels: the bytes as they are. */
void ds_side_label_nothing(ds_side *side);
/* Round 0: a reference's label is the masked content at its target. */
ds_status ds_side_label_content(ds_side *side, ds_arena *arena);
/* Later rounds: the old side's label is the old target itself ... */
void ds_side_label_targets(ds_side *side);
/* ... and the new side's the old target that `blocks` or aligned references say. Part by part, which several threads
 * can do, references are polled on what no block says; then those votes are counted, in order; then references are
 * labelled part by part, and last the slots. */
typedef struct ds_mapped {
    ds_side *side;
    const ds_image *old_image;
    const ds_blocks *blocks;
    struct ds_votes *votes; /* of references of copied code, on targets that no block covers */
    struct ds_poll *polls;  /* of each part, until they are counted */
} ds_mapped;

#define DS_MAPPED_PARTS 8

ds_status ds_mapped_open(ds_mapped *mapped, ds_side *side, const ds_image *old_image, const ds_blocks *blocks,
                         ds_arena *arena);
ds_status ds_mapped_poll(const ds_mapped *mapped, unsigned part);
ds_status ds_mapped_count(const ds_mapped *mapped);
void ds_mapped_label(const ds_mapped *mapped, unsigned part);
void ds_mapped_label_slots(const ds_mapped *mapped);
void ds_mapped_close(ds_mapped *mapped, ds_arena *arena);

/* The first anchor from `at` on; at least `end` where there is none before it. */
static inline uint64_t ds_next_anchor(const ds_side *side, uint64_t at, uint64_t end) {
    while (at < end) {
        uint64_t bits = ds_load64(side->anchors + (at >> 3)) >> (at & 7);
        if (bits != 0)
            return at + (unsigned)__builtin_ctzll(bits);
        at = (at | 7) + 57; /* the bits of eight bytes, less those before `at` */
    }
    return at;
}

/* Positions of the old side by a hash of their first bytes, sorted inside each bucket. */
typedef struct ds_index {
    uint32_t *heads;
    uint32_t *positions;
    uint64_t heads_room, positions_room; /* items that there is room for */
    unsigned bits;
} ds_index;

/* Into an index that is empty, or built before: then its memory serves again. */
ds_status ds_index_build(ds_index *index, const ds_side *old_side, unsigned threads, ds_arena *arena);
/* Bytes that the index of so many anchors takes, nearly; what building it takes beside is little. */
uint64_t ds_index_size(uint64_t anchors);
void ds_index_free(ds_index *index, ds_arena *arena);

/* The old side of the first round, and of the later ones. Its arena frees it. */
struct ds_match_prepared {
    ds_side sides[2];
    ds_index indexes[2];
};

ds_status ds_match_prepare(ds_match_prepared *prepared, const ds_image *old_image, unsigned threads, ds_arena *arena);

/* An exact match in reference-free form. There are many of them. */
typedef struct ds_seed {
    uint32_t new_offset, old_offset;
    uint32_t length;
} ds_seed;

static inline int64_t ds_seed_diagonal(const ds_seed *seed) {
    return (int64_t)seed->old_offset - (int64_t)seed->new_offset;
}

typedef struct ds_seeds {
    DS_VEC(ds_seed) list; /* ascending new_offset */
} ds_seeds;

/* A stretch of the new image that is matched by itself, and the diagonals of the bytes on both sides of it, where
 * they are known: it begins, and ends, inside blocks. */
typedef struct ds_range {
    uint64_t from, to;
    int64_t before, behind;
} ds_range;

#define DS_NO_DIAGONAL INT64_MIN

ds_status ds_seeds_find(ds_seeds *seeds, const ds_index *index, const ds_side *old_side, const ds_side *new_side,
                        ds_range range, ds_arena *arena);

/* What a choice may still spend: earned byte by byte, so that all of a range together stays cheap. */
typedef struct ds_credit {
    uint64_t visits; /* to states */
    uint64_t earned; /* new offset up to which it was given */
} ds_credit;

void ds_credit_open(ds_credit *credit, uint64_t from);
ds_status ds_blocks_choose(ds_blocks *blocks, const ds_seeds *seeds, const ds_side *old_side, const ds_side *new_side,
                           ds_price_coding coding, ds_range range, ds_credit *credit, ds_arena *arena);
/* The same by length alone. */
ds_status ds_blocks_longest(ds_blocks *blocks, const ds_seeds *seeds, ds_range range, ds_arena *arena);
/* Moves borders between blocks, where both agree, to where a function starts. */
void ds_blocks_slide(ds_blocks *blocks, const ds_side *old_side, const ds_side *new_side);

#endif
