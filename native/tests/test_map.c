/* The address map and prediction, by hand: docs/spec/delta-format.md, "Address map" and "Prediction". The
 * images have no bytes: only where things lie counts, beyond 4 GiB too. */
#include "predict/predict.h"
#include "tests/check.h"

#define GIB ((uint64_t)1 << 30)
#define FAR_OFFSET (5 * GIB) /* offsets of blocks go beyond 32 bits */
#define CODE_AT ((ds_address)0x10000)
#define ZEROED_AT ((ds_address)1 << 40)
#define SHIFT 0x100

static ds_region old_regions[] = {
    {.offset = 0, .address = CODE_AT, .size = 0x4000, .class_ = DS_REGION_CODE},
    {.offset = 0x5000, .address = 0x200000, .size = 0x1000, .class_ = DS_REGION_DATA},
    {.offset = FAR_OFFSET, .address = 0x300000000, .size = 0x1000, .class_ = DS_REGION_DATA},
    {.address = ZEROED_AT, .size = 0x10000, .class_ = DS_REGION_NOBITS},
    {.address = ZEROED_AT + 0x10000, .size = 16 * GIB, .class_ = DS_REGION_NOBITS},
};
static ds_region new_regions[] = {
    {.offset = 0, .address = CODE_AT, .size = 0x5000, .class_ = DS_REGION_CODE},
    {.offset = 0x6000, .address = 0x200000, .size = 0x1000, .class_ = DS_REGION_DATA},
    {.offset = FAR_OFFSET + SHIFT, .address = 0x300000000, .size = 0x1000, .class_ = DS_REGION_DATA},
    {.address = ZEROED_AT + SHIFT, .size = 0x10000, .class_ = DS_REGION_NOBITS},
};
static const ds_block blocks[] = {
    {.new_offset = 0, .old_offset = 0, .length = 0x1000},
    {.new_offset = 0x1000 + SHIFT, .old_offset = 0x1000, .length = 0x1000},
    {.new_offset = 0x4000, .old_offset = 0x1800, .length = 0x100}, /* shorter: of no account */
    {.new_offset = 0x6000, .old_offset = 0x5000, .length = 0x800},
    {.new_offset = FAR_OFFSET + SHIFT, .old_offset = FAR_OFFSET, .length = 0x1000},
};

typedef struct world {
    ds_arena *arena;
    ds_image old_image;
    ds_layout layout;
    ds_map map;
    ds_predictor predictor;
} world;

static void open_world(world *w) {
    *w = (world){.arena = ds_arena_open((uint64_t)64 << 20)};
    w->old_image = (ds_image){.file = {NULL, FAR_OFFSET + 0x1000},
                              .arena = w->arena,
                              .regions = {old_regions, DS_COUNT(old_regions), DS_COUNT(old_regions)}};
    CHECK(ds_layout_build(&w->layout, new_regions, DS_COUNT(new_regions), w->arena) == DS_OK);
    CHECK(ds_map_build(&w->map, &w->old_image, &w->layout, blocks, DS_COUNT(blocks), w->arena) == DS_OK);
    CHECK(ds_predictor_open(&w->predictor, &w->old_image, &w->map, blocks, DS_COUNT(blocks), w->arena) == DS_OK);
}

static void close_world(world *w) {
    ds_predictor_close(&w->predictor);
    ds_map_free(&w->map);
    ds_layout_free(&w->layout, w->arena);
    ds_arena_close(w->arena);
}

static void test_addresses_of_bytes(world *w) {
    CHECK(ds_map_address(&w->map, CODE_AT) == CODE_AT);
    CHECK(ds_map_address(&w->map, CODE_AT + 0xfff) == CODE_AT + 0xfff);
    CHECK(ds_map_address(&w->map, CODE_AT + 0x1000) == CODE_AT + 0x1000 + SHIFT);
    CHECK(ds_map_address(&w->map, CODE_AT + 0x1850) == CODE_AT + 0x1850 + SHIFT); /* the longest block wins */
    CHECK(ds_map_address(&w->map, 0x200010) == 0x200010);                         /* moved in the file, not in memory */
    CHECK(ds_map_address(&w->map, 0x300000fff) == 0x300000fff);
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + 0x5010) == DS_FILE_BASE + 0x6010);
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + FAR_OFFSET) == DS_FILE_BASE + FAR_OFFSET + SHIFT);
}

