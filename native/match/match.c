/* The rounds of matching; see match.h. */
#include "match/match.h"

#include "base/pool.h"

#define RANGES_MAX 8
#define RANGE_MIN ((uint64_t)1 << 20) /* a border costs a few bytes: small images have none */

typedef struct matcher {
    const ds_image *old_image;
    ds_side old_side, new_side;
    ds_index index;
    ds_mapped mapped;
    ds_price_coding coding;
    ds_range ranges[RANGES_MAX];
    ds_blocks found[RANGES_MAX];
    unsigned range_count;
    unsigned round, threads;
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
        m->ranges[i] = (ds_range){i * step, i + 1 == m->range_count ? size : (i + 1) * step};
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

static ds_status match_range(void *context, uint64_t i) {
    matcher *m = context;
    ds_seeds seeds = {0};
    ds_range range = m->ranges[i];
    DS_TRY(ds_seeds_find(&seeds, &m->index, &m->old_side, &m->new_side, range, m->arena));
    if (m->without & DS_WITHOUT_PRICES)
        DS_TRY(ds_blocks_longest(&m->found[i], &seeds, range, m->arena));
    else
        DS_TRY(ds_blocks_choose(&m->found[i], &seeds, &m->old_side, &m->new_side, m->coding, range, m->arena));
    DS_VEC_FREE(m->arena, &seeds.list);
    return DS_OK;
}

/* One list; a block that goes on behind a border is one block. */
static ds_status join_ranges(matcher *m) {
    uint64_t count = 0;
    for (unsigned i = 0; i < m->range_count; i++)
        count += m->found[i].list.count;
    DS_TRY(DS_VEC_RESERVE(m->arena, &m->blocks->list, count + 1));
    ds_block *list = m->blocks->list.items;
    count = 0;
    for (unsigned i = 0; i < m->range_count; i++)
        for (uint64_t b = 0; b < m->found[i].list.count; b++) {
            ds_block block = m->found[i].list.items[b];
            ds_block *before = count > 0 ? &list[count - 1] : NULL;
            if (before != NULL && before->new_offset + before->length == block.new_offset &&
                before->old_offset + before->length == block.old_offset)
                before->length += block.length;
            else
                list[count++] = block;
        }
    m->blocks->list.count = count;
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

static ds_status run_round(matcher *m) {
    if (m->prepared != NULL) {
        m->old_side = m->prepared->sides[m->round > 0];
        m->index = m->prepared->indexes[m->round > 0];
    }
    DS_TRY(label_sides(m));
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
    cut_ranges(&m);
    if (m.prepared == NULL)
        DS_TRY(open_old(&m));
    /* Without references every round would say the same, but for renames. */
    bool once = old_image->refs.count == 0 || new_image->refs.count == 0 || m.without & DS_WITHOUT_LABELS;
    unsigned rounds = once ? 1 : options->rounds;
    for (m.round = 0; m.round < rounds; m.round++) {
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
