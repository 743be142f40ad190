/* The rounds of matching; see match.h. */
#include "match/match.h"

#include "base/pool.h"
#include "match/watch.h"

#define RANGES_MAX 8
#define RANGE_MIN ((uint64_t)1 << 20) /* a border costs a few bytes: small images have none */

typedef struct matcher {
    const ds_image *old_image;
    ds_side old_side, new_side;
    ds_index index;
    ds_watch watch; /* over the new side */
    ds_mapped mapped;
    ds_price_coding coding;
    ds_range ranges[RANGES_MAX];
    ds_blocks found[RANGES_MAX];
    unsigned range_count;
    unsigned round, threads;
    bool is_settled; /* a round more would not pay */
    uint32_t without;
    const ds_match_prepared *prepared;
    ds_blocks *blocks;
    ds_renames *renames;
    ds_arena *arena;
} matcher;

/* By size alone, never by the number of threads. */
static void cut_ranges(matcher *m) {
    uint64_t size = m->new_side.size, count = size / RANGE_MIN;
    m->range_count = count < 1 ? 1 : count > RANGES_MAX ? RANGES_MAX : (unsigned)count;
    uint64_t step = size / m->range_count & ~(uint64_t)15;
    for (unsigned i = 0; i < m->range_count; i++)
        m->ranges[i] = (ds_range){i * step, (i + 1) * step, DS_NO_DIAGONAL, DS_NO_DIAGONAL};
    m->ranges[m->range_count - 1].to = size;
}

/* The old side's labels change only between the first and the second round: two indexes serve all. */
static bool is_old_labelled(const matcher *m) {
    return m->round > 1;
}

static ds_status label_old(matcher *m) {
    if (is_old_labelled(m) || m->prepared != NULL)
        return DS_OK;
    if (m->round == 0)
        return ds_side_label_content(&m->old_side, m->arena);
    ds_side_label_targets(&m->old_side);
    return DS_OK;
}

static ds_status label_content(void *context, uint64_t side) {
    matcher *m = context;
    return side == 0 ? label_old(m) : ds_side_label_content(&m->new_side, m->arena);
}

static ds_status label_nothing(void *context, uint64_t side) {
    matcher *m = context;
    ds_side_label_nothing(side == 0 ? &m->old_side : &m->new_side);
    return DS_OK;
}

/* The old side, or a part of the new one. */
static ds_status poll_part(void *context, uint64_t i) {
    matcher *m = context;
    return i == 0 ? label_old(m) : ds_mapped_poll(&m->mapped, (unsigned)i - 1);
}

static ds_status label_part(void *context, uint64_t part) {
    matcher *m = context;
    ds_mapped_label(&m->mapped, (unsigned)part);
    return DS_OK;
}

static ds_status label_mapped(matcher *m) {
    DS_TRY(ds_mapped_open(&m->mapped, &m->new_side, m->old_image, m->blocks, m->arena));
    DS_TRY(ds_pool_run(m->threads, 1 + DS_MAPPED_PARTS, poll_part, m));
    DS_TRY(ds_mapped_count(&m->mapped));
    DS_TRY(ds_pool_run(m->threads, DS_MAPPED_PARTS, label_part, m));
    ds_mapped_label_slots(&m->mapped);
    ds_mapped_close(&m->mapped, m->arena);
    return DS_OK;
}

static ds_status label_sides(matcher *m) {
    if (m->without & DS_WITHOUT_LABELS)
        return ds_pool_run(m->threads, 2, label_nothing, m);
    return m->round == 0 ? ds_pool_run(m->threads, 2, label_content, m) : label_mapped(m);
}