static void test_bytes_that_nothing_copies(world *w) {
    /* Behind the second block: the byte before decides. */
    CHECK(ds_map_address(&w->map, CODE_AT + 0x2001) == CODE_AT + 0x2001 + SHIFT);
    /* Old offset 0x3500 is 0x1501 from the block that ends at 0x2000, 0x1b00 from the one at 0x5000. */
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + 0x3500) == DS_FILE_BASE + 0x3500 + SHIFT);
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + 0x4fff) == DS_FILE_BASE + 0x5fff);
    /* As far from 0x1fff as from 0x5000 is no byte: 0x37ff is nearer to the first, 0x3800 to the second. */
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + 0x37ff) == DS_FILE_BASE + 0x37ff + SHIFT);
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + 0x3800) == DS_FILE_BASE + 0x4800);
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + FAR_OFFSET - 1) == DS_FILE_BASE + FAR_OFFSET - 1 + SHIFT);
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + 0x5900) == DS_FILE_BASE + 0x6900);
    /* Behind the file's last byte is no byte. */
    CHECK(ds_map_address(&w->map, DS_FILE_BASE + FAR_OFFSET + 0x1000) == DS_FILE_BASE + FAR_OFFSET + 0x1000);
}

static void test_other_addresses(world *w) {
    static const ds_address others[] = {0, 1, 0x8000, UINT64_MAX, (ds_address)1 << 63, DS_FILE_BASE - 1, ZEROED_AT - 1};
    for (size_t i = 0; i < DS_COUNT(others); i++)
        CHECK(ds_map_address(&w->map, others[i]) == others[i]);
}

static void test_regions_without_bytes(world *w) {
    ds_address second = ZEROED_AT + 0x10000;
    /* As the region moved; the second has no partner; the end of the first belongs to the first. */
    CHECK(ds_map_address(&w->map, ZEROED_AT + 0x40) == ZEROED_AT + 0x40 + SHIFT);
    CHECK(ds_map_address(&w->map, second) == second + SHIFT);
    CHECK(ds_map_address(&w->map, second + 1) == second + 1);
    CHECK(ds_map_address(&w->map, second + 16 * GIB) == second + 16 * GIB);
    CHECK(ds_map_address(&w->map, second + 16 * GIB + 1) == second + 16 * GIB + 1);
    /* The latest point seen in a granule of 64 bytes, else in the nearest one, the lower first. */
    ds_map_see(&w->map, ZEROED_AT + 0x1000, ZEROED_AT + 0x1008);
    ds_map_see(&w->map, ZEROED_AT + 0x1010, ZEROED_AT + 0x1020);
    ds_map_see(&w->map, ZEROED_AT + 0x1080, ZEROED_AT + 0x1100);
    CHECK(ds_map_address(&w->map, ZEROED_AT + 0x1004) == ZEROED_AT + 0x1014);
    CHECK(ds_map_address(&w->map, ZEROED_AT + 0x1044) == ZEROED_AT + 0x1054);
    CHECK(ds_map_address(&w->map, ZEROED_AT + 0x1084) == ZEROED_AT + 0x1104);
    CHECK(ds_map_address(&w->map, ZEROED_AT + 0x1000 + (uint64_t)64 * 255 + 0x80) ==
          ZEROED_AT + 0x1000 + (uint64_t)64 * 255 + 0x100);
    CHECK(ds_map_address(&w->map, ZEROED_AT + 0x1080 + (uint64_t)64 * 256) ==
          ZEROED_AT + 0x1080 + (uint64_t)64 * 256 + SHIFT); /* out of reach */
    /* 16 GiB have coarser granules: of 2^19 bytes. */
    ds_map_see(&w->map, second + 5 * GIB, second + 5 * GIB + 3);
    CHECK(ds_map_address(&w->map, second + 5 * GIB + (1 << 19) - 1) == second + 5 * GIB + (1 << 19) + 2);
    ds_map_see(&w->map, 0x1234, 0x9999); /* of no region */
}

static void test_predictions(world *w) {
    ds_ref jump = {.offset = 0x1900, .kind_aux = DS_REF_REL32, .target = CODE_AT + 0x1850};
    /* Copied twice: the block that holds the reference decides. */
    CHECK(ds_predict(&w->predictor, &jump, 1).target == CODE_AT + 0x1850 + SHIFT);
    jump.offset = 0x1804;
    CHECK(ds_predict(&w->predictor, &jump, 2).target == CODE_AT + 0x4050);
    CHECK(ds_predict(&w->predictor, &jump, 2).place == CODE_AT + 0x4004);
    /* What was corrected is remembered, the latest correction last; what was right is not. */
    ds_ref pointer = {.offset = 0x5000, .kind_aux = DS_REF_ABS64, .target = CODE_AT + 0x1850};
    ds_prediction p = ds_predict(&w->predictor, &pointer, 3);
    CHECK(p.target == CODE_AT + 0x1850 + SHIFT);
    CHECK(ds_predictor_learn(&w->predictor, &p, 0x777, false) == DS_OK);
    CHECK(ds_predict(&w->predictor, &pointer, 3).target == CODE_AT + 0x1850 + SHIFT);
    CHECK(ds_predictor_learn(&w->predictor, &p, 0x777, true) == DS_OK);
    CHECK(ds_predictor_learn(&w->predictor, &p, 0x888, true) == DS_OK);
    CHECK(ds_predict(&w->predictor, &pointer, 3).target == 0x888);
    CHECK(ds_predict(&w->predictor, &jump, 2).target == CODE_AT + 0x4050); /* a block before a lesson */
}

