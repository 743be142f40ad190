/* Blocks by length alone: at each place the seed that reaches furthest. It prices nothing, and goes over no byte that
 * differs. For measurement: what choosing by price is worth (DS_WITHOUT_PRICES). */
#include "match/match.h"

ds_status ds_blocks_longest(ds_blocks *blocks, const ds_seeds *seeds, ds_range range, ds_arena *arena) {
    uint64_t count = seeds->list.count, at = range.from;
    const ds_seed *seed = seeds->list.items;
    blocks->list.count = 0;
    DS_TRY(DS_VEC_RESERVE(arena, &blocks->list, count + 1));
    for (uint64_t next = 0; next < count;) {
        at = seed[next].new_offset > at ? seed[next].new_offset : at;
        const ds_seed *best = NULL;
        uint64_t end = at;
        for (; next < count && seed[next].new_offset <= at; next++) {
            uint64_t stop = (uint64_t)seed[next].new_offset + seed[next].length;
            stop = stop < range.to ? stop : range.to;
            if (stop > end) {
                end = stop;
                best = &seed[next];
            }
        }
        if (best != NULL)
            blocks->list.items[blocks->list.count++] = (ds_block){at, at + (uint64_t)ds_seed_diagonal(best), end - at};
        at = end;
    }
    return DS_OK;
}
