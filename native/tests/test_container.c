/* Container, streams, layout and blocks as words: what is written comes back, sizes near every edge of 64 bits
 * are computed right, and nothing is allocated from them. */
#include "delta/container.h"
#include "delta/layout.h"
#include "tests/check.h"

#define TWO32 (UINT64_C(1) << 32)
#define TWO63 (UINT64_C(1) << 63)
#define TWO60 ((uint64_t)1 << 60)

static const uint64_t edges[] = {0,         1,         127,   128,       TWO32 - 1,      TWO32,
                                 TWO32 + 1, TWO63 - 1, TWO63, TWO63 + 1, UINT64_MAX - 1, UINT64_MAX};

/* ---- streams ---- */

/* Reads back what a writer wrote, every stream raw in a frame of its own. */
static ds_stream_reader *reopen(const ds_stream_writer *writer, ds_arena *arena) {
    ds_frames frames = {.count = DS_STREAM_COUNT};
    uint64_t size = 0;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++)
        size += writer->streams[s].count;
    uint8_t *body = ds_arena_alloc(arena, size + 1);
    CHECK(body != NULL);
    uint64_t at = 0;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        uint64_t count = writer->streams[s].count;
        if (count > 0)
            memcpy(body + at, writer->streams[s].items, count);
        frames.frame_of[s] = s;
        frames.raw[s] = true;
        frames.sizes[s] = frames.raw_sizes[s] = count;
        at += count;
    }
    frames.body = (ds_span){body, size};
    ds_stream_reader *reader = NULL;
    CHECK(ds_stream_reader_open(&reader, &frames, arena) == DS_OK);
    return reader;
}

static void test_numbers(ds_arena *arena) {
    ds_stream_writer writer = {.arena = arena};
    for (size_t i = 0; i < DS_COUNT(edges); i++) {
        CHECK(ds_write_number(&writer, DS_STREAM_GAPS, edges[i]) == DS_OK);
        CHECK(ds_unzigzag(ds_zigzag(edges[i])) == edges[i]);
    }
    CHECK(ds_zigzag(UINT64_MAX) == 1 && ds_zigzag(1) == 2 && ds_zigzag(TWO63) == UINT64_MAX);
    ds_stream_reader *reader = reopen(&writer, arena);
    uint64_t value;
    for (size_t i = 0; i < DS_COUNT(edges); i++)
        CHECK(ds_read_number(reader, DS_STREAM_GAPS, &value) == DS_OK && value == edges[i]);
    CHECK(ds_stream_at_end(reader, DS_STREAM_GAPS) && ds_stream_reader_finish(reader) == DS_OK);
    CHECK(ds_read_number(reader, DS_STREAM_GAPS, &value) == DS_E_DELTA);
    ds_stream_reader_close(reader);
}

static void test_bad_numbers(ds_arena *arena) {
    static const struct {
        uint8_t bytes[12], size;
    } bad[] = {
        {{0x80}, 1},
        {{0x80, 0x00}, 2},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10},
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, 11},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 10},
    };
    for (size_t i = 0; i < DS_COUNT(bad); i++) {
        ds_stream_writer writer = {.arena = arena};
        uint64_t value;
        CHECK(ds_write_bytes(&writer, DS_STREAM_PLACES, bad[i].bytes, bad[i].size) == DS_OK);
        ds_stream_reader *reader = reopen(&writer, arena);
        CHECK(ds_read_number(reader, DS_STREAM_PLACES, &value) == DS_E_DELTA);
        ds_stream_reader_close(reader);
    }
}

static void test_what_is_left_is_damage(ds_arena *arena) {
    ds_stream_writer writer = {.arena = arena};
    CHECK(ds_write_bytes(&writer, DS_STREAM_DATA, (const uint8_t *)"two", 3) == DS_OK);
    ds_stream_reader *reader = reopen(&writer, arena);
    uint8_t bytes[4];
    CHECK(ds_read_bytes(reader, DS_STREAM_DATA, bytes, 2) == DS_OK && memcmp(bytes, "tw", 2) == 0);
    CHECK(ds_stream_left(reader, DS_STREAM_DATA) == 1 && ds_stream_reader_finish(reader) == DS_E_DELTA);
    CHECK(ds_read_bytes(reader, DS_STREAM_DATA, bytes, 2) == DS_E_DELTA);
    CHECK(ds_stream_set_prefix(reader, DS_STREAM_DATA, (ds_span){bytes, 2}) == DS_E_DELTA);
    ds_stream_reader_close(reader);
}

/* ---- header ---- */

