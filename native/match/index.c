/* Index of the old side: anchors by a hash of their next HASH_BYTES normalised bytes, ascending inside
 * each bucket, so that a search by position finds the candidates nearest to where a match is expected. */
#include "match/index.h"

#define BUCKET_BITS_MIN 10
#define BUCKET_BITS_MAX 24

/* A run of one byte would fill a bucket with positions that say nothing: only its first byte enters. */
static bool inside_run(const uint8_t *bytes, uint64_t at) {
    if (at == 0 || bytes[at - 1] != bytes[at])
        return false;
    return ds_load64(bytes + at) == bytes[at] * UINT64_C(0x0101010101010101);
}

/* Visits each anchor that enters the index. */
#define FOR_EACH_ANCHOR(side, at)                                                                                    \
    for (uint64_t at = 0, limit_ = (side)->size < DS_HASH_BYTES ? 0 : (side)->size - DS_HASH_BYTES + 1; at < limit_; \
         at++)                                                                                                       \
        if (!ds_bit((side)->anchors, at) || inside_run((side)->bytes, at))                                           \
            continue;                                                                                                \
        else

ds_status ds_index_build(ds_index *index, const ds_side *old_side, ds_arena *arena) {
    uint64_t count = 0;
    FOR_EACH_ANCHOR(old_side, at) count++;
    index->bits = BUCKET_BITS_MIN;
    while (index->bits < BUCKET_BITS_MAX && UINT64_C(1) << index->bits < count)
        index->bits++;
    uint64_t buckets = UINT64_C(1) << index->bits;
    index->heads = ds_arena_alloc(arena, (buckets + 2) * sizeof *index->heads);
    index->positions = ds_arena_alloc(arena, (count + 1) * sizeof *index->positions);
    if (index->heads == NULL || index->positions == NULL)
        return DS_E_MEMORY;
    FOR_EACH_ANCHOR(old_side, at) index->heads[ds_hash_at(old_side->bytes + at, index->bits) + 2]++;
    for (uint64_t i = 2; i < buckets + 2; i++)
        index->heads[i] += index->heads[i - 1];
    FOR_EACH_ANCHOR(old_side, at)
    index->positions[index->heads[ds_hash_at(old_side->bytes + at, index->bits) + 1]++] = (uint32_t)at;
    return DS_OK;
}

void ds_index_free(ds_index *index, ds_arena *arena) {
    ds_arena_free(arena, index->heads);
    ds_arena_free(arena, index->positions);
}
