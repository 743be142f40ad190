/* Choice of blocks: dynamic programming along the new image.
 *
 * States: "literal", and up to LIVE diagonals that seeds keep alive. A byte costs what the coder will
 * pay for it: next to nothing where the normalised bytes agree, a residual where they do not, a literal
 * outside blocks; a change of state costs what a new block costs. The cheapest path is the block list.
 *
 * Exactness: a state whose cost is not below "enter from the best state" has no history worth keeping, so
 * paths are recorded only where a state is entered. Between the mismatches of the best state nothing can
 * overtake it, so where it is alone, runs of equal bytes are jumped over.
 *
 * Prices are integers in 1/64 bit, found by trial on nine pairs of both formats: the optimum is
 * flat, each of them moves the total by less than 1 % for a fifth of its value.
 */
#include "match/match.h"

#define LIVE 24
#define LIVE_POOR 4          /* the same, when the credit is used up */
#define CREDIT_A_BYTE 6      /* visits to states that each new byte earns: look-alikes without end stay cheap, */
#define CREDIT_MAX (1 << 20) /* while changed code may use what unchanged code has earned */
#define REACH_BEFORE 96      /* a seed's diagonal is live from so many bytes before it ... */
#define REACH_AFTER 192      /* ... to so many after */
#define HOME_LENGTH 64
#define FAR_DISTANCE 4096
#define WORD_SIZE 4 /* code in words starts at multiples of it in the file too: linkers align sections */

#define BIT 64
#define PRICE_EQUAL 1
#define PRICE_INTO_LITERAL (3 * BIT)
#define PRICE_DISTANCE 70 /* 1.1 bits for each doubling of the distance */
#define PRICE_FAR (16 * BIT)

/* What a new byte is, which decides its prices. */
enum {
    DATA_BYTE,
    CODE_BYTE,
    WORD_BYTE,
    WORD_REF_BYTE,
    REF1_BYTE,
    REF2_BYTE,
    REF3_BYTE,
    REF4_BYTE,
    REF8_BYTE,
    BYTE_CLASSES
};

/* What the two codings pay. The model makes literals of code cheap, since it knows the code round them, and blocks
 * dearer against them. */
typedef struct price_list {
    uint16_t change;
    uint16_t miss[BYTE_CLASSES];
    uint16_t literal[BYTE_CLASSES];
} price_list;

static const price_list price_lists[] = {
    [DS_PRICES_STREAMS] = {.change = 15 * BIT,
                           .miss = {[DATA_BYTE] = 9 * BIT,
                                    [CODE_BYTE] = 9 * BIT,
                                    [WORD_BYTE] = 7 * BIT,
                                    [WORD_REF_BYTE] = 14 * BIT / 4,
                                    [REF1_BYTE] = 14 * BIT,
                                    [REF2_BYTE] = 14 * BIT / 2,
                                    [REF3_BYTE] = 14 * BIT / 3,
                                    [REF4_BYTE] = 12 * BIT / 4,
                                    [REF8_BYTE] = 14 * BIT / 8},
                           .literal = {[DATA_BYTE] = 7 * BIT,
                                       [CODE_BYTE] = 32 * BIT / 10,
                                       [WORD_BYTE] = 27 * BIT / 10,
                                       [WORD_REF_BYTE] = 10 * BIT / 4,
                                       [REF1_BYTE] = 5 * BIT,
                                       [REF2_BYTE] = 10 * BIT / 2,
                                       [REF3_BYTE] = 10 * BIT / 3,
                                       [REF4_BYTE] = 10 * BIT / 4,
                                       [REF8_BYTE] = 10 * BIT / 8}},
    [DS_PRICES_MODEL] = {.change = 17 * BIT,
                         .miss = {[DATA_BYTE] = 9 * BIT,
                                  [CODE_BYTE] = 9 * BIT,
                                  [WORD_BYTE] = 7 * BIT,
                                  [WORD_REF_BYTE] = 14 * BIT / 4,
                                  [REF1_BYTE] = 14 * BIT,
                                  [REF2_BYTE] = 14 * BIT / 2,
                                  [REF3_BYTE] = 14 * BIT / 3,
                                  [REF4_BYTE] = 14 * BIT / 4,
                                  [REF8_BYTE] = 14 * BIT / 8},
                         .literal = {[DATA_BYTE] = 7 * BIT,
                                     [CODE_BYTE] = 25 * BIT / 10,
                                     [WORD_BYTE] = 27 * BIT / 10,
                                     [WORD_REF_BYTE] = 10 * BIT / 4,
                                     [REF1_BYTE] = 5 * BIT,
                                     [REF2_BYTE] = 10 * BIT / 2,
                                     [REF3_BYTE] = 10 * BIT / 3,
                                     [REF4_BYTE] = 10 * BIT / 4,
                                     [REF8_BYTE] = 10 * BIT / 8}},
};

