/* The context of code literals: the old bytes round the places where new code stands, one after the other.
 * New code resembles the code it replaces; zstd takes these bytes as a prefix (raw content, no dictionary id).
 * Named by rule, not sent: docs/spec/delta-format.md, "Context".
 */
#ifndef DS_CONTEXT_H
#define DS_CONTEXT_H

#include "predict/map.h"

typedef DS_VEC(uint8_t) ds_bytes;

ds_status ds_context_collect(ds_span old_file, uint64_t new_size, const ds_layout *layout, const ds_blocks *blocks,
                             ds_arena *arena, ds_bytes *context);

#endif
