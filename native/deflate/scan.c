/* Looking for streams; see scan.h.
 *
 * Sources: RFC 1950, RFC 1952; PNG (third edition), section 5; APPNOTE.TXT, section 4.3.7.
 */
#include "deflate/scan.h"

#define WINDOW_USUAL 15
#define GZIP_HEADER 10
#define GZIP_TEXT_MAX 1024 /* name and comment */
#define PNG_CHUNK 12       /* length, type, check */
#define ZIP_HEADER 30
#define ZLIB_HEADER 2

typedef struct scanner {
    ds_span file;
    uint64_t work; /* left */
    ds_arena *arena;
    ds_inflated trial;
    DS_VEC(uint8_t) gathered;
    ds_found *found;
    ds_offset end; /* of what was found last */
} scanner;

/* Whether a trial may still be made; what it looks at is taken off. */
static void spend(scanner *s, uint64_t work) {
    s->work -= work < s->work ? work : s->work;
}

/* ---- trials ---- */

static ds_status try_stream(scanner *s, ds_span data, bool *is_stream) {
    DS_TRY(ds_inflate(data, s->work, false, s->arena, &s->trial, is_stream));
    spend(s, s->trial.size + s->trial.content.count);
    *is_stream = *is_stream && s->trial.size >= DS_STREAM_SIZE_MIN;
    return DS_OK;
}

static ds_status add_piece(scanner *s, ds_offset offset, uint64_t size) {
    DS_TRY(DS_VEC_RESERVE(s->arena, &s->found->pieces, s->found->pieces.count + 1));
    s->found->pieces.items[s->found->pieces.count++] = (ds_piece){offset, size};
    s->end = offset + size;
    return DS_OK;
}

/* The stream tried last; its pieces from `first` on are already there. */
static ds_status add_stream(scanner *s, uint64_t first, unsigned window) {
    ds_found_stream stream = {.first = first,
                              .count = s->found->pieces.count - first,
                              .size = s->trial.size,
                              .content_size = s->trial.content.count,
                              .window = (uint8_t)window};
    DS_TRY(DS_VEC_RESERVE(s->arena, &s->found->streams, s->found->streams.count + 1));
    s->found->streams.items[s->found->streams.count++] = stream;
    return DS_OK;
}

static ds_status add_whole(scanner *s, ds_offset at, unsigned window) {
    uint64_t first = s->found->pieces.count;
    DS_TRY(add_piece(s, at, s->trial.size));
    return add_stream(s, first, window);
}

static ds_span rest_of(const scanner *s, ds_offset at) {
    return (ds_span){s->file.data + at, s->file.size - at};
}

/* ---- zlib ---- */

static uint32_t adler32(const uint8_t *bytes, uint64_t size) {
    uint32_t a = 1, b = 0;
    for (uint64_t at = 0; at < size;) {
        for (uint64_t stop = size - at < 5552 ? size : at + 5552; at < stop; at++)
            b += a += bytes[at];
        a %= 65521;
        b %= 65521;
    }
    return b << 16 | a;
}

/* The window of a valid header without dictionary; 0 for anything else. */
static unsigned zlib_window(const uint8_t *header) {
    unsigned window = (header[0] >> 4) + 8u;
    if ((header[0] & 15) != 8 || window > WINDOW_USUAL || (header[0] << 8 | header[1]) % 31 != 0 || header[1] & 0x20)
        return 0;
    return window < 9 ? 9 : window;
}

static bool is_checked(const scanner *s, ds_span data) {
    return ds_within(s->trial.size, 4, data.size) &&
           ds_load32_be(data.data + s->trial.size) == adler32(s->trial.content.items, s->trial.content.count);
}

static ds_status try_zlib(scanner *s, ds_offset at) {
    bool is_stream;
    if (s->file.size - at < ZLIB_HEADER || zlib_window(s->file.data + at) != WINDOW_USUAL)
        return DS_OK;
    ds_span data = rest_of(s, at + ZLIB_HEADER);
    DS_TRY(try_stream(s, data, &is_stream));
    return is_stream && is_checked(s, data) ? add_whole(s, at + ZLIB_HEADER, WINDOW_USUAL) : DS_OK;
}

/* ---- gzip ---- */

enum { GZIP_CHECK = 2, GZIP_EXTRA = 4, GZIP_NAME = 8, GZIP_COMMENT = 16, GZIP_KNOWN = 31 };

/* The end of a string with its zero; 0 where it does not end in time. */
static uint64_t text_end(ds_span data, uint64_t at) {
    for (uint64_t i = at; i < data.size && i - at < GZIP_TEXT_MAX; i++)
        if (data.data[i] == 0)
            return i + 1;
    return 0;
}

static uint64_t gzip_header(ds_span data) {
    uint64_t at = GZIP_HEADER;
    if (data.size < GZIP_HEADER || data.data[1] != 0x8b || data.data[2] != 8 || data.data[3] & ~GZIP_KNOWN)
        return 0;
    unsigned flags = data.data[3];
    if (flags & GZIP_EXTRA) {
        if (data.size < at + 2)
            return 0;
        at += 2 + (uint64_t)ds_load16(data.data + at);
    }
    for (unsigned flag = GZIP_NAME; flag <= GZIP_COMMENT; flag *= 2)
        if (flags & flag && (at = text_end(data, at)) == 0)
            return 0;
    at += flags & GZIP_CHECK ? 2 : 0;
    return at < data.size ? at : 0;
}

static ds_status try_gzip(scanner *s, ds_offset at) {
    bool is_stream;
    uint64_t header = gzip_header(rest_of(s, at));
    if (header == 0)
        return DS_OK;
    ds_span data = rest_of(s, at + header);
    DS_TRY(try_stream(s, data, &is_stream));
    if (!is_stream || !ds_within(s->trial.size, 8, data.size) ||
        ds_load32(data.data + s->trial.size + 4) != (uint32_t)s->trial.content.count)
        return DS_OK;
    return add_whole(s, at + header, WINDOW_USUAL);
}