#define NO_NODE UINT32_MAX
#define LITERAL INT64_MIN
#define NO_COST (UINT64_MAX / 2) /* of a state that was never entered */

/* Where a state was entered. */
typedef struct node {
    uint32_t parent;
    uint32_t new_offset;
    int64_t diagonal; /* LITERAL, or the block's */
} node;

/* The states, one array a field since each byte visits them all. [0] is literal. A state that was entered
 * but never left needs no node yet: `node` is NO_NODE, and parent and entry say what it would be. */
typedef struct states {
    unsigned count;
    uint64_t cost[LIVE + 1];
    uint64_t price[LIVE + 1];           /* of entering it from the best state */
    const uint8_t *old_bytes[LIVE + 1]; /* old_bytes[i][new offset]; NULL for literal */
    int64_t diagonal[LIVE + 1];
    int64_t home[LIVE + 1]; /* diagonal of the last long block before; for literal, the one it left */
    uint32_t entry[LIVE + 1];
    uint32_t parent[LIVE + 1];
    uint32_t node[LIVE + 1];
    uint32_t until[LIVE + 1]; /* new offset where it dies */
} states;

typedef struct chooser {
    const ds_side *old_side, *new_side;
    uint8_t *classes; /* of the new bytes of the range */
    const price_list *prices;
    ds_range range;
    states live;
    unsigned best;
    uint64_t credit;
    uint64_t earned;    /* new offset up to which credit was given */
    uint32_t home_from; /* new offset from which the best state is its own home */
    node *nodes;
    uint32_t node_count, node_capacity;
    uint32_t *marks; /* for collecting: new number of each node */
    ds_arena *arena;
} chooser;

/* Sets classes from `from` to before `to`, as far as they lie in the range. */
static void classify(chooser *c, uint64_t from, uint64_t to, uint8_t class_) {
    from = from > c->range.from ? from : c->range.from;
    to = to < c->range.to ? to : c->range.to;
    if (from < to)
        memset(c->classes + (from - c->range.from), class_, to - from);
}

static uint8_t class_of(const chooser *c, uint64_t at) {
    return c->classes[at - c->range.from];
}

/* Only those of the range, and while it is worked on. A reference that begins before it may reach into it. */
static ds_status open_classes(chooser *c) {
    static const uint8_t by_length[] = {0,         REF1_BYTE, REF2_BYTE, REF3_BYTE, REF4_BYTE,
                                        REF4_BYTE, REF8_BYTE, REF8_BYTE, REF8_BYTE};
    const ds_image *image = c->new_side->image;
    c->classes = ds_arena_alloc(c->arena, c->range.to - c->range.from + 1);
    if (c->classes == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < image->regions.count; i++) {
        const ds_region *region = &image->regions.items[i];
        if (region->class_ == DS_REGION_CODE)
            classify(c, region->offset, region->offset + region->size, region->words ? WORD_BYTE : CODE_BYTE);
    }
    uint64_t first = c->range.from < DS_COUNT(by_length) ? 0 : c->range.from - DS_COUNT(by_length);
    for (uint64_t i = ds_image_first_ref(image, first); i < image->refs.count; i++) {
        const ds_ref *ref = &image->refs.items[i];
        unsigned length = ds_ref_length(ds_ref_kind_of(ref));
        if (ref->offset >= c->range.to)
            break;
        classify(c, ref->offset, ref->offset + (uint64_t)length,
                 ref->offset >= c->range.from && class_of(c, ref->offset) == WORD_BYTE ? WORD_REF_BYTE
                                                                                       : by_length[length]);
    }
    return DS_OK;
}

/* ---- the tree of entries, collected when full ---- */

#define NODES_MIN 65536u
#define NODES_MAX (UINT32_MAX / 2)

static void mark(chooser *c, uint32_t n) {
    if (n != NO_NODE)
        c->marks[n] = 1;
}

static void renumber(const chooser *c, uint32_t *n) {
    if (*n != NO_NODE)
        *n = c->marks[*n];
}

/* Keep only what the states can still reach; ancestors have lower numbers, so one pass down marks and one
 * pass up moves. */
