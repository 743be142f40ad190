/* Tails, and streams made from them; see packed.h. */
#include "predict/packed.h"

bool ds_tails_fit(uint64_t old_tail, uint64_t new_tail, uint64_t new_size) {
    return old_tail <= DS_TAILS_MAX && new_tail <= DS_TAILS_MAX - old_tail &&
           new_tail <= new_size * DS_TAIL_FACTOR + DS_TAIL_EXTRA;
}

void ds_packed_free(ds_packed_both *both, ds_arena *arena) {
    ds_packed_side *sides[] = {&both->old_side, &both->new_side};
    for (unsigned i = 0; i < DS_COUNT(sides); i++) {
        DS_VEC_FREE(arena, &sides[i]->streams);
        DS_VEC_FREE(arena, &sides[i]->pieces);
        DS_VEC_FREE(arena, &sides[i]->made);
        DS_VEC_FREE(arena, &sides[i]->tail);
    }
}

/* ---- the old tail ---- */

static ds_status append(ds_packed_side *side, const uint8_t *bytes, uint64_t size, uint64_t limit, ds_arena *arena) {
    if (size > limit - side->tail.count)
        return DS_E_LIMIT;
    DS_TRY(DS_VEC_RESERVE(arena, &side->tail, side->tail.count + size + 1));
    if (size > 0)
        memcpy(side->tail.items + side->tail.count, bytes, size);
    side->tail.count += size;
    return DS_OK;
}

typedef struct unpacker {
    ds_packed_side *side;
    ds_span file;
    uint64_t limit;
    ds_arena *arena;
    ds_inflated inflated;
    ds_recipe recipe;
    DS_VEC(uint8_t) gathered;
} unpacker;

static ds_status unpack_stream(unpacker *u, ds_packed *stream) {
    bool is_stream;
    const ds_piece *pieces = &u->side->pieces.items[stream->first];
    ds_span bytes = {u->file.data + pieces[0].offset, stream->size};
    if (stream->count > 1) {
        DS_TRY(DS_VEC_RESERVE(u->arena, &u->gathered, stream->size));
        ds_pieces_gather(u->file, pieces, stream->count, u->gathered.items);
        bytes.data = u->gathered.items;
    }
    DS_TRY(ds_inflate(bytes, u->limit - u->side->tail.count, stream->has_recipe, u->arena, &u->inflated, &is_stream));
    if (!is_stream || u->inflated.size != stream->size)
        return u->inflated.is_large ? DS_E_LIMIT : DS_E_DELTA;
    stream->content_size = u->inflated.content.count;
    DS_TRY(append(u->side, u->inflated.content.items, stream->content_size, u->limit, u->arena));
    if (!stream->has_recipe)
        return DS_OK;
    DS_TRY(ds_recipe_write(&u->inflated, bytes, &stream->style, u->arena, &u->recipe));
    stream->recipe_size = u->recipe.bytes.count;
    return append(u->side, u->recipe.bytes.items, stream->recipe_size, u->limit, u->arena);
}

ds_status ds_packed_unpack(ds_packed_side *side, ds_span file, uint64_t limit, ds_arena *arena) {
    unpacker u = {.side = side, .file = file, .limit = limit, .arena = arena};
    ds_status status = DS_OK;
    side->tail.count = 0;
    for (uint64_t i = 0; status == DS_OK && i < side->streams.count; i++)
        status = unpack_stream(&u, &side->streams.items[i]);
    ds_inflated_free(&u.inflated, arena);
    DS_VEC_FREE(arena, &u.recipe.bytes);
    DS_VEC_FREE(arena, &u.gathered);
    return status;
}

/* ---- the new streams ---- */

ds_status ds_packed_make(const ds_packed_side *side, ds_arena *arena, uint8_t **made) {
    uint64_t size = 0, at = 0;
    for (uint64_t i = 0; i < side->streams.count; i++)
        size += side->streams.items[i].size;
    uint8_t *out = *made = ds_arena_alloc(arena, size);
    if (out == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < side->streams.count; i++) {
        const ds_packed *stream = &side->streams.items[i];
        ds_span content = {side->tail.items + at, stream->content_size};
        ds_span recipe = {side->tail.items + at + stream->content_size, stream->recipe_size};
        DS_TRY(ds_deflate_make(content, recipe, &stream->style, arena, out, stream->size));
        out += stream->size;
        at += stream->content_size + stream->recipe_size;
    }
    return DS_OK;
}

ds_status ds_packed_settle(ds_packed_side *side, ds_arena *arena) {
    uint64_t made = 0;
    DS_TRY(DS_VEC_RESERVE(arena, &side->made, side->pieces.count + 1));
    for (uint64_t i = 0; i < side->pieces.count; i++) {
        side->made.items[i] = made;
        made += side->pieces.items[i].size;
    }
    side->made.count = side->pieces.count;
    return DS_OK;
}

ds_offset ds_packed_run(const ds_packed_side *side, ds_offset at, ds_offset end, bool *packed, uint64_t *made) {
    uint64_t low = 0, high = side->pieces.count;
    while (low < high) { /* the first piece that ends behind `at` */
        uint64_t middle = (low + high) / 2;
        const ds_piece *piece = &side->pieces.items[middle];
        if (piece->offset + piece->size <= at)
            low = middle + 1;
        else
            high = middle;
    }
    *packed = false;
    if (low == side->pieces.count)
        return end;
    const ds_piece *piece = &side->pieces.items[low];
    *packed = at >= piece->offset;
    *made = *packed ? side->made.items[low] + (at - piece->offset) : 0;
    ds_offset stop = *packed ? piece->offset + piece->size : piece->offset;
    return stop < end ? stop : end;
}

uint64_t ds_packed_tail_size(const ds_packed_side *new_side) {
    uint64_t size = 0;
    for (uint64_t i = 0; i < new_side->streams.count; i++)
        size += new_side->streams.items[i].content_size + new_side->streams.items[i].recipe_size;
    return size;
}

/* ---- blocks ---- */

/* How much of the block lies together: on one side of both ends, and in no listed stream or in one (then *packed). */
static uint64_t run_of_block(const ds_packed_side *side, uint64_t old_size, uint64_t new_size, const ds_block *block,
                             bool *packed) {
    uint64_t made, run = block->length;
    if (block->old_offset < old_size && old_size - block->old_offset < run)
        run = old_size - block->old_offset;
    if (block->new_offset < new_size && new_size - block->new_offset < run)
        run = new_size - block->new_offset;
    return ds_packed_run(side, block->new_offset, block->new_offset + run, packed, &made) - block->new_offset;
}

ds_status ds_packed_clip(const ds_packed_side *new_side, uint64_t old_size, uint64_t new_size, ds_blocks *blocks,
                         ds_arena *arena) {
    ds_blocks clipped = {0};
    DS_TRY(DS_VEC_RESERVE(arena, &clipped.list, blocks->list.count + 1));
    for (uint64_t i = 0; i < blocks->list.count; i++) {
        ds_block left = blocks->list.items[i];
        while (left.length > 0) {
            bool packed;
            uint64_t run = run_of_block(new_side, old_size, new_size, &left, &packed);
            if (!packed) {
                DS_TRY(DS_VEC_RESERVE(arena, &clipped.list, clipped.list.count + 1));
                clipped.list.items[clipped.list.count++] = (ds_block){left.new_offset, left.old_offset, run};
            }
            left = (ds_block){left.new_offset + run, left.old_offset + run, left.length - run};
        }
    }
    DS_VEC_FREE(arena, &blocks->list);
    *blocks = clipped;
    return DS_OK;
}
