/* Typed streams: every kind of decision has its own, so that like stands beside like when the streams
 * are compressed. One table of names; numbers are LEB128, signed ones zigzag.
 */
#ifndef DS_STREAMS_H
#define DS_STREAMS_H

#include "base/base.h"

typedef enum ds_stream {
    DS_STREAM_LAYOUT,        /* regions of the new image, number of blocks */
    DS_STREAM_GAPS,          /* literal bytes before each block */
    DS_STREAM_LENGTHS,       /* length of each block */
    DS_STREAM_PLACES,        /* where each block lies in the old image */
    DS_STREAM_CODE,          /* literal bytes in executable regions */
    DS_STREAM_DATA,          /* all other literal bytes */
    DS_STREAM_RESIDUAL_GAPS, /* copied bytes up to the next that is not as predicted */
    DS_STREAM_RESIDUALS,     /* new byte - predicted byte */
    DS_STREAM_REF_GAPS,      /* references up to the next that is not as predicted */
    DS_STREAM_REF_FIXES,     /* its target - predicted target */
} ds_stream;
_Static_assert(DS_STREAM_REF_FIXES + 1 == DS_STREAM_COUNT, "the public count of streams");
_Static_assert(DS_STREAM_CODE == DS_CONTEXT_STREAM, "the public number of the stream with a context");

static inline uint64_t ds_zigzag(uint64_t value) {
    return value << 1 ^ (uint64_t)((int64_t)value >> 63);
}
static inline uint64_t ds_unzigzag(uint64_t value) {
    return value >> 1 ^ (0 - (value & 1));
}

/* ---- writing: raw bytes, compressed by the caller of the core ---- */

typedef struct ds_stream_writer {
    DS_VEC(uint8_t) streams[DS_STREAM_COUNT];
    uint64_t runs[DS_STREAM_COUNT]; /* clean items since the last event, for streams of gaps */
    ds_arena *arena;
} ds_stream_writer;

ds_status ds_write_number(ds_stream_writer *writer, ds_stream stream, uint64_t value);
ds_status ds_write_bytes(ds_stream_writer *writer, ds_stream stream, const uint8_t *bytes, uint64_t size);

/* ---- reading: frames of one or more streams, raw or zstd (RFC 8878, magicless) ---- */

typedef struct ds_stream_reader ds_stream_reader;

/* Where the frames lie: `sizes` stored bytes each, one after the other in `body`; frame_of says which
 * frame holds each stream, raw_sizes how long the stream is. */
typedef struct ds_frames {
    ds_span body;
    unsigned count;
    uint64_t sizes[DS_STREAM_COUNT];
    bool raw[DS_STREAM_COUNT];
    unsigned frame_of[DS_STREAM_COUNT];
    uint64_t raw_sizes[DS_STREAM_COUNT];
} ds_frames;

/* Errors: DS_E_DELTA (damaged), DS_E_LIMIT (windows over the cap), DS_E_MEMORY. */
ds_status ds_stream_reader_open(ds_stream_reader **reader, const ds_frames *frames, ds_arena *arena);
void ds_stream_reader_close(ds_stream_reader *reader);

ds_status ds_read_number(ds_stream_reader *reader, ds_stream stream, uint64_t *value);
ds_status ds_read_bytes(ds_stream_reader *reader, ds_stream stream, uint8_t *bytes, uint64_t size);
/* Before the first byte of a frame is read: the bytes it was compressed behind. They must stay until it has ended.
 * DS_E_DELTA where the stream shares its frame; DS_E_LIMIT (windows over the cap). */
ds_status ds_stream_set_prefix(ds_stream_reader *reader, ds_stream stream, ds_span prefix);
/* The stream goes on in another frame: DS_E_DELTA unless all of this one was read. Its prefix may go. */
ds_status ds_stream_end_frame(ds_stream_reader *reader, ds_stream stream);
bool ds_stream_at_end(const ds_stream_reader *reader, ds_stream stream);
uint64_t ds_stream_left(const ds_stream_reader *reader, ds_stream stream);
/* DS_OK when every stream was read to its end and every frame ended with its last byte. */
ds_status ds_stream_reader_finish(ds_stream_reader *reader);

#endif
