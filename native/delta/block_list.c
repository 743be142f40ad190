/* Coding of the block list; docs/spec/delta-format.md, "Blocks". */
#include "delta/layout.h"

/* A place is one of the latest diagonals, or the old end of one of the latest blocks (a stretch goes on where it
 * was left for a moment), or far: a distance from one of the latest ends. Both lists are moved to front.
 * Codes: 0 the latest diagonal, 1 the latest end, then the older diagonals, the older ends; then, with a zigzag
 * distance, the ends that bytes are counted from, and those that functions are counted from. */
#define DIAGONALS 8
#define ENDS 16
#define BASES 4
#define PLACE_DIAGONALS 2 /* the code of diagonal 1 */
#define PLACE_ENDS (PLACE_DIAGONALS + DIAGONALS - 1)
#define PLACE_FAR (PLACE_ENDS + ENDS - 1)
#define PLACE_FUNCTIONS (PLACE_FAR + BASES)
#define PLACES (PLACE_FUNCTIONS + BASES)
#define PLACE_BITS 5

typedef struct place {
    unsigned code;
    uint64_t far; /* zigzag; from PLACE_FAR on */
} place;

typedef struct places {
    const ds_image *old_image;
    bool by_functions;             /* whether places and lengths may be told by functions */
    uint64_t diagonals[DIAGONALS]; /* old offset - new offset, latest first */
    ds_offset ends[ENDS];          /* old ends of blocks, latest first */
    ds_offset new_end;
} places;

/* Rank of `value` among the first `count` of a list; `count` where it is not. */
static unsigned rank_of(const uint64_t *list, unsigned count, uint64_t value) {
    unsigned rank = 0;
    while (rank < count && list[rank] != value)
        rank++;
    return rank;
}

/* The entry at `rank` goes (the last, where there is none), `value` comes in front. */
static void push(uint64_t *list, unsigned count, unsigned rank, uint64_t value) {
    memmove(list + 1, list, (rank < count ? rank : count - 1) * sizeof *list);
    list[0] = value;
}

static void settle_diagonal(places *p, const ds_block *piece) {
    uint64_t diagonal = piece->old_offset - piece->new_offset;
    push(p->diagonals, DIAGONALS, rank_of(p->diagonals, DIAGONALS, diagonal), diagonal);
    p->new_end = piece->new_offset + piece->length;
}

/* Of a block in several pieces the first and the last one say where things lie. */
static void settle_place(places *p, const ds_block *block, const ds_block *pieces, uint64_t count) {
    settle_diagonal(p, &pieces[0]);
    if (count > 1)
        settle_diagonal(p, &pieces[count - 1]);
    push(p->ends, ENDS, rank_of(p->ends, ENDS, block->old_offset), block->old_offset + block->length);
}

/* ---- places: writing ---- */

static bool is_function(const ds_image *image, ds_offset offset, uint64_t *number) {
    *number = ds_image_functions_before(image, offset);
    return *number < image->functions.count && image->functions.items[*number] == offset;
}

/* The end that is nearest, counted in bytes or in functions; of nearly equal ones the latest. */
static place nearest(unsigned code, uint64_t to, const uint64_t *from) {
    unsigned base = 0;
    for (unsigned i = 1; i < BASES; i++)
        if (ds_bits_in(ds_zigzag(to - from[i])) + 1 < ds_bits_in(ds_zigzag(to - from[base])))
            base = i;
    return (place){code + base, ds_zigzag(to - from[base])};
}

static place far_place(const places *p, ds_offset old_offset) {
    place by_bytes = nearest(PLACE_FAR, old_offset, p->ends);
    uint64_t number, functions[BASES];
    if (!p->by_functions || !is_function(p->old_image, old_offset, &number))
        return by_bytes;
    for (unsigned i = 0; i < BASES; i++)
        functions[i] = ds_image_functions_before(p->old_image, p->ends[i]);
    place by_functions = nearest(PLACE_FUNCTIONS, number, functions);
    return by_functions.far <= by_bytes.far ? by_functions : by_bytes;
}

