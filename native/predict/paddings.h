/* Paddings: what stands between the end of code and the aligned place where the next code begins
 * (docs/spec/delta-format.md, "Paddings"). Where code moves by less than its alignment, its padding becomes longer or
 * shorter, and all behind it keeps its place. How long paddings are, and of which instructions, is learned from the old
 * image. Between regions it is the new regions that say it. A block in whose copied bytes paddings are made anew is
 * written as one.
 *
 * Invariants
 *  - what is learned, and so every stretched block, depends on the old image and the new regions alone;
 *  - any list makes a valid delta: a padding that became another than expected costs its correction.
 */
#ifndef DS_PADDINGS_H
#define DS_PADDINGS_H

#include "image/padding.h"
#include "predict/blocks.h"

#define DS_PADDING_PERIOD 32 /* lengths are known by offset modulo this, and are shorter */

typedef struct ds_padding_rules {
    int16_t length[DS_PADDING_PERIOD]; /* by where it begins; DS_PADDING_UNKNOWN */
    uint32_t fill[DS_PADDING_PERIOD];  /* by length: offset of old bytes to copy; UINT32_MAX: there are none */
    uint32_t moving;                   /* by distance modulo the period, a bit each: is any length another there */
} ds_padding_rules;
#define DS_PADDING_UNKNOWN (-1)

/* Between one region and the next one of the file, where the new ones lie closer together, or further apart. */
typedef struct ds_seam {
    ds_offset begin, end; /* old */
    ds_offset new_begin;
    uint64_t new_size;
} ds_seam;

typedef struct ds_paddings {
    const ds_image *old_image;
    const ds_region *new_regions;
    uint64_t new_region_count;
    bool learned;              /* what follows */
    DS_VEC(ds_seam) seams;     /* ascending */
    ds_padding_rules rules[2]; /* before anything else, before a function */
    bool behind_jumps;         /* whether what stands behind a jump follows the first of them */
} ds_paddings;

/* What the image and the new regions say of paddings, once; old_image, new_regions and their number are the caller's.
 * Looks at the first 16,384 paddings. */
ds_status ds_paddings_learn(ds_paddings *paddings, ds_arena *arena);
void ds_paddings_free(ds_paddings *paddings, ds_arena *arena);

/* Where a block is cut: instead of old bytes come `made` new ones, the first `copied` of them from `fill`. */
typedef struct ds_cut {
    ds_offset begin, end, fill;
    uint64_t copied, made;
} ds_cut;

/* The paddings between two old offsets; and whether one that is as the rules say has another length where it is moved
 * by `shift`. */
ds_padding_scan ds_paddings_scan(const ds_paddings *paddings, ds_offset from, ds_offset end);
bool ds_paddings_change(const ds_paddings *paddings, const ds_padding *found, uint64_t shift, ds_cut *cut);
/* How many seams begin at `from` or before; and whether one is made anew where it is moved by `shift`. */
uint64_t ds_paddings_seams_until(const ds_paddings *paddings, ds_offset from);
bool ds_paddings_seam_change(const ds_seam *seam, uint64_t shift, ds_cut *cut);
/* The first cut behind `from` and before `end` of what is copied with this shift. */
bool ds_paddings_next_cut(const ds_paddings *paddings, ds_offset from, ds_offset end, uint64_t shift, ds_cut *cut);

/* Appends what a block of `length` old bytes stands for: its pieces, and copies of paddings between them. Where they
 * lie in the new image is for the caller to check. */
ds_status ds_paddings_stretch(const ds_paddings *paddings, const ds_block *block, ds_arena *arena, ds_blocks *out);

/* Writing: `folded` gets the blocks to send for those that are given, whose bytes they give as well. False in *worth
 * where they are no fewer. */
ds_status ds_paddings_fold(const ds_paddings *paddings, const ds_image *new_image, const ds_blocks *blocks,
                           ds_arena *arena, ds_blocks *folded, bool *worth);

#endif
