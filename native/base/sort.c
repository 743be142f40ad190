/* Sorting of pairs: heapsort, so that no input makes it slow; see base.h. */
#include "base/base.h"

static bool pair_less(ds_pair a, ds_pair b) {
    return a.key != b.key ? a.key < b.key : a.value < b.value;
}

/* Moves pairs[at] down until no child is greater; children of i are 2i + 1 and 2i + 2. */
static void sift(ds_pair *pairs, uint64_t at, uint64_t count) {
    ds_pair moving = pairs[at];
    for (uint64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && pair_less(pairs[child], pairs[child + 1]))
            child++;
        if (!pair_less(moving, pairs[child]))
            break;
        pairs[at] = pairs[child];
        at = child;
    }
    pairs[at] = moving;
}

void ds_sort_pairs(ds_pair *pairs, uint64_t count) {
    bool sorted = true;
    for (uint64_t i = 1; i < count && sorted; i++)
        sorted = !pair_less(pairs[i], pairs[i - 1]);
    if (sorted)
        return; /* the usual case: linkers write in order */
    for (uint64_t i = count / 2; i-- > 0;)
        sift(pairs, i, count);
    for (uint64_t end = count; end-- > 1;) {
        ds_pair greatest = pairs[0];
        pairs[0] = pairs[end];
        pairs[end] = greatest;
        sift(pairs, 0, end);
    }
}
