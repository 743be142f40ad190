/* Rules, and what they make of a block; see paddings.h. */
#include "predict/paddings.h"

/* ---- rules ---- */

#define LEARNED 16384 /* paddings that are looked at, at most */
#define ALIGNED 8     /* code that is no function is padded for at least this */
#define LEAST 2       /* a rule is seen so often */

typedef struct tally {
    uint16_t lengths[DS_PADDING_PERIOD][DS_PADDING_PERIOD]; /* by begin and length; together LEARNED at most */
    uint32_t votes[DS_PADDING_PERIOD];                      /* for the fill of a length */
} tally;

/* A majority keeps its place: each other one takes away a vote. */
static void vote(tally *t, ds_padding_rules *rules, const uint8_t *file, const ds_padding *p) {
    uint64_t length = p->end - p->begin;
    uint32_t *fill = &rules->fill[length];
    if (t->votes[length] == 0)
        *fill = (uint32_t)p->begin;
    bool same = memcmp(file + *fill, file + p->begin, length) == 0;
    t->votes[length] += same ? 1 : -1u;
}

static int most_frequent(const uint16_t *counts, unsigned least) {
    unsigned best = least;
    for (unsigned length = least + 1; length < DS_PADDING_PERIOD; length++)
        if (counts[length] > counts[best])
            best = length;
    return counts[best] >= LEAST ? (int)best : DS_PADDING_UNKNOWN;
}

/* Where half the period explains all of it, each half knows what the other does. */
static void share_halves(int16_t *length) {
    enum { HALF = DS_PADDING_PERIOD / 2 };
    for (unsigned i = 0; i < HALF; i++)
        if (length[i] != length[i + HALF] && length[i] >= 0 && length[i + HALF] >= 0)
            return;
    for (unsigned i = 0; i < HALF; i++)
        length[i] = length[i + HALF] = length[i] >= 0 ? length[i] : length[i + HALF];
}

/* Of what is no function, only paddings with bytes show what it is aligned to; where it is, it has none. */
static void settle(ds_padding_rules *rules, const tally *t, bool of_functions) {
    for (unsigned begin = 0; begin < DS_PADDING_PERIOD; begin++)
        rules->length[begin] = (int16_t)most_frequent(t->lengths[begin], of_functions ? 0 : 1);
    share_halves(rules->length);
    for (unsigned begin = 0; !of_functions && begin < DS_PADDING_PERIOD; begin += ALIGNED)
        if (rules->length[begin] < 0 || begin % (2 * ALIGNED) == 0)
            rules->length[begin] = 0;
    rules->moving = 0;
    for (unsigned shift = 1; shift < DS_PADDING_PERIOD; shift++)
        for (unsigned begin = 0; begin < DS_PADDING_PERIOD; begin++)
            if (rules->length[begin] != rules->length[(begin + shift) % DS_PADDING_PERIOD])
                rules->moving |= 1u << shift;
}

/* Whether code behind a jump is padded more often than not, where a padding would have bytes. */
static bool pads_behind_jumps(const ds_padding_rules *rules, const tally *t) {
    uint64_t padded = 0, bare = 0;
    for (unsigned begin = 0; begin < DS_PADDING_PERIOD; begin++)
        if (rules->length[begin] > 0) {
            padded += t->lengths[begin][rules->length[begin]];
            bare += t->lengths[begin][0];
        }
    return padded > bare;
}

/* By old offset, each region with the next one of the file. */
static ds_status find_seams(ds_paddings *p, ds_arena *arena) {
    const ds_image *image = p->old_image;
    const ds_region *regions = p->new_regions;
    for (uint64_t i = 0; i + 1 < image->by_offset.count; i++) {
        const uint32_t *numbers = &image->by_offset.items[i];
        const ds_region *old = image->regions.items;
        if (numbers[0] >= p->new_region_count || numbers[1] >= p->new_region_count)
            continue;
        const ds_region *last = &regions[numbers[0]], *next = &regions[numbers[1]];
        ds_seam seam = {.begin = old[numbers[0]].offset + old[numbers[0]].size,
                        .end = old[numbers[1]].offset,
                        .new_begin = last->offset + last->size,
                        .new_size = next->offset - last->offset - last->size};
        bool have_bytes = last->class_ != DS_REGION_NOBITS && next->class_ != DS_REGION_NOBITS;
        if (!have_bytes || next->offset < seam.new_begin || seam.new_size == seam.end - seam.begin)
            continue;
        DS_TRY(DS_VEC_RESERVE(arena, &p->seams, p->seams.count + 1));
        p->seams.items[p->seams.count++] = seam;
    }
    return DS_OK;
}

