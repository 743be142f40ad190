/* What a round labels otherwise than the one before; see watch.h. */
#include "match/watch.h"

#define GRANULE 64 /* bytes that change together */
#define CLEAR 512  /* bytes between what changed and a border */
#define INSIDE 256 /* and between a border and the ends of the block that it lies in */
#define WORD_BITS 64

ds_status ds_watch_open(ds_watch *w, const ds_side *side, ds_arena *arena) {
    uint64_t count = side->size / GRANULE + 1;
    *w = (ds_watch){.side = side, .count = count};
    w->digests = ds_arena_alloc(arena, count * sizeof *w->digests);
    w->changed = ds_arena_alloc(arena, (count / WORD_BITS + 1) * sizeof *w->changed);
    return w->digests == NULL || w->changed == NULL ? DS_E_MEMORY : DS_OK;
}

void ds_watch_close(ds_watch *w, ds_arena *arena) {
    ds_arena_free(arena, w->digests);
    ds_arena_free(arena, w->changed);
}

static uint32_t digest_of(const uint8_t *bytes) {
    uint64_t hash = 0;
    for (unsigned i = 0; i < GRANULE; i += 8)
        hash = (hash ^ ds_load64(bytes + i)) * UINT64_C(0x9fb21c651e98df25), hash ^= hash >> 29;
    return (uint32_t)(hash >> 32);
}

/* Of the last granule, which is not full. */
static uint32_t digest_of_rest(const ds_side *side) {
    uint8_t rest[GRANULE] = {0};
    memcpy(rest, side->bytes + (side->size & ~(uint64_t)(GRANULE - 1)), side->size % GRANULE);
    return digest_of(rest);
}

uint64_t ds_watch_look(ds_watch *w) {
    uint64_t count = 0;
    memset(w->changed, 0, (w->count / WORD_BITS + 1) * sizeof *w->changed);
    for (uint64_t i = 0; i < w->count; i++) {
        uint32_t digest = i + 1 < w->count ? digest_of(w->side->bytes + i * GRANULE) : digest_of_rest(w->side);
        uint64_t changed = digest != w->digests[i];
        w->changed[i / WORD_BITS] |= changed << (i % WORD_BITS);
        w->digests[i] = digest;
        count += changed;
    }
    return count;
}

/* The first granule from number i on that changed, or did not: at most `end`. */
static uint64_t next_granule(const ds_watch *w, uint64_t i, uint64_t end, bool changed) {
    while (i < end) {
        uint64_t word = w->changed[i / WORD_BITS] ^ (changed ? 0 : UINT64_MAX);
        word >>= i % WORD_BITS;
        if (word != 0) {
            i += (unsigned)__builtin_ctzll(word);
            return i < end ? i : end;
        }
        i = (i | (WORD_BITS - 1)) + 1;
    }
    return end;
}

static bool has_border(const ds_block *block) {
    return block->length >= 2 * INSIDE;
}

static int64_t diagonal_of(const ds_block *block) {
    return (int64_t)(block->old_offset - block->new_offset);
}

/* Begins the window at the last border at most at `at`, or where the range does. */
static void begin(const ds_blocks *blocks, ds_range range, uint64_t at, ds_range *window) {
    uint64_t i = ds_blocks_find(blocks->list.items, blocks->list.count, at);
    window->from = range.from;
    window->before = range.before;
    for (; i != UINT64_MAX; i--) {
        const ds_block *block = &blocks->list.items[i];
        uint64_t first = block->new_offset + INSIDE, last = block->new_offset + block->length - INSIDE;
        if (!has_border(block) || first > at)
            continue;
        window->from = at < last ? at : last;
        window->before = diagonal_of(block);
        return;
    }
}

/* Ends it at the first at least at `at`, or where the range does. */
static void end(const ds_blocks *blocks, ds_range range, uint64_t at, ds_range *window) {
    uint64_t i = ds_blocks_find(blocks->list.items, blocks->list.count, at);
    window->to = range.to;
    window->behind = range.behind;
    for (i = i == UINT64_MAX ? 0 : i; i < blocks->list.count; i++) {
        const ds_block *block = &blocks->list.items[i];
        uint64_t first = block->new_offset + INSIDE, last = block->new_offset + block->length - INSIDE;
        if (!has_border(block) || at > last)
            continue;
        window->to = at > first ? at : first;
        window->behind = diagonal_of(block);
        return;
    }
}

bool ds_watch_window(const ds_watch *w, const ds_blocks *blocks, ds_range range, ds_range *window) {
    uint64_t last = (range.to + GRANULE - 1) / GRANULE, i = next_granule(w, range.from / GRANULE, last, true);
    if (range.from >= range.to || i >= last)
        return false;
    begin(blocks, range, i * GRANULE > range.from + CLEAR ? i * GRANULE - CLEAR : range.from, window);
    if (window->from < range.from) {
        window->from = range.from;
        window->before = range.before;
    }
    do {
        i = next_granule(w, i, last, false);
        end(blocks, range, i * GRANULE + CLEAR, window);
        i = next_granule(w, i, last, true);
    } while (i < last && i * GRANULE < window->to + CLEAR);
    return true;
}
