/* Blocks: where new bytes come from. Ascending and disjoint in the new image, arbitrary in the old. */
#ifndef DS_BLOCKS_H
#define DS_BLOCKS_H

#include "base/base.h"

typedef struct ds_block {
    ds_offset new_offset;
    ds_offset old_offset;
    uint64_t length;
} ds_block;

typedef struct ds_blocks {
    DS_VEC(ds_block) list;
} ds_blocks;

static inline ds_status ds_blocks_add(ds_blocks *blocks, ds_block block, ds_arena *arena) {
    DS_TRY(DS_VEC_RESERVE(arena, &blocks->list, blocks->list.count + 1));
    blocks->list.items[blocks->list.count++] = block;
    return DS_OK;
}

/* Index of the last block that starts at or before `new_offset`; UINT64_MAX when there is none. */
static inline uint64_t ds_blocks_find(const ds_block *blocks, uint64_t count, ds_offset new_offset) {
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (blocks[middle].new_offset <= new_offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? UINT64_MAX : low - 1;
}

/* How many blocks begin before `new_offset`: those of an image, before those of its tail. */
static inline uint64_t ds_blocks_before(const ds_blocks *blocks, ds_offset new_offset) {
    return new_offset == 0 ? 0 : ds_blocks_find(blocks->list.items, blocks->list.count, new_offset - 1) + 1;
}

/* End of the longest stretch from `at` up to `end` of which all bytes are to be left out, or none. */
typedef ds_offset (*ds_run)(const void *context, ds_offset at, ds_offset end, bool *out);
/* Makes the blocks leave new bytes out. */
ds_status ds_blocks_leave_out(ds_blocks *blocks, ds_run run, const void *context, ds_arena *arena);

#endif