static place find_place(const places *p, const ds_block *block) {
    unsigned diagonal = rank_of(p->diagonals, DIAGONALS, block->old_offset - block->new_offset);
    unsigned end = rank_of(p->ends, ENDS, block->old_offset);
    if (diagonal == 0 || end == 0)
        return (place){diagonal == 0 ? 0 : 1, 0};
    if (diagonal < DIAGONALS)
        return (place){PLACE_DIAGONALS + diagonal - 1, 0};
    if (end < ENDS)
        return (place){PLACE_ENDS + end - 1, 0};
    return far_place(p, block->old_offset);
}

/* ---- places: reading ---- */

static bool old_offset_of(const places *p, place at, ds_offset new_offset, ds_offset *old_offset) {
    if (at.code >= PLACE_FUNCTIONS) {
        uint64_t before = ds_image_functions_before(p->old_image, p->ends[at.code - PLACE_FUNCTIONS]);
        uint64_t number = before + ds_unzigzag(at.far);
        if (number >= p->old_image->functions.count)
            return false;
        *old_offset = p->old_image->functions.items[number];
    } else if (at.code >= PLACE_FAR) {
        *old_offset = p->ends[at.code - PLACE_FAR] + ds_unzigzag(at.far);
    } else if (at.code == 1 || at.code >= PLACE_ENDS) {
        *old_offset = p->ends[at.code == 1 ? 0 : at.code - PLACE_ENDS + 1];
    } else {
        *old_offset = new_offset + p->diagonals[at.code == 0 ? 0 : at.code - PLACE_DIAGONALS + 1];
    }
    return true;
}

/* ---- a block ---- */

/* What the model knows of a block: how the last ones went. */
typedef struct history {
    unsigned place, gap[2], length[2]; /* latest first; numbers by their logarithm */
    uint32_t ended;                    /* latest blocks, a bit each: did they end where a function starts */
} history;

static void remember(history *h, uint64_t gap, unsigned place, uint64_t length, bool ends) {
    h->place = place;
    h->gap[1] = h->gap[0];
    h->gap[0] = ds_bits_in(gap);
    h->length[1] = h->length[0];
    h->length[0] = ds_bits_in(length - 1);
    h->ended = h->ended << 1 | ends;
}

/* What the old image has where the last block ended: there something changed. */
static uint32_t standing(const places *p) {
    const ds_image *image = p->old_image;
    ds_offset end = p->ends[0];
    return end < image->file.size ? (uint32_t)ds_image_is_start(image, end) << 8 | image->file.data[end] : 512;
}

static ds_status code_gap(ds_coder *c, const places *p, const history *h, uint64_t *gap) {
    if (c->model == NULL)
        return ds_code_number(c, DS_STREAM_GAPS, NULL, gap);
    ds_contexts contexts = {.row = DS_DECIDE_GAP,
                            .hash = {0, ds_mix(h->gap[0], h->gap[1]), ds_mix(ds_mix(h->gap[0], h->place), h->length[0]),
                                     ds_mix(1, standing(p))}};
    return ds_code_number(c, DS_STREAM_GAPS, &contexts, gap);
}

/* In a stream one number is all of a place. */
static ds_status stream_place(ds_coder *c, const places *p, place *at) {
    unsigned ways = p->by_functions ? 2 * BASES : BASES;
    uint64_t number = at->code < PLACE_FAR ? at->code : PLACE_FAR + at->far * ways + (at->code - PLACE_FAR);
    DS_TRY(ds_code_number(c, DS_STREAM_PLACES, NULL, &number));
    *at = (place){(unsigned)number, 0};
    if (number >= PLACE_FAR)
        *at = (place){PLACE_FAR + (unsigned)((number - PLACE_FAR) % ways), (number - PLACE_FAR) / ways};
    return DS_OK;
}

