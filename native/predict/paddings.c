/* Learning from old paddings, and making them anew; see paddings.h. */
#include "predict/paddings.h"

/* ---- paddings of an image, one after the other ---- */

typedef struct padding {
    ds_offset begin, end; /* equal where code begins without one */
    bool of_function;
} padding;

typedef struct scan {
    const ds_image *image;
    ds_offset from, at, end;
    uint64_t function; /* number of the first that does not start before `at` */
    bool behind_jumps; /* whether code behind a jump counts where it begins without a padding */
    ds_offset before;  /* the instruction before `at`; UINT64_MAX: none on the way */
} scan;

static scan open_scan(const ds_image *image, ds_offset from, ds_offset end, bool behind_jumps) {
    ds_offset most = image->starts != NULL ? image->file.size : 0;
    return (scan){.image = image,
                  .from = from,
                  .at = from,
                  .end = end < most ? end : most,
                  .function = ds_image_functions_before(image, from),
                  .behind_jumps = behind_jumps,
                  .before = UINT64_MAX};
}

/* Where the next instruction starts, from `at` on; `end`, where none does before. */
static ds_offset next_start(const ds_image *image, ds_offset at, ds_offset end) {
    while (at < end) {
        unsigned starts = image->starts[at >> 3] >> (at & 7);
        if (starts != 0) {
            at += (unsigned)__builtin_ctz(starts);
            return at < end ? at : end;
        }
        at = (at | 7) + 1;
    }
    return end;
}

#define PREFIX_WORD 0x66
#define PREFIX_CODE 0x2e

/* Whether an instruction does nothing: NOP of AArch64; NOP and INT3 of x86-64, in all lengths that assemblers use. */
static bool does_nothing(const uint8_t *bytes, uint64_t size) {
    static const uint8_t word[4] = {0x1f, 0x20, 0x03, 0xd5};
    if (size == sizeof word && memcmp(bytes, word, sizeof word) == 0)
        return true;
    if (size == 1 && bytes[0] == 0xcc)
        return true;
    for (; size > 1 && (bytes[0] == PREFIX_WORD || bytes[0] == PREFIX_CODE); size--)
        bytes++;
    return size == 1 ? bytes[0] == 0x90 : size > 2 && bytes[0] == 0x0f && bytes[1] == 0x1f;
}

#define PREFIX_NOTRACK 0x3e

/* Whether what stands behind an instruction is only reached from elsewhere: returns, and jumps without condition. */
static bool leads_away(const uint8_t *bytes, uint64_t size) {
    if (size == 4 && ((ds_load32(bytes) & 0xfc000000) == 0x14000000 || (ds_load32(bytes) & 0xffbffc1f) == 0xd61f0000))
        return true;
    if (bytes[0] == PREFIX_NOTRACK && size > 1)
        bytes++, size--;
    switch (bytes[0]) {
    case 0xc3:
        return size == 1;
    case 0xeb:
        return size == 2;
    case 0xe9:
        return size == 5;
    case 0xff:
        return size > 1 && (bytes[1] >> 3 & 7) == 4;
    default:
        return false;
    }
}

static bool is_function(scan *s, ds_offset at) {
    const ds_image *image = s->image;
    while (s->function < image->functions.count && image->functions.items[s->function] < at)
        s->function++;
    return s->function < image->functions.count && image->functions.items[s->function] == at;
}

/* The next one that begins behind `from` and ends before `end`. */
static bool next_padding(scan *s, padding *found) {
    const ds_image *image = s->image;
    ds_offset size = image->file.size;
    for (;;) {
        ds_offset begin = next_start(image, s->at, s->end), at = begin;
        while (at < s->end) {
            ds_offset next = next_start(image, at + 1, size);
            if (!does_nothing(image->file.data + at, next - at))
                break;
            at = next;
        }
        if (at >= s->end)
            return false;
        bool behind_jump =
            s->behind_jumps && s->before < begin && leads_away(image->file.data + s->before, begin - s->before);
        s->before = at;
        s->at = at + 1;
        *found = (padding){begin, at, is_function(s, at)};
        if (begin > s->from && (begin < at || found->of_function || behind_jump))
            return true;
    }
}

