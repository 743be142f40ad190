/* Paddings: what an image teaches of them, and blocks that are folded and stretched again
 * (docs/spec/delta-format.md, "Paddings"). */
#include "predict/paddings.h"

#include <stdlib.h>

#include "tests/check.h"

#define PLENTY ((uint64_t)16 << 20)
#define CODE_MAX 65536

/* Code in the making: instructions of four bytes, each function 16-aligned with NOPs of one size each. */
typedef struct made {
    uint8_t code[CODE_MAX], starts[CODE_MAX / 8];
    uint32_t functions[CODE_MAX / 16];
    uint64_t size, function_count;
} made;

static const uint8_t nop[4] = {0x1f, 0x20, 0x03, 0xd5};

static void put(made *m, const uint8_t bytes[4]) {
    memcpy(m->code + m->size, bytes, 4);
    m->starts[m->size >> 3] |= (uint8_t)(1u << (m->size & 7));
    m->size += 4;
}

#define KEPT 2 /* words of a function before those that come into it */

/* Whether a function is one that grew. */
static bool has_grown(unsigned number, unsigned every) {
    return every != 0 && number % every == 1;
}

static void add_function(made *m, unsigned number, unsigned more) {
    while (m->size % 16 != 0)
        put(m, nop);
    m->functions[m->function_count++] = (uint32_t)m->size;
    for (unsigned i = 0; i < 5 + number % 7; i++) {
        for (unsigned k = 0; i == KEPT && k < more; k++)
            put(m, (const uint8_t[4]){0, 0, 0, 0x14});
        put(m, (const uint8_t[4]){(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)i, 0x8b});
    }
}

/* The functions, of which each `every`-th has `more` words. */
static made *make(unsigned count, unsigned every, unsigned more) {
    made *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    for (unsigned n = 0; n < count; n++)
        add_function(m, n, has_grown(n, every) ? more : 0);
    return m;
}

static ds_image image_of(made *m) {
    return (ds_image){.file = {m->code, m->size},
                      .starts = m->starts,
                      .functions = {m->functions, m->function_count, m->function_count}};
}

static ds_status learn(ds_paddings *paddings, const ds_image *old_image, const ds_region *regions, uint64_t count,
                       ds_arena *arena) {
    *paddings = (ds_paddings){.old_image = old_image, .new_regions = regions, .new_region_count = count};
    return ds_paddings_learn(paddings, arena);
}

static void test_rules(void) {
    made *m = make(100, 0, 0);
    ds_image image = image_of(m);
    ds_paddings paddings;
    ds_arena *arena = ds_arena_open(PLENTY);
    CHECK(learn(&paddings, &image, NULL, 0, arena) == DS_OK);
    for (unsigned begin = 0; begin < DS_PADDING_PERIOD; begin++)
        CHECK(paddings.rules[true].length[begin] ==
              (begin % 4 == 0 ? (int)(16 - begin % 16) % 16 : DS_PADDING_UNKNOWN));
    for (unsigned length = 4; length < 16; length += 4)
        CHECK(memcmp(m->code + paddings.rules[true].fill[length], nop, sizeof nop) == 0);
    CHECK(paddings.rules[true].fill[16] == UINT32_MAX && paddings.rules[false].fill[4] == UINT32_MAX);
    CHECK((paddings.rules[true].moving & 0x10010) == 0x10); /* where 16 bytes lie between nothing changes */
    ds_arena_close(arena);
    free(m);
}

static void test_nothing_is_learned_of_bytes(void) {
    uint8_t bytes[64] = {0x90, 0x90};
    ds_image image = {.file = {bytes, sizeof bytes}};
    ds_paddings paddings;
    ds_arena *arena = ds_arena_open(PLENTY);
    ds_blocks out = {0};
    CHECK(learn(&paddings, &image, NULL, 0, arena) == DS_OK);
    CHECK(ds_paddings_stretch(&paddings, &(ds_block){3, 0, 64}, arena, &out) == DS_OK && out.list.count == 1);
    ds_arena_close(arena);
}