static void collect(chooser *c) {
    memset(c->marks, 0, c->node_count * sizeof *c->marks);
    for (unsigned i = 0; i < c->live.count; i++) {
        mark(c, c->live.node[i]);
        mark(c, c->live.parent[i]);
    }
    for (uint32_t i = c->node_count; i-- > 0;)
        if (c->marks[i])
            mark(c, c->nodes[i].parent);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->node_count; i++) {
        if (!c->marks[i])
            continue;
        node n = c->nodes[i];
        renumber(c, &n.parent);
        c->nodes[kept] = n;
        c->marks[i] = kept++;
    }
    for (unsigned i = 0; i < c->live.count; i++) {
        renumber(c, &c->live.node[i]);
        renumber(c, &c->live.parent[i]);
    }
    c->node_count = kept;
}

static ds_status grow_nodes(chooser *c, uint32_t capacity) {
    node *nodes = ds_arena_resize(c->arena, c->nodes, (uint64_t)capacity * sizeof *nodes);
    if (nodes == NULL)
        return DS_E_MEMORY;
    c->nodes = nodes;
    uint32_t *marks = ds_arena_resize(c->arena, c->marks, (uint64_t)capacity * sizeof *marks);
    if (marks == NULL)
        return DS_E_MEMORY;
    c->marks = marks;
    c->node_capacity = capacity;
    return DS_OK;
}

/* A byte needs at most one node for the best state and one for each that dies. */
static ds_status make_room(chooser *c) {
    if (c->node_count + LIVE + 2 <= c->node_capacity)
        return DS_OK;
    collect(c);
    if (c->node_count > c->node_capacity / 2 && c->node_capacity < NODES_MAX)
        return grow_nodes(c, c->node_capacity * 2);
    return c->node_count + LIVE + 2 <= c->node_capacity ? DS_OK : DS_E_MEMORY;
}

/* The node of a state, made when something first hangs on it. */
static uint32_t node_of(chooser *c, unsigned i) {
    states *s = &c->live;
    if (s->node[i] == NO_NODE && s->entry[i] != UINT32_MAX) {
        c->nodes[c->node_count] = (node){s->parent[i], s->entry[i], s->diagonal[i]};
        s->node[i] = c->node_count++;
    }
    return s->node[i];
}

/* ---- changes of state ---- */

static uint64_t magnitude(int64_t x) {
    return x < 0 ? -(uint64_t)x : (uint64_t)x;
}

static int64_t home_of(const chooser *c, unsigned i, uint64_t at) {
    const states *s = &c->live;
    return s->diagonal[i] != LITERAL && at - s->entry[i] >= HOME_LENGTH ? s->diagonal[i] : s->home[i];
}

static uint64_t price_of_change(const price_list *prices, int64_t home, int64_t from, int64_t to) {
    uint64_t distance = magnitude(to - home);
    if (from != LITERAL && magnitude(to - from) < distance)
        distance = magnitude(to - from);
    unsigned doublings = 64u - (unsigned)__builtin_clzll(distance | 1) - 1;
    return prices->change + doublings * PRICE_DISTANCE + (distance > FAR_DISTANCE ? PRICE_FAR : 0);
}

/* Prices of leaving the best state; they hold until another is best, or it becomes its own home. */
static void set_prices(chooser *c, uint64_t at) {
    states *s = &c->live;
    int64_t home = home_of(c, c->best, at), from = s->diagonal[c->best];
    c->home_from = from == LITERAL || home == from ? UINT32_MAX : s->entry[c->best] + HOME_LENGTH;
    s->price[0] = PRICE_INTO_LITERAL;
    for (unsigned i = 1; i < s->count; i++)
        s->price[i] = price_of_change(c->prices, home, from, s->diagonal[i]);
}

static void choose_best(chooser *c, uint64_t at) {
    unsigned best = 0;
    for (unsigned i = 1; i < c->live.count; i++)
        if (c->live.cost[i] < c->live.cost[best])
            best = i;
    c->best = best;
    set_prices(c, at);
}

static void enter_from(chooser *c, unsigned i, unsigned from, uint64_t at, uint64_t cost) {
    states *s = &c->live;
    s->parent[i] = node_of(c, from);
    s->home[i] = i == 0 && s->diagonal[from] != LITERAL ? s->diagonal[from] : home_of(c, from, at);
    s->cost[i] = cost;
    s->entry[i] = (uint32_t)at;
    s->node[i] = NO_NODE;
}

/* Let every state be entered from the best one where that is cheaper. An instruction word is never cut. */
static void relax(chooser *c, uint64_t at) {
    states *s = &c->live;
    if (at % WORD_SIZE != 0 && (class_of(c, at) == WORD_BYTE || class_of(c, at) == WORD_REF_BYTE))
        return;
    uint64_t best = s->cost[c->best];
    for (unsigned i = 0; i < s->count; i++)
        if (best + s->price[i] < s->cost[i])
            enter_from(c, i, c->best, at, best + s->price[i]);
}