static ds_status match_stretch(matcher *m, ds_range range, ds_credit *credit, ds_blocks *found) {
    ds_seeds seeds = {0};
    DS_TRY(ds_seeds_find(&seeds, &m->index, &m->old_side, &m->new_side, range, m->arena));
    if (m->without & DS_WITHOUT_PRICES)
        DS_TRY(ds_blocks_longest(found, &seeds, range, m->arena));
    else
        DS_TRY(ds_blocks_choose(found, &seeds, &m->old_side, &m->new_side, m->coding, range, credit, m->arena));
    DS_VEC_FREE(m->arena, &seeds.list);
    return DS_OK;
}

/* Behind a list; a block that goes on behind a border is one block. */
static ds_status append(ds_blocks *to, ds_block block, ds_arena *arena) {
    ds_block *before = to->list.count > 0 ? &to->list.items[to->list.count - 1] : NULL;
    if (before != NULL && before->new_offset + before->length == block.new_offset &&
        before->old_offset + before->length == block.old_offset) {
        before->length += block.length;
        return DS_OK;
    }
    DS_TRY(DS_VEC_RESERVE(arena, &to->list, to->list.count + 1));
    to->list.items[to->list.count++] = block;
    return DS_OK;
}

/* What of some blocks lies from one new offset up to another. */
static ds_status append_between(ds_blocks *to, const ds_blocks *from, uint64_t begin, uint64_t end, ds_arena *arena) {
    uint64_t i = ds_blocks_find(from->list.items, from->list.count, begin);
    for (i = i == UINT64_MAX ? 0 : i; i < from->list.count && from->list.items[i].new_offset < end; i++) {
        ds_block block = from->list.items[i];
        uint64_t skipped = block.new_offset < begin ? begin - block.new_offset : 0;
        if (skipped >= block.length)
            continue;
        block.new_offset += skipped;
        block.old_offset += skipped;
        block.length -= skipped;
        block.length = block.length < end - block.new_offset ? block.length : end - block.new_offset;
        DS_TRY(append(to, block, arena));
    }
    return DS_OK;
}

/* Windows anew, and what was found before between them. */
static ds_status match_windows(matcher *m, ds_range range, ds_blocks *found) {
    ds_blocks all = {0}, in_window = {0};
    ds_range window;
    ds_credit credit;
    ds_credit_open(&credit, range.from);
    while (ds_watch_window(&m->watch, found, range, &window)) {
        DS_TRY(append_between(&all, found, range.from, window.from, m->arena));
        DS_TRY(match_stretch(m, window, &credit, &in_window));
        DS_TRY(append_between(&all, &in_window, window.from, window.to, m->arena));
        range.from = window.to;
        range.before = window.behind;
    }
    DS_TRY(append_between(&all, found, range.from, range.to, m->arena));
    DS_VEC_FREE(m->arena, &in_window.list);
    DS_VEC_FREE(m->arena, &found->list);
    *found = all;
    return DS_OK;
}

/* Both sides of the first two rounds are labelled in ways of their own: no round tells the next one what is the same. */
static bool is_watched(const matcher *m) {
    return m->round > 1;
}

static ds_status match_range(void *context, uint64_t i) {
    matcher *m = context;
    ds_credit credit;
    if (is_watched(m))
        return match_windows(m, m->ranges[i], &m->found[i]);
    ds_credit_open(&credit, m->ranges[i].from);
    return match_stretch(m, m->ranges[i], &credit, &m->found[i]);
}

/* One list. */
static ds_status join_ranges(matcher *m) {
    m->blocks->list.count = 0;
    for (unsigned i = 0; i < m->range_count; i++)
        for (uint64_t b = 0; b < m->found[i].list.count; b++)
            DS_TRY(append(m->blocks, m->found[i].list.items[b], m->arena));
    return DS_OK;
}

/* What ranges take while they are matched, however many at once; and blocks. By trial, and generous. */
#define RANGES_NEED(new_size) ((new_size) / 2 + ((uint64_t)4 << 20))

