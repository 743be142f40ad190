/* The steps of the walk, and what they share: where the new image grows, what is known so far. Private to this room. */
#ifndef DS_STEPS_H
#define DS_STEPS_H

#include "delta/alignment.h"
#include "delta/coder.h"
#include "delta/context.h"
#include "delta/made_code.h"
#include "delta/risk.h"
#include "delta/shifts.h"
#include "delta/targets.h"
#include "image/refs.h"
#include "predict/derive.h"
#include "predict/fresh.h"
#include "predict/packed.h"
#include "predict/predict.h"
#include "predict/renames.h"

#define DS_CHUNK ((uint64_t)32 << 10) /* copied bytes looked at together */
#define DS_HISTORY 64                 /* bytes before the ones being made that can still be read */

#define DS_PAGE_TAUGHT 64 /* old bytes that the model is shown together, once */

/* The new image as far as it is made. When writing, what is predicted of it. */
typedef struct ds_output {
    uint8_t *buffer;
    uint64_t filled;
    ds_sink sink; /* reading */
    void *context;
    ds_deriver *deriver; /* reading */
    uint8_t *made;       /* reading: the bytes of listed streams */
    uint8_t *tail;       /* reading, in the tail: where its next bytes go */
} ds_output;

typedef struct ds_walk {
    ds_coder *coder;
    const ds_image *old_image;
    const ds_image *new_image; /* writing: the image to describe */
    const ds_layout *layout;
    const ds_derivations *derivations;
    ds_packed_side *packed; /* of the new image */
    ds_renames *renames;
    ds_fresh_places fresh; /* in the new image; none where they do not lie as they did */
    ds_blocks *blocks;
    uint64_t image_blocks;            /* those of the new image; the others are of its tail */
    bool in_tail;                     /* what is walked along: */
    uint64_t first_block, last_block; /* its blocks, from the first to before the last */
    ds_ref_cursor old_refs;
    ds_predictor predictor;
    ds_output output;
    ds_context_parts parts; /* streams: of code literals */
    ds_code_parts *written; /* writing: what they are; NULL: there is no context */
    bool has_context;       /* reading */
    ds_bytes context;       /* reading: of this part */
    ds_shifts shifts;
    ds_targets *targets;   /* model only, as all that follows */
    ds_offset instruction; /* new offset where the latest known instruction starts */
    ds_alignment alignment;
    uint8_t *taught;       /* pages of old code that the model was shown, a bit each */
    uint64_t teach_budget; /* old bytes that it may still be shown */
    uint64_t shown;        /* and those that were */
    ds_risk risk;
    bool was_plain;         /* the latest run of data that could be */
    uint32_t unit_history;  /* latest units, a bit each: did they differ */
    uint32_t wrong_history; /* latest references, a bit each: were they wrong */
    uint32_t kept_history;  /* latest wrong ones, a bit each: did their fields stay */
    uint32_t last_fix;
    uint64_t new_size;      /* without the tail; bounds the work on unwind tables */
    ds_made_code made_code; /* what these are predicted from */
    bool has_made_frames;
    uint32_t words[2];       /* AArch64: latest literal words, latest first */
    uint32_t last_of[256];   /* latest of each operation */
    uint8_t substituted[32]; /* register that took the place of each */
    uint32_t wide_change;    /* of the latest number of 16 bits that changed, in its place */
    uint8_t last_change[8];  /* of each field */
    uint32_t guesses;        /* latest guesses of a changed word, a bit each: were they right */
    uint32_t changed_parts;  /* fields that changed in the latest word that was not as guessed */
    ds_arena *arena;
} ds_walk;

/* Room for the next `size` bytes of the new image, at most DS_CHUNK; DS_HISTORY earlier ones stand before it. */
ds_status ds_walk_make_room(ds_walk *walk, uint64_t size, uint8_t **bytes);

/* Hand on all bytes of the new image that are made. */
ds_status ds_walk_flush(ds_walk *walk);

/* The bytes [at, end) that no block covers; `block` is the number of the one behind them. */
ds_status ds_walk_literal(ds_walk *walk, uint64_t block, ds_offset at, ds_offset end);
/* A reference of a copied block: `field` holds the old bytes, and then the predicted or corrected ones.
 * `new_field` is NULL when reading. */
ds_status ds_walk_reference(ds_walk *walk, const ds_ref *ref, uint64_t block, uint8_t *field, const uint8_t *new_field);
/* Copied bytes that differ from what is predicted. `new_bytes` is NULL when reading. */
ds_status ds_walk_residuals(ds_walk *walk, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                            const uint8_t *new_bytes, uint64_t size);

#endif
