/* The context of code literals: the old bytes round the places where new code stands, one after the other.
 * New code resembles the code it replaces; zstd takes these bytes as a prefix (raw content, no dictionary id).
 * Much code is cut into parts, each a frame behind its own context: they can be compressed at the same time.
 * Named by rule, not sent: docs/spec/delta-format.md, "Context".
 */
#ifndef DS_CONTEXT_H
#define DS_CONTEXT_H

#include "predict/map.h"

typedef DS_VEC(uint8_t) ds_bytes;

/* Gaps are numbered like the blocks behind them. Those that begin in code count. */
typedef struct ds_context_parts {
    ds_span old_file;
    uint64_t new_size;
    const ds_layout *layout;
    const ds_block *blocks; /* without those of the tail */
    uint64_t block_count;
    uint64_t total;  /* bytes of gaps that count */
    uint64_t count;  /* of parts */
    uint64_t before; /* such bytes in the gaps entered so far */
    uint64_t part;   /* of the last such gap entered */
} ds_context_parts;

/* Counts what there is; the other fields are set. */
void ds_context_open(ds_context_parts *parts);
/* Whether a part begins with the gap, which is the next to be entered. */
bool ds_context_begins(const ds_context_parts *parts, uint64_t gap);
void ds_context_enter(ds_context_parts *parts, uint64_t gap);
/* Append the context of the part that begins with the gap, which is the next to be entered. */
ds_status ds_context_collect(const ds_context_parts *parts, uint64_t gap, ds_arena *arena, ds_bytes *context);

/* All contexts of a delta that is written, and where its parts of code literals begin. */
typedef struct ds_code_part {
    uint64_t context_end, code_start;
} ds_code_part;
typedef struct ds_code_parts {
    ds_bytes contexts;
    DS_VEC(ds_code_part) list;
} ds_code_parts;

#endif
