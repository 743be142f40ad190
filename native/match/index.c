/* Index of the old side: anchors by a hash of their next HASH_BYTES normalised bytes, ascending inside
 * each bucket, so that a search by position finds the candidates nearest to where a match is expected.
 *
 * Built in two steps, so that each works on memory a processor holds near: anchors are dealt into parts by the upper
 * bits of their hash, then each part is sorted into its buckets. Both are cut by data, for several threads. */
#include "match/index.h"

#include "base/pool.h"

#define BUCKET_BITS_MIN 10
#define BUCKET_BITS_MAX 24
#define PART_BUCKET_BITS 14 /* buckets of one part: so many stay near */
#define PART_BITS_MAX 8
#define PARTS_MAX (1u << PART_BITS_MAX)
#define SLICES 8 /* of the old side, dealt out one by one */
#define AHEAD 16 /* positions whose bytes are asked for before they are needed */

typedef struct builder {
    ds_index *index;
    const ds_side *side;
    ds_arena *arena;
    unsigned parts;                      /* a power of two */
    uint32_t places[SLICES][PARTS_MAX];  /* first how many, then where the next goes */
    uint32_t part_starts[PARTS_MAX + 1]; /* in `positions` */
} builder;

/* A run of one byte would fill a bucket with positions that say nothing: only its first byte enters. */
static bool inside_run(const uint8_t *bytes, uint64_t at) {
    if (at == 0 || bytes[at - 1] != bytes[at])
        return false;
    return ds_load64(bytes + at) == bytes[at] * UINT64_C(0x0101010101010101);
}

/* Visits each anchor that enters the index from `from` on, before `to`. */
#define FOR_EACH_ANCHOR(side, at, from, to)                                                                        \
    for (uint64_t at = ds_next_anchor((side), (from), (to)); at < (to); at = ds_next_anchor((side), at + 1, (to))) \
        if (inside_run((side)->bytes, at))                                                                         \
            continue;                                                                                              \
        else

static uint64_t slice_start(const ds_side *side, uint64_t slice) {
    uint64_t limit = side->size < DS_HASH_BYTES ? 0 : side->size - DS_HASH_BYTES + 1;
    return limit / SLICES * slice + limit % SLICES * slice / SLICES;
}

static unsigned part_of(const builder *b, uint64_t at) {
    return (unsigned)ds_hash_at(b->side->bytes + at, PART_BITS_MAX) * b->parts >> PART_BITS_MAX;
}

static ds_status count_slice(void *context, uint64_t slice) {
    builder *b = context;
    uint32_t *counts = b->places[slice];
    FOR_EACH_ANCHOR(b->side, at, slice_start(b->side, slice), slice_start(b->side, slice + 1))
    counts[ds_hash_at(b->side->bytes + at, PART_BITS_MAX)]++;
    return DS_OK;
}

static ds_status deal_slice(void *context, uint64_t slice) {
    builder *b = context;
    uint32_t *places = b->places[slice], *positions = b->index->positions;
    FOR_EACH_ANCHOR(b->side, at, slice_start(b->side, slice), slice_start(b->side, slice + 1))
    positions[places[part_of(b, at)]++] = (uint32_t)at;
    return DS_OK;
}

/* By counting; `spare` has room for two numbers of each position. */
static void sort_into_buckets(const builder *b, uint32_t *heads, uint32_t first, uint32_t count, uint32_t *spare) {
    const uint8_t *bytes = b->side->bytes;
    uint32_t *positions = b->index->positions + first, *copy = spare, *buckets = spare + count;
    uint32_t per_part = (1u << b->index->bits) / b->parts;
    for (uint32_t i = 0; i < count; i++) {
        __builtin_prefetch(bytes + positions[i + AHEAD < count ? i + AHEAD : i]);
        copy[i] = positions[i];
        buckets[i] = (uint32_t)ds_hash_at(bytes + positions[i], b->index->bits) & (per_part - 1);
        heads[buckets[i]]++;
    }
    uint32_t sum = first;
    for (uint32_t i = 0; i < per_part; i++) {
        uint32_t here = heads[i];
        heads[i] = sum;
        sum += here;
    }
    for (uint32_t i = 0; i < count; i++)
        b->index->positions[heads[buckets[i]]++] = copy[i];
    /* Each head is now where the next one begins. */
    memmove(heads + 1, heads, (per_part - 1) * sizeof *heads);
    heads[0] = first;
}

