/* Fresh bytes: those that each build makes anew, such as a build id (docs/spec/delta-format.md, "Fresh bytes"). No block
 * copies them where the new ones lie as the old ones did: a block goes on behind them as if they were its own.
 */
#ifndef DS_FRESH_H
#define DS_FRESH_H

#include "image/image.h"
#include "predict/blocks.h"

/* Where those of the new image are to be expected. */
typedef struct ds_fresh_places {
    ds_fresh items[DS_FRESH_MAX];
    unsigned count;
} ds_fresh_places;

/* As far from the start of their region, or from the end of the file, as the old ones; `regions` are the new ones. */
ds_fresh_places ds_fresh_expect(const ds_image *old_image, const ds_region *regions, uint64_t count, uint64_t new_size);
/* Writing: whether the new image has them all there, and none is as it was. */
bool ds_fresh_came(const ds_fresh_places *places, const ds_image *old_image, const ds_image *new_image);

/* End of the longest stretch from `at` up to `end` of which all bytes are fresh, or none. */
ds_offset ds_fresh_run(const ds_fresh_places *places, ds_offset at, ds_offset end, bool *fresh);
/* Makes the blocks leave them out. */
ds_status ds_fresh_clip(const ds_fresh_places *places, ds_blocks *blocks, ds_arena *arena);

#endif