static bool growth_fits(const ds_delta_info *info) {
    uint64_t more = info->new_size - info->old_size, less = info->old_size - info->new_size;
    return more < TWO63 / 2 || less <= TWO63 / 2;
}

static void test_header(void) {
    for (size_t i = 0; i < DS_COUNT(edges); i++)
        for (unsigned where = 0; where < 4; where++) {
            ds_delta_info info = {.zstd_version = {1, 2, 3}, .old_size = 5, .new_size = TWO32 * 4, .frame_count = 1},
                          read;
            uint8_t bytes[DS_HEADER_MAX + 1];
            bytes[DS_HEADER_MAX] = 0xa5;
            *(where == 0   ? &info.old_size
              : where == 1 ? &info.new_size
              : where == 2 ? &info.streams[3].raw_size
                           : &info.frame_sizes[0]) = edges[i];
            size_t size = ds_write_header(&info, bytes);
            CHECK(bytes[DS_HEADER_MAX] == 0xa5);
            bool fits = where == 3 ? edges[i] < TWO63 / 2 : edges[i] < TWO63 && growth_fits(&info);
            CHECK((size == 0) == !fits);
            if (size == 0)
                continue;
            /* The frame is not there: any delta of this size is damaged, unless the frame is empty. */
            ds_status status = ds_inspect(bytes, size, &read);
            bool over =
                where == 1 ? edges[i] > UINT64_MAX / 16 - 65536 : where == 2 && edges[i] > 16 * info.new_size + 65536;
            bool absent = where == 3 && edges[i] != 0;
            CHECK(status == (absent ? DS_E_DELTA : over ? DS_E_LIMIT : DS_OK));
            if (status == DS_OK)
                CHECK(read.old_size == info.old_size && read.new_size == info.new_size &&
                      read.streams[3].raw_size == info.streams[3].raw_size && read.total_size == size);
        }
}

static void test_the_largest_header_does_not_fit(void) {
    ds_delta_info info = {
        .old_size = TWO63 - 1, .new_size = TWO63 - 1, .has_digests = true, .frame_count = DS_STREAM_COUNT};
    uint8_t bytes[DS_HEADER_MAX + 64];
    memset(bytes, 0xa5, sizeof bytes);
    info.part_count = DS_PARTS_MAX;
    for (unsigned i = 0; i < DS_PARTS_MAX; i++)
        info.part_sizes[i] = TWO63 - 1;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        info.streams[s].frame = s;
        info.streams[s].raw_size = TWO63 - 1;
        info.frame_sizes[s] = (UINT64_C(1) << 59) - 1;
    }
    CHECK(ds_write_header(&info, bytes) == 0);
    for (size_t i = DS_HEADER_MAX; i < sizeof bytes; i++)
        CHECK(bytes[i] == 0xa5);
    info.frame_count = DS_STREAM_COUNT + 1;
    CHECK(ds_write_header(&info, bytes) == 0);
}

/* The total length counts itself: where it needs one more byte because of it, too. */
static void test_totals(void) {
    for (uint64_t frame = 60; frame < 400; frame++) {
        ds_delta_info info = {.new_size = 1000, .frame_count = 1, .frame_raw = {true}, .frame_sizes = {frame}}, read;
        uint8_t bytes[DS_HEADER_MAX + 400] = {0};
        size_t size = ds_write_header(&info, bytes);
        CHECK(size > 0 && info.total_size == size + frame && info.header_size == size);
        CHECK(ds_inspect(bytes, size + frame, &read) == DS_OK && read.frame_sizes[0] == frame && read.frame_raw[0]);
        CHECK(ds_inspect(bytes, size + frame - 1, &read) == DS_E_DELTA);
        CHECK(ds_inspect(bytes, size + frame + 1, &read) == DS_E_DELTA);
    }
}

/* ---- blocks ---- */

static bool same_blocks(const ds_blocks *a, const ds_blocks *b) {
    if (a->list.count != b->list.count)
        return false;
    for (uint64_t i = 0; i < a->list.count; i++)
        if (a->list.items[i].new_offset != b->list.items[i].new_offset ||
            a->list.items[i].length != b->list.items[i].length ||
            a->list.items[i].old_offset != b->list.items[i].old_offset)
            return false;
    return true;
}

static ds_status read_blocks(ds_stream_reader *reader, uint64_t old_size, uint64_t new_size, ds_arena *arena,
                             ds_blocks *blocks) {
    ds_image old_image = {.file = {NULL, old_size}};
    return ds_code_blocks(&(ds_coder){.reader = reader}, &old_image, &(ds_paddings){0}, NULL, false, new_size, arena,
                          blocks);
}