/* ---- live diagonals ---- */

static void move_state(states *s, unsigned to, unsigned from) {
    s->cost[to] = s->cost[from];
    s->old_bytes[to] = s->old_bytes[from];
    s->diagonal[to] = s->diagonal[from];
    s->home[to] = s->home[from];
    s->entry[to] = s->entry[from];
    s->parent[to] = s->parent[from];
    s->node[to] = s->node[from];
    s->until[to] = s->until[from];
}

/* What a dying state reached must not be lost: literal takes over where that is cheaper. */
static void drop(chooser *c, unsigned i, uint64_t at) {
    states *s = &c->live;
    if (s->cost[i] + PRICE_INTO_LITERAL < s->cost[0])
        enter_from(c, 0, i, at, s->cost[i] + PRICE_INTO_LITERAL);
    move_state(s, i, --s->count);
}

static bool has_old_byte(const chooser *c, int64_t diagonal, uint64_t at) {
    return at + (uint64_t)diagonal < c->old_side->size;
}

static void drop_worst(chooser *c, uint64_t at) {
    states *s = &c->live;
    unsigned worst = 1;
    for (unsigned i = 2; i < s->count; i++)
        if (s->cost[i] > s->cost[worst])
            worst = i;
    drop(c, worst, at);
}

static void enter(chooser *c, int64_t diagonal, uint64_t at, uint64_t until) {
    states *s = &c->live;
    for (unsigned i = 1; i < s->count; i++)
        if (s->diagonal[i] == diagonal) {
            if (s->until[i] < until)
                s->until[i] = (uint32_t)until;
            return;
        }
    while (s->count > (c->credit > 0 ? LIVE : LIVE_POOR))
        drop_worst(c, at);
    unsigned i = s->count++;
    s->cost[i] = NO_COST;
    s->old_bytes[i] = c->old_side->bytes + diagonal;
    s->diagonal[i] = diagonal;
    s->home[i] = 0;
    s->entry[i] = UINT32_MAX;
    s->parent[i] = s->node[i] = NO_NODE;
    s->until[i] = (uint32_t)until;
}

static bool drop_dead(chooser *c, uint64_t at) {
    states *s = &c->live;
    bool dropped = false;
    for (unsigned i = s->count; i-- > 1;)
        if (s->until[i] <= at || !has_old_byte(c, s->diagonal[i], at)) {
            drop(c, i, at);
            dropped = true;
        }
    return dropped;
}

/* Where a seed's diagonal becomes live: not before the old image begins on it. */
static uint64_t entry_of(const ds_seed *seed) {
    uint64_t reach = seed->new_offset < REACH_BEFORE ? 0 : seed->new_offset - REACH_BEFORE;
    uint64_t begin = seed->old_offset < seed->new_offset ? seed->new_offset - seed->old_offset : 0;
    return reach > begin ? reach : begin;
}

static bool let_in(chooser *c, const ds_seeds *seeds, uint64_t *next, uint64_t at) {
    uint64_t first = *next;
    for (; *next < seeds->list.count && entry_of(&seeds->list.items[*next]) <= at; ++*next) {
        const ds_seed *seed = &seeds->list.items[*next];
        int64_t diagonal = ds_seed_diagonal(seed);
        if (has_old_byte(c, diagonal, at))
            enter(c, diagonal, at, (uint64_t)seed->new_offset + seed->length + REACH_AFTER);
    }
    return *next != first;
}

/* New offset up to which no state enters or dies. */
static uint64_t quiet_until(const chooser *c, const ds_seeds *seeds, uint64_t next) {
    uint64_t stop = c->range.to;
    for (unsigned i = 1; i < c->live.count; i++) {
        uint64_t end = c->old_side->size - (uint64_t)c->live.diagonal[i];
        stop = c->live.until[i] < stop ? c->live.until[i] : stop;
        stop = end < stop ? end : stop;
    }
    if (next < seeds->list.count) {
        uint64_t entry = entry_of(&seeds->list.items[next]);
        stop = entry < stop ? entry : stop;
    }
    return stop;
}