static ds_ref based(uint8_t *field, ds_ref_kind kind, ds_address base, uint8_t number) {
    bool last = kind != DS_REF_ULEB1; /* sizes and steps name the last byte */
    *field = number;
    return (ds_ref){.offset = 0x5000, .kind_aux = kind, .target = base + number - last};
}

static void learn(world *w, const ds_prediction *p, ds_address actual) {
    CHECK(ds_predictor_learn(&w->predictor, p, actual, actual != p->target) == DS_OK);
}

/* Sizes, distances and steps: how far one place is from another. */
static void test_distances(void) {
    static uint8_t bytes[0x5008];
    uint8_t *field = bytes + 0x5000;
    ds_address start = CODE_AT + 0x1000, moved = start + SHIFT, twice = CODE_AT + 0x1800, copy = CODE_AT + 0x4000;
    world w;
    open_world(&w);
    w.old_image.file.data = bytes;

    /* A size begins at the target of the reference before, wherever that went. */
    ds_ref pointer = {.offset = 0x5000, .kind_aux = DS_REF_ABS64, .target = twice};
    ds_prediction p = ds_predict(&w.predictor, &pointer, 3);
    CHECK(p.target == twice + SHIFT);
    learn(&w, &p, copy);
    ds_ref size = based(field, DS_REF_SIZE32, twice, 0x40);
    p = ds_predict(&w.predictor, &size, 3);
    CHECK(p.old_base == twice && p.base == copy && p.target == copy + 0x3f);
    size = based(field, DS_REF_SIZE32, start, 0x20);
    p = ds_predict(&w.predictor, &size, 3);
    CHECK(p.base == moved && p.target == moved + 0x1f);
    /* Where its end is copied nowhere near, it stays as long as it was. */
    pointer.target = start;
    p = ds_predict(&w.predictor, &pointer, 3);
    learn(&w, &p, 0x200010);
    p = ds_predict(&w.predictor, &size, 3);
    CHECK(p.base == 0x200010 && p.target == 0x20002f);

    /* Steps know nothing of lessons, and teach none. */
    ds_ref step = based(field, DS_REF_STEP8, start, 0x10);
    p = ds_predict(&w.predictor, &step, 3);
    CHECK(p.base == moved && p.target == moved + 0xf);
    learn(&w, &p, moved + 0x11);
    CHECK(ds_predict(&w.predictor, &step, 3).target == moved + 0xf);

    /* A base whose first distance is wrong was wrong. */
    ds_ref distance = based(field, DS_REF_ULEB1, start + 0x100, 0x10);
    p = ds_predict(&w.predictor, &distance, 3);
    CHECK(p.base == moved + 0x100 && p.target == moved + 0x110);
    learn(&w, &p, p.target + 0x30);
    distance = based(field, DS_REF_ULEB1, start + 0x100, 0x14);
    p = ds_predict(&w.predictor, &distance, 3);
    CHECK(p.base == moved + 0xd0 && p.target == moved + 0x114);
    /* One that was right must be wrong twice by the same number. */
    learn(&w, &p, p.target);
    for (unsigned times = 0; times < 3; times++) {
        p = ds_predict(&w.predictor, &distance, 3);
        CHECK(p.base == (times < 2 ? moved + 0xd0 : moved + 0xc0));
        learn(&w, &p, p.target + (times < 2 ? 0x10 : 0));
    }
    /* A distance from the target before begins where that went. */
    distance = based(field, DS_REF_ULEB1, start + 0x114, 4);
    p = ds_predict(&w.predictor, &distance, 3);
    CHECK(p.base == moved + 0x114 && p.target == moved + 0x118);
    /* Bases outside code are not doubted. */
    distance = based(field, DS_REF_ULEB1, 0x200020, 4);
    p = ds_predict(&w.predictor, &distance, 3);
    learn(&w, &p, p.target + 8);
    CHECK(ds_predict(&w.predictor, &distance, 3).base == p.base);
    close_world(&w);
}

