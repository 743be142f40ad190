/* Literals among old bytes; see alignment.h. */
#include "delta/alignment.h"

#define REACH 512       /* old bytes looked at on either side */
#define REACH_WORDS 128 /* old words */

void ds_align_begin(ds_alignment *a, const ds_image *old_image, bool in_tail, ds_offset end) {
    ds_offset first = in_tail ? old_image->file.size : 0;
    *a = (ds_alignment){
        .old = in_tail ? old_image->tail : old_image->file, .first = first, .at = end - first, .budget = a->budget};
}

/* Takes `step` bytes. False when they were a surprise, and there is budget to look for the place. */
static bool advance(ds_alignment *a, bool as_expected, unsigned step, uint64_t cost) {
    a->at += step;
    if (as_expected) {
        a->run++;
        return true;
    }
    a->run = 0;
    a->missed++;
    if (a->budget < cost)
        return true;
    a->budget -= cost;
    return false;
}

static void move(ds_alignment *a, ds_offset place) {
    a->at = place;
    a->missed = 0;
}

#define AT_ONCE 16 /* places compared together */

/* Whether the four bytes stand at any of AT_ONCE places; byte by byte, which compilers make vectors of. */
static bool is_near(const uint8_t *at, const uint8_t *wanted) {
    uint8_t found = 0;
    for (unsigned i = 0; i < AT_ONCE; i++) {
        int apart = (at[i] ^ wanted[0]) | (at[i + 1] ^ wanted[1]) | (at[i + 2] ^ wanted[2]) | (at[i + 3] ^ wanted[3]);
        found |= apart == 0;
    }
    return found;
}

/* How many of `count` places, from `at` up or down, come before the first where the four bytes stand. */
static uint64_t count_up(const uint8_t *at, uint64_t count, const uint8_t *wanted) {
    uint64_t i = 0;
    while (i + AT_ONCE <= count && !is_near(at + i, wanted))
        i += AT_ONCE;
    while (i < count && ds_load32(at + i) != ds_load32(wanted))
        i++;
    return i;
}
static uint64_t count_down(const uint8_t *at, uint64_t count, const uint8_t *wanted) {
    uint64_t i = 0;
    while (i + AT_ONCE <= count && !is_near(at - i - (AT_ONCE - 1), wanted))
        i += AT_ONCE;
    while (i < count && ds_load32(at - i) != ds_load32(wanted))
        i++;
    return i;
}

#define BEFORE 4 /* bytes that decide, before a place */

/* The nearest old place behind the four bytes `wanted`; of two at one distance the later. */
static void search(ds_alignment *a, const uint8_t *wanted) {
    const uint8_t *bytes = a->old.data;
    ds_offset first = a->at > BEFORE ? a->at : BEFORE, last = a->at < a->old.size ? a->at : a->old.size;
    ds_offset end = a->at + REACH < a->old.size + 1 ? a->at + REACH : a->old.size + 1, up = end;
    if (first < end)
        up = first + count_up(bytes + first - BEFORE, end - first, wanted);
    /* Downwards only what is nearer. */
    uint64_t reach = up < end ? up - a->at : REACH;
    ds_offset least = a->at >= reach + BEFORE ? a->at - reach + 1 : BEFORE;
    uint64_t count = last >= least ? last - least + 1 : 0, down = count;
    if (count > 0)
        down = count_down(bytes + last - BEFORE, count, wanted);
    if (down < count)
        move(a, last - down);
    else if (up < end)
        move(a, up);
}

/* The same in whole words. */
static void search_words(ds_alignment *a, uint32_t wanted) {
    for (uint64_t away = 0; away < REACH_WORDS; away++)
        for (unsigned side = 0; side < 2; side++) {
            ds_offset place = side == 0 ? a->at + away * 4 : a->at - away * 4;
            if (place >= BEFORE && place <= a->old.size && ds_load32(a->old.data + place - BEFORE) == wanted) {
                move(a, place);
                return;
            }
        }
}

unsigned ds_align_expect(const ds_alignment *a, uint8_t *byte) {
    if (a->at >= a->old.size)
        return 0;
    *byte = a->old.data[a->at];
    unsigned run = a->run < 4 ? a->run : ds_bits_in(a->run) + 1;
    return 1 + (run < 7 ? run : 7) * 2 + (a->missed > 0);
}

void ds_align_take(ds_alignment *a, const uint8_t *next) {
    bool as_expected = a->at < a->old.size && a->old.data[a->at] == next[-1];
    if (!advance(a, as_expected, 1, 2 * REACH))
        search(a, next - 4);
}

bool ds_align_expect_word(const ds_alignment *a, uint32_t *word) {
    ds_offset at = a->at & ~(ds_offset)3;
    if (!ds_within(at, 4, a->old.size))
        return false;
    *word = ds_load32(a->old.data + at);
    return true;
}

void ds_align_take_word(ds_alignment *a, uint32_t word, bool as_expected) {
    a->at &= ~(ds_offset)3;
    if (!advance(a, as_expected, 4, 8 * REACH_WORDS))
        search_words(a, word);
}
