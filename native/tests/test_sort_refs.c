/* References come out by offset, those of one offset in the order of adding, whatever runs they were added in. */
#include "image/sort_refs.h"
#include "tests/check.h"

#define MOST 600

static uint32_t state = 1;

static uint32_t draw(uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)state * below >> 32);
}

/* Runs that ascend by up to `step`, each about `length` long; the lower half tells the order of adding. */
static uint64_t make(ds_found_ref *refs, uint64_t count, uint32_t step, uint32_t length) {
    uint32_t offset = 0;
    for (uint64_t i = 0; i < count; i++) {
        offset = draw(length) == 0 ? draw(64) : offset + draw(step);
        refs[i] = (ds_found_ref){.offset = offset, .low = (uint32_t)i};
    }
    return count;
}

static void check_sorted(ds_found_ref *refs, uint64_t count, ds_arena *arena) {
    uint64_t sum = 0;
    CHECK(ds_sort_refs(refs, count, arena) == DS_OK);
    for (uint64_t i = 0; i < count; i++) {
        sum += refs[i].low;
        if (i > 0)
            CHECK(refs[i - 1].offset < refs[i].offset ||
                  (refs[i - 1].offset == refs[i].offset && refs[i - 1].low < refs[i].low));
    }
    CHECK(sum == count * (count - (count > 0)) / 2);
}

int main(void) {
    static ds_found_ref refs[MOST];
    ds_arena *arena = ds_arena_open((uint64_t)1 << 20);
    for (uint32_t length = 1; length <= 256; length *= 2)
        for (uint32_t step = 1; step <= 256; step *= 4)
            for (uint64_t count = 0; count <= MOST; count += count < 8 ? 1 : 37)
                check_sorted(refs, make(refs, count, step, length), arena);
    ds_arena_close(arena);
    /* Memory runs out with a status. Runs of equal length must be set aside. */
    arena = ds_arena_open(1024);
    make(refs, MOST, 8, 300);
    for (uint64_t i = 0; i < MOST; i++)
        refs[i].offset = (uint32_t)(i % (MOST / 2));
    CHECK(ds_sort_refs(refs, MOST, arena) == DS_E_MEMORY);
    ds_arena_close(arena);
    return checks_done();
}