static void learn_rules(ds_paddings *p) {
    const ds_image *old_image = p->old_image;
    tally tallies[2] = {0};
    ds_padding found;
    ds_padding_scan s = ds_padding_scan_open(old_image, 0, UINT64_MAX, true);
    for (unsigned of_function = 0; of_function < 2; of_function++)
        memset(p->rules[of_function].fill, 0xff, sizeof p->rules[of_function].fill);
    for (unsigned i = 0; i < LEARNED && ds_padding_next(&s, &found); i++) {
        tally *t = &tallies[found.of_function];
        uint64_t length = found.end - found.begin;
        if (length >= DS_PADDING_PERIOD || (!found.of_function && length > 0 && found.end % ALIGNED != 0))
            continue;
        t->lengths[found.begin % DS_PADDING_PERIOD][length]++;
        if (length > 0)
            vote(t, &p->rules[found.of_function], old_image->file.data, &found);
    }
    for (unsigned of_function = 0; of_function < 2; of_function++)
        settle(&p->rules[of_function], &tallies[of_function], of_function);
    p->behind_jumps = pads_behind_jumps(&p->rules[false], &tallies[false]);
}

ds_status ds_paddings_learn(ds_paddings *p, ds_arena *arena) {
    if (p->learned)
        return DS_OK;
    p->learned = true;
    learn_rules(p);
    return find_seams(p, arena);
}

void ds_paddings_free(ds_paddings *p, ds_arena *arena) {
    DS_VEC_FREE(arena, &p->seams);
}

/* ---- making them anew ---- */

ds_padding_scan ds_paddings_scan(const ds_paddings *p, ds_offset from, ds_offset end) {
    return ds_padding_scan_open(p->old_image, from, end, p->behind_jumps);
}

bool ds_paddings_change(const ds_paddings *p, const ds_padding *found, uint64_t shift, ds_cut *cut) {
    const ds_padding_rules *rules = &p->rules[found->of_function];
    uint64_t old_length = found->end - found->begin;
    int made = rules->length[(found->begin + shift) % DS_PADDING_PERIOD];
    if (old_length >= DS_PADDING_PERIOD || rules->length[found->begin % DS_PADDING_PERIOD] != (int)old_length)
        return false;
    if (made < 0 || made == (int)old_length || (made > 0 && rules->fill[made] == UINT32_MAX))
        return false;
    *cut = (ds_cut){found->begin, found->end, rules->fill[made], (uint64_t)made, (uint64_t)made};
    return true;
}

uint64_t ds_paddings_seams_until(const ds_paddings *p, ds_offset from) {
    uint64_t low = 0, high = p->seams.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (p->seams.items[middle].begin <= from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ds_paddings_seam_change(const ds_seam *seam, uint64_t shift, ds_cut *cut) {
    uint64_t old_size = seam->end - seam->begin;
    *cut = (ds_cut){seam->begin, seam->end, seam->begin, old_size, seam->new_size};
    if (seam->new_size < old_size)
        cut->copied = seam->new_size;
    return seam->begin + shift == seam->new_begin;
}

bool ds_paddings_next_cut(const ds_paddings *p, ds_offset from, ds_offset end, uint64_t shift, ds_cut *cut) {
    ds_padding found;
    bool at_seam = false;
    for (uint64_t i = ds_paddings_seams_until(p, from); !at_seam && i < p->seams.count; i++) {
        if (p->seams.items[i].end >= end)
            break;
        at_seam = ds_paddings_seam_change(&p->seams.items[i], shift, cut);
    }
    if (!((p->rules[0].moving | p->rules[1].moving) >> shift % DS_PADDING_PERIOD & 1))
        return at_seam;
    ds_padding_scan s = ds_paddings_scan(p, from, at_seam ? cut->begin : end);
    while (ds_padding_next(&s, &found))
        if (ds_paddings_change(p, &found, shift, cut))
            return true;
    return at_seam;
}

ds_status ds_paddings_stretch(const ds_paddings *p, const ds_block *block, ds_arena *arena, ds_blocks *out) {
    ds_block rest = *block;
    ds_cut cut;
    for (;;) {
        ds_offset end = rest.old_offset + rest.length;
        if (!ds_paddings_next_cut(p, rest.old_offset, end, rest.new_offset - rest.old_offset, &cut))
            break;
        uint64_t before = cut.begin - rest.old_offset;
        DS_TRY(ds_blocks_add(out, (ds_block){rest.new_offset, rest.old_offset, before}, arena));
        if (cut.copied > 0)
            DS_TRY(ds_blocks_add(out, (ds_block){rest.new_offset + before, cut.fill, cut.copied}, arena));
        rest = (ds_block){rest.new_offset + before + cut.made, cut.end, end - cut.end};
    }
    return ds_blocks_add(out, rest, arena);
}
