/* Renames: where they occur, what becomes of bytes there, and which ones blocks show
 * (docs/spec/delta-format.md, "Renames"). */
#include "predict/renames.h"

#include <stdlib.h>

#include "tests/text_image.h"

#define PLENTY ((uint64_t)64 << 20)

static ds_rename rename_at(ds_offset offset, const char *to) {
    ds_rename rename = {.offset = offset, .size = strlen(to)};
    memcpy(rename.bytes, to, rename.size);
    return rename;
}

static void add(ds_renames *renames, ds_arena *arena, ds_offset offset, const char *to) {
    CHECK(DS_VEC_RESERVE(arena, &renames->list, renames->list.count + 1) == DS_OK);
    renames->list.items[renames->list.count++] = rename_at(offset, to);
}

/* Whatever part is copied: what a renamed image would have there. */
static void check_all_parts(const ds_renames *renames, const char *text, const char *renamed) {
    uint64_t size = strlen(text);
    for (ds_offset at = 0; at < size; at++)
        for (uint64_t part = 1; part <= size - at; part++) {
            uint8_t bytes[64];
            memcpy(bytes, text + at, part);
            ds_renames_put(renames, at, bytes, part);
            CHECK(memcmp(bytes, renamed + at, part) == 0);
        }
}

static void test_parts(void) {
    static const char text[] = "Version1.Version1xVersion2VVersion1";
    ds_arena *arena = ds_arena_open(PLENTY);
    ds_image image;
    ds_renames renames = {0};
    CHECK(read_text(text, arena, &image) == DS_OK);
    CHECK(ds_renames_locate(&renames, &image, arena) == DS_OK && renames.occurrences.count == 0);
    check_all_parts(&renames, text, text);
    add(&renames, arena, 0, "version9");
    add(&renames, arena, 18, "VERSIONS");
    CHECK(ds_renames_locate(&renames, &image, arena) == DS_OK && renames.occurrences.count == 4);
    check_all_parts(&renames, text, "version9.version9xVERSIONSVversion9");
    add(&renames, arena, 9, "version8");
    CHECK(ds_renames_locate(&renames, &image, arena) == DS_E_DELTA);
    ds_arena_close(arena);
}

/* Where regions begin and end, strings do; code has none. */
static void test_regions(void) {
    static const char text[] = "Version1Version1Version1Version1Version1";
    static const ds_region regions[] = {
        {.address = 0x1000, .offset = 8, .size = 8, .class_ = DS_REGION_CODE},
        {.address = 0x2000, .offset = 20, .size = 12, .class_ = DS_REGION_DATA},
    };
    ds_arena *arena = ds_arena_open(PLENTY);
    ds_image image = {.file = {(const uint8_t *)text, strlen(text)}, .arena = arena};
    ds_renames renames = {0};
    for (unsigned i = 0; i < DS_COUNT(regions); i++)
        CHECK(ds_image_add_region(&image, regions[i]) == DS_OK);
    add(&renames, arena, 0, "version9");
    CHECK(ds_renames_locate(&renames, &image, arena) == DS_OK);
    check_all_parts(&renames, text, "version9Version1Version1version9version9");
    ds_arena_close(arena);
}

/* Lines of two lists of the same names, of which those that `after` says are others; copied by one block. */
static void find(const char *before, const char *after, unsigned lines, unsigned others, ds_renames *renames,
                 ds_arena *arena) {
    char *texts[2];
    ds_image images[2];
    ds_block whole = {0};
    for (unsigned side = 0; side < 2; side++) {
        texts[side] = ds_arena_alloc(arena, lines * 64 + 1);
        uint64_t at = 0;
        for (unsigned i = 0; i < lines; i++)
            at += (uint64_t)snprintf(texts[side] + at, 64, "name%u_%s_%u\n", i * 7, side && i < others ? after : before,
                                     i);
        whole.length = at;
        CHECK(read_text(texts[side], arena, &images[side]) == DS_OK);
    }
    ds_blocks blocks = {.list = {&whole, 1, 1}};
    *renames = (ds_renames){0};
    CHECK(ds_renames_find(renames, &images[0], &images[1], &blocks, arena) == DS_OK);
}

