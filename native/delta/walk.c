/* The walk, written once for both directions and both codings: see walk.h. */
#include "delta/walk.h"

#include "delta/layout.h"
#include "delta/packed_layout.h"
#include "delta/steps.h"

#define OUTPUT ((uint64_t)256 << 10)

/* ---- output ---- */

ds_status ds_walk_flush(ds_walk *w) {
    ds_output *o = &w->output;
    uint64_t size = o->filled;
    uint8_t *bytes = o->buffer + DS_HISTORY;
    o->filled = 0;
    if (size == 0)
        return DS_OK;
    /* What is derived is not history: the writer has not made it. */
    uint8_t history[DS_HISTORY];
    memcpy(history, o->buffer + size, DS_HISTORY);
    if (o->tail != NULL) {
        memcpy(o->tail, bytes, size);
        o->tail += size;
    } else if (!w->coder->writing) {
        ds_deriver_pass(o->deriver, bytes, size);
        ds_made_code_add(&w->made_code, bytes, size);
        if (!o->sink(o->context, bytes, size))
            return DS_E_CANCELLED;
    }
    memcpy(o->buffer, history, DS_HISTORY);
    return DS_OK;
}

ds_status ds_walk_make_room(ds_walk *w, uint64_t size, uint8_t **bytes) {
    if (w->output.filled + size > OUTPUT)
        DS_TRY(ds_walk_flush(w));
    *bytes = w->output.buffer + DS_HISTORY + w->output.filled;
    w->output.filled += size;
    return DS_OK;
}

/* ---- blocks ---- */

/* Where a chunk of a block ends: before a reference that would not fit in; one that leaves the block is no reference. */
static ds_offset chunk_end(const ds_image *image, ds_offset at, ds_offset end) {
    ds_offset stop = at + DS_CHUNK, over_begin, over_end;
    if (end - at < DS_CHUNK)
        return end;
    return ds_refs_over(image, stop, &over_begin, &over_end) && over_end <= end ? over_begin : stop;
}

static ds_status walk_block(ds_walk *w, uint64_t number) {
    const ds_block *block = &w->blocks->list.items[number];
    ds_offset at = block->old_offset, end = at + block->length;
    ds_ref_cursor *cursor = &w->old_refs;
    ds_ref ref;
    ds_refs_move(cursor, at, end);
    bool more = ds_refs_next(cursor, &ref);
    while (at < end) {
        ds_offset stop = chunk_end(w->old_image, at, end);
        uint8_t *bytes;
        const uint8_t *new_bytes =
            w->coder->writing ? ds_image_bytes(w->new_image, block->new_offset + (at - block->old_offset)) : NULL;
        DS_TRY(ds_walk_make_room(w, stop - at, &bytes));
        memcpy(bytes, ds_image_bytes(w->old_image, at), stop - at);
        ds_renames_put(w->renames, at, bytes, stop - at);
        for (; more && ref.offset < stop; more = ds_refs_next(cursor, &ref))
            if (cursor->end <= end) {
                uint64_t in_chunk = ref.offset - at, in_block = ref.offset - block->old_offset;
                DS_TRY(ds_walk_reference(w, &ref, number, bytes + in_chunk,
                                         new_bytes != NULL ? new_bytes + in_chunk : NULL));
                if (w->coder->trace != NULL)
                    ds_trace_take_reference(w->coder->trace, block->new_offset + in_block);
            }
        DS_TRY(ds_walk_residuals(w, block, at, bytes, new_bytes, stop - at));
        at = stop;
    }
    return DS_OK;
}

#define SEARCH_FACTOR 64 /* old bytes looked at for each new one, at most */

#define TEACH_FACTOR 2
#define TEACH_MIN ((uint64_t)64 << 10)
#define TEACH_MAX ((uint64_t)1 << 20)

/* Old code is shown in proportion to the new code that it resembles. */
static ds_status open_teaching(ds_walk *w, uint64_t new_size) {
    uint64_t literals = new_size;
    for (uint64_t i = 0; i < w->image_blocks; i++)
        literals -= w->blocks->list.items[i].length;
    w->teach_budget = TEACH_FACTOR * literals + TEACH_MIN;
    if (w->teach_budget > TEACH_MAX)
        w->teach_budget = TEACH_MAX;
    if (w->coder->without & DS_WITHOUT_TEACHING)
        w->teach_budget = 0;
    w->taught = ds_arena_alloc(w->arena, w->old_image->file.size / DS_PAGE_TAUGHT / 8 + 1);
    return w->taught == NULL ? DS_E_MEMORY : DS_OK;
}

