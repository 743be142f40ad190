/* Where the literals of a gap stand among the old bytes that they replace: a pointer that begins where the block before
 * the gap ended, runs along, and after a surprise looks nearby for the bytes that came last. Private to this room.
 */
#ifndef DS_ALIGNMENT_H
#define DS_ALIGNMENT_H

#include "image/image.h"

typedef struct ds_alignment {
    ds_span old;     /* bytes of the old image, or of its tail */
    ds_offset first; /* offset of the first of them */
    ds_offset at;    /* the one that is expected next, counted from there */
    unsigned run;    /* bytes, or words, that came as expected since the last that did not */
    unsigned missed; /* surprises since the place was found */
    uint64_t budget; /* old bytes that may still be looked at */
} ds_alignment;

/* Behind the old bytes of a block that end at `end`, in the tail or not. */
void ds_align_begin(ds_alignment *alignment, const ds_image *old_image, bool in_tail, ds_offset end);

/* The byte that is expected; how far to trust it, from 1, or 0 where there is none. */
unsigned ds_align_expect(const ds_alignment *alignment, uint8_t *byte);
/* A byte has come; at least four can be read before `next`. */
void ds_align_take(ds_alignment *alignment, const uint8_t *next);

/* The same for aligned words of four bytes. */
bool ds_align_expect_word(const ds_alignment *alignment, uint32_t *word);
/* The caller knows what makes words alike. */
void ds_align_take_word(ds_alignment *alignment, uint32_t word, bool as_expected);

#endif