static ds_status sort_part(void *context, uint64_t part) {
    builder *b = context;
    uint32_t first = b->part_starts[part], count = b->part_starts[part + 1] - first;
    uint32_t per_part = (1u << b->index->bits) / b->parts;
    uint32_t *heads = b->index->heads + part * per_part;
    uint32_t *spare = ds_arena_alloc(b->arena, 2 * (uint64_t)count * sizeof *spare);
    if (spare == NULL)
        return DS_E_MEMORY;
    memset(heads, 0, per_part * sizeof *heads);
    sort_into_buckets(b, heads, first, count, spare);
    ds_arena_free(b->arena, spare);
    return DS_OK;
}

/* From how many to where: parts one after the other, in each the slices in their order. Returns how many in all. */
static uint32_t place_parts(builder *b) {
    uint32_t sum = 0;
    unsigned fine = PARTS_MAX / b->parts; /* counted finer than needed, since their number decides */
    for (unsigned part = 0; part < b->parts; part++) {
        b->part_starts[part] = sum;
        for (unsigned slice = 0; slice < SLICES; slice++) {
            uint32_t count = 0;
            for (unsigned i = 0; i < fine; i++)
                count += b->places[slice][part * fine + i];
            b->places[slice][part] = sum;
            sum += count;
        }
    }
    b->part_starts[b->parts] = sum;
    return sum;
}

static unsigned bits_for(uint64_t count) {
    unsigned bits = BUCKET_BITS_MIN;
    while (bits < BUCKET_BITS_MAX && UINT64_C(1) << bits < count)
        bits++;
    return bits;
}

static unsigned bucket_bits(const builder *b) {
    uint64_t count = 0;
    for (unsigned slice = 0; slice < SLICES; slice++)
        for (unsigned part = 0; part < PARTS_MAX; part++)
            count += b->places[slice][part];
    return bits_for(count);
}

uint64_t ds_index_size(uint64_t anchors) {
    return ((UINT64_C(1) << bits_for(anchors)) + anchors) * sizeof(uint32_t);
}

/* Room for so many items, kept from the index before where it is enough; what it holds means nothing. */
static ds_status make_room(uint32_t **items, uint64_t *room, uint64_t count, ds_arena *arena) {
    if (*items != NULL && *room >= count)
        return DS_OK;
    ds_arena_free(arena, *items);
    *items = ds_arena_alloc(arena, count * sizeof **items);
    *room = count;
    return *items == NULL ? DS_E_MEMORY : DS_OK;
}

ds_status ds_index_build(ds_index *index, const ds_side *old_side, unsigned threads, ds_arena *arena) {
    builder b = {.index = index, .side = old_side, .arena = arena};
    DS_TRY(ds_pool_run(threads, SLICES, count_slice, &b));
    index->bits = bucket_bits(&b);
    b.parts = index->bits > PART_BUCKET_BITS ? 1u << (index->bits - PART_BUCKET_BITS) : 1;
    b.parts = b.parts < PARTS_MAX ? b.parts : PARTS_MAX;
    uint32_t count = place_parts(&b);
    uint64_t buckets = UINT64_C(1) << index->bits;
    DS_TRY(make_room(&index->heads, &index->heads_room, buckets + 1, arena));
    DS_TRY(make_room(&index->positions, &index->positions_room, (uint64_t)count + 1, arena));
    DS_TRY(ds_pool_run(threads, SLICES, deal_slice, &b));
    DS_TRY(ds_pool_run(threads, b.parts, sort_part, &b));
    index->heads[buckets] = count;
    return DS_OK;
}

void ds_index_free(ds_index *index, ds_arena *arena) {
    ds_arena_free(arena, index->heads);
    ds_arena_free(arena, index->positions);
    *index = (ds_index){0};
}
