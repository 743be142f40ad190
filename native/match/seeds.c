/* Seeds: exact matches in reference-free form, found along the new image. At each anchor, cheapest first:
 * the diagonals of the last matches, then the index, nearest candidates first. */
#include "match/index.h"

#define RECENT 4              /* diagonals tried before the index */
#define RECENT_MIN 32         /* equal bytes that make such a match without a look at the index */
#define CANDIDATES 32         /* of a bucket, at most */
#define CANDIDATES_FEW 4      /* of a bucket, where many were in vain: crowded buckets stay cheap ... */
#define CANDIDATES_PER_BYTE 2 /* ... that is, where more than this for each new byte were looked at */
#define SEED_MIN 8            /* shorter matches are noise */
#define JUMP_MIN 32           /* a match this long is jumped over */
#define HOME_MIN 64           /* a match this long says where "here" is */
#define BARREN_LIMIT 4096     /* after this many new bytes without a seed, only every ... */
#define BARREN_STRIDE 8       /* ... so many anchors are looked up: foreign input stays cheap */

/* What will be looked up soon is asked for early, in three steps: memory answers late. Deeper the longer nothing was
 * jumped over. */
#define AHEAD 32 /* anchors; a power of two */
typedef struct ahead {
    uint32_t anchors[AHEAD];
    uint32_t buckets[AHEAD];
    uint64_t done, fetched, placed, listed; /* how many so far; each at least the one before */
    uint64_t next;                          /* where to look for the next anchor */
    uint64_t depth;
} ahead;

typedef struct search {
    const ds_index *index;
    const ds_side *old_side, *new_side;
    int64_t recent[RECENT];
    int64_t home;
    uint64_t from;      /* where the range begins */
    uint64_t looked_at; /* candidates so far */
    uint64_t limit;     /* lookups begin before it */
    ahead soon;
} search;

static uint64_t match_length(const ds_side *old_side, uint64_t old_at, const ds_side *new_side, uint64_t new_at) {
    const uint8_t *a = old_side->bytes + old_at, *b = new_side->bytes + new_at;
    uint64_t limit =
        old_side->size - old_at < new_side->size - new_at ? old_side->size - old_at : new_side->size - new_at;
    uint64_t length = 0;
    while (length + 8 <= limit) {
        uint64_t difference = ds_load64(a + length) ^ ds_load64(b + length);
        if (difference != 0)
            return length + ((uint64_t)__builtin_ctzll(difference) >> 3);
        length += 8;
    }
    while (length < limit && a[length] == b[length])
        length++;
    return length;
}

/* 0 for less than eight bytes: most are. */
static uint64_t match_on(const search *s, uint64_t new_at, int64_t diagonal) {
    uint64_t old_at = new_at + (uint64_t)diagonal;
    if (old_at >= s->old_side->size || ds_load64(s->old_side->bytes + old_at) != ds_load64(s->new_side->bytes + new_at))
        return 0;
    return match_length(s->old_side, old_at, s->new_side, new_at);
}

static void remember(search *s, int64_t diagonal) {
    unsigned at = 0;
    while (at < RECENT - 1 && s->recent[at] != diagonal)
        at++;
    memmove(s->recent + 1, s->recent, at * sizeof *s->recent);
    s->recent[0] = diagonal;
}

/* Where crowded buckets cost more than they should: fewer candidates, fewer anchors. */
static bool is_crowded(const search *s, uint64_t new_at) {
    return s->looked_at >= (new_at - s->from) * CANDIDATES_PER_BYTE;
}

static void look_ahead(search *s, uint64_t at) {
    ahead *a = &s->soon;
    const ds_index *index = s->index;
    while (a->done < a->listed && a->anchors[a->done % AHEAD] < at)
        a->done++;
    if (a->done == a->listed)
        a->next = at;
    a->placed = a->placed > a->done ? a->placed : a->done;
    a->fetched = a->fetched > a->done ? a->fetched : a->done;
    while (a->listed < a->done + a->depth && (a->next = ds_next_anchor(s->new_side, a->next, s->limit)) < s->limit) {
        unsigned i = a->listed++ % AHEAD;
        a->anchors[i] = (uint32_t)a->next;
        a->buckets[i] = (uint32_t)ds_hash_at(s->new_side->bytes + a->next++, index->bits);
        __builtin_prefetch(index->heads + a->buckets[i]);
    }
    for (; a->placed < a->done + a->depth / 2 && a->placed < a->listed; a->placed++)
        __builtin_prefetch(index->positions + index->heads[a->buckets[a->placed % AHEAD]]);
    for (; a->fetched < a->done + a->depth / 4 && a->fetched < a->placed; a->fetched++)
        __builtin_prefetch(s->old_side->bytes + index->positions[index->heads[a->buckets[a->fetched % AHEAD]]]);
    a->depth += a->depth < AHEAD;
}

