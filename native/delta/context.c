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

/* ---- parts ---- */

#define PARTED ((uint64_t)1 << 20)   /* less code is one part */
#define PART_MAX ((uint64_t)4 << 20) /* bytes for which two parts are made, one for each of two threads */

typedef struct gap {
    uint64_t size; /* 0: does not begin in code */
    ds_offset old_end;
    const ds_block *after;
} gap;

static gap gap_at(const ds_context_parts *p, uint64_t number) {
    const ds_block *before = number > 0 ? &p->blocks[number - 1] : NULL;
    const ds_block *after = number < p->block_count ? &p->blocks[number] : NULL;
    ds_offset new_end = before != NULL ? before->new_offset + before->length : 0, stop;
    gap g = {.size = (after != NULL ? after->new_offset : p->new_size) - new_end,
             .old_end = before != NULL ? before->old_offset + before->length : 0,
             .after = after};
    if (g.size > 0 && ds_layout_code(p->layout, new_end, &stop) == NULL)
        g.size = 0;
    return g;
}

void ds_context_open(ds_context_parts *p) {
    p->total = p->before = p->part = 0;
    for (uint64_t i = 0; i <= p->block_count; i++)
        p->total += gap_at(p, i).size;
    p->count = p->total < PARTED ? 1 : 2 * ((p->total + PART_MAX - 1) / PART_MAX);
}

static uint64_t part_of_next(const ds_context_parts *p) {
    return (uint64_t)((unsigned __int128)p->before * p->count / p->total);
}

bool ds_context_begins(const ds_context_parts *p, uint64_t number) {
    return number == 0 || (gap_at(p, number).size > 0 && part_of_next(p) != p->part);
}

void ds_context_enter(ds_context_parts *p, uint64_t number) {
    uint64_t size = gap_at(p, number).size;
    if (size == 0)
        return;
    p->part = part_of_next(p);
    p->before += size;
}

ds_status ds_context_collect(const ds_context_parts *parts, uint64_t number, ds_arena *arena, ds_bytes *context) {
    uint64_t words = parts->old_file.size / WORD_BITS + 1;
    marks m = {.words = ds_arena_alloc(arena, words * sizeof *m.words), .old_size = parts->old_file.size};
    if (m.words == NULL)
        return DS_E_MEMORY;
    ds_context_parts ahead = *parts;
    do {
        gap g = gap_at(parts, number);
        if (g.size > 0)
            mark_gap(&m, g.size, g.old_end, g.after);
        ds_context_enter(&ahead, number++);
    } while (number <= parts->block_count && !ds_context_begins(&ahead, number));
    DS_TRY(DS_VEC_RESERVE(arena, context, context->count + m.count + 1));
    for (uint64_t w = 0; w < words; w++)
        for (uint64_t bits = m.words[w]; bits != 0; bits &= bits - 1)
            context->items[context->count++] = parts->old_file.data[w * WORD_BITS + (uint64_t)__builtin_ctzll(bits)];
    ds_arena_free(arena, m.words);
    return DS_OK;
}
