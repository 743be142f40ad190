/* Packed references come out as they went in: whatever their kinds, their targets, the bytes in their fields, and from
 * wherever they are read. */
#include "image/refs.h"

#include "tests/check.h"

#define FILE_SIZE 40000
#define MOST 20000

typedef struct sample {
    uint8_t bytes[FILE_SIZE];
    ds_ref refs[MOST];
    uint64_t count;
} sample;

static uint64_t state = 88172645463325252u;

static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 16;
}

static ds_ref_kind any_kind(void) {
    return (ds_ref_kind)(1 + draw() % (DS_REF_KINDS - 1));
}

/* Up to `gap` bytes from each reference to the next, forms of `auxes` auxiliary values. */
static void fill(sample *s, uint64_t gap, uint32_t auxes) {
    s->count = 0;
    for (uint64_t i = 0; i < FILE_SIZE; i++)
        s->bytes[i] = (uint8_t)draw();
    for (uint64_t at = draw() % gap; s->count < MOST;) {
        ds_ref_kind kind = any_kind();
        ds_address target = draw() % 4 == 0 ? draw() << draw() % 48 : at + draw() % 256;
        if (!ds_within(at, ds_ref_length(kind), FILE_SIZE))
            break;
        uint32_t aux = (uint32_t)(draw() % auxes);
        s->refs[s->count++] = (ds_ref){(uint32_t)at, (uint32_t)kind | aux << 8, target};
        at += ds_ref_length(kind) + draw() % gap;
    }
}

static ds_image settled(const sample *s, ds_arena *arena) {
    ds_image image = {.file = {s->bytes, FILE_SIZE}, .arena = arena};
    for (uint64_t i = 0; i < s->count; i++)
        CHECK(ds_image_add_ref(&image, s->refs[i].offset, ds_ref_kind_of(&s->refs[i]), ds_ref_aux(&s->refs[i]),
                               s->refs[i].target) == DS_OK);
    CHECK(ds_image_settle(&image) == DS_OK && image.refs.count == s->count);
    return image;
}

static bool same(const ds_ref *a, const ds_ref *b) {
    return a->offset == b->offset && a->kind_aux == b->kind_aux && a->target == b->target;
}

/* Those between two offsets, and no others. */
static bool reads(ds_ref_cursor *cursor, const sample *s, ds_offset from, ds_offset to) {
    ds_ref ref;
    uint64_t i = 0;
    while (i < s->count && s->refs[i].offset < from)
        i++;
    for (; i < s->count && s->refs[i].offset < to; i++)
        if (!ds_refs_next(cursor, &ref) || !same(&ref, &s->refs[i]))
            return false;
    return !ds_refs_next(cursor, &ref);
}

/* Where a reference reaches over an offset, found by looking at all. */
static bool over(const sample *s, ds_offset offset, ds_offset *begin, ds_offset *end) {
    for (uint64_t i = 0; i < s->count && s->refs[i].offset < offset; i++) {
        *begin = s->refs[i].offset;
        *end = *begin + ds_ref_length(ds_ref_kind_of(&s->refs[i]));
    }
    return s->count > 0 && s->refs[0].offset < offset && *end > offset;
}

static void check_reading(const sample *s, const ds_image *image) {
    ds_ref_cursor cursor, moving;
    ds_ref ref;
    ds_refs_all(&cursor, image);
    CHECK(reads(&cursor, s, 0, FILE_SIZE));
    ds_refs_all(&moving, image);
    for (unsigned round = 0; round < 60; round++) {
        ds_offset from = draw() % (FILE_SIZE + 10), to = from + draw() % 3000, begin[2] = {0}, end[2] = {0};
        ds_refs_between(&cursor, image, from, to);
        CHECK(reads(&cursor, s, from, to));
        ds_refs_move(&moving, from, to);
        CHECK(reads(&moving, s, from, to));
        ds_refs_move(&moving, to + draw() % 100, to + 400);
        ds_refs_move(&moving, to, to + 300);
        CHECK(reads(&moving, s, to, to + 300));
        bool reaches = over(s, from, &begin[0], &end[0]);
        CHECK(ds_refs_over(image, from, &begin[1], &end[1]) == reaches);
        CHECK(!reaches || (begin[0] == begin[1] && end[0] == end[1]));
        if (s->count > 0) {
            const ds_ref *one = &s->refs[draw() % s->count];
            CHECK(ds_refs_find(image, one->offset, &ref) && same(&ref, one));
        }
    }
}