/* ---- rules ---- */

#define LEARNED 65536 /* paddings that are looked at, at most */
#define ALIGNED 8     /* code that is no function is padded for at least this */
#define LEAST 2       /* a rule is seen so often */

typedef struct tally {
    uint16_t lengths[DS_PADDING_PERIOD][DS_PADDING_PERIOD]; /* by begin and length */
    uint32_t votes[DS_PADDING_PERIOD];                      /* for the fill of a length */
} tally;

/* A majority keeps its place: each other one takes away a vote. */
static void vote(tally *t, ds_padding_rules *rules, const uint8_t *file, const padding *p) {
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
static void share_halves(int8_t *length) {
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
        rules->length[begin] = (int8_t)most_frequent(t->lengths[begin], of_functions ? 0 : 1);
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

void ds_paddings_learn(ds_paddings *p, const ds_image *old_image) {
    tally tallies[2] = {0};
    padding found;
    scan s = open_scan(old_image, 0, UINT64_MAX, true);
    *p = (ds_paddings){.old_image = old_image};
    for (unsigned of_function = 0; of_function < 2; of_function++)
        memset(p->rules[of_function].fill, 0xff, sizeof p->rules[of_function].fill);
    for (unsigned i = 0; i < LEARNED && next_padding(&s, &found); i++) {
        tally *t = &tallies[found.of_function];
        uint64_t length = found.end - found.begin;
        if (length >= DS_PADDING_PERIOD || (!found.of_function && length > 0 && found.end % ALIGNED != 0))
            continue;
        uint16_t *count = &t->lengths[found.begin % DS_PADDING_PERIOD][length];
        *count += *count < UINT16_MAX;
        if (length > 0)
            vote(t, &p->rules[found.of_function], old_image->file.data, &found);
    }
    for (unsigned of_function = 0; of_function < 2; of_function++)
        settle(&p->rules[of_function], &tallies[of_function], of_function);
    p->behind_jumps = pads_behind_jumps(&p->rules[false], &tallies[false]);
}

/* ---- making them anew ---- */

static scan scan_old(const ds_paddings *p, ds_offset from, ds_offset end) {
    return open_scan(p->old_image, from, end, p->behind_jumps);
}

/* Whether a padding that is as the rules say has another length where it is moved by `shift`. */
static bool changes(const ds_paddings *p, const padding *found, uint64_t shift, unsigned *length) {
    const ds_padding_rules *rules = &p->rules[found->of_function];
    uint64_t old_length = found->end - found->begin;
    int made = rules->length[(found->begin + shift) % DS_PADDING_PERIOD];
    if (old_length >= DS_PADDING_PERIOD || rules->length[found->begin % DS_PADDING_PERIOD] != (int)old_length)
        return false;
    if (made < 0 || made == (int)old_length || (made > 0 && rules->fill[made] == UINT32_MAX))
        return false;
    *length = (unsigned)made;
    return true;
}

/* The next padding that is made anew, of what is copied with this shift. */
static bool next_change(const ds_paddings *p, scan *s, uint64_t shift, padding *found, unsigned *length) {
    if (!((p->rules[0].moving | p->rules[1].moving) >> shift % DS_PADDING_PERIOD & 1))
        return false;
    while (next_padding(s, found))
        if (changes(p, found, shift, length))
            return true;
    return false;
}

static ds_status append(ds_blocks *out, ds_block block, ds_arena *arena) {
    DS_TRY(DS_VEC_RESERVE(arena, &out->list, out->list.count + 1));
    out->list.items[out->list.count++] = block;
    return DS_OK;
}

ds_status ds_paddings_stretch(const ds_paddings *p, const ds_block *block, ds_arena *arena, ds_blocks *out) {
    ds_block rest = *block;
    padding found;
    unsigned length;
    for (;;) {
        ds_offset end = rest.old_offset + rest.length;
        scan s = scan_old(p, rest.old_offset, end);
        if (!next_change(p, &s, rest.new_offset - rest.old_offset, &found, &length))
            break;
        uint64_t before = found.begin - rest.old_offset;
        DS_TRY(append(out, (ds_block){rest.new_offset, rest.old_offset, before}, arena));
        if (length > 0)
            DS_TRY(append(out, (ds_block){rest.new_offset + before, p->rules[found.of_function].fill[length], length},
                          arena));
        rest = (ds_block){rest.new_offset + before + length, found.end, end - found.end};
    }
    return append(out, rest, arena);
}

/* ---- writing ---- */

typedef struct fold {
    const ds_paddings *paddings;
    const ds_image *new_image;
    ds_arena *arena;
    ds_blocks *out;
    ds_block last; /* the piece that the last of them ends with */
    uint64_t saved, added;
} fold;

static ds_offset old_end(const ds_block *block) {
    return block->old_offset + block->length;
}

/* Whether the padding, made anew behind the last piece, leads to `next`, and is what the new image has there. */
static bool leads(const fold *f, const padding *found, const ds_block *next) {
    const ds_block *last = &f->last;
    unsigned length;
    uint64_t shift = last->new_offset - last->old_offset;
    if (found->begin <= last->old_offset || found->end >= old_end(next) || !changes(f->paddings, found, shift, &length))
        return false;
    ds_offset begin = found->begin + shift;
    if (begin + length - found->end != next->new_offset - next->old_offset)
        return false;
    const ds_span *file = &f->new_image->file, *old_file = &f->paddings->old_image->file;
    return length == 0 || (ds_within(begin, length, file->size) &&
                           memcmp(file->data + begin,
                                  old_file->data + f->paddings->rules[found->of_function].fill[length], length) == 0);
}

/* The padding between the last piece and `next`, which both may have some bytes of. */
static bool find_between(const fold *f, const ds_block *next, padding *found) {
    ds_offset end = old_end(&f->last), from = f->last.old_offset;
    if (next->old_offset + DS_PADDING_PERIOD < end || end + DS_PADDING_PERIOD < next->old_offset)
        return false;
    if (end - from > 2 * DS_PADDING_PERIOD)
        from = end - 2 * DS_PADDING_PERIOD;
    ds_offset most = old_end(next) - end < 2 * DS_PADDING_PERIOD ? old_end(next) : end + 2 * DS_PADDING_PERIOD;
    scan s = scan_old(f->paddings, from, most);
    while (next_padding(&s, found) && found->begin <= end)
        if (found->end >= next->old_offset && leads(f, found, next))
            return true;
    return false;
}

static ds_status begin_block(fold *f, ds_block block) {
    f->last = block;
    return append(f->out, block, f->arena);
}

/* A block, in pieces where a padding in it stayed as it was though it is expected to change. */
static ds_status fold_block(fold *f, ds_block block) {
    padding found;
    unsigned length;
    uint64_t shift = block.new_offset - block.old_offset;
    bool joined = f->out->list.count > 0 && find_between(f, &block, &found);
    if (joined) {
        ds_block *folded = &f->out->list.items[f->out->list.count - 1];
        ds_offset end = old_end(&block);
        folded->length = end - folded->old_offset;
        block = (ds_block){found.end + shift, found.end, end - found.end};
        f->last = block;
        f->saved++;
    } else {
        DS_TRY(begin_block(f, block));
    }
    scan s = scan_old(f->paddings, block.old_offset, old_end(&block));
    while (next_change(f->paddings, &s, shift, &found, &length)) {
        ds_block *folded = &f->out->list.items[f->out->list.count - 1];
        ds_offset end = old_end(folded);
        folded->length = found.end - folded->old_offset;
        DS_TRY(begin_block(f, (ds_block){found.end + shift, found.end, end - found.end}));
        f->added++;
        s = scan_old(f->paddings, found.end, end);
    }
    return DS_OK;
}

ds_status ds_paddings_fold(const ds_paddings *p, const ds_image *new_image, const ds_blocks *blocks, ds_arena *arena,
                           ds_blocks *folded, bool *worth) {
    fold f = {.paddings = p, .new_image = new_image, .arena = arena, .out = folded};
    for (uint64_t i = 0; i < blocks->list.count; i++)
        DS_TRY(fold_block(&f, blocks->list.items[i]));
    *worth = f.saved > f.added;
    return DS_OK;
}