/* More lessons than the table begins with; all but a few crowded ones are kept. */
static void test_many_lessons(world *w) {
    unsigned known = 0;
    for (unsigned i = 1; i <= 20000; i++) {
        ds_prediction p = {.kind = DS_REF_ABS64, .old_target = DS_FILE_BASE * 2 + (uint64_t)i * 8};
        CHECK(ds_predictor_learn(&w->predictor, &p, i, true) == DS_OK);
    }
    for (unsigned i = 1; i <= 20000; i++) {
        ds_ref ref = {.offset = 0x5000, .kind_aux = DS_REF_ABS64, .target = DS_FILE_BASE * 2 + (uint64_t)i * 8};
        known += ds_predict(&w->predictor, &ref, 3).target == i;
    }
    CHECK(known > 19900);
}

static void correct(world *w, ds_address old_target, ds_address actual) {
    ds_prediction p = {.kind = DS_REF_ABS64, .old_target = old_target};
    CHECK(ds_predictor_learn(&w->predictor, &p, actual, true) == DS_OK);
}

/* The latest correction less than 1,024 bytes away, or as many before; none beyond the last 64. */
static void test_corrections_nearby(void) {
    world w;
    ds_address target = 0;
    open_world(&w);
    CHECK(!ds_predict_as_corrected(&w.predictor, 0x9000, &target));
    correct(&w, 0x9000, 0x50000);
    correct(&w, 0x9100, 0x60000);
    CHECK(ds_predict_as_corrected(&w.predictor, 0x9008, &target) && target == 0x60000 - 0xf8);
    CHECK(ds_predict_as_corrected(&w.predictor, 0x9100 + 1023, &target) && target == 0x60000 + 1023);
    CHECK(!ds_predict_as_corrected(&w.predictor, 0x9100 + 1024, &target));
    CHECK(ds_predict_as_corrected(&w.predictor, 0x9000 - 1024, &target) && target == 0x50000 - 1024);
    CHECK(!ds_predict_as_corrected(&w.predictor, 0x9000 - 1025, &target));
    for (unsigned i = 0; i < DS_CORRECTIONS - 1; i++)
        correct(&w, 0x100000 + 0x1000 * i, 0x70000);
    CHECK(ds_predict_as_corrected(&w.predictor, 0x9008, &target));
    correct(&w, 0xf00000, 0x70000);
    CHECK(!ds_predict_as_corrected(&w.predictor, 0x9008, &target));
    close_world(&w);
}

static void test_nothing_copied(void) {
    world w = {.arena = ds_arena_open(1 << 20)};
    w.old_image = (ds_image){.file = {NULL, 0x9000}, .arena = w.arena, .regions = {old_regions, 2, 2}};
    CHECK(ds_layout_build(&w.layout, new_regions, 2, w.arena) == DS_OK);
    CHECK(ds_map_build(&w.map, &w.old_image, &w.layout, NULL, 0, w.arena) == DS_OK);
    CHECK(ds_map_address(&w.map, CODE_AT + 5) == CODE_AT + 5);
    CHECK(ds_map_address(&w.map, DS_FILE_BASE + 5) == DS_FILE_BASE + 5);
    ds_map_free(&w.map);
    ds_layout_free(&w.layout, w.arena);
    ds_arena_close(w.arena);
}

static void test_a_map_over_its_ceiling(void) {
    for (uint64_t ceiling = 0; ceiling < 300000; ceiling += 997) {
        ds_arena *arena = ds_arena_open(ceiling);
        ds_image old_image = {.file = {NULL, 0x9000}, .arena = arena, .regions = {old_regions, 2, 2}};
        ds_layout layout;
        ds_map map;
        ds_status status = ds_layout_build(&layout, new_regions, 2, arena);
        if (status == DS_OK)
            status = ds_map_build(&map, &old_image, &layout, blocks, 4, arena);
        CHECK(status == DS_OK || status == DS_E_MEMORY);
        CHECK(ds_arena_peak(arena) <= ceiling);
        ds_arena_close(arena);
    }
}

int main(void) {
    world w;
    open_world(&w);
    test_addresses_of_bytes(&w);
    test_bytes_that_nothing_copies(&w);
    test_other_addresses(&w);
    test_regions_without_bytes(&w);
    test_predictions(&w);
    test_many_lessons(&w);
    close_world(&w);
    test_distances();
    test_corrections_nearby();
    test_nothing_copied();
    test_a_map_over_its_ceiling();
    return checks_done();
}
