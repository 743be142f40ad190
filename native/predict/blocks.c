/* Cutting blocks; see blocks.h. */
#include "predict/blocks.h"

ds_status ds_blocks_leave_out(ds_blocks *blocks, ds_run run, const void *context, ds_arena *arena) {
    ds_blocks left = {0};
    bool out;
    DS_TRY(DS_VEC_RESERVE(arena, &left.list, blocks->list.count + 1));
    for (uint64_t i = 0; i < blocks->list.count; i++) {
        const ds_block *block = &blocks->list.items[i];
        ds_offset end = block->new_offset + block->length;
        for (ds_offset at = block->new_offset, stop; at < end; at = stop) {
            stop = run(context, at, end, &out);
            if (!out)
                DS_TRY(ds_blocks_add(&left, (ds_block){at, block->old_offset + (at - block->new_offset), stop - at},
                                     arena));
        }
    }
    DS_VEC_FREE(arena, &blocks->list);
    *blocks = left;
    return DS_OK;
}