/* ---- ZIP ---- */

static ds_status try_zip(scanner *s, ds_offset at) {
    ds_span header = rest_of(s, at);
    bool is_stream;
    if (header.size < ZIP_HEADER || ds_load32(header.data) != 0x04034b50 || ds_load16(header.data + 8) != 8)
        return DS_OK;
    uint64_t start = ZIP_HEADER + (uint64_t)ds_load16(header.data + 26) + ds_load16(header.data + 28);
    uint32_t size = ds_load32(header.data + 18);
    if (start >= header.size)
        return DS_OK;
    DS_TRY(try_stream(s, rest_of(s, at + start), &is_stream));
    /* The size may stand behind the stream; then the header has 0. */
    if (!is_stream || (size != 0 && size != s->trial.size))
        return DS_OK;
    return add_whole(s, at + start, WINDOW_USUAL);
}

/* ---- PNG ---- */

static bool chunk_is(const uint8_t *chunk, const char *type) {
    return memcmp(chunk + 4, type, 4) == 0;
}

/* Collects the IDAT chunks from the first one on as pieces. */
static ds_status collect_chunks(scanner *s, ds_offset at) {
    bool inside = false;
    while (ds_within(at, PNG_CHUNK, s->file.size) && s->work > 0) {
        const uint8_t *chunk = s->file.data + at;
        uint64_t size = ds_load32_be(chunk);
        bool is_data = chunk_is(chunk, "IDAT");
        spend(s, PNG_CHUNK);
        if ((inside && !is_data) || chunk_is(chunk, "IEND") || !ds_within(at + PNG_CHUNK, size, s->file.size))
            return DS_OK;
        if (is_data && size > 0)
            DS_TRY(add_piece(s, at + 8, size));
        inside = is_data;
        at += PNG_CHUNK + size;
    }
    return DS_OK;
}

/* Takes header and check off the pieces from `first` on. */
static void trim_pieces(scanner *s, uint64_t first) {
    ds_found *found = s->found;
    uint64_t left = s->trial.size, i = first;
    found->pieces.items[first].offset += ZLIB_HEADER;
    found->pieces.items[first].size -= ZLIB_HEADER;
    for (; left > 0; i++) {
        ds_piece *piece = &found->pieces.items[i];
        piece->size = piece->size < left ? piece->size : left;
        left -= piece->size;
    }
    found->pieces.count = i;
    s->end = found->pieces.items[i - 1].offset + found->pieces.items[i - 1].size;
}

static ds_status try_png(scanner *s, ds_offset at) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uint64_t first = s->found->pieces.count, size = 0;
    ds_offset end = s->end;
    bool is_stream = false;
    if (!ds_within(at, sizeof signature, s->file.size) || memcmp(s->file.data + at, signature, sizeof signature) != 0)
        return DS_OK;
    DS_TRY(collect_chunks(s, at + sizeof signature));
    uint64_t count = s->found->pieces.count - first;
    for (uint64_t i = 0; i < count; i++)
        size += s->found->pieces.items[first + i].size;
    if (count > 0 && count <= DS_STREAM_PIECES_MAX && s->found->pieces.items[first].size > ZLIB_HEADER &&
        size <= s->work) {
        spend(s, size);
        DS_TRY(DS_VEC_RESERVE(s->arena, &s->gathered, size));
        ds_pieces_gather(s->file, &s->found->pieces.items[first], count, s->gathered.items);
        ds_span data = {s->gathered.items + ZLIB_HEADER, size - ZLIB_HEADER};
        unsigned window = zlib_window(s->gathered.items);
        if (window != 0)
            DS_TRY(try_stream(s, data, &is_stream));
        if (is_stream && is_checked(s, data)) {
            trim_pieces(s, first);
            return add_stream(s, first, window);
        }
    }
    s->found->pieces.count = first;
    s->end = end;
    return DS_OK;
}

/* ---- all ---- */

static ds_status try_at(scanner *s, ds_offset at) {
    switch (s->file.data[at]) {
    case 0x1f:
        return try_gzip(s, at);
    case 'P':
        return try_zip(s, at);
    case 0x89:
        return try_png(s, at);
    default:
        return try_zlib(s, at);
    }
}

ds_status ds_scan(ds_span file, ds_arena *arena, ds_found *found) {
    static const uint8_t may_begin[256] = {[0x1f] = 1, ['P'] = 1, [0x89] = 1, [0x78] = 1};
    scanner s = {.file = file, .arena = arena, .found = found};
    ds_status status = DS_OK;
    s.work = file.size * DS_SCAN_WORK + DS_SCAN_WORK_EXTRA;
    found->streams.count = found->pieces.count = 0;
    for (ds_offset at = 0; status == DS_OK && at < file.size && s.work > 0; at++) {
        if (!may_begin[file.data[at]])
            continue;
        status = try_at(&s, at);
        at = s.end > at ? s.end - 1 : at;
    }
    ds_inflated_free(&s.trial, arena);
    DS_VEC_FREE(arena, &s.gathered);
    return status;
}

void ds_found_free(ds_found *found, ds_arena *arena) {
    DS_VEC_FREE(arena, &found->streams);
    DS_VEC_FREE(arena, &found->pieces);
}

void ds_pieces_gather(ds_span file, const ds_piece *pieces, uint64_t count, uint8_t *out) {
    for (uint64_t i = 0; i < count; i++) {
        memcpy(out, file.data + pieces[i].offset, pieces[i].size);
        out += pieces[i].size;
    }
}
