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

/* Whether the padding, made anew behind the last piece, leads to `next`, and is what the new image has there. */
static bool leads(const fold *f, const ds_padding *found, const ds_block *next) {
    const ds_block *last = &f->last;
    unsigned length;
    uint64_t shift = last->new_offset - last->old_offset;
    if (found->begin <= last->old_offset || found->end >= old_end(next) ||
        !ds_paddings_change(f->paddings, found, shift, &length))
        return false;
    ds_offset begin = found->begin + shift;
    if (begin + length - found->end != next->new_offset - next->old_offset)
        return false;
    const ds_span *file = &f->new_image->file, *old_file = &f->paddings->old_image->file;
    return length == 0 || (ds_within(begin, length, file->size) &&
                           memcmp(file->data + begin,
                                  old_file->data + f->paddings->rules[found->of_function].fill[length], length) == 0);
}

/* The padding between the last piece and `next`, which both may have some bytes of. */
static bool find_between(const fold *f, const ds_block *next, ds_padding *found) {
    ds_offset end = old_end(&f->last), from = f->last.old_offset;
    if (next->old_offset + DS_PADDING_PERIOD < end || end + DS_PADDING_PERIOD < next->old_offset)
        return false;
    if (end - from > 2 * DS_PADDING_PERIOD)
        from = end - 2 * DS_PADDING_PERIOD;
    ds_offset most = old_end(next) - end < 2 * DS_PADDING_PERIOD ? old_end(next) : end + 2 * DS_PADDING_PERIOD;
    ds_padding_scan s = ds_paddings_scan(f->paddings, from, most);
    while (ds_padding_next(&s, found) && found->begin <= end)
        if (found->end >= next->old_offset && leads(f, found, next))
            return true;
    return false;
}

static ds_status begin_block(fold *f, ds_block block) {
    f->last = block;
    return ds_blocks_add(f->out, block, f->arena);
}

/* A block, in pieces where a padding in it stayed as it was though it is expected to change. */
static ds_status fold_block(fold *f, ds_block block) {
    ds_padding found;
    unsigned length;
    uint64_t shift = block.new_offset - block.old_offset;
    bool joined = f->out->list.count > 0 && find_between(f, &block, &found);
    if (joined) {
        ds_block *folded = &f->out->list.items[f->out->list.count - 1];
        ds_offset end = old_end(&block);
        folded->length = end - folded->old_offset;
        block = (ds_block){found.end + shift, found.end, end - found.end};
        f->last = block;
        f->saved++;
    } else {
        DS_TRY(begin_block(f, block));
    }
    ds_padding_scan s = ds_paddings_scan(f->paddings, block.old_offset, old_end(&block));
    while (ds_paddings_next_change(f->paddings, &s, shift, &found, &length)) {
        ds_block *folded = &f->out->list.items[f->out->list.count - 1];
        ds_offset end = old_end(folded);
        folded->length = found.end - folded->old_offset;
        DS_TRY(begin_block(f, (ds_block){found.end + shift, found.end, end - found.end}));
        f->added++;
        s = ds_paddings_scan(f->paddings, found.end, end);
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
