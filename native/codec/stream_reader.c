/* Reading typed streams out of their frames, under limits.
 *
 * A frame that holds one stream is decoded piece by piece as the stream is read, and may be several zstd frames; a
 * frame that holds several streams is small (JOINED_MAX) and decoded at once. Nothing is allocated from a number in
 * the delta before it is checked: raw sizes against the size of the new image (by the caller), windows against
 * WINDOWS_MAX, and all memory against the arena's ceiling.
 *
 * Source: RFC 8878 (zstd). Frames stand without magic number, checksum and dictionary.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "codec/streams.h"

#define WINDOWS_MAX ((uint64_t)32 << 20)
#define JOINED_MAX ((uint64_t)4 << 20)
#define PIECE ((uint64_t)128 << 10)
#define DICTIONARY_ID_FLAG 3 /* of a frame header's first byte; an id of 0 is none to libzstd, but not to us */

typedef struct source {
    const uint8_t *next, *end; /* bytes at hand */
    uint64_t left;             /* bytes of the stream beyond `end` */
    /* Only where the stream is decoded piece by piece: */
    ZSTD_DCtx *context;
    ZSTD_inBuffer input;
    uint8_t *piece;
    uint64_t window; /* of the frame that is read */
    bool frame_ended;
} source;

struct ds_stream_reader {
    source sources[DS_STREAM_COUNT];
    uint64_t windows; /* of all frames that are read */
    ds_arena *arena;
};

static void *zstd_alloc(void *opaque, size_t size) {
    return ds_arena_alloc(opaque, size);
}
static void zstd_free(void *opaque, void *block) {
    ds_arena_free(opaque, block);
}

static ZSTD_DCtx *open_context(ds_arena *arena) {
    ZSTD_DCtx *context = ZSTD_createDCtx_advanced((ZSTD_customMem){zstd_alloc, zstd_free, arena});
    if (context == NULL)
        return NULL;
    if (ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_format, ZSTD_f_zstd1_magicless)) ||
        ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 25))) {
        ZSTD_freeDCtx(context);
        return NULL;
    }
    return context;
}

/* The frame's own header must ask for nothing we do not offer: `raw_size` bytes at most, and a window among others. */
static ds_status check_frame(ds_stream_reader *reader, source *s, ds_span frame, uint64_t raw_size) {
    ZSTD_frameHeader header;
    if (ZSTD_getFrameHeader_advanced(&header, frame.data, frame.size, ZSTD_f_zstd1_magicless) != 0)
        return DS_E_DELTA;
    if ((frame.data[0] & DICTIONARY_ID_FLAG) != 0 || header.checksumFlag != 0)
        return DS_E_DELTA;
    if (header.frameContentSize != ZSTD_CONTENTSIZE_UNKNOWN && header.frameContentSize > raw_size)
        return DS_E_DELTA;
    reader->windows -= s->window;
    s->window = header.windowSize;
    if (!ds_add(reader->windows, s->window, &reader->windows) || reader->windows > WINDOWS_MAX)
        return DS_E_LIMIT;
    return DS_OK;
}

static ds_status zstd_status(size_t result) {
    return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? DS_E_MEMORY : DS_E_DELTA;
}

static ds_status open_piecewise(ds_stream_reader *reader, source *s, ds_span frame) {
    s->context = open_context(reader->arena);
    s->piece = ds_arena_alloc(reader->arena, s->left < PIECE ? s->left : PIECE);
    s->input = (ZSTD_inBuffer){frame.data, frame.size, 0};
    return s->context == NULL || s->piece == NULL ? DS_E_MEMORY : DS_OK;
}

static ds_status open_joined(ds_stream_reader *reader, const ds_frames *frames, unsigned f, ds_span frame,
                             uint64_t raw_size) {
    if (raw_size > JOINED_MAX)
        return DS_E_LIMIT;
    const uint8_t *bytes = frame.data;
    if (!frames->raw[f]) {
        uint8_t *decoded = ds_arena_alloc(reader->arena, raw_size);
        ZSTD_DCtx *context = open_context(reader->arena);
        if (decoded == NULL || context == NULL)
            return DS_E_MEMORY;
        ZSTD_inBuffer input = {frame.data, frame.size, 0};
        ZSTD_outBuffer output = {decoded, raw_size, 0};
        size_t result = 1;
        while (result != 0) {
            size_t before_in = input.pos, before_out = output.pos;
            result = ZSTD_decompressStream(context, &output, &input);
            if (ZSTD_isError(result) || (result != 0 && before_in == input.pos && before_out == output.pos))
                break;
        }
        ZSTD_freeDCtx(context);
        if (result != 0)
            return ZSTD_isError(result) ? zstd_status(result) : DS_E_DELTA;
        if (input.pos != input.size || output.pos != raw_size)
            return DS_E_DELTA;
        bytes = decoded;
    }
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++)
        if (frames->frame_of[s] == f) {
            reader->sources[s].next = bytes;
            reader->sources[s].end = bytes + frames->raw_sizes[s];
            bytes += frames->raw_sizes[s];
        }
    return DS_OK;
}

