/* Layout and block list: what both sides must know before the walk along the new image. */
#ifndef DS_DELTA_LAYOUT_H
#define DS_DELTA_LAYOUT_H

#include "delta/coder.h"
#include "image/image.h"
#include "predict/blocks.h"
#include "predict/derive.h"
#include "predict/paddings.h"
#include "predict/renames.h"

typedef struct ds_regions {
    DS_VEC(ds_region) list;
} ds_regions;

/* What a number of the layout is. */
enum {
    DS_LAYOUT_REGION_COUNT,
    DS_LAYOUT_REGIONS_CLEAN,
    DS_LAYOUT_REGION_FIELD,
    DS_LAYOUT_DERIVATION_COUNT = DS_LAYOUT_REGION_FIELD + 4,
    DS_LAYOUT_DERIVATION,
    DS_LAYOUT_BLOCK_COUNT,
    DS_LAYOUT_STREAM_COUNT,
    DS_LAYOUT_PIECE_COUNT,
    DS_LAYOUT_PIECE_GAP,
    DS_LAYOUT_PIECE_SIZE,
    DS_LAYOUT_STYLE,
    DS_LAYOUT_CONTENT_SIZE,
    DS_LAYOUT_RECIPE_SIZE,
    DS_LAYOUT_LIST_BASE,
    DS_LAYOUT_EXCEPTION_COUNT,
    DS_LAYOUT_EXCEPTION_CELLS,
    DS_LAYOUT_EXCEPTION_DISTANCE,
    DS_LAYOUT_RENAME_COUNT,
    DS_LAYOUT_RENAME_GAP,
    DS_LAYOUT_RENAME_SIZE,
    DS_LAYOUT_RENAME_BYTE,
};

/* What else is listed behind the derivations; and whether fresh bytes lie as they did. */
typedef struct ds_listed {
    bool packed, renames, fresh;
} ds_listed;

/* A number of the layout, which knows what it is. */
ds_status ds_code_layout(ds_coder *coder, unsigned what, uint64_t *value);

/* Each of these writes what it is given, or reads it: new_image is NULL, the list empty. */

/* Regions as sent: of a region's instruction set only what the old region of its number knew.
 * Checked: inside the new image, addresses that do not wrap, at most DS_REGIONS_MAX. */
ds_status ds_code_regions(ds_coder *coder, const ds_image *old_image, const ds_image *new_image, uint64_t new_size,
                          ds_arena *arena, ds_regions *regions);
/* Checked: each fits behind those before it. */
ds_status ds_code_derivations(ds_coder *coder, const ds_image *old_image, uint64_t new_size, ds_arena *arena,
                              ds_derivations *derivations, ds_listed *listed);
/* Checked: inside the old image, at most DS_RENAMES_MAX. */
ds_status ds_code_renames(ds_coder *coder, const ds_image *old_image, ds_arena *arena, ds_renames *renames);
/* What the derivations that are lists need beside the blocks. */
ds_status ds_code_lists(ds_coder *coder, uint64_t new_size, ds_arena *arena, ds_derivations *derivations);
/* `paddings` are learned if need be. `sent`: the blocks to write, whose paddings are made anew if they are `stretched`. `blocks`: the pieces that they
 * stand for. `new_size`: with its tail. Checked: ascending, disjoint, inside old and new. */
ds_status ds_code_blocks(ds_coder *coder, const ds_image *old_image, ds_paddings *paddings, const ds_blocks *sent,
                         bool stretched, uint64_t new_size, ds_arena *arena, ds_blocks *blocks);

#endif