static ds_status code_place(ds_coder *c, const places *p, const history *h, uint64_t gap, place *at) {
    if (c->model == NULL)
        return stream_place(c, p, at);
    unsigned g = ds_bits_in(gap);
    uint32_t exactly = gap < 64 ? (uint32_t)gap : 64 + g, s = standing(p);
    ds_contexts contexts = {.row = DS_DECIDE_PLACE,
                            .hash = {0, g, ds_mix(ds_mix(h->length[0], h->place), g),
                                     ds_mix(ds_mix(h->ended & 3, h->place), g), ds_mix(s, exactly)}};
    at->code = ds_code_symbol(c, &contexts, PLACE_BITS, at->code);
    if (at->code < PLACE_FAR)
        return DS_OK;
    if (at->code >= PLACE_FUNCTIONS && !p->by_functions)
        return DS_E_DELTA;
    unsigned way = at->code - PLACE_FAR;
    ds_contexts contexts_far = {.row = DS_DECIDE_FAR,
                                .hash = {way, ds_mix(way, h->place), ds_mix(h->length[0], g), ds_mix(s, exactly),
                                         ds_mix(ds_mix(way, 9), exactly)}};
    if (way < BASES)
        contexts_far.lead = (ds_lead){DS_LEADS_TO_OLD, .from = p->ends[way]};
    uint64_t far = ds_unzigzag(at->far);
    DS_TRY(ds_code_signed(c, DS_STREAM_PLACES, &contexts_far, &far));
    at->far = ds_zigzag(far);
    return DS_OK;
}

static bool model_ends(ds_coder *c, const places *p, const history *h, uint64_t gap, unsigned code, ds_offset from,
                       bool ends) {
    uint64_t number;
    unsigned starts = is_function(p->old_image, from, &number), at = code << 1 | starts, g = ds_bits_in(gap);
    ds_contexts contexts = {.row = DS_DECIDE_BLOCK_ENDS,
                            .select = starts,
                            .hash = {at, ds_mix(at, h->ended & 3), ds_mix(starts, h->ended & 0xff),
                                     ds_mix(at, h->length[0]), ds_mix(at, g), ds_mix(ds_mix(at, g), h->ended & 7)}};
    return ds_code_flag(c, &contexts, ends);
}

/* The length, or 2 × the length, but 0 where the block goes on to the end; or 2 × the functions that start in it, plus
 * 1, where it ends with the one behind them. */
static ds_status code_length(ds_coder *c, const places *p, const history *h, uint64_t gap, unsigned code,
                             ds_offset from, uint64_t *length, bool *ends) {
    const ds_image *image = p->old_image;
    uint64_t most = ds_image_size(image) - from, behind = 0, last = 0;
    uint64_t first = p->by_functions ? ds_image_functions_before(image, from + 1) : 0;
    *ends = c->writing && p->by_functions && is_function(image, from + *length, &last);
    uint64_t value = *ends ? last - first : *length == most ? 0 : *length;
    unsigned g = ds_bits_in(gap);
    ds_contexts contexts = {.row = DS_DECIDE_LENGTH,
                            .hash = {0, code, ds_mix(h->length[0], h->length[1]), ds_mix(ds_mix(g, code), h->place)}};
    if (c->model == NULL) {
        value = p->by_functions ? value << 1 | *ends : value;
        DS_TRY(ds_code_number(c, DS_STREAM_LENGTHS, NULL, &value));
        *ends = p->by_functions && value & 1;
        value >>= p->by_functions;
    } else {
        if (p->by_functions)
            *ends = model_ends(c, p, h, gap, code, from, *ends);
        if (!*ends)
            contexts.lead = (ds_lead){DS_LEADS_TO_OLD, .from = from};
        for (unsigned i = 0; *ends && i < ds_decision_rows[DS_DECIDE_LENGTH].inputs; i++)
            contexts.hash[i] = ds_mix(contexts.hash[i], 1);
        DS_TRY(ds_code_number(c, DS_STREAM_LENGTHS, &contexts, &value));
    }
    if (!*ends) {
        *length = value == 0 ? most : value;
        return *length <= most ? DS_OK : DS_E_DELTA;
    }
    if (!ds_add(first, value, &behind) || behind >= image->functions.count)
        return DS_E_DELTA;
    *length = image->functions.items[behind] - from;
    return DS_OK;
}