/* All parts together hold each reference once. */
static void check_parts(const sample *s, const ds_image *image) {
    ds_offset from = ds_refs_part(image, 0, 8);
    ds_ref_cursor cursor;
    CHECK(from == 0);
    for (unsigned part = 0; part < 8; part++) {
        ds_offset to = ds_refs_part(image, part + 1, 8);
        CHECK(to >= from);
        ds_refs_between(&cursor, image, from, to);
        CHECK(reads(&cursor, s, from, to));
        from = to;
    }
    CHECK(from >= FILE_SIZE);
}

static void test_all_come_out(sample *s, ds_arena *arena) {
    static const uint64_t gaps[] = {1, 3, 40, 3000};
    for (unsigned i = 0; i < DS_COUNT(gaps); i++)
        for (uint32_t auxes = 1; auxes <= 32; auxes += 31) {
            fill(s, gaps[i], auxes);
            ds_image image = settled(s, arena);
            check_reading(s, &image);
            check_parts(s, &image);
            ds_image_free(&image);
        }
}

/* There are more kinds with auxiliary values than forms: the rest is kept whole. */
static void test_more_forms_than_there_is_room_for(sample *s, ds_arena *arena) {
    fill(s, 2, 1 << 24);
    ds_image image = settled(s, arena);
    CHECK(image.refs.form_count == DS_REF_WHOLE);
    check_reading(s, &image);
    CHECK(image.refs.size <= s->count * DS_REF_PACKED_MOST);
    ds_image_free(&image);
}

static void test_none(sample *s, ds_arena *arena) {
    s->count = 0;
    ds_image image = settled(s, arena);
    check_reading(s, &image);
    ds_image_free(&image);
}

/* Whatever there is no memory for, what there is is freed once. */
static void test_memory_runs_out(sample *s) {
    fill(s, 2, 1 << 24);
    for (uint64_t ceiling = 1 << 12; ceiling < 1 << 20; ceiling += 4099) {
        ds_arena *small = ds_arena_open(ceiling);
        ds_image image = {.file = {s->bytes, FILE_SIZE}, .arena = small};
        ds_status status = DS_OK;
        for (uint64_t i = 0; i < s->count && status == DS_OK; i++)
            status = ds_image_add_ref(&image, s->refs[i].offset, ds_ref_kind_of(&s->refs[i]), ds_ref_aux(&s->refs[i]),
                                      s->refs[i].target);
        if (status == DS_OK)
            status = ds_image_settle(&image);
        CHECK(status == DS_E_MEMORY || (status == DS_OK && image.refs.count == s->count));
        ds_image_free(&image);
        ds_arena_close(small);
    }
}

/* What they are packed for: calls whose targets stand in the file take two bytes each. */
static void test_what_the_file_says_is_not_kept(sample *s, ds_arena *arena) {
    ds_image image = {.file = {s->bytes, FILE_SIZE}, .arena = arena};
    for (uint64_t at = 0; at + 10 <= FILE_SIZE; at += 10) {
        ds_store32(s->bytes + at, (uint32_t)draw());
        ds_address place = 0x400000 + at;
        ds_address target = ds_ref_solve(DS_REF_REL32, s->bytes + at, place, 0, 0, 0);
        CHECK(ds_image_add_ref(&image, at, DS_REF_REL32, 0, target) == DS_OK);
    }
    CHECK(ds_image_settle(&image) == DS_OK);
    CHECK(image.refs.count == FILE_SIZE / 10 && image.refs.size == 2 * image.refs.count);
    ds_image_free(&image);
}

int main(void) {
    static sample s;
    ds_arena *arena = ds_arena_open((uint64_t)1 << 24);
    test_all_come_out(&s, arena);
    test_more_forms_than_there_is_room_for(&s, arena);
    test_none(&s, arena);
    test_memory_runs_out(&s);
    test_what_the_file_says_is_not_kept(&s, arena);
    ds_arena_close(arena);
    return checks_done();
}
