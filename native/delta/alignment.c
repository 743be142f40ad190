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

/* The nearest old place, in steps of `step`, behind the four bytes `wanted`; of two at one distance the later. */
static void search(ds_alignment *a, uint32_t wanted, uint64_t reach, unsigned step) {
    for (uint64_t away = 0; away < reach; away++)
        for (unsigned side = 0; side < 2; side++) {
            ds_offset place = side == 0 ? a->at + away * step : a->at - away * step;
            if (place < 4 || place > a->old.size || ds_load32(a->old.data + place - 4) != wanted)
                continue;
            a->at = place;
            a->missed = 0;
            return;
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
        search(a, ds_load32(next - 4), REACH, 1);
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
        search(a, word, REACH_WORDS, 4);
}
