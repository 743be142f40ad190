/* zlib's choice of tokens; see parse.h.
 *
 * Source: zlib 1.2.5 to 1.3.1, deflate.c (deflate_fast, deflate_slow, longest_match, configuration_table).
 *
 * Positions that begin with the same three bytes are chained by a hash, latest first. zlib keeps the chains in a
 * window that it moves; here positions count from the start of the content, which gives the same chains.
 * Lazy styles (levels 4 to 9) enter every position, so a match depends only on where it is looked for and on how
 * long the match one position before was. The others leave out the insides of long matches.
 */
#include "deflate/parse.h"

#define LOOKAHEAD_MIN (DS_MATCH_MAX + DS_MATCH_MIN + 1)
#define TOO_FAR 4096 /* a match of three bytes is worth nothing beyond */
#define NONE (DS_MATCH_MIN - 1)
#define NOWHERE UINT64_MAX

typedef struct effort {
    uint16_t good;  /* a match before this long: search a quarter */
    uint16_t lazy;  /* look for a better match behind one that is shorter; not lazy: enter the insides up to */
    uint16_t nice;  /* long enough to stop */
    uint16_t chain; /* positions looked at */
} effort;

static const effort efforts[10] = {
    [1] = {4, 4, 8, 4},      [2] = {4, 5, 16, 8},        [3] = {4, 6, 32, 32},
    [4] = {4, 4, 16, 16},    [5] = {8, 16, 32, 32},      [6] = {8, 16, 128, 128},
    [7] = {8, 32, 128, 256}, [8] = {32, 128, 258, 1024}, [9] = {32, 258, 258, 4096},
};
#define LEVEL_LAZY 4

typedef struct match {
    unsigned length, distance; /* length NONE: there is none */
} match;

struct ds_parser {
    ds_span content;
    effort effort;
    bool lazy, filtered;
    unsigned hash_shift, hash_mask, window_mask;
    uint64_t reach;   /* largest distance */
    uint32_t *heads;  /* latest position of each hash, 0 for none: position 0 is never found */
    uint32_t *before; /* the position before, of the same hash */
    uint64_t at;
    uint64_t entered;  /* lazy: all positions below are; else none from here on */
    uint64_t ahead_at; /* the place of the match that was looked for ahead, or NOWHERE */
    match expected, ahead;
    uint64_t steps, steps_max;
};

uint64_t ds_style_block(const ds_deflate_style *style) {
    return (UINT64_C(1) << (style->memory + 6)) - 1;
}

bool ds_style_is_lazy(const ds_deflate_style *style) {
    return style->level >= LEVEL_LAZY;
}

ds_status ds_parser_open(ds_parser **out, ds_span content, const ds_deflate_style *style, ds_arena *arena) {
    ds_parser *p = *out = ds_arena_alloc(arena, sizeof *p);
    if (p == NULL)
        return DS_E_MEMORY;
    unsigned hash_bits = style->memory + 7u;
    uint64_t window = UINT64_C(1) << style->window;
    *p = (ds_parser){.content = content,
                     .effort = efforts[style->level],
                     .lazy = ds_style_is_lazy(style),
                     .filtered = style->filtered,
                     .hash_shift = (hash_bits + DS_MATCH_MIN - 1) / DS_MATCH_MIN,
                     .hash_mask = (1u << hash_bits) - 1,
                     .window_mask = (unsigned)window - 1,
                     .reach = window - LOOKAHEAD_MIN,
                     .ahead_at = NOWHERE,
                     .steps_max = ds_deflate_work(content.size)};
    p->heads = ds_arena_alloc(arena, (p->hash_mask + UINT64_C(1)) * sizeof *p->heads);
    p->before = ds_arena_alloc(arena, window * sizeof *p->before);
    return p->heads == NULL || p->before == NULL ? DS_E_MEMORY : DS_OK;
}

void ds_parser_close(ds_parser *p, ds_arena *arena) {
    if (p == NULL)
        return;
    ds_arena_free(arena, p->heads);
    ds_arena_free(arena, p->before);
    ds_arena_free(arena, p);
}

uint64_t ds_parser_at(const ds_parser *p) {
    return p->at;
}

bool ds_parser_is_tired(const ds_parser *p) {
    return p->steps > p->steps_max;
}

/* ---- chains ---- */

/* The last positions have no three bytes; nothing begins there. */
static bool has_hash(const ds_parser *p, uint64_t at) {
    return at + DS_MATCH_MIN <= p->content.size;
}