/* Whether a candidate may be longer than the best so far: then it is equal where that one ended. */
static bool may_be_longer(const search *s, uint64_t old_at, uint64_t new_at, uint64_t length) {
    return old_at + length < s->old_side->size && new_at + length < s->new_side->size &&
           s->old_side->bytes[old_at + length] == s->new_side->bytes[new_at + length];
}

/* Some positions of a bucket, nearest to the wanted one first; their bytes are asked for at once. */
static unsigned choose_candidates(search *s, uint64_t bucket, uint64_t wanted, unsigned most, uint32_t *candidates) {
    const uint32_t *positions = s->index->positions;
    uint64_t first = s->index->heads[bucket], last = s->index->heads[bucket + 1], low = first, high = last;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (positions[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    uint64_t down = low, up = low;
    unsigned count = 0;
    for (; count < most && (down > first || up < last); count++) {
        bool take_up = down == first || (up < last && positions[up] - wanted <= wanted - positions[down - 1]);
        candidates[count] = positions[take_up ? up++ : --down];
        __builtin_prefetch(s->old_side->bytes + candidates[count]);
    }
    s->looked_at += count;
    return count;
}

/* The longest of some candidates nearest to the home diagonal; of equal length the nearest. */
static ds_seed look_up(search *s, uint64_t new_at) {
    ds_seed best = {.new_offset = (uint32_t)new_at};
    uint32_t candidates[CANDIDATES];
    uint64_t wanted = new_at + (uint64_t)s->home;
    unsigned count =
        choose_candidates(s, ds_hash_at(s->new_side->bytes + new_at, s->index->bits), (int64_t)wanted < 0 ? 0 : wanted,
                          is_crowded(s, new_at) ? CANDIDATES_FEW : CANDIDATES, candidates);
    for (unsigned i = 0; i < count; i++) {
        if (!may_be_longer(s, candidates[i], new_at, best.length))
            continue;
        uint64_t length = match_length(s->old_side, candidates[i], s->new_side, new_at);
        if (length > best.length) {
            best.length = (uint32_t)length;
            best.old_offset = candidates[i];
        }
    }
    return best;
}

static ds_seed seed_at(search *s, uint64_t new_at) {
    for (unsigned i = 0; i < RECENT; i++) {
        uint64_t length = match_on(s, new_at, s->recent[i]);
        if (length >= RECENT_MIN)
            return (ds_seed){(uint32_t)new_at, (uint32_t)(new_at + (uint64_t)s->recent[i]), (uint32_t)length};
    }
    look_ahead(s, new_at);
    return look_up(s, new_at);
}

static ds_status put(ds_seeds *seeds, ds_seed seed, ds_arena *arena) {
    DS_TRY(DS_VEC_RESERVE(arena, &seeds->list, seeds->list.count + 1));
    seeds->list.items[seeds->list.count++] = seed;
    return DS_OK;
}

/* The block that the range begins in goes on, anchors or not. */
static ds_status go_on(search *s, ds_range range, ds_seeds *seeds, ds_arena *arena) {
    s->home = range.before;
    remember(s, range.before);
    uint64_t length = match_on(s, range.from, range.before);
    ds_seed seed = {(uint32_t)range.from, (uint32_t)(range.from + (uint64_t)range.before), (uint32_t)length};
    return length >= JUMP_MIN ? put(seeds, seed, arena) : DS_OK;
}

ds_status ds_seeds_find(ds_seeds *seeds, const ds_index *index, const ds_side *old_side, const ds_side *new_side,
                        ds_range range, ds_arena *arena) {
    search s = {.index = index, .old_side = old_side, .new_side = new_side, .from = range.from};
    s.limit = new_side->size < DS_HASH_BYTES ? 0 : new_side->size - DS_HASH_BYTES + 1;
    s.limit = s.limit < range.to ? s.limit : range.to;
    seeds->list.count = 0;
    if (range.before != DS_NO_DIAGONAL)
        DS_TRY(go_on(&s, range, seeds, arena));
    uint64_t at = range.from, last_seed = range.from, skip = 0;
    if (seeds->list.count > 0)
        at = last_seed = range.from + seeds->list.items[0].length;
    while ((at = ds_next_anchor(new_side, at, s.limit)) < s.limit) {
        if (at - last_seed > BARREN_LIMIT && skip++ % BARREN_STRIDE != 0) {
            s.soon.depth = 0;
            at++;
            continue;
        }
        ds_seed seed = seed_at(&s, at);
        if (seed.length < SEED_MIN) {
            at++;
            continue;
        }
        DS_TRY(put(seeds, seed, arena));
        last_seed = at;
        if (seed.length >= HOME_MIN)
            s.home = ds_seed_diagonal(&seed);
        if (seed.length >= JUMP_MIN) {
            remember(&s, ds_seed_diagonal(&seed));
            at += seed.length;
            last_seed = at;
            s.soon.depth = 0;
        } else
            at += is_crowded(&s, at) ? seed.length / 2 : 1;
    }
    return DS_OK;
}