/* What it stands for, behind those before it. */
static ds_status add_pieces(ds_coder *c, places *p, const ds_block *block, uint64_t gap, const ds_paddings *paddings,
                            uint64_t new_size, ds_arena *arena, ds_blocks *out) {
    uint64_t first = out->list.count;
    DS_TRY(paddings != NULL ? ds_paddings_stretch(paddings, block, arena, out) : ds_blocks_add(out, *block, arena));
    const ds_block *pieces = out->list.items + first;
    uint64_t count = out->list.count - first;
    settle_place(p, block, pieces, count);
    for (uint64_t i = 0; i < count; i++)
        if (!ds_within(pieces[i].new_offset, pieces[i].length, new_size))
            return DS_E_DELTA;
    /* What names a block is the price of what ends there: the last byte of the gap before it, else its own first. */
    ds_coder_note(c, block->new_offset - (gap > 0));
    return DS_OK;
}

static ds_status code_block(ds_coder *c, places *p, history *h, const ds_paddings *paddings, uint64_t new_size,
                            ds_arena *arena, ds_block *block, ds_blocks *out) {
    uint64_t gap = block->new_offset - p->new_end;
    place at = {0};
    bool ends;
    if (c->writing)
        at = find_place(p, block);
    DS_TRY(code_gap(c, p, h, &gap));
    DS_TRY(code_place(c, p, h, gap, &at));
    if (!ds_add(p->new_end, gap, &block->new_offset) || !old_offset_of(p, at, block->new_offset, &block->old_offset) ||
        block->old_offset >= ds_image_size(p->old_image))
        return DS_E_DELTA;
    DS_TRY(code_length(c, p, h, gap, at.code, block->old_offset, &block->length, &ends));
    remember(h, gap, at.code, block->length, ends);
    return add_pieces(c, p, block, gap, paddings, new_size, arena, out);
}

/* ---- the list ---- */

/* Writing: functions are worth naming where many blocks end with one. The model finds out itself. */
static bool name_functions(const ds_coder *c, const ds_image *old_image, const ds_blocks *blocks) {
    uint64_t ending = 0, number;
    if (old_image->functions.count == 0 || blocks->list.count == 0)
        return false;
    if (c->model != NULL)
        return true;
    for (uint64_t i = 0; i < blocks->list.count; i++)
        ending += is_function(old_image, blocks->list.items[i].old_offset + blocks->list.items[i].length, &number);
    return ending >= blocks->list.count / 4;
}

#define BLOCKS_A_CHECK 4096

/* What is known of a block that is to be read: anything that is one. */
static const ds_block unread = {.length = 1};

ds_status ds_code_blocks(ds_coder *c, const ds_image *old_image, ds_paddings *paddings, const ds_blocks *sent,
                         bool stretched, uint64_t new_size, ds_arena *arena, ds_blocks *blocks) {
    places p = {.old_image = old_image};
    history h = {0};
    uint64_t count =
        c->writing ? sent->list.count << 2 | (uint64_t)stretched << 1 | name_functions(c, old_image, sent) : 0;
    DS_TRY(ds_code_layout(c, DS_LAYOUT_BLOCK_COUNT, &count));
    ds_coder_note(c, DS_TRACE_NOWHERE);
    p.by_functions = count & 1;
    stretched = count & 2;
    count >>= 2;
    if (count > new_size)
        return DS_E_DELTA;
    if (stretched)
        DS_TRY(ds_paddings_learn(paddings, arena));
    DS_TRY(DS_VEC_RESERVE(arena, &blocks->list, 1));
    for (uint64_t i = 0; i < count; i++) {
        ds_block block = c->writing ? sent->list.items[i] : unread;
        if (i % BLOCKS_A_CHECK == 0 && c->model != NULL)
            DS_TRY(ds_model_check(c->model));
        DS_TRY(code_block(c, &p, &h, stretched ? paddings : NULL, new_size, arena, &block, blocks));
    }
    return DS_OK;
}
