/* What the tests of the instruction sets share: an image of a few stretches made by hand, swept and settled. */
#ifndef DS_SWEEP_CHECK_H
#define DS_SWEEP_CHECK_H

#include <stdlib.h>

#include "check.h"
#include "image/isa/isa.h"
#include "tests/find_ref.h"

typedef struct swept {
    ds_arena *arena;
    ds_image image;
} swept;

/* The code is the stretch [offset, offset + size) of `file`; regions as given, else every address is known. */
static inline swept sweep_bytes(ds_sweep sweep, ds_span file, ds_code code, const ds_region *regions,
                                unsigned region_count, const ds_offset *entries, uint64_t entry_count) {
    swept s = {.arena = ds_arena_open(UINT64_MAX)};
    s.image = (ds_image){.file = file, .arena = s.arena};
    s.image.starts = ds_arena_alloc(s.arena, file.size / 8 + 1);
    ds_address after = code.address + code.size;
    const ds_region everything[] = {
        {0, 0, code.address, DS_REGION_NOBITS, 0},
        {code.offset, code.address, code.size, DS_REGION_CODE, 0},
        {0, after, UINT64_MAX - after, DS_REGION_NOBITS, 0},
    };
    if (regions == NULL) {
        regions = everything;
        region_count = DS_COUNT(everything);
    }
    for (unsigned i = 0; i < region_count; i++)
        CHECK(ds_image_add_region(&s.image, regions[i]) == DS_OK);
    CHECK(sweep(&s.image, code, entries, entry_count) == DS_OK);
    CHECK(ds_image_settle(&s.image) == DS_OK);
    return s;
}

static inline void swept_free(swept *s) {
    ds_image_free(&s->image);
    ds_arena_close(s->arena);
}

static inline bool starts_at(const swept *s, uint64_t offset) {
    return (s->image.starts[offset >> 3] >> (offset & 7) & 1) != 0;
}

/* NULL when no reference begins at the offset. */
static inline const ds_ref *ref_at(const swept *s, uint64_t offset) {
    return find_ref(&s->image, offset);
}

/* Every reference solves to its target and puts back the bytes that stand there. */
static inline void check_round_trip(const swept *s) {
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_refs_all(&cursor, &s->image);
    while (ds_refs_next(&cursor, &ref)) {
        ds_ref_kind kind = ds_ref_kind_of(&ref);
        ds_address place = ds_image_address(&s->image, ref.offset);
        ds_address base = ds_ref_is_based(kind) ? ds_ref_base(&s->image, &ref) : 0;
        const uint8_t *field = s->image.file.data + ref.offset;
        uint8_t copy[8];
        memcpy(copy, field, ds_ref_length(kind));
        ds_ref_put(kind, copy, place, ds_ref_aux(&ref), base, ref.target);
        CHECK(memcmp(copy, field, ds_ref_length(kind)) == 0);
        CHECK(ds_ref_solve(kind, field, place, ds_ref_aux(&ref), base, ref.target) == ref.target);
    }
}

/* Deterministic noise (xorshift64*). */
static inline uint64_t noise(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* Random bytes in blocks of exactly their size, so that a sanitizer sees every byte too far. `salt` is
 * laid over some of the bytes to meet more than chance would. Same input, same result. */
static inline void check_random(ds_sweep sweep, const uint8_t *salt, unsigned salt_count, unsigned rounds) {
    uint64_t state = 88172645463325252u;
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t size = 1 + noise(&state) % 300;
        uint8_t *bytes = malloc(size);
        for (uint64_t i = 0; i < size; i++) {
            uint64_t r = noise(&state) >> 20;
            bytes[i] = r % 3 == 0 ? salt[r / 3 % salt_count] : (uint8_t)(r >> 8);
        }
        uint64_t from = noise(&state) % size, length = 1 + noise(&state) % (size - from);
        ds_code code = {.offset = from, .address = (noise(&state) >> 40 << 2) + from % 4, .size = length};
        ds_offset entries[3] = {from + length / 3, from + length / 2, from + length - 1};
        unsigned first = 0;
        while (first < 2 && entries[first] >= entries[first + 1])
            first++;
        uint64_t entry_count = round % 2 ? DS_COUNT(entries) - first : 0;
        swept a = sweep_bytes(sweep, (ds_span){bytes, size}, code, NULL, 0, entries + first, entry_count);
        swept b = sweep_bytes(sweep, (ds_span){bytes, size}, code, NULL, 0, entries + first, entry_count);
        check_round_trip(&a);
        CHECK(a.image.refs.count == b.image.refs.count && a.image.refs.size == b.image.refs.size);
        if (a.image.refs.count > 0)
            CHECK(memcmp(a.image.refs.bytes, b.image.refs.bytes, a.image.refs.size) == 0);
        CHECK(memcmp(a.image.starts, b.image.starts, size / 8 + 1) == 0);
        for (uint64_t i = 0; i < size; i++)
            CHECK(!starts_at(&a, i) || (i >= from && i < from + length));
        ds_ref_cursor cursor;
        ds_ref ref;
        ds_refs_all(&cursor, &a.image);
        while (ds_refs_next(&cursor, &ref))
            CHECK(ref.offset >= from && ref.offset < from + length);
        swept_free(&a);
        swept_free(&b);
        free(bytes);
    }
}

#endif