static ds_status open_frame(ds_stream_reader *reader, const ds_frames *frames, unsigned f, ds_span frame) {
    uint64_t raw_size = 0;
    unsigned streams = 0, only = 0;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++)
        if (frames->frame_of[s] == f) {
            if (!ds_add(raw_size, frames->raw_sizes[s], &raw_size))
                return DS_E_LIMIT;
            streams++;
            only = s;
        }
    if (frames->raw[f] && frame.size != raw_size)
        return DS_E_DELTA;
    source *s = &reader->sources[only];
    if (!frames->raw[f])
        DS_TRY(check_frame(reader, s, frame, raw_size));
    if (streams != 1 || raw_size == 0)
        return open_joined(reader, frames, f, frame, raw_size);
    if (frames->raw[f]) {
        s->next = frame.data;
        s->end = frame.data + frame.size;
        return DS_OK;
    }
    s->left = raw_size;
    return open_piecewise(reader, s, frame);
}

ds_status ds_stream_reader_open(ds_stream_reader **out, const ds_frames *frames, ds_arena *arena) {
    ds_stream_reader *reader = ds_arena_alloc(arena, sizeof *reader);
    *out = reader;
    if (reader == NULL)
        return DS_E_MEMORY;
    reader->arena = arena;
    uint64_t at = 0;
    for (unsigned f = 0; f < frames->count; f++) {
        if (!ds_within(at, frames->sizes[f], frames->body.size))
            return DS_E_DELTA;
        DS_TRY(open_frame(reader, frames, f, (ds_span){frames->body.data + at, frames->sizes[f]}));
        at += frames->sizes[f];
    }
    return at == frames->body.size ? DS_OK : DS_E_DELTA;
}

void ds_stream_reader_close(ds_stream_reader *reader) {
    if (reader == NULL)
        return;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++)
        ZSTD_freeDCtx(reader->sources[s].context);
    ds_arena_free(reader->arena, reader);
}

/* Decode the next piece; called only when none is at hand. */
static ds_status refill(source *s) {
    if (s->left == 0 || s->frame_ended)
        return DS_E_DELTA;
    ZSTD_outBuffer output = {s->piece, s->left < PIECE ? s->left : PIECE, 0};
    while (output.pos == 0) {
        size_t before = s->input.pos;
        size_t result = ZSTD_decompressStream(s->context, &output, &s->input);
        if (ZSTD_isError(result))
            return zstd_status(result);
        s->frame_ended = result == 0;
        if (output.pos == 0 && (s->frame_ended || s->input.pos == before))
            return DS_E_DELTA;
    }
    s->left -= output.pos;
    s->next = s->piece;
    s->end = s->piece + output.pos;
    return DS_OK;
}

ds_status ds_read_bytes(ds_stream_reader *reader, ds_stream stream, uint8_t *bytes, uint64_t size) {
    source *s = &reader->sources[stream];
    while (size > 0) {
        if (s->next == s->end)
            DS_TRY(refill(s));
        uint64_t take = (uint64_t)(s->end - s->next) < size ? (uint64_t)(s->end - s->next) : size;
        memcpy(bytes, s->next, take);
        s->next += take;
        bytes += take;
        size -= take;
    }
    return DS_OK;
}

ds_status ds_read_number(ds_stream_reader *reader, ds_stream stream, uint64_t *value) {
    source *s = &reader->sources[stream];
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (s->next == s->end)
            DS_TRY(refill(s));
        uint64_t byte = *s->next++;
        if (shift == 63 && byte > 1)
            return DS_E_DELTA;
        sum |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0)
                return DS_E_DELTA; /* not the shortest form */
            *value = sum;
            return DS_OK;
        }
    }
    return DS_E_DELTA;
}

ds_status ds_stream_set_prefix(ds_stream_reader *reader, ds_stream stream, ds_span prefix) {
    source *s = &reader->sources[stream];
    if (s->context == NULL)
        return DS_E_DELTA;
    ds_span frame = {(const uint8_t *)s->input.src + s->input.pos, s->input.size - s->input.pos};
    DS_TRY(check_frame(reader, s, frame, s->left));
    return ZSTD_isError(ZSTD_DCtx_refPrefix(s->context, prefix.data, prefix.size)) ? DS_E_DELTA : DS_OK;
}

bool ds_stream_at_end(const ds_stream_reader *reader, ds_stream stream) {
    return ds_stream_left(reader, stream) == 0;
}

uint64_t ds_stream_left(const ds_stream_reader *reader, ds_stream stream) {
    const source *s = &reader->sources[stream];
    return (uint64_t)(s->end - s->next) + s->left;
}

/* After the last byte of content a frame may still owe its last block: it must be empty. */
static bool frame_is_done(source *s) {
    if (!s->frame_ended) {
        uint8_t none;
        ZSTD_outBuffer output = {&none, 0, 0};
        s->frame_ended = ZSTD_decompressStream(s->context, &output, &s->input) == 0;
    }
    return s->frame_ended;
}

ds_status ds_stream_end_frame(ds_stream_reader *reader, ds_stream stream) {
    source *s = &reader->sources[stream];
    if (s->context == NULL || s->next != s->end || !frame_is_done(s))
        return DS_E_DELTA;
    s->frame_ended = false;
    return ZSTD_isError(ZSTD_DCtx_reset(s->context, ZSTD_reset_session_only)) ? DS_E_DELTA : DS_OK;
}

ds_status ds_stream_reader_finish(ds_stream_reader *reader) {
    for (unsigned i = 0; i < DS_STREAM_COUNT; i++) {
        source *s = &reader->sources[i];
        if (ds_stream_left(reader, (ds_stream)i) != 0)
            return DS_E_DELTA;
        if (s->context != NULL && (!frame_is_done(s) || s->input.pos != s->input.size))
            return DS_E_DELTA;
    }
    return DS_OK;
}
