/* Coding of the listed streams; docs/spec/delta-format.md, "Compressed streams". */
#include "delta/packed_layout.h"

#include "delta/layout.h"

/* An old stream's style number; 0 says that its recipe does not stand in the tail. */
#define NO_RECIPE 0

/* ---- both sides ---- */

static ds_status code_piece(ds_coder *c, uint64_t file_size, ds_offset *end, ds_piece *piece) {
    uint64_t gap = piece->offset - *end, size = piece->size - 1;
    DS_TRY(ds_code_layout(c, DS_LAYOUT_PIECE_GAP, &gap));
    DS_TRY(ds_code_layout(c, DS_LAYOUT_PIECE_SIZE, &size));
    if (!ds_add(*end, gap, &piece->offset) || !ds_add(size, 1, &piece->size) ||
        !ds_within(piece->offset, piece->size, file_size))
        return DS_E_DELTA;
    *end = piece->offset + piece->size;
    return DS_OK;
}

/* Reading: room for the pieces of the stream that comes. */
static ds_status open_pieces(ds_packed_side *side, ds_packed *stream, ds_arena *arena) {
    stream->first = side->pieces.count;
    DS_TRY(DS_VEC_RESERVE(arena, &side->pieces, stream->first + stream->count));
    memset(side->pieces.items + stream->first, 0, stream->count * sizeof *side->pieces.items);
    side->pieces.count += stream->count;
    return DS_OK;
}

static ds_status code_pieces(ds_coder *c, ds_packed_side *side, ds_packed *stream, uint64_t file_size, ds_offset *end,
                             ds_arena *arena) {
    uint64_t more = stream->count - 1;
    DS_TRY(ds_code_layout(c, DS_LAYOUT_PIECE_COUNT, &more));
    if (!c->writing) {
        if (more >= DS_PACKED_PIECES_MAX - side->pieces.count)
            return DS_E_LIMIT;
        stream->count = more + 1;
        DS_TRY(open_pieces(side, stream, arena));
    }
    stream->size = 0;
    for (uint64_t i = 0; i < stream->count; i++) {
        ds_piece *piece = &side->pieces.items[stream->first + i];
        DS_TRY(code_piece(c, file_size, end, piece));
        stream->size += piece->size;
    }
    return DS_OK;
}

/* How many streams; when reading, they are empty ones at first. */
static ds_status code_count(ds_coder *c, ds_packed_side *side, ds_arena *arena) {
    uint64_t count = side->streams.count;
    DS_TRY(ds_code_layout(c, DS_LAYOUT_STREAM_COUNT, &count));
    if (count > DS_PACKED_STREAMS_MAX)
        return DS_E_LIMIT;
    if (c->writing)
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(arena, &side->streams, count + 1));
    memset(side->streams.items, 0, count * sizeof *side->streams.items);
    side->streams.count = count;
    return DS_OK;
}

/* ---- each side ---- */

static ds_status code_old(ds_coder *c, ds_packed_side *side, uint64_t file_size, ds_arena *arena) {
    ds_offset end = 0;
    DS_TRY(code_count(c, side, arena));
    for (uint64_t i = 0; i < side->streams.count; i++) {
        ds_packed *stream = &side->streams.items[i];
        DS_TRY(code_pieces(c, side, stream, file_size, &end, arena));
        uint64_t style = stream->has_recipe ? ds_style_number(&stream->style) + 1 : NO_RECIPE;
        DS_TRY(ds_code_layout(c, DS_LAYOUT_STYLE, &style));
        stream->has_recipe = style != NO_RECIPE;
        if (stream->has_recipe && !ds_style_of(style - 1, &stream->style))
            return DS_E_DELTA;
    }
    return DS_OK;
}

static ds_status code_new(ds_coder *c, ds_packed_side *side, uint64_t file_size, ds_arena *arena) {
    uint64_t tail = 0;
    ds_offset end = 0;
    DS_TRY(code_count(c, side, arena));
    if (side->streams.count == 0)
        return DS_E_DELTA;
    for (uint64_t i = 0; i < side->streams.count; i++) {
        ds_packed *stream = &side->streams.items[i];
        DS_TRY(code_pieces(c, side, stream, file_size, &end, arena));
        uint64_t style = ds_style_number(&stream->style);
        DS_TRY(ds_code_layout(c, DS_LAYOUT_STYLE, &style));
        DS_TRY(ds_code_layout(c, DS_LAYOUT_CONTENT_SIZE, &stream->content_size));
        DS_TRY(ds_code_layout(c, DS_LAYOUT_RECIPE_SIZE, &stream->recipe_size));
        stream->has_recipe = true;
        if (!ds_style_of(style, &stream->style))
            return DS_E_DELTA;
        if (!ds_add(tail, stream->content_size, &tail) || !ds_add(tail, stream->recipe_size, &tail) ||
            !ds_tails_fit(0, tail, file_size))
            return DS_E_LIMIT;
    }
    return DS_OK;
}

ds_status ds_code_packed(ds_coder *c, ds_span old_file, uint64_t new_size, ds_arena *arena, ds_packed_both *both) {
    DS_TRY(code_old(c, &both->old_side, old_file.size, arena));
    DS_TRY(code_new(c, &both->new_side, new_size, arena));
    if (c->writing)
        return DS_OK;
    DS_TRY(ds_packed_settle(&both->new_side, arena));
    return ds_packed_unpack(&both->old_side, old_file, DS_TAILS_MAX - ds_packed_tail_size(&both->new_side), arena);
}

bool ds_packed_is_apart(const ds_packed_side *new_side, const ds_derivations *derivations) {
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        const ds_derivation *d = &derivations->list.items[i];
        ds_offset end = d->digests + ds_derivation_size(d);
        uint64_t made;
        bool packed;
        if (ds_packed_run(new_side, d->digests, end, &packed, &made) != end || packed)
            return false;
    }
    return true;
}