/* ---- parts of code literals ---- */

static ds_status write_part(ds_walk *w, uint64_t gap) {
    ds_code_parts *written = w->written;
    DS_TRY(DS_VEC_RESERVE(w->arena, &written->list, written->list.count + 1));
    DS_TRY(ds_context_collect(&w->parts, gap, w->arena, &written->contexts));
    written->list.items[written->list.count++] =
        (ds_code_part){written->contexts.count, w->coder->writer->streams[DS_STREAM_CODE].count};
    return DS_OK;
}

/* The bytes of the last context are read until its frame has ended. */
static ds_status read_part(ds_walk *w, uint64_t gap) {
    ds_coder *c = w->coder;
    if (gap > 0) {
        DS_TRY(ds_stream_end_frame(c->reader, DS_STREAM_CODE));
        if (c->trace != NULL)
            DS_TRY(ds_trace_end_part(c->trace));
    }
    w->context.count = 0;
    DS_TRY(ds_context_collect(&w->parts, gap, w->arena, &w->context));
    ds_span prefix = {w->context.items, w->context.count};
    DS_TRY(ds_stream_set_prefix(c->reader, DS_STREAM_CODE, prefix));
    return c->trace != NULL ? ds_trace_prefix(c->trace, prefix) : DS_OK;
}

static ds_status enter_part(ds_walk *w, uint64_t gap) {
    if (w->in_tail || (w->written == NULL && !w->has_context))
        return DS_OK;
    if (ds_context_begins(&w->parts, gap))
        DS_TRY((w->written != NULL ? write_part : read_part)(w, gap));
    ds_context_enter(&w->parts, gap);
    return DS_OK;
}

static void open_parts(ds_walk *w, uint64_t new_size) {
    w->parts = (ds_context_parts){.old_file = w->old_image->file,
                                  .new_size = new_size,
                                  .layout = w->layout,
                                  .blocks = w->blocks->list.items,
                                  .block_count = w->image_blocks};
    ds_context_open(&w->parts);
}

/* The new bytes from `at` to `end`, with the blocks from `first` to before `last`. */
static ds_status walk_stretch(ds_walk *w, uint64_t first, uint64_t last, ds_offset at, ds_offset end) {
    const ds_block *blocks = w->blocks->list.items;
    w->first_block = first;
    w->last_block = last;
    memset(w->output.buffer, 0, DS_HISTORY);
    for (uint64_t i = first; i < last; i++) {
        DS_TRY(enter_part(w, i));
        DS_TRY(ds_walk_literal(w, i, at, blocks[i].new_offset));
        DS_TRY(walk_block(w, i));
        at = blocks[i].new_offset + blocks[i].length;
    }
    DS_TRY(enter_part(w, last));
    DS_TRY(ds_walk_literal(w, last, at, end));
    return ds_walk_flush(w);
}

/* The tail comes first, since listed streams are made of it. */
static ds_status walk_tail(ds_walk *w, uint64_t new_size, uint64_t tail_size) {
    ds_packed_side *side = w->packed;
    if (!w->coder->writing) {
        DS_TRY(DS_VEC_RESERVE(w->arena, &side->tail, tail_size + 1));
        side->tail.count = tail_size;
        w->output.tail = side->tail.items;
    }
    w->in_tail = true;
    DS_TRY(walk_stretch(w, w->image_blocks, w->blocks->list.count, new_size, new_size + tail_size));
    w->in_tail = false;
    w->output.tail = NULL;
    if (w->coder->writing)
        return DS_OK;
    DS_TRY(ds_packed_make(side, w->arena, &w->output.made));
    DS_VEC_FREE(w->arena, &side->tail);
    return DS_OK;
}