/* Two regions with bytes between them, which become fewer, more, or none; and where a block is not cut. */
static void test_seams(void) {
    static const struct {
        ds_region regions[2];
        ds_block pieces[3];
        unsigned count;
    } tries[] = {
        {{{.offset = 0, .size = 20}, {.offset = 32, .size = 32}}, {{2, 0, 18}, {20, 18, 12}, {32, 32, 32}}, 3},
        {{{.offset = 0, .size = 20}, {.offset = 20, .size = 32}}, {{2, 0, 18}, {20, 32, 32}}, 2},
        {{{.offset = 0, .size = 20}, {.offset = 48, .size = 32}}, {{2, 0, 18}, {20, 18, 14}, {48, 32, 32}}, 3},
        {{{.offset = 0, .size = 20}, {.offset = 34, .size = 32}}, {{2, 0, 64}}, 1},
        {{{.offset = 0, .size = 21}, {.offset = 32, .size = 32}}, {{2, 0, 64}}, 1},
        {{{.offset = 40, .size = 20}, {.offset = 0, .size = 20}}, {{2, 0, 64}}, 1},
    };
    static uint8_t bytes[64];
    ds_region old[2] = {{.offset = 0, .size = 18}, {.offset = 32, .size = 32}};
    uint32_t by_offset[2] = {0, 1};
    ds_image image = {.file = {bytes, sizeof bytes}, .regions = {old, 2, 2}, .by_offset = {by_offset, 2, 2}};
    for (unsigned i = 0; i < DS_COUNT(tries); i++) {
        ds_arena *arena = ds_arena_open(PLENTY);
        ds_paddings paddings;
        ds_blocks out = {0};
        CHECK(learn(&paddings, &image, tries[i].regions, 2, arena) == DS_OK);
        CHECK(ds_paddings_stretch(&paddings, &(ds_block){2, 0, 64}, arena, &out) == DS_OK);
        CHECK(out.list.count == tries[i].count &&
              memcmp(out.list.items, tries[i].pieces, out.list.count * sizeof *out.list.items) == 0);
        ds_arena_close(arena);
    }
}

static bool same(const ds_block *a, const ds_block *b) {
    return a->new_offset == b->new_offset && a->old_offset == b->old_offset && a->length == b->length;
}

/* As a matcher finds it: it goes on as long as bytes are equal, and is one with the block that it goes on from. */
static void add_block(const made *old, const made *new, ds_block block, ds_arena *arena, ds_blocks *out) {
    ds_block *last = out->list.count > 0 ? &out->list.items[out->list.count - 1] : NULL;
    while (block.old_offset + block.length < old->size && block.new_offset + block.length < new->size &&
           old->code[block.old_offset + block.length] == new->code[block.new_offset + block.length])
        block.length++;
    if (last != NULL && last->new_offset + last->length > block.new_offset) /* it has got here already */
        return;
    CHECK(DS_VEC_RESERVE(arena, &out->list, out->list.count + 1) == DS_OK);
    out->list.items[out->list.count++] = block;
}

static void find_blocks(const made *old, const made *new, unsigned every, unsigned more, ds_arena *arena,
                        ds_blocks *out) {
    for (unsigned n = 0; n < old->function_count; n++) {
        uint64_t from = old->functions[n], to = new->functions[n], grown = has_grown(n, every) ? 4 * more : 0;
        add_block(old, new, (ds_block){to, from, 0}, arena, out);
        add_block(old, new, (ds_block){to + 4 * KEPT + grown, from + 4 * KEPT, 0}, arena, out);
    }
}

static bool check_folds(unsigned every, unsigned more) {
    enum { COUNT = 120 };
    made *old = make(COUNT, 0, 0), *new = make(COUNT, every, more);
    ds_image old_image = image_of(old), new_image = image_of(new);
    ds_arena *arena = ds_arena_open(PLENTY);
    ds_paddings paddings;
    ds_blocks blocks = {0}, folded = {0}, pieces = {0};
    bool worth;
    find_blocks(old, new, every, more, arena, &blocks);
    CHECK(learn(&paddings, &old_image, NULL, 0, arena) == DS_OK);
    CHECK(ds_paddings_fold(&paddings, &new_image, &blocks, arena, &folded, &worth) == DS_OK);
    CHECK(worth == (folded.list.count < blocks.list.count));
    for (uint64_t i = 0; i < folded.list.count; i++)
        CHECK(ds_paddings_stretch(&paddings, &folded.list.items[i], arena, &pieces) == DS_OK);
    ds_offset end = 0;
    for (uint64_t i = 0; i < pieces.list.count; i++) {
        const ds_block *piece = &pieces.list.items[i];
        CHECK(piece->length > 0 && piece->new_offset >= end && piece->new_offset + piece->length <= new->size);
        CHECK(memcmp(new->code + piece->new_offset, old->code + piece->old_offset, piece->length) == 0);
        end = piece->new_offset + piece->length;
    }
    CHECK(same(&pieces.list.items[0], &folded.list.items[0]) || pieces.list.count > folded.list.count);
    ds_arena_close(arena);
    free(old);
    free(new);
    return worth;
}

int main(void) {
    test_rules();
    test_nothing_is_learned_of_bytes();
    test_seams();
    for (unsigned every = 2; every < 12; every++)
        for (unsigned more = 1; more < 6; more++)
            CHECK(check_folds(every, more) == (more % 4 != 0));
    return checks_done();
}
