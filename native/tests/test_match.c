/* Matching, on text: which old lines become which new ones. */
#include "match/match.h"

#include <stdio.h>

#include "include/deltaseal.h"
#include "tests/text_image.h"

#define PLENTY ((uint64_t)64 << 20)
#define ROUNDS 4

typedef struct matched {
    ds_arena *arena;
    ds_image old_image, new_image;
    ds_blocks blocks;
    ds_renames renames;
} matched;

static void match(matched *m, const char *old_text, const char *new_text, uint32_t without) {
    ds_match_options options = {.coding = DS_PRICES_STREAMS, .rounds = ROUNDS, .threads = 1, .without = without};
    m->arena = ds_arena_open(PLENTY);
    CHECK(read_text(old_text, m->arena, &m->old_image) == DS_OK);
    CHECK(read_text(new_text, m->arena, &m->new_image) == DS_OK);
    CHECK(ds_match(&m->old_image, &m->new_image, &options, m->arena, &m->blocks, &m->renames) == DS_OK);
}

static unsigned line_of(const ds_image *image, ds_offset at) {
    unsigned line = 0;
    for (ds_offset i = 0; i < at; i++)
        line += image->file.data[i] == '\n';
    return line;
}

static const ds_block *block_at(const matched *m, ds_offset at) {
    uint64_t found = ds_blocks_find(m->blocks.list.items, m->blocks.list.count, at);
    const ds_block *block = found == UINT64_MAX ? NULL : &m->blocks.list.items[found];
    return block != NULL && at - block->new_offset < block->length ? block : NULL;
}

/* For each new line the number of the old one that its middle byte is copied from, or "-". */
static const char *shown(const matched *m) {
    static char text[256];
    const ds_span *file = &m->new_image.file;
    size_t length = 0;
    text[0] = 0;
    for (ds_offset at = 0, end; at < file->size && length + 16 < sizeof text; at = end) {
        end = at + (ds_offset)((const uint8_t *)memchr(file->data + at, '\n', file->size - at) - (file->data + at)) + 1;
        ds_offset middle = at + (end - at) / 2;
        const ds_block *block = block_at(m, middle);
        const char *gap = at > 0 ? " " : "";
        if (block == NULL)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s-", gap);
        else
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%u", gap,
                                       line_of(&m->old_image, middle - block->new_offset + block->old_offset));
    }
    return text;
}

static void expect(const char *old_text, const char *new_text, uint32_t without, const char *lines, uint64_t blocks) {
    matched m;
    match(&m, old_text, new_text, without);
    bool right = strcmp(shown(&m), lines) == 0 && m.blocks.list.count == blocks;
    if (!right)
        fprintf(stderr, "found \"%s\" in %u blocks, expected \"%s\" in %u\n", shown(&m), (unsigned)m.blocks.list.count,
                lines, (unsigned)blocks);
    CHECK(right);
    ds_arena_close(m.arena);
}

#define MAIN(first, then, last) "main: first <" first ">, then <" then ">, last <" last ">\n"
#define OPEN(door) "open: looks for the door <" door "> and key\n"
#define WALK(to) "walk: one step after another to <" to ">\n"
#define DOOR(see) "door: of oak, with a lock, see <" see ">\n"
#define REST "rest: sits down, remembers <00> again\n"

static const char old_text[] = MAIN("01", "02", "04") OPEN("03") WALK("04") DOOR("01") REST;

/* All numbers behind it change; nothing else does. */
static void test_a_line_put_in(void) {
    static const char knock[] =
        MAIN("02", "03", "05") "knock: three times, waits for <05>\n" OPEN("04") WALK("05") DOOR("02") REST;
    expect(old_text, knock, 0, "0 - 1 2 3 4", 2);
}

static void test_a_line_taken_out(void) {
    static const char no_walk[] = MAIN("01", "02", "03") OPEN("02") DOOR("01") REST;
    expect(old_text, no_walk, 0, "0 1 3 4", 2);
}

static void test_two_lines_swapped(void) {
    static const char swapped[] = MAIN("01", "03", "04") OPEN("02") DOOR("01") WALK("04") REST;
    expect(old_text, swapped, 0, "0 1 3 2 4", 4);
}

/* One that refers to another line than before is corrected, not sent anew; by length alone it would be cut out. */
static void test_another_target(void) {
    static const char other[] = MAIN("01", "02", "03") OPEN("03") WALK("04") DOOR("01") REST;
    expect(old_text, other, 0, "0 1 2 3 4", 1);
    expect(old_text, other, DS_WITHOUT_PRICES, "0 1 2 3 4", 2);
}

/* Two lines differ in what they refer to alone: the label of a reference is what stands at its target. Without
 * labels the wrong one is taken. */
static void test_lines_that_look_alike(void) {
    static const char two[] = "call the helper <02> with nothing\ncall the helper <03> with nothing\n"
                              "helper one does the washing\nhelper two does the ironing\n";
    static const char one[] = "call the helper <01> with nothing\nhelper two does the ironing\n";
    expect(two, one, 0, "1 3", 2);
    expect(two, one, DS_WITHOUT_LABELS, "0 3", 2);
}

static void test_nothing_alike(void) {
    expect(old_text, "", 0, "", 0);
    expect("", old_text, 0, "- - - - -", 0);
    expect(old_text, "0123456789 0123456789 0123456789 <99>\n", 0, "-", 0);
}

int main(void) {
    test_a_line_put_in();
    test_a_line_taken_out();
    test_two_lines_swapped();
    test_another_target();
    test_lines_that_look_alike();
    test_nothing_alike();
    return checks_done();
}