/* The first and the last byte of each unwind table go to those of the new one, though no block copies them. */
static ds_status map_frames(const ds_walk *w, ds_blocks *all) {
    const ds_extent old_tables[2] = {w->old_image->frames, w->old_image->frame_header};
    DS_TRY(DS_VEC_RESERVE(w->arena, &all->list, w->blocks->list.count + 4));
    memcpy(all->list.items, w->blocks->list.items, w->blocks->list.count * sizeof *all->list.items);
    all->list.count = w->blocks->list.count;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t number = ds_derive_find_kind(w->derivations, i == 0 ? DS_DERIVED_FRAMES : DS_DERIVED_HEADER);
        const ds_extent *from = &old_tables[i];
        if (number == w->derivations->list.count || from->size == 0)
            continue;
        const ds_derivation *to = &w->derivations->list.items[number];
        all->list.items[all->list.count++] = (ds_block){to->digests, from->offset, 1};
        all->list.items[all->list.count++] = (ds_block){to->digests + to->limit - 1, from->offset + from->size - 1, 1};
    }
    return DS_OK;
}

static bool has_frames(const ds_walk *w) {
    return ds_derive_find_kind(w->derivations, DS_DERIVED_FRAMES) < w->derivations->list.count;
}

static ds_status build_map(const ds_walk *w, ds_map *map) {
    ds_blocks all = {0};
    const ds_blocks *blocks = w->blocks;
    if (has_frames(w)) {
        DS_TRY(map_frames(w, &all));
        blocks = &all;
    }
    DS_TRY(ds_map_build(map, w->old_image, (ds_layout *)w->layout, blocks->list.items, blocks->list.count, w->arena));
    DS_VEC_FREE(w->arena, &all.list);
    return DS_OK;
}

static ds_status walk(ds_walk *w, uint64_t new_size) {
    ds_map map = {.arena = w->arena};
    const ds_block *blocks = w->blocks->list.items;
    uint64_t count = w->blocks->list.count, tail_size = ds_packed_tail_size(w->packed);
    if (w->old_image->refs.count > 0 || w->old_image->regions.count > 0 || w->coder->model != NULL)
        DS_TRY(build_map(w, &map));
    ds_refs_all(&w->old_refs, w->old_image);
    if (has_frames(w))
        DS_TRY(ds_made_code_open(&w->made_code, w->layout, w->coder->writing ? w->new_image->file : (ds_span){0},
                                 w->arena));
    DS_TRY(ds_predictor_open(&w->predictor, w->old_image, &map, blocks, count, w->arena));
    w->predictor.without = w->coder->without;
    if (w->coder->model != NULL) {
        DS_TRY(ds_targets_begin(w->targets, &w->predictor, w->coder->writing));
        DS_TRY(ds_risk_open(&w->risk, w->arena));
    }
    w->new_size = new_size;
    w->alignment.budget = SEARCH_FACTOR * (new_size + tail_size);
    DS_TRY(open_teaching(w, new_size));
    w->output.buffer = ds_arena_alloc(w->arena, OUTPUT + DS_HISTORY);
    if (w->output.buffer == NULL)
        return DS_E_MEMORY;
    if (w->packed->streams.count > 0)
        DS_TRY(walk_tail(w, new_size, tail_size));
    DS_TRY(walk_stretch(w, 0, w->image_blocks, 0, new_size));
    ds_arena_free(w->arena, w->output.buffer);
    ds_arena_free(w->arena, w->output.made);
    ds_made_code_close(&w->made_code, w->arena);
    ds_risk_close(&w->risk, w->arena);
    ds_predictor_close(&w->predictor);
    ds_map_free(&map);
    return DS_OK;
}

/* ---- both directions ---- */

/* What is computed, or fresh, is no block's. */
static ds_status clip(const ds_walk *w, uint64_t new_size, ds_blocks *blocks) {
    DS_TRY(ds_derive_clip(w->derivations, blocks, w->arena));
    DS_TRY(ds_fresh_clip(&w->fresh, blocks, w->arena));
    return w->packed->streams.count > 0 ? ds_packed_clip(w->packed, w->old_image->file.size, new_size, blocks, w->arena)
                                        : DS_OK;
}

static bool is_left_out(const ds_walk *w, ds_offset at, ds_offset end) {
    bool out = true;
    uint64_t made;
    while (out && at < end) {
        ds_offset stop = ds_derived_run(w->derivations, at, end, &out);
        if (!out)
            stop = ds_packed_run(w->packed, at, end, &out, &made);
        at = out ? stop : ds_fresh_run(&w->fresh, at, end, &out);
    }
    return out;
}

