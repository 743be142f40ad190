/* Any bytes as a stream, as a file to look for streams in, and as a recipe with its content.
 *
 * A stream that is taken apart must come back; what is found must lie in the file and be streams; a recipe must end
 * with a status and write no more than it was told.
 */
#include <stdlib.h>

#include "deflate/scan.h"

#define CEILING ((uint64_t)1 << 27)
#define CONTENT_LIMIT ((uint64_t)1 << 20)
#define GUESS_MAX 300
#define ROOM 4096
#define GUARD 0xa5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds) {
    if (!holds)
        abort();
}

static ds_status fuzz_stream(ds_span stream, ds_arena *within) {
    ds_inflated inflated = {0};
    ds_recipe recipe = {0};
    ds_deflate_style style;
    bool is_stream;
    DS_TRY(ds_inflate(stream, CONTENT_LIMIT, true, within, &inflated, &is_stream));
    must(inflated.size <= stream.size && inflated.content.count <= CONTENT_LIMIT);
    if (!is_stream)
        return DS_OK;
    /* Guessing tries many styles: enough for what is small; any style must do. */
    if (inflated.content.count <= GUESS_MAX)
        DS_TRY(ds_style_guess(&inflated, 15, within, &style));
    else
        must(ds_style_of(inflated.content.count % DS_STYLES, &style));
    DS_TRY(ds_recipe_write(&inflated, stream, &style, within, &recipe));
    uint8_t *out = ds_arena_alloc(within, inflated.size);
    if (out == NULL)
        return DS_E_MEMORY;
    ds_status status =
        ds_deflate_make((ds_span){inflated.content.items, inflated.content.count},
                        (ds_span){recipe.bytes.items, recipe.bytes.count}, &style, within, out, inflated.size);
    must(status == DS_OK && memcmp(out, stream.data, inflated.size) == 0);
    return DS_OK;
}

static ds_status fuzz_scan(ds_span file, ds_arena *within) {
    ds_found found = {0};
    DS_TRY(ds_scan(file, within, &found));
    ds_offset end = 0;
    for (uint64_t i = 0; i < found.pieces.count; i++) {
        must(found.pieces.items[i].offset >= end &&
             ds_within(found.pieces.items[i].offset, found.pieces.items[i].size, file.size));
        end = found.pieces.items[i].offset + found.pieces.items[i].size;
    }
    for (uint64_t i = 0; i < found.streams.count; i++) {
        const ds_found_stream *stream = &found.streams.items[i];
        ds_inflated inflated = {0};
        bool is_stream;
        must(ds_within(stream->first, stream->count, found.pieces.count));
        uint8_t *bytes = ds_arena_alloc(within, stream->size);
        if (bytes == NULL)
            return DS_E_MEMORY;
        ds_pieces_gather(file, &found.pieces.items[stream->first], stream->count, bytes);
        DS_TRY(ds_inflate((ds_span){bytes, stream->size}, UINT64_MAX, false, within, &inflated, &is_stream));
        must(is_stream && inflated.size == stream->size && inflated.content.count == stream->content_size);
        ds_inflated_free(&inflated, within);
    }
    return DS_OK;
}

/* Two bytes of style, two of the stream's size, two of the content's size, content, recipe. */
static ds_status fuzz_recipe(ds_span given, ds_arena *within) {
    uint8_t out[ROOM + 1];
    ds_deflate_style style;
    if (given.size < 6)
        return DS_OK;
    must(ds_style_of(ds_load16(given.data) % DS_STYLES, &style));
    uint64_t size = ds_load16(given.data + 2) % ROOM, content = ds_load16(given.data + 4), left = given.size - 6;
    content = content < left ? content : left;
    out[size] = GUARD;
    ds_status status = ds_deflate_make((ds_span){given.data + 6, content},
                                       (ds_span){given.data + 6 + content, left - content}, &style, within, out, size);
    must(out[size] == GUARD &&
         (status == DS_OK || status == DS_E_DELTA || status == DS_E_LIMIT || status == DS_E_MEMORY));
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ds_status (*const targets[])(ds_span, ds_arena *) = {fuzz_stream, fuzz_scan, fuzz_recipe};
    for (size_t i = 0; i < DS_COUNT(targets); i++) {
        ds_arena *within = ds_arena_open(CEILING);
        if (within == NULL)
            return 0;
        targets[i]((ds_span){data, size}, within);
        ds_arena_close(within);
    }
    return 0;
}