static void test_what_blocks_show(void) {
    ds_arena *arena = ds_arena_open(PLENTY);
    ds_renames renames;
    find("ghnUbbCfRE2", "i1HTDsDXWYj", 40, 40, &renames, arena);
    CHECK(renames.list.count == 1 && renames.list.items[0].size == 11 && renames.occurrences.count == 40);
    CHECK(memcmp(renames.list.items[0].bytes, "i1HTDsDXWYj", 11) == 0);
    find("ghnUbbCfRE2", "i1HTDsDXWYj", 40, 20, &renames, arena); /* right as often as wrong */
    CHECK(renames.list.count == 1);
    find("ghnUbbCfRE2", "i1HTDsDXWYj", 40, 19, &renames, arena);
    CHECK(renames.list.count == 0);
    find("ghnUbbCfRE2", "i1HTDsDXWYj", 40, 5, &renames, arena); /* too few to pay for it */
    CHECK(renames.list.count == 0);
    find("release-2.54.0", "release-2.54.2", 80, 80, &renames, arena); /* with some of what stands before it */
    CHECK(renames.list.count == 1 && memcmp(renames.list.items[0].bytes, "e-2.54.2", 8) == 0);
    find("AGSHDJFKGLHMENCB", "\1\2\3\4\5\6\7\b\t\n\v\f\r\16\17\20", 80, 80, &renames, arena); /* no text */
    CHECK(renames.list.count == 0);
    ds_arena_close(arena);
}

/* Blocks of images with tails may reach over the end of either file; what is there is not looked at. */
static void test_blocks_into_the_tail(void) {
    static const char whole[] = "namea_ghnUbbCfRE2\nnameb_ghnUbbCfRE2\nnamec_ghnUbbCfRE2\nnamed_ghnUbbCfRE2\n";
    ds_arena *arena = ds_arena_open(PLENTY);
    for (unsigned side = 0; side < 2; side++) {
        ds_image images[2] = {{.arena = arena}, {.arena = arena}};
        ds_renames renames = {0};
        for (unsigned i = 0; i < 2; i++) {
            uint64_t size = i == side ? 18 : strlen(whole);
            uint8_t *bytes = malloc(size); /* apart, so that a sanitizer sees its end */
            memcpy(bytes, whole, size);
            memset(bytes + 6, i == 1 ? 'x' : 'y', 11);
            images[i].file = (ds_span){bytes, size};
        }
        ds_block block = {.length = strlen(whole)};
        ds_blocks blocks = {.list = {&block, 1, 1}};
        CHECK(ds_renames_find(&renames, &images[0], &images[1], &blocks, arena) == DS_OK && renames.list.count == 0);
        for (unsigned i = 0; i < 2; i++)
            free((void *)images[i].file.data);
    }
    ds_arena_close(arena);
}

/* A table of all renames that there may be, against an image where each place looks like several of them. */
static void test_many(void) {
    enum { EACH = 12 };
    static char text[DS_RENAMES_MAX * EACH + 1];
    ds_arena *arena = ds_arena_open(PLENTY);
    ds_image image;
    ds_renames renames = {0};
    for (unsigned i = 0; i < DS_RENAMES_MAX; i++)
        snprintf(text + (uint64_t)i * EACH, EACH + 1, "aaaaa%03uaaaa", i);
    CHECK(read_text(text, arena, &image) == DS_OK);
    for (unsigned i = 0; i < DS_RENAMES_MAX; i++)
        add(&renames, arena, (ds_offset)i * EACH, "bbbbbbbbbbbb");
    CHECK(ds_renames_locate(&renames, &image, arena) == DS_OK && renames.occurrences.count == DS_RENAMES_MAX);
    ds_arena_close(arena);
}

int main(void) {
    test_parts();
    test_regions();
    test_what_blocks_show();
    test_blocks_into_the_tail();
    test_many();
    return checks_done();
}