/* Makes one of those that go on behind what is left out where they had been without: clipping parts them again. */
static void bridge(const ds_walk *w, ds_blocks *blocks) {
    ds_block *items = blocks->list.items;
    uint64_t kept = 0;
    for (uint64_t i = 1; i < blocks->list.count; i++) {
        ds_block *last = &items[kept];
        bool goes_on = items[i].old_offset - items[i].new_offset == last->old_offset - last->new_offset;
        if (goes_on && is_left_out(w, last->new_offset + last->length, items[i].new_offset))
            last->length = items[i].new_offset + items[i].length - last->new_offset;
        else
            items[++kept] = items[i];
    }
    blocks->list.count = blocks->list.count > 0 ? kept + 1 : 0;
}

static ds_paddings paddings_of(const ds_walk *w, const ds_regions *regions) {
    return (ds_paddings){
        .old_image = w->old_image, .new_regions = regions->list.items, .new_region_count = regions->list.count};
}

/* Fewer, where they go on behind what is left out, or paddings between them can be made anew; `blocks` are then the
 * pieces that are copied. */
static ds_status write_blocks(ds_walk *w, const ds_regions *regions, ds_blocks *blocks) {
    ds_paddings paddings = paddings_of(w, regions);
    ds_blocks folded = {0}, pieces = {0};
    bool stretched = false;
    bridge(w, blocks);
    if (!(w->coder->without & DS_WITHOUT_PADDINGS) && w->old_image->starts != NULL) {
        DS_TRY(ds_paddings_learn(&paddings, w->arena));
        DS_TRY(ds_paddings_fold(&paddings, w->new_image, blocks, w->arena, &folded, &stretched));
    }
    DS_TRY(ds_code_blocks(w->coder, w->old_image, &paddings, stretched ? &folded : blocks, stretched,
                          ds_image_size(w->new_image), w->arena, &pieces));
    ds_paddings_free(&paddings, w->arena);
    DS_VEC_FREE(w->arena, &folded.list);
    DS_VEC_FREE(w->arena, &blocks->list);
    DS_TRY(clip(w, w->new_image->file.size, &pieces));
    *blocks = pieces;
    w->image_blocks = ds_blocks_before(blocks, w->new_image->file.size);
    return DS_OK;
}

ds_status ds_walk_write(const ds_image *old_image, const ds_image *new_image, ds_derivations *derivations,
                        ds_packed_both *packed, ds_renames *renames, ds_blocks *blocks, ds_coder *coder,
                        ds_targets *targets, ds_code_parts *parts, ds_arena *arena) {
    ds_layout layout;
    ds_regions regions = {0};
    ds_listed listed = {.packed = packed->new_side.streams.count > 0, .renames = renames->list.count > 0};
    uint64_t new_size = new_image->file.size;
    ds_walk w = {.coder = coder,
                 .targets = targets,
                 .old_image = old_image,
                 .new_image = new_image,
                 .layout = &layout,
                 .derivations = derivations,
                 .packed = &packed->new_side,
                 .renames = renames,
                 .blocks = blocks,
                 .written = parts,
                 .arena = arena};
    DS_TRY(ds_code_regions(coder, old_image, new_image, new_size, arena, &regions));
    ds_fresh_places fresh = ds_fresh_expect(old_image, regions.list.items, regions.list.count, new_size);
    listed.fresh = !(coder->without & DS_WITHOUT_FRESH) && ds_fresh_came(&fresh, old_image, new_image);
    if (listed.fresh)
        w.fresh = fresh;
    DS_TRY(ds_code_derivations(coder, old_image, new_size, arena, derivations, &listed));
    if (listed.packed)
        DS_TRY(ds_code_packed(coder, old_image->file, new_size, arena, packed));
    if (listed.renames)
        DS_TRY(ds_code_renames(coder, old_image, arena, renames));
    DS_TRY(write_blocks(&w, &regions, blocks));
    DS_TRY(ds_derive_find_exceptions(derivations, old_image, new_image, blocks->list.items, w.image_blocks, arena));
    DS_TRY(ds_code_lists(coder, new_size, arena, derivations));
    DS_TRY(ds_layout_build(&layout, regions.list.items, regions.list.count, arena));
    open_parts(&w, new_size);
    DS_TRY(walk(&w, new_size));
    ds_layout_free(&layout, arena);
    DS_VEC_FREE(arena, &regions.list);
    return ds_coder_end(coder);
}