static void pay(chooser *c, uint64_t at) {
    states *s = &c->live;
    uint8_t byte = c->new_side->bytes[at];
    unsigned class_ = class_of(c, at);
    uint64_t miss = c->prices->miss[class_];
    c->credit -= s->count < c->credit ? s->count : c->credit;
    s->cost[0] += c->prices->literal[class_];
    uint64_t least = s->cost[0];
    unsigned best = 0;
    for (unsigned i = 1; i < s->count; i++) {
        s->cost[i] += s->old_bytes[i][at] == byte ? PRICE_EQUAL : miss;
        if (s->cost[i] < least) {
            least = s->cost[i];
            best = i;
        }
    }
    if (best != c->best || at + 1 >= c->home_from) {
        c->best = best;
        set_prices(c, at + 1);
    }
}

/* Equal bytes from `at` on the only live diagonal, up to `end`. */
static uint64_t lonely_run(const chooser *c, uint64_t at, uint64_t end) {
    const uint8_t *a = c->live.old_bytes[1] + at, *b = c->new_side->bytes + at;
    uint64_t run = 0;
    while (run + 8 <= end - at && ds_load64(a + run) == ds_load64(b + run))
        run += 8;
    return run;
}

/* States that live from `at` to `stop`, none entering or dying. */
static ds_status run_quietly(chooser *c, uint64_t at, uint64_t stop) {
    while (at < stop) {
        DS_TRY(make_room(c));
        relax(c, at);
        if (c->live.count == 2 && c->best == 1) {
            uint64_t run = lonely_run(c, at, stop);
            if (run > 0) {
                c->live.cost[1] += run * PRICE_EQUAL;
                c->live.cost[0] += run * c->prices->literal[CODE_BYTE];
                at += run;
                set_prices(c, at);
                continue;
            }
        }
        pay(c, at++);
    }
    return DS_OK;
}

static ds_status trace(chooser *c, ds_blocks *blocks, uint64_t end) {
    uint64_t count = 0;
    uint32_t last = node_of(c, c->best);
    for (uint32_t n = last; n != NO_NODE; n = c->nodes[n].parent)
        count += c->nodes[n].diagonal != LITERAL;
    blocks->list.count = 0;
    DS_TRY(DS_VEC_RESERVE(c->arena, &blocks->list, count + 1));
    uint64_t at = count, until = end;
    for (uint32_t n = last; n != NO_NODE; until = c->nodes[n].new_offset, n = c->nodes[n].parent) {
        const node *entry = &c->nodes[n];
        if (entry->diagonal == LITERAL)
            continue;
        blocks->list.items[--at] =
            (ds_block){entry->new_offset, entry->new_offset + (uint64_t)entry->diagonal, until - entry->new_offset};
    }
    /* Entries that were left at once, and neighbours on one diagonal, are not blocks of their own. */
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        ds_block block = blocks->list.items[i];
        if (block.length == 0)
            continue;
        ds_block *before = kept > 0 ? &blocks->list.items[kept - 1] : NULL;
        if (before != NULL && before->new_offset + before->length == block.new_offset &&
            before->old_offset + before->length == block.old_offset)
            before->length += block.length;
        else
            blocks->list.items[kept++] = block;
    }
    blocks->list.count = kept;
    return DS_OK;
}

ds_status ds_blocks_choose(ds_blocks *blocks, const ds_seeds *seeds, const ds_side *old_side, const ds_side *new_side,
                           ds_price_coding coding, ds_range range, ds_arena *arena) {
    chooser c = {.old_side = old_side,
                 .new_side = new_side,
                 .prices = &price_lists[coding],
                 .range = range,
                 .live = {.count = 1},
                 .credit = CREDIT_MAX,
                 .earned = range.from,
                 .arena = arena};
    DS_TRY(open_classes(&c));
    DS_TRY(grow_nodes(&c, NODES_MIN));
    c.live.diagonal[0] = LITERAL;
    c.live.entry[0] = UINT32_MAX;
    c.live.parent[0] = c.live.node[0] = NO_NODE;
    uint64_t at = range.from, next = 0;
    while (at < range.to) {
        DS_TRY(make_room(&c));
        c.credit += (at - c.earned) * CREDIT_A_BYTE;
        c.credit = c.credit < CREDIT_MAX ? c.credit : CREDIT_MAX;
        c.earned = at;
        bool changed = drop_dead(&c, at);
        if (let_in(&c, seeds, &next, at) || changed || at == range.from)
            choose_best(&c, at);
        uint64_t stop = quiet_until(&c, seeds, next);
        DS_TRY(run_quietly(&c, at, stop));
        at = stop;
    }
    DS_TRY(make_room(&c));
    choose_best(&c, at);
    DS_TRY(trace(&c, blocks, at));
    ds_arena_free(arena, c.nodes);
    ds_arena_free(arena, c.marks);
    ds_arena_free(arena, c.classes);
    return DS_OK;
}