/* Where memory is short the old side is looked up at fewer places. By the ceiling and the images alone. */
static void fit_index(matcher *m) {
    static const uint8_t patterns[] = {0x55, 0x11, 0x01};
    uint64_t left = ds_arena_left(m->arena), beside = RANGES_NEED(m->new_side.size);
    left = left > beside ? left - beside : 0;
    for (unsigned i = 0; i < DS_COUNT(patterns) && ds_index_size(ds_side_anchors(&m->old_side)) > left; i++)
        ds_side_thin(&m->old_side, patterns[i]);
}

/* Labels that change in one granule of so many, or less, change next to nothing in the blocks. */
#define SETTLED 1024

static ds_status run_round(matcher *m) {
    if (m->prepared != NULL) {
        m->old_side = m->prepared->sides[m->round > 0];
        m->index = m->prepared->indexes[m->round > 0];
    }
    DS_TRY(label_sides(m));
    uint64_t changed = ds_watch_look(&m->watch);
    m->is_settled = is_watched(m) && changed <= m->watch.count / SETTLED;
    if (!is_old_labelled(m) && m->prepared == NULL)
        DS_TRY(ds_index_build(&m->index, &m->old_side, m->threads, m->arena));
    DS_TRY(ds_pool_run(m->threads, m->range_count, match_range, m));
    return join_ranges(m);
}

static ds_status open_old(matcher *m) {
    DS_TRY(ds_side_open(&m->old_side, m->old_image, m->arena));
    m->old_side.renames = m->renames;
    fit_index(m);
    return DS_OK;
}

/* What was prepared knows no renames: it serves the first round alone where there are any. */
static ds_status find_renames(matcher *m) {
    if (m->without & DS_WITHOUT_RENAMES)
        return DS_OK;
    DS_TRY(ds_renames_find(m->renames, m->old_image, m->new_side.image, m->blocks, m->arena));
    if (m->renames->list.count == 0 || m->prepared == NULL)
        return DS_OK;
    m->prepared = NULL;
    m->index = (ds_index){0};
    return open_old(m);
}

static void close_matcher(matcher *m) {
    for (unsigned i = 0; i < m->range_count; i++)
        DS_VEC_FREE(m->arena, &m->found[i].list);
    if (m->prepared == NULL) {
        ds_index_free(&m->index, m->arena);
        ds_side_close(&m->old_side, m->arena);
    }
    ds_watch_close(&m->watch, m->arena);
    ds_side_close(&m->new_side, m->arena);
}

ds_status ds_match(const ds_image *old_image, const ds_image *new_image, const ds_match_options *options,
                   ds_arena *arena, ds_blocks *blocks, ds_renames *renames) {
    matcher m = {.blocks = blocks,
                 .renames = renames,
                 .old_image = old_image,
                 .arena = arena,
                 .threads = options->threads,
                 .coding = options->coding,
                 .without = options->without,
                 .prepared = options->without == 0 && old_image->tail.size == 0 ? options->prepared : NULL};
    *blocks = (ds_blocks){0};
    *renames = (ds_renames){0};
    DS_TRY(ds_side_open(&m.new_side, new_image, arena));
    DS_TRY(ds_watch_open(&m.watch, &m.new_side, arena));
    cut_ranges(&m);
    if (m.prepared == NULL)
        DS_TRY(open_old(&m));
    /* Without references every round would say the same, but for renames. */
    bool once = old_image->refs.count == 0 || new_image->refs.count == 0 || m.without & DS_WITHOUT_LABELS;
    unsigned rounds = once ? 1 : options->rounds;
    for (m.round = 0; m.round < rounds && !m.is_settled; m.round++) {
        if (options->progress != NULL && !options->progress(options->context, m.round, rounds))
            return DS_E_CANCELLED;
        DS_TRY(run_round(&m));
        if (m.round == 0)
            DS_TRY(find_renames(&m));
        if (rounds == 1 && renames->list.count > 0)
            rounds = 2;
    }
    ds_blocks_slide(blocks, &m.old_side, &m.new_side);
    close_matcher(&m);
    return DS_OK;
}