/* What is computed: digests, and streams with the old tail behind the old image; and what is renamed. */
static ds_status read_computed(ds_walk *w, const ds_regions *regions, ds_image *old_image, uint64_t new_size,
                               ds_derivations *derivations, ds_packed_both *packed) {
    ds_listed listed = {0};
    DS_TRY(ds_code_derivations(w->coder, old_image, new_size, w->arena, derivations, &listed));
    if (listed.fresh)
        w->fresh = ds_fresh_expect(old_image, regions->list.items, regions->list.count, new_size);
    if (listed.packed)
        DS_TRY(ds_code_packed(w->coder, old_image->file, new_size, w->arena, packed));
    if (listed.renames) {
        DS_TRY(ds_code_renames(w->coder, old_image, w->arena, w->renames));
        DS_TRY(ds_renames_locate(w->renames, old_image, w->arena));
    }
    if (!ds_packed_is_apart(&packed->new_side, derivations))
        return DS_E_DELTA;
    old_image->tail = (ds_span){packed->old_side.tail.items, packed->old_side.tail.count};
    return ds_deriver_open(&w->output.deriver, derivations, w->arena);
}

static ds_status read_blocks(ds_walk *w, const ds_regions *regions, uint64_t new_size, ds_blocks *blocks) {
    uint64_t with_tail = new_size + ds_packed_tail_size(w->packed);
    ds_paddings paddings = paddings_of(w, regions);
    DS_TRY(ds_code_blocks(w->coder, w->old_image, &paddings, NULL, false, with_tail, w->arena, blocks));
    ds_paddings_free(&paddings, w->arena);
    DS_TRY(clip(w, new_size, blocks));
    if (w->coder->trace != NULL)
        DS_TRY(ds_trace_keep_blocks(w->coder->trace, blocks));
    w->image_blocks = ds_blocks_before(blocks, new_size);
    return DS_OK;
}

/* Lists, which are known as soon as the blocks are. */
static ds_status read_lists(ds_walk *w, uint64_t new_size, ds_derivations *derivations) {
    const ds_exception *exceptions;
    DS_TRY(ds_code_lists(w->coder, new_size, w->arena, derivations));
    exceptions = derivations->exceptions.items;
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        const ds_derivation *d = &derivations->list.items[i];
        if (d->page_bits != DS_DERIVED_LISTED)
            continue;
        DS_TRY(ds_derive_list(w->old_image, w->layout, w->blocks->list.items, w->image_blocks, new_size, d, exceptions,
                              ds_deriver_whole(w->output.deriver, i)));
        if (d->exceptions > 0) /* without any there may be no array */
            exceptions += d->exceptions;
    }
    DS_VEC_FREE(w->arena, &derivations->exceptions);
    return DS_OK;
}

ds_status ds_walk_read(const ds_image *parsed_image, uint64_t new_size, bool has_context, ds_coder *coder,
                       ds_targets *targets, ds_sink sink, void *context, ds_arena *arena) {
    ds_regions regions = {0};
    ds_blocks blocks = {0};
    ds_layout layout;
    ds_derivations derivations = {0};
    ds_packed_both packed = {0};
    ds_renames renames = {0};
    ds_image with_tail = *parsed_image, *old_image = &with_tail;
    ds_walk w = {.coder = coder,
                 .targets = targets,
                 .old_image = old_image,
                 .layout = &layout,
                 .derivations = &derivations,
                 .packed = &packed.new_side,
                 .renames = &renames,
                 .blocks = &blocks,
                 .has_context = has_context,
                 .output = {.sink = sink, .context = context},
                 .arena = arena};
    DS_TRY(ds_code_regions(coder, old_image, NULL, new_size, arena, &regions));
    DS_TRY(read_computed(&w, &regions, old_image, new_size, &derivations, &packed));
    if (coder->model != NULL)
        DS_TRY(ds_model_check(coder->model));
    DS_TRY(read_blocks(&w, &regions, new_size, &blocks));
    DS_TRY(ds_layout_build(&layout, regions.list.items, regions.list.count, arena));
    DS_TRY(read_lists(&w, new_size, &derivations));
    open_parts(&w, new_size);
    DS_TRY(ds_coder_begin(coder));
    DS_TRY(walk(&w, new_size));
    ds_layout_free(&layout, arena);
    ds_packed_free(&packed, arena);
    ds_renames_free(&renames, arena);
    DS_VEC_FREE(arena, &blocks.list);
    DS_VEC_FREE(arena, &regions.list);
    DS_VEC_FREE(arena, &w.context);
    ds_deriver_close(w.output.deriver);
    ds_derivations_free(&derivations, arena);
    return ds_coder_end(coder);
}
