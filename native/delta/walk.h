/* The walk: the one order in which a delta's decisions are made, the same when it is written and when it
 * is applied (docs/spec/delta-format.md, "The walk").
 *
 * 1. layout   the regions of the new image, as differences from the old ones; what of it is derived
 * 2. blocks   all of them, since the address map must be known before the first prediction
 * 3. along the tail of the new image, if it has one, then along the image, for each block: the bytes before it, literal or derived; then its copied bytes, with the
 *    references of the old bytes predicted and put, then corrected byte by byte.
 */
#ifndef DS_WALK_H
#define DS_WALK_H

#include "delta/coder.h"
#include "delta/context.h"
#include "delta/targets.h"
#include "image/image.h"
#include "predict/derive.h"
#include "predict/packed.h"
#include "predict/renames.h"

/* `targets`, ranked, where the coder has a model; else NULL. */

/* Write the decisions that turn old into new, both with their tails, given the blocks and renames; and the parts of its
 * code literals, unless NULL. `blocks` become the pieces that are copied. */
ds_status ds_walk_write(const ds_image *old_image, const ds_image *new_image, ds_derivations *derivations,
                        ds_packed_both *packed, ds_renames *renames, ds_blocks *blocks, ds_coder *coder,
                        ds_targets *targets, ds_code_parts *parts, ds_arena *arena);

/* Read them, and hand the new image to the sink. `has_context`: code literals stand behind their context. */
ds_status ds_walk_read(const ds_image *parsed_image, uint64_t new_size, bool has_context, ds_coder *coder,
                       ds_targets *targets, ds_sink sink, void *context, ds_arena *arena);

#endif
