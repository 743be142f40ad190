/* Where streams lie in a file: zlib (RFC 1950), gzip (RFC 1952), the IDAT chunks of PNG, entries of ZIP archives.
 *
 * Invariant: work is linear in the file, whatever it holds: DS_SCAN_WORK bytes are looked at or unpacked for each of
 * its bytes; then the search ends.
 */
#ifndef DS_DEFLATE_SCAN_H
#define DS_DEFLATE_SCAN_H

#include "deflate/deflate.h"

#define DS_SCAN_WORK 16
#define DS_SCAN_WORK_EXTRA ((uint64_t)16 << 20)
/* Smaller streams are left alone. */
#define DS_STREAM_SIZE_MIN 64
#define DS_STREAM_PIECES_MAX 4096

/* A part of the file that belongs to a stream; PNG cuts streams in several. */
typedef struct ds_piece {
    ds_offset offset;
    uint64_t size;
} ds_piece;

/* Deflate's own bytes, without header and checks. */
typedef struct ds_found_stream {
    uint64_t first, count; /* of its pieces, ascending */
    uint64_t size;         /* all of them */
    uint64_t content_size;
    uint8_t window; /* as the header says */
} ds_found_stream;

/* Streams in the order of the file, and all their pieces. */
typedef struct ds_found {
    DS_VEC(ds_found_stream) streams;
    DS_VEC(ds_piece) pieces;
} ds_found;

ds_status ds_scan(ds_span file, ds_arena *arena, ds_found *found);
void ds_found_free(ds_found *found, ds_arena *arena);

/* The bytes of pieces that lie in the file, one after the other. */
void ds_pieces_gather(ds_span file, const ds_piece *pieces, uint64_t count, uint8_t *out);

#endif
