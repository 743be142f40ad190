/* The list of compressed streams in a delta: what is written comes back, and no numbers lead outside. */
#include "delta/packed_layout.h"
#include "tests/check.h"

#define TWO63 (UINT64_C(1) << 63)
#define NUMBERS_MAX 16

static const uint64_t edges[] = {0,    1,    2,     63,       64,        1023,  1024,           1025,
                                 8191, 8192, 65536, 1u << 26, TWO63 - 1, TWO63, UINT64_MAX - 1, UINT64_MAX};

static const uint8_t file[1000];

/* Reads back what a writer wrote, all in one raw frame. */
static ds_status read_numbers(const uint64_t *words, unsigned count, uint64_t new_size, ds_packed_both *both) {
    ds_arena *arena = ds_arena_open((uint64_t)1 << 24); /* nothing near the sizes in the words */
    ds_stream_writer writer = {.arena = arena};
    for (unsigned i = 0; i < count; i++)
        CHECK(ds_write_number(&writer, DS_STREAM_LAYOUT, words[i]) == DS_OK);
    uint64_t size = writer.streams[DS_STREAM_LAYOUT].count;
    ds_frames frames = {.body = {writer.streams[DS_STREAM_LAYOUT].items, size}, .count = 1};
    frames.raw[0] = true;
    frames.sizes[0] = frames.raw_sizes[DS_STREAM_LAYOUT] = size;
    ds_stream_reader *reader;
    CHECK(ds_stream_reader_open(&reader, &frames, arena) == DS_OK);
    *both = (ds_packed_both){0};
    ds_status status =
        ds_code_packed(&(ds_coder){.reader = reader}, (ds_span){file, sizeof file}, new_size, arena, both);
    CHECK(status == DS_OK || status == DS_E_DELTA || status == DS_E_LIMIT);
    if (status == DS_OK)
        for (uint64_t i = 0, end = 0; i < both->new_side.pieces.count; i++) {
            const ds_piece *piece = &both->new_side.pieces.items[i];
            CHECK(piece->offset >= end && piece->size > 0 && ds_within(piece->offset, piece->size, new_size));
            end = piece->offset + piece->size;
        }
    ds_stream_reader_close(reader);
    ds_arena_close(arena);
    return status;
}

/* No old stream, a new one of two pieces. */
static const uint64_t good[] = {0, 1, 1, 10, 4, 3, 7, 554, 100, 20};

static void test_good_numbers(void) {
    ds_packed_both both;
    CHECK(read_numbers(good, DS_COUNT(good), 26, &both) == DS_OK);
    CHECK(both.new_side.streams.count == 1 && both.new_side.pieces.count == 2);
    CHECK(read_numbers(good, DS_COUNT(good), 25, &both) == DS_E_DELTA); /* 10 + 5 + 3 + 8 bytes */
    CHECK(read_numbers(good, DS_COUNT(good) - 1, 26, &both) == DS_E_DELTA);
}

static void test_bad_numbers(void) {
    static const struct {
        unsigned at;
        uint64_t value;
        ds_status status;
    } changes[] = {
        {1, 0, DS_E_DELTA},        {1, 1025, DS_E_LIMIT},  {2, 8192, DS_E_LIMIT},       {2, UINT64_MAX, DS_E_LIMIT},
        {3, 11, DS_E_DELTA},       {4, 5, DS_E_DELTA},     {6, UINT64_MAX, DS_E_DELTA}, {7, DS_STYLES, DS_E_DELTA},
        {7, DS_STYLES - 1, DS_OK}, {8, 65600, DS_OK},      {8, 65724, DS_OK},           {8, 65725, DS_E_LIMIT},
        {9, 65644, DS_OK},         {9, 65645, DS_E_LIMIT}, {8, UINT64_MAX, DS_E_LIMIT}, {9, UINT64_MAX, DS_E_LIMIT},
        {0, 1025, DS_E_LIMIT},
    };
    for (size_t i = 0; i < DS_COUNT(changes); i++) {
        uint64_t words[NUMBERS_MAX];
        ds_packed_both both;
        memcpy(words, good, sizeof good);
        words[changes[i].at] = changes[i].value;
        CHECK(read_numbers(words, DS_COUNT(good), 26, &both) == changes[i].status);
    }
    for (unsigned at = 0; at < DS_COUNT(good); at++)
        for (size_t a = 0; a < DS_COUNT(edges); a++)
            for (size_t b = 0; b < DS_COUNT(edges); b++) {
                uint64_t words[NUMBERS_MAX];
                ds_packed_both both;
                memcpy(words, good, sizeof good);
                words[at] = edges[a];
                words[(at + 1) % DS_COUNT(good)] = edges[b];
                read_numbers(words, DS_COUNT(good), TWO63, &both); /* checked inside */
            }
}

/* Old streams: the file is all zeros, an empty stored block at every byte, but for its length. */
static void test_old_streams(void) {
    static const uint64_t none[] = {1, 0, 0, 3, 0, 1, 0, 10, 4, 554, 100, 20};
    static const uint64_t outside[] = {1, 0, 990, 10, 0, 1, 0, 10, 4, 554, 100, 20};
    static const uint64_t style[] = {1, 0, 0, 3, DS_STYLES + 1, 1, 0, 10, 4, 554, 100, 20};
    ds_packed_both both;
    CHECK(read_numbers(none, DS_COUNT(none), 26, &both) == DS_E_DELTA);
    CHECK(read_numbers(outside, DS_COUNT(outside), 26, &both) == DS_E_DELTA);
    CHECK(read_numbers(style, DS_COUNT(style), 26, &both) == DS_E_DELTA);
}

/* Digests of a derivation beside, between and over pieces. */
static void test_digests_lie_apart(void) {
    ds_arena *arena = ds_arena_open((uint64_t)1 << 20);
    ds_piece pieces[] = {{1000, 50}, {2000, 10}};
    ds_packed_side side = {.pieces = {pieces, 2, 2}};
    CHECK(ds_packed_settle(&side, arena) == DS_OK);
    static const struct {
        ds_offset at;
        bool apart;
    } places[] = {{968, true}, {969, false}, {1049, false}, {1050, true}, {1968, true}, {1969, false}, {2010, true}};
    for (size_t i = 0; i < DS_COUNT(places); i++) {
        ds_derivation digest = {.digests = places[i].at, .limit = 100, .page_bits = 12};
        ds_derivations one = {.list = {&digest, 1, 1}};
        CHECK(ds_packed_is_apart(&side, &one) == places[i].apart);
    }
    ds_arena_close(arena);
}

int main(void) {
    test_good_numbers();
    test_bad_numbers();
    test_old_streams();
    test_digests_lie_apart();
    return checks_done();
}