/* Blocks far apart, in images of nearly 2^60 bytes. */
static void test_blocks_beyond_4_gib(ds_arena *arena) {
    ds_block items[] = {
        {0, TWO32 - 1, 1},
        {TWO32 - 1, TWO60 - 2, 1},
        {TWO32, 0, TWO32},
        {3 * TWO32, TWO32 + 7, 5 * TWO32},
        {TWO60 - TWO32, 6 * TWO32 + 7, TWO32 - 1},
        {TWO60 - 1, 0, 1},
    };
    ds_blocks blocks = {.list = {items, DS_COUNT(items), DS_COUNT(items)}}, read = {0};
    ds_stream_writer writer = {.arena = arena};
    ds_coder to = {.writing = true, .writer = &writer};
    ds_blocks pieces = {0};
    CHECK(ds_code_blocks(&to, &(ds_image){.file = {NULL, TWO60}}, &(ds_paddings){0}, &blocks, false, TWO60, arena,
                         &pieces) == DS_OK);
    CHECK(same_blocks(&blocks, &pieces));
    ds_stream_reader *reader = reopen(&writer, arena);
    CHECK(read_blocks(reader, TWO60, TWO60, arena, &read) == DS_OK && same_blocks(&blocks, &read));
    CHECK(ds_stream_reader_finish(reader) == DS_OK);
    ds_stream_reader_close(reader);
    static const struct {
        uint64_t old_size, new_size;
    } too_small[] = {{TWO60, TWO60 - 1}, {TWO60 - 2, TWO60}, {TWO32, TWO60}, {TWO60, TWO32}, {0, 0}, {TWO60, 5}};
    for (size_t i = 0; i < DS_COUNT(too_small); i++) {
        ds_blocks none = {0};
        reader = reopen(&writer, arena);
        CHECK(read_blocks(reader, too_small[i].old_size, too_small[i].new_size, arena, &none) == DS_E_DELTA);
        ds_stream_reader_close(reader);
    }
}

/* One block in the words of the streams, far places as they stand. */
static ds_status read_one(uint64_t gap, uint64_t length, uint64_t place, uint64_t old_size, uint64_t new_size,
                          ds_arena *arena) {
    ds_stream_writer writer = {.arena = arena};
    ds_blocks blocks = {0};
    CHECK(ds_write_number(&writer, DS_STREAM_LAYOUT, 4) == DS_OK &&
          ds_write_number(&writer, DS_STREAM_GAPS, gap) == DS_OK);
    CHECK(ds_write_number(&writer, DS_STREAM_LENGTHS, length) == DS_OK);
    CHECK(ds_write_number(&writer, DS_STREAM_PLACES, place) == DS_OK);
    ds_stream_reader *reader = reopen(&writer, arena);
    ds_status status = read_blocks(reader, old_size, new_size, arena, &blocks);
    ds_stream_reader_close(reader);
    return status;
}

static void test_any_block_stays_inside(ds_arena *arena) {
    for (size_t g = 0; g < DS_COUNT(edges); g++)
        for (size_t l = 0; l < DS_COUNT(edges); l++) {
            bool fits = edges[g] < TWO63 && edges[l] <= TWO63 - edges[g]; /* 0: up to the end */
            CHECK((read_one(edges[g], edges[l], 0, TWO63, TWO63, arena) == DS_OK) == fits);
            for (size_t p = 0; p < DS_COUNT(edges); p++)
                if (edges[g] > 128 || edges[l] > 128 || edges[p] > 128)
                    CHECK(read_one(edges[g], edges[l], edges[p], 1000, 1000, arena) == DS_E_DELTA);
        }
}

/* ---- regions and derivations ---- */

