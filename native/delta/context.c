/* Collecting the context of code literals; see context.h. */
#include "delta/context.h"

#define REACH 32 /* old bytes on either side of a gap */
#define CONTEXT_MAX ((uint64_t)8 << 20)
#define WORD_BITS 64

/* Old bytes that belong to the context, as a set of bits: marking is linear in their number, and reading
 * them out ascends. Marks past the ceiling are not made. */
typedef struct marks {
    uint64_t *words;
    uint64_t old_size, count;
} marks;

static void mark_range(marks *m, uint64_t from, uint64_t to) {
    to = to < m->old_size ? to : m->old_size;
    for (uint64_t at = from; at < to && m->count < CONTEXT_MAX;) {
        unsigned bit = at % WORD_BITS;
        uint64_t size = WORD_BITS - bit < to - at ? WORD_BITS - bit : to - at;
        uint64_t room = CONTEXT_MAX - m->count;
        size = size < room ? size : room;
        uint64_t mask = (size == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << size) - 1) << bit;
        m->count += (uint64_t)__builtin_popcountll(mask & ~m->words[at / WORD_BITS]);
        m->words[at / WORD_BITS] |= mask;
        at += size;
    }
}

static uint64_t back(uint64_t at, uint64_t by) {
    return at > by ? at - by : 0;
}

/* The old bytes behind the block before the gap, and before the block after it: as many as the gap has new
 * ones, and REACH on both sides. */
static void mark_gap(marks *m, uint64_t gap, ds_offset old_end, const ds_block *after) {
    uint64_t size = gap < m->old_size ? gap : m->old_size;
    mark_range(m, back(old_end, REACH), old_end + size + REACH);
    if (after != NULL)
        mark_range(m, back(after->old_offset, size + REACH), after->old_offset + REACH);
}

ds_status ds_context_collect(ds_span old_file, uint64_t new_size, const ds_layout *layout, const ds_blocks *blocks,
                             ds_arena *arena, ds_bytes *context) {
    uint64_t words = old_file.size / WORD_BITS + 1;
    marks m = {.words = ds_arena_alloc(arena, words * sizeof *m.words), .old_size = old_file.size};
    if (m.words == NULL)
        return DS_E_MEMORY;
    ds_offset new_end = 0, old_end = 0, stop;
    for (uint64_t i = 0; i <= blocks->list.count; i++) {
        const ds_block *block = i < blocks->list.count ? &blocks->list.items[i] : NULL;
        uint64_t gap = (block != NULL ? block->new_offset : new_size) - new_end;
        if (gap > 0 && ds_layout_code(layout, new_end, &stop) != NULL)
            mark_gap(&m, gap, old_end, block);
        if (block != NULL) {
            new_end = block->new_offset + block->length;
            old_end = block->old_offset + block->length;
        }
    }
    *context = (ds_bytes){0};
    DS_TRY(DS_VEC_RESERVE(arena, context, m.count + 1));
    for (uint64_t w = 0; w < words; w++)
        for (uint64_t bits = m.words[w]; bits != 0; bits &= bits - 1)
            context->items[context->count++] = old_file.data[w * WORD_BITS + (uint64_t)__builtin_ctzll(bits)];
    ds_arena_free(arena, m.words);
    return DS_OK;
}