static void enter(ds_parser *p, uint64_t at) {
    const uint8_t *b = p->content.data + at;
    unsigned hash = ((unsigned)b[0] << 2 * p->hash_shift ^ (unsigned)b[1] << p->hash_shift ^ b[2]) & p->hash_mask;
    p->before[at & p->window_mask] = p->heads[hash];
    p->heads[hash] = (uint32_t)at;
}

static void enter_to(ds_parser *p, uint64_t end) {
    for (; p->entered < end; p->entered++)
        if (has_hash(p, p->entered))
            enter(p, p->entered);
}

/* ---- search ---- */

static unsigned equal_length(const uint8_t *a, const uint8_t *b, unsigned limit) {
    unsigned length = 0;
    while (length + 8 <= limit) {
        uint64_t difference = ds_load64(a + length) ^ ds_load64(b + length);
        if (difference != 0)
            return length + (unsigned)__builtin_ctzll(difference) / 8;
        length += 8;
    }
    while (length < limit && a[length] == b[length])
        length++;
    return length;
}

/* The longest match at `at`, the nearest of equally long ones, if longer than `longer_than`. `at` was entered. */
static match find(ds_parser *p, uint64_t at, unsigned longer_than) {
    const uint8_t *here = p->content.data + at;
    uint64_t left = p->content.size - at, lowest = at > p->reach ? at - p->reach : 0;
    unsigned limit = left < DS_MATCH_MAX ? (unsigned)left : DS_MATCH_MAX;
    unsigned nice = p->effort.nice < limit ? p->effort.nice : limit;
    unsigned chain = longer_than >= p->effort.good ? p->effort.chain / 4 : p->effort.chain;
    match best = {longer_than, 0};
    if (!has_hash(p, at))
        return (match){NONE, 0};
    uint64_t there = p->before[at & p->window_mask];
    if (there == 0 || there < lowest)
        return (match){NONE, 0};
    do {
        const uint8_t *candidate = p->content.data + there;
        p->steps++;
        /* Longer than the best so far only if the bytes round its end agree. */
        if (best.length < limit && ds_load16(candidate + best.length - 1) == ds_load16(here + best.length - 1)) {
            unsigned length = equal_length(here, candidate, limit);
            p->steps += length / 8;
            if (length > best.length) {
                best = (match){length, (unsigned)(at - there)};
                if (length >= nice)
                    break;
            }
        }
        there = p->before[there & p->window_mask];
    } while (there > lowest && --chain > 0 && p->steps <= p->steps_max);
    return best.distance == 0 ? (match){NONE, 0} : best;
}

/* ---- choice ---- */

/* The match at `at` as lazy styles see it, behind one of `before` bytes. */
static match find_lazy(ds_parser *p, uint64_t at, unsigned before) {
    enter_to(p, at + 1);
    if (before >= p->effort.lazy)
        return (match){NONE, 0};
    match m = find(p, at, before);
    if (m.length <= 5 && (p->filtered || (m.length == DS_MATCH_MIN && m.distance > TOO_FAR)))
        m = (match){NONE, 0};
    return m;
}

static ds_token expect_lazy(ds_parser *p) {
    p->expected = p->ahead_at == p->at ? p->ahead : find_lazy(p, p->at, NONE);
    p->ahead_at = NOWHERE;
    if (p->expected.length < DS_MATCH_MIN)
        return 0;
    if (p->at + 1 < p->content.size) {
        p->ahead = find_lazy(p, p->at + 1, p->expected.length);
        p->ahead_at = p->at + 1;
        if (p->ahead.length > p->expected.length)
            return 0;
    }
    return ds_token_match(p->expected.length, p->expected.distance);
}

static ds_token expect_greedy(ds_parser *p) {
    if (has_hash(p, p->at) && p->entered <= p->at) {
        enter(p, p->at);
        p->entered = p->at + 1;
    }
    match m = find(p, p->at, NONE);
    return m.length < DS_MATCH_MIN ? 0 : ds_token_match(m.length, m.distance);
}

ds_token ds_parser_expect(ds_parser *p) {
    return p->lazy ? expect_lazy(p) : expect_greedy(p);
}

void ds_parser_take(ds_parser *p, ds_token token) {
    unsigned length = ds_token_length(token);
    p->at += length;
    if (p->lazy) {
        /* A literal where a match was expected: what was looked for behind it is not what zlib would look for. */
        bool goes_on = token == 0 && p->expected.length >= DS_MATCH_MIN && p->ahead.length > p->expected.length &&
                       p->ahead_at == p->at;
        if (!goes_on)
            p->ahead_at = NOWHERE;
        enter_to(p, p->at);
    } else if (length <= p->effort.lazy) {
        enter_to(p, p->at);
    } else {
        p->entered = p->at;
    }
}
