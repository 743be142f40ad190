/* Writing: fewer blocks for the same pieces; see paddings.h. */
#include "predict/paddings.h"

typedef struct fold {
    const ds_paddings *paddings;
    const ds_image *new_image;
    ds_arena *arena;
    ds_blocks *out;
    ds_block last; /* the piece that the last of them ends with */
    uint64_t saved, added;
} fold;

static ds_offset old_end(const ds_block *block) {
    return block->old_offset + block->length;
}

/* Whether a cut of the last piece leads to `next`, and the new image has there what is copied. */
static bool leads(const fold *f, const ds_cut *cut, const ds_block *next) {
    const ds_block *last = &f->last;
    ds_offset begin = cut->begin + (last->new_offset - last->old_offset);
    if (cut->begin <= last->old_offset || cut->begin > old_end(last) || cut->end < next->old_offset ||
        cut->end >= old_end(next) || begin + cut->made - cut->end != next->new_offset - next->old_offset)
        return false;
    const ds_span *file = &f->new_image->file;
    return cut->copied == 0 ||
           (ds_within(begin, cut->copied, file->size) &&
            memcmp(file->data + begin, f->paddings->old_image->file.data + cut->fill, cut->copied) == 0);
}

/* The cut between the last piece and `next`, which both may have some bytes of what lies there. */
static bool find_between(const fold *f, const ds_block *next, ds_cut *cut) {
    uint64_t shift = f->last.new_offset - f->last.old_offset;
    ds_offset end = old_end(&f->last), from = f->last.old_offset;
    uint64_t seam = ds_paddings_seams_until(f->paddings, end);
    if (seam > 0 && ds_paddings_seam_change(&f->paddings->seams.items[seam - 1], shift, cut) && leads(f, cut, next))
        return true;
    if (next->old_offset + DS_PADDING_PERIOD < end || end + DS_PADDING_PERIOD < next->old_offset)
        return false;
    if (end - from > 2 * DS_PADDING_PERIOD)
        from = end - 2 * DS_PADDING_PERIOD;
    ds_offset most = old_end(next) - end < 2 * DS_PADDING_PERIOD ? old_end(next) : end + 2 * DS_PADDING_PERIOD;
    ds_padding_scan s = ds_paddings_scan(f->paddings, from, most);
    ds_padding found;
    while (ds_padding_next(&s, &found) && found.begin <= end)
        if (ds_paddings_change(f->paddings, &found, shift, cut) && leads(f, cut, next))
            return true;
    return false;
}

static ds_status begin_block(fold *f, ds_block block) {
    f->last = block;
    return ds_blocks_add(f->out, block, f->arena);
}

/* A block, in pieces where a padding in it stayed as it was though it is expected to change. */
static ds_status fold_block(fold *f, ds_block block) {
    ds_cut cut;
    uint64_t shift = block.new_offset - block.old_offset;
    ds_offset end = old_end(&block);
    if (f->out->list.count > 0 && find_between(f, &block, &cut)) {
        ds_block *folded = &f->out->list.items[f->out->list.count - 1];
        folded->length = end - folded->old_offset;
        f->last = (ds_block){cut.end + shift, cut.end, end - cut.end};
        f->saved++;
    } else {
        DS_TRY(begin_block(f, block));
    }
    while (ds_paddings_next_cut(f->paddings, f->last.old_offset, end, shift, &cut)) {
        ds_block *folded = &f->out->list.items[f->out->list.count - 1];
        folded->length = cut.end - folded->old_offset;
        DS_TRY(begin_block(f, (ds_block){cut.end + shift, cut.end, end - cut.end}));
        f->added++;
    }
    return DS_OK;
}

ds_status ds_paddings_fold(const ds_paddings *p, const ds_image *new_image, const ds_blocks *blocks, ds_arena *arena,
                           ds_blocks *folded, bool *worth) {
    fold f = {.paddings = p, .new_image = new_image, .arena = arena, .out = folded};
    for (uint64_t i = 0; i < blocks->list.count; i++)
        DS_TRY(fold_block(&f, blocks->list.items[i]));
    *worth = f.saved > f.added;
    return DS_OK;
}
