/* Streams listed as derivations: what is worth it, what is not, and that it comes back. Files are made with our own
 * encoder: an empty recipe gives what zlib would write. */
#include <stdlib.h>

#include "predict/packed.h"
#include "tests/check.h"

#define FILE_MAX ((uint64_t)1 << 20)
#define CONTENT 20000

static ds_arena *arena;

typedef struct file {
    uint8_t *bytes;
    uint64_t size;
} file;

static file new_file(void) {
    return (file){.bytes = calloc(1, FILE_MAX)};
}

static ds_span span_of(const file *f) {
    return (ds_span){f->bytes, f->size};
}

static void put(file *f, const void *bytes, uint64_t size) {
    CHECK(size <= FILE_MAX - f->size);
    memcpy(f->bytes + f->size, bytes, size);
    f->size += size;
}

static void put_32_be(file *f, uint32_t value) {
    value = __builtin_bswap32(value);
    put(f, &value, 4);
}

/* Words of few letters; the same for the same seed. */
static void fill(uint8_t *content, uint64_t size, uint32_t seed) {
    for (uint64_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        content[i] = (uint8_t)("etaoin shrdlu\n.,"[seed >> 28]);
    }
}

static uint32_t adler32(const uint8_t *bytes, uint64_t size) {
    uint32_t a = 1, b = 0;
    for (uint64_t i = 0; i < size; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

/* A stream as zlib makes it; returns its size. With more room than it needs, a maker complains at the end only. */
static uint64_t pack(const uint8_t *content, uint64_t size, ds_deflate_style style, uint8_t *out) {
    uint64_t room = size + 1000;
    ds_inflated inflated = {0};
    bool is_stream;
    CHECK(ds_deflate_make((ds_span){content, size}, (ds_span){NULL, 0}, &style, arena, out, room) == DS_E_DELTA);
    CHECK(ds_inflate((ds_span){out, room}, size, false, arena, &inflated, &is_stream) == DS_OK && is_stream);
    uint64_t packed = inflated.size;
    ds_inflated_free(&inflated, arena);
    return packed;
}

static const ds_deflate_style usual = {.level = 6, .memory = 8, .window = 15};

static void put_zlib(file *f, const uint8_t *content, uint64_t size, ds_deflate_style style) {
    static uint8_t stream[FILE_MAX];
    put(f, "\x78\x9c", 2);
    put(f, stream, pack(content, size, style, stream));
    put_32_be(f, adler32(content, size));
}

/* In chunks of `piece` bytes. */
static void put_png(file *f, const uint8_t *content, uint64_t size, uint64_t piece) {
    file stream = new_file();
    put_zlib(&stream, content, size, usual);
    put(f, "\x89PNG\r\n\x1a\n", 8);
    for (uint64_t at = 0; at < stream.size; at += piece) {
        uint64_t part = stream.size - at < piece ? stream.size - at : piece;
        put_32_be(f, (uint32_t)part);
        put(f, "IDAT", 4);
        put(f, stream.bytes + at, part);
        put_32_be(f, 0); /* the check is not looked at */
    }
    put(f, "\0\0\0\0IEND\0\0\0\0", 12);
    free(stream.bytes);
}

/* The new streams come back from the new tail, and the old tail is what the old side unpacks to. */
static void check_both(const file *old_file, const file *new_file, ds_packed_both *both) {
    ds_packed_side *old_side = &both->old_side, *new_side = &both->new_side;
    uint8_t *made, *tail = malloc(old_side->tail.count + 1);
    uint64_t size = old_side->tail.count, in_made;
    CHECK(ds_tails_fit(size, new_side->tail.count, new_file->size));
    CHECK(ds_packed_make(new_side, arena, &made) == DS_OK);
    uint64_t covered = 0;
    for (ds_offset at = 0, stop; at < new_file->size; at = stop) {
        bool packed;
        stop = ds_packed_run(new_side, at, new_file->size, &packed, &in_made);
        CHECK(stop > at);
        CHECK(!packed || memcmp(new_file->bytes + at, made + in_made, stop - at) == 0);
        covered += packed ? stop - at : 0;
    }
    uint64_t all = 0;
    for (uint64_t i = 0; i < new_side->streams.count; i++)
        all += new_side->streams.items[i].size;
    CHECK(covered == all);
    if (size > 0)
        memcpy(tail, old_side->tail.items, size);
    CHECK(ds_packed_unpack(old_side, span_of(old_file), size, arena) == DS_OK);
    CHECK(old_side->tail.count == size && (size == 0 || memcmp(tail, old_side->tail.items, size) == 0));
    CHECK(size == 0 || ds_packed_unpack(old_side, span_of(old_file), size - 1, arena) == DS_E_LIMIT);
    free(tail);
    ds_arena_free(arena, made);
}

static void find_both(const file *old_file, const file *new_file, uint64_t listed, uint64_t partners) {
    ds_packed_both both;
    CHECK(ds_packed_find(span_of(old_file), span_of(new_file), 2, arena, &both) == DS_OK);
    CHECK(both.new_side.streams.count == listed && both.old_side.streams.count == partners);
    check_both(old_file, new_file, &both);
    ds_packed_free(&both, arena);
}

/* ---- what is listed ---- */

static void test_changed_streams_are_listed(void) {
    static uint8_t a[CONTENT], b[CONTENT], c[CONTENT], d[CONTENT];
    file old_file = new_file(), next = new_file();
    fill(a, CONTENT, 1);
    fill(b, CONTENT, 2);
    fill(c, CONTENT, 3);
    fill(d, CONTENT, 4);
    put(&old_file, "front", 5);
    put_zlib(&old_file, a, CONTENT, usual);
    put_zlib(&old_file, b, CONTENT, usual);
    put_zlib(&old_file, c, CONTENT, usual);
    find_both(&old_file, &old_file, 0, 0); /* all stand in both */
    b[500] ^= 1;
    put(&next, "another front", 13);
    put_zlib(&next, c, CONTENT, usual); /* moved */
    put_zlib(&next, d, CONTENT, usual); /* resembles none */
    find_both(&old_file, &next, 0, 0);
    put_zlib(&next, b, CONTENT, usual);
    find_both(&old_file, &next, 1, 1);
    a[CONTENT - 1] ^= 1;
    put_zlib(&next, a, CONTENT, (ds_deflate_style){.level = 2, .memory = 1, .window = 15});
    put_zlib(&next, b, CONTENT / 2, usual); /* a second one of the same partner */
    find_both(&old_file, &next, 3, 2);
    find_both(&next, &old_file, 2, 2);
    file empty = new_file();
    find_both(&empty, &next, 0, 0);
    find_both(&next, &empty, 0, 0);
    free(empty.bytes);
    free(old_file.bytes);
    free(next.bytes);
}

static void test_pieces(void) {
    static uint8_t a[CONTENT];
    file old_file = new_file(), next = new_file();
    fill(a, CONTENT, 1);
    put_png(&old_file, a, CONTENT, 1000);
    a[CONTENT / 2] ^= 1;
    put_png(&next, a, CONTENT, 1100);
    ds_packed_both both;
    CHECK(ds_packed_find(span_of(&old_file), span_of(&next), 1, arena, &both) == DS_OK);
    CHECK(both.new_side.streams.count == 1 && both.new_side.pieces.count > 5);
    CHECK(both.old_side.streams.count == 1 && both.old_side.pieces.count > both.new_side.pieces.count);
    check_both(&old_file, &next, &both);
    ds_packed_free(&both, arena);
    free(old_file.bytes);
    free(next.bytes);
}

/* A window that the header does not tell: the recipe is long, so that of the old stream stands in its tail. */
static void test_recipes_stand_in_both_tails(void) {
    static uint8_t a[CONTENT];
    ds_deflate_style narrow = {.level = 6, .memory = 8, .window = 12};
    file old_file = new_file(), next = new_file();
    fill(a, CONTENT, 1);
    memmove(a + CONTENT / 2, a, CONTENT / 2);
    put_zlib(&old_file, a, CONTENT, narrow);
    a[700] ^= 1;
    put_zlib(&next, a, CONTENT, narrow);
    ds_packed_both both;
    CHECK(ds_packed_find(span_of(&old_file), span_of(&next), 1, arena, &both) == DS_OK);
    CHECK(both.new_side.streams.count == 1 && both.new_side.streams.items[0].recipe_size > 100);
    CHECK(both.old_side.streams.count == 1 && both.old_side.streams.items[0].has_recipe);
    CHECK(both.old_side.tail.count > CONTENT + 100);
    check_both(&old_file, &next, &both);
    ds_packed_free(&both, arena);
    free(old_file.bytes);
    free(next.bytes);
}

/* ---- blocks ---- */

/* Blocks over the ends of both images and over two pieces, cut as often as must be. */
static void test_blocks_are_clipped(void) {
    ds_piece pieces[] = {{10, 5}, {40, 10}};
    ds_packed_side side = {.pieces = {pieces, 2, 2}};
    ds_block whole[] = {{0, 3, 100}, {100, 60, 20}, {130, 0, 60}};
    static const ds_block expected[] = {{0, 3, 10},   {15, 18, 25}, {50, 53, 11},  {61, 64, 19},
                                        {80, 83, 20}, {100, 60, 4}, {104, 64, 16}, {130, 0, 60}};
    ds_blocks blocks = {0};
    CHECK(ds_packed_settle(&side, arena) == DS_OK && DS_VEC_RESERVE(arena, &blocks.list, 3) == DS_OK);
    memcpy(blocks.list.items, whole, sizeof whole);
    blocks.list.count = 3;
    CHECK(ds_packed_clip(&side, 64, 80, &blocks, arena) == DS_OK);
    CHECK(ds_packed_clip(&side, 64, 80, &blocks, arena) == DS_OK);
    CHECK(blocks.list.count == DS_COUNT(expected));
    for (uint64_t i = 0; i < blocks.list.count && i < DS_COUNT(expected); i++) {
        const ds_block *a = &blocks.list.items[i], *b = &expected[i];
        CHECK(a->new_offset == b->new_offset && a->old_offset == b->old_offset && a->length == b->length);
    }
    DS_VEC_FREE(arena, &blocks.list);
    DS_VEC_FREE(arena, &side.made);
}

/* ---- limits ---- */

static void test_sizes_of_tails(void) {
    CHECK(ds_tails_fit(0, 0, 0));
    CHECK(ds_tails_fit(0, DS_TAIL_EXTRA, 0) && !ds_tails_fit(0, DS_TAIL_EXTRA + 1, 0));
    CHECK(ds_tails_fit(0, DS_TAIL_EXTRA + 8, 1) && !ds_tails_fit(0, DS_TAIL_EXTRA + 9, 1));
    CHECK(ds_tails_fit(DS_TAILS_MAX, 0, 0) && !ds_tails_fit(DS_TAILS_MAX, 1, 1 << 20));
    CHECK(!ds_tails_fit(UINT64_MAX, 2, 1 << 20) && !ds_tails_fit(2, UINT64_MAX, 1 << 20));
}

static void test_what_is_no_stream(void) {
    static uint8_t a[CONTENT];
    file f = new_file();
    fill(a, CONTENT, 1);
    put_zlib(&f, a, CONTENT, usual);
    ds_packed_side side = {0};
    CHECK(DS_VEC_RESERVE(arena, &side.streams, 1) == DS_OK && DS_VEC_RESERVE(arena, &side.pieces, 1) == DS_OK);
    uint64_t size = f.size - 6;
    side.streams.count = side.pieces.count = 1;
    for (int change = -1; change <= 1; change++) {
        side.pieces.items[0] = (ds_piece){2, size + (uint64_t)change};
        side.streams.items[0] = (ds_packed){.count = 1, .size = size + (uint64_t)change};
        ds_status status = ds_packed_unpack(&side, span_of(&f), DS_TAILS_MAX, arena);
        CHECK(status == (change == 0 ? DS_OK : DS_E_DELTA));
    }
    DS_VEC_FREE(arena, &side.streams);
    DS_VEC_FREE(arena, &side.pieces);
    DS_VEC_FREE(arena, &side.tail);
    free(f.bytes);
}

int main(void) {
    arena = ds_arena_open(UINT64_C(1) << 28);
    test_changed_streams_are_listed();
    test_pieces();
    test_recipes_stand_in_both_tails();
    test_blocks_are_clipped();
    test_sizes_of_tails();
    test_what_is_no_stream();
    ds_arena_close(arena);
    return checks_done();
}
