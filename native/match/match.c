/* The rounds of matching; see match.h. */
#include "match/match.h"

#include "match/index.h"

typedef struct matcher {
    ds_side old_side, new_side;
    ds_index index;
    ds_seeds seeds;
    ds_blocks *blocks;
    ds_arena *arena;
} matcher;

/* The old side's labels change only between the first and the second round: two indexes serve all. */
static ds_status label(matcher *m, unsigned round) {
    if (round == 0) {
        DS_TRY(ds_side_label_content(&m->old_side, m->arena));
        DS_TRY(ds_side_label_content(&m->new_side, m->arena));
    } else {
        if (round == 1)
            DS_TRY(ds_side_label_targets(&m->old_side, m->arena));
        DS_TRY(ds_side_label_mapped(&m->new_side, m->old_side.image, m->blocks, m->arena));
    }
    if (round > 1)
        return DS_OK;
    ds_index_free(&m->index, m->arena);
    return ds_index_build(&m->index, &m->old_side, m->arena);
}

static ds_status run_round(matcher *m, unsigned round) {
    DS_TRY(label(m, round));
    DS_TRY(ds_seeds_find(&m->seeds, &m->index, &m->old_side, &m->new_side, m->arena));
    return ds_blocks_choose(m->blocks, &m->seeds, &m->old_side, &m->new_side, m->arena);
}

ds_status ds_match(const ds_image *old_image, const ds_image *new_image, const ds_match_options *options, ds_arena *arena,
                   ds_blocks *blocks) {
    matcher m = {.blocks = blocks, .arena = arena};
    *blocks = (ds_blocks){0};
    DS_TRY(ds_side_open(&m.old_side, old_image, arena));
    DS_TRY(ds_side_open(&m.new_side, new_image, arena));
    /* Without references every round would say the same. */
    unsigned rounds = old_image->refs.count == 0 || new_image->refs.count == 0 ? 1 : options->rounds;
    for (unsigned round = 0; round < rounds; round++) {
        if (options->progress != NULL && !options->progress(options->context, round, rounds))
            return DS_E_CANCELLED;
        DS_TRY(run_round(&m, round));
    }
    DS_VEC_FREE(arena, &m.seeds.list);
    ds_index_free(&m.index, arena);
    ds_side_close(&m.old_side, arena);
    ds_side_close(&m.new_side, arena);
    return DS_OK;
}