static void test_regions_beyond_4_gib(ds_arena *arena) {
    ds_region old_items[] = {{.offset = 0, .address = TWO32, .size = TWO32 + 5, .class_ = DS_REGION_CODE},
                             {.offset = TWO32 + 4096, .address = 3 * TWO32, .size = 9, .class_ = DS_REGION_DATA},
                             {.address = TWO63, .size = TWO63 - 1, .class_ = DS_REGION_NOBITS}};
    ds_region new_items[] = {{.offset = 0, .address = TWO32, .size = 7 * TWO32, .class_ = DS_REGION_CODE},
                             {.offset = 7 * TWO32, .address = 11 * TWO32, .size = TWO32, .class_ = DS_REGION_DATA},
                             {.address = TWO63 + 5, .size = TWO63 - 6, .class_ = DS_REGION_NOBITS},
                             {.offset = 8 * TWO32 - 1, .address = 12 * TWO32, .size = 1, .class_ = DS_REGION_DATA}};
    ds_image old_image = {.regions = {old_items, DS_COUNT(old_items), DS_COUNT(old_items)}};
    ds_image new_image = {.regions = {new_items, DS_COUNT(new_items), DS_COUNT(new_items)}};
    ds_stream_writer writer = {.arena = arena};
    ds_coder to = {.writing = true, .writer = &writer};
    ds_regions sent = {0};
    CHECK(ds_code_regions(&to, &old_image, &new_image, 8 * TWO32, arena, &sent) == DS_OK);
    for (uint64_t new_size = 8 * TWO32 - 1; new_size <= 8 * TWO32; new_size++) {
        ds_regions regions = {0};
        ds_stream_reader *reader = reopen(&writer, arena);
        ds_status status = ds_code_regions(&(ds_coder){.reader = reader}, &old_image, NULL, new_size, arena, &regions);
        CHECK(status == (new_size == 8 * TWO32 ? DS_OK : DS_E_DELTA));
        for (uint64_t i = 0; status == DS_OK && i < DS_COUNT(new_items); i++) {
            const ds_region *a = &regions.list.items[i], *b = &new_items[i];
            CHECK(a->address == b->address && a->size == b->size && a->class_ == b->class_);
            CHECK(a->offset == b->offset || a->class_ == DS_REGION_NOBITS);
        }
        ds_stream_reader_close(reader);
    }
}

static ds_status read_derivation(const uint64_t words[4], uint64_t new_size, ds_arena *arena) {
    ds_stream_writer writer = {.arena = arena};
    ds_derivations derivations = {0};
    ds_listed listed = {.packed = true, .renames = true, .fresh = true};
    CHECK(ds_write_number(&writer, DS_STREAM_LAYOUT, 2) == DS_OK); /* twice their number */
    for (unsigned i = 0; i < 4; i++)
        CHECK(ds_write_number(&writer, DS_STREAM_LAYOUT, words[i]) == DS_OK);
    ds_stream_reader *reader = reopen(&writer, arena);
    ds_status status =
        ds_code_derivations(&(ds_coder){.reader = reader}, &(ds_image){0}, new_size, arena, &derivations, &listed);
    CHECK(!listed.packed && !listed.renames && !listed.fresh);
    if (status == DS_OK) {
        const ds_derivation *d = &derivations.list.items[0];
        CHECK((ds_derivation_is_whole(d) || d->covered + d->limit <= d->digests) &&
              d->digests + ds_derivation_size(d) <= new_size);
    }
    ds_stream_reader_close(reader);
    return status;
}

static void test_derivations_stay_inside(ds_arena *arena) {
    uint64_t whole[4] = {12}, page[4] = {0, 32};
    CHECK(read_derivation(whole, 4096 + 32, arena) == DS_OK);
    CHECK(read_derivation(whole, 4096 + 33, arena) == DS_E_DELTA); /* one more page, no room for its digest */
    CHECK(read_derivation(whole, TWO32 * 4096 + TWO32 * 32, arena) == DS_OK);
    CHECK(read_derivation(whole, TWO32 * 4096 + TWO32 * 32 + 1, arena) == DS_E_DELTA);
    for (page[0] = 0; page[0] < 70; page[0]++)
        if (page[0] != 2) /* of which the numbers mean something else */
            CHECK((read_derivation(page, 4096 + 32, arena) == DS_OK) == (page[0] >= 12 && page[0] <= 16));
    for (size_t a = 0; a < DS_COUNT(edges); a++)
        for (size_t b = 0; b < DS_COUNT(edges); b++)
            for (size_t c = 0; c < DS_COUNT(edges); c++) {
                uint64_t words[4] = {14, edges[a], edges[b], edges[c]};
                read_derivation(words, TWO63 / 16, arena); /* checked inside */
                read_derivation(words, TWO32 + 1, arena);
            }
}

int main(void) {
    ds_arena *arena = ds_arena_open((uint64_t)1 << 26); /* nothing near the sizes in the words */
    test_numbers(arena);
    test_bad_numbers(arena);
    test_what_is_left_is_damage(arena);
    test_header();
    test_the_largest_header_does_not_fit();
    test_totals();
    test_blocks_beyond_4_gib(arena);
    test_any_block_stays_inside(arena);
    test_regions_beyond_4_gib(arena);
    test_derivations_stay_inside(arena);
    ds_arena_close(arena);
    return checks_done();
}
