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
 * Prices are integers in 1/64 bit, found by trial on several pairs (docs/decisions): the optimum is flat.
 */
#include "match/match.h"

#define LIVE 24
#define REACH_BEFORE 96 /* a seed's diagonal is live from so many bytes before it ... */
#define REACH_AFTER 192 /* ... to so many after */
#define HOME_LENGTH 64
#define FAR_DISTANCE 4096

#define BIT 64
#define PRICE_EQUAL 1
#define PRICE_INTO_LITERAL (3 * BIT)
#define PRICE_CHANGE (18 * BIT)
#define PRICE_DISTANCE 70 /* 1.1 bits for each doubling of the distance */
#define PRICE_FAR (16 * BIT)

/* What a new byte is, which decides its prices. */
enum { DATA_BYTE, CODE_BYTE, REF1_BYTE, REF2_BYTE, REF3_BYTE, REF4_BYTE, REF8_BYTE, BYTE_CLASSES };

static const uint16_t price_miss[BYTE_CLASSES] = {
    [DATA_BYTE] = 9 * BIT,      [CODE_BYTE] = 9 * BIT,      [REF1_BYTE] = 14 * BIT,    [REF2_BYTE] = 14 * BIT / 2,
    [REF3_BYTE] = 14 * BIT / 3, [REF4_BYTE] = 14 * BIT / 4, [REF8_BYTE] = 14 * BIT / 8};
static const uint16_t price_literal[BYTE_CLASSES] = {
    [DATA_BYTE] = 7 * BIT,      [CODE_BYTE] = 26 * BIT / 10, [REF1_BYTE] = 5 * BIT,     [REF2_BYTE] = 10 * BIT / 2,
    [REF3_BYTE] = 10 * BIT / 3, [REF4_BYTE] = 10 * BIT / 4,  [REF8_BYTE] = 10 * BIT / 8};

#define NO_NODE UINT32_MAX
#define LITERAL INT64_MIN

/* Where a state was entered. */
typedef struct node {
    uint32_t parent;
    uint32_t new_offset;
    int64_t diagonal; /* LITERAL, or the block's */
} node;

typedef struct state {
    int64_t diagonal, home; /* LITERAL keeps the diagonal it left in `home` */
    uint64_t cost;
    uint32_t node;
    uint32_t until; /* new offset where it dies */
} state;

typedef struct chooser {
    const ds_side *old_side, *new_side;
    uint8_t *classes;
    state live[LIVE + 1]; /* [0] is the literal state */
    unsigned live_count;  /* with it */
    node *nodes;
    uint32_t node_count, node_capacity;
    uint32_t *marks; /* for collecting: new number of each node */
    ds_arena *arena;
} chooser;

static ds_status classify(chooser *c) {
    const ds_image *image = c->new_side->image;
    c->classes = ds_arena_alloc(c->arena, c->new_side->size + 1);
    if (c->classes == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < image->regions.count; i++)
        if (image->regions.items[i].class_ == DS_REGION_CODE)
            memset(c->classes + image->regions.items[i].offset, CODE_BYTE, image->regions.items[i].size);
    static const uint8_t by_length[9] = {0, REF1_BYTE, REF2_BYTE, REF3_BYTE, REF4_BYTE, REF4_BYTE, REF8_BYTE, REF8_BYTE, REF8_BYTE};
    for (uint64_t i = 0; i < image->refs.count; i++) {
        unsigned length = ds_ref_length(ds_ref_kind_of(&image->refs.items[i]));
        memset(c->classes + image->refs.items[i].offset, by_length[length], length);
    }
    return DS_OK;
}

/* ---- the tree of entries, collected when full ---- */

#define NODES_MIN 65536u
#define NODES_MAX (UINT32_MAX / 2)

/* Keep only what the live states can still reach; ancestors have lower numbers, so one pass down marks
 * and one pass up moves. */
static void collect(chooser *c) {
    memset(c->marks, 0, c->node_count * sizeof *c->marks);
    for (unsigned i = 0; i < c->live_count; i++)
        if (c->live[i].node != NO_NODE)
            c->marks[c->live[i].node] = 1;
    for (uint32_t i = c->node_count; i-- > 0;)
        if (c->marks[i] && c->nodes[i].parent != NO_NODE)
            c->marks[c->nodes[i].parent] = 1;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->node_count; i++) {
        if (!c->marks[i])
            continue;
        node n = c->nodes[i];
        if (n.parent != NO_NODE)
            n.parent = c->marks[n.parent];
        c->nodes[kept] = n;
        c->marks[i] = kept++;
    }
    for (unsigned i = 0; i < c->live_count; i++)
        if (c->live[i].node != NO_NODE)
            c->live[i].node = c->marks[c->live[i].node];
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

static ds_status make_room(chooser *c) {
    if (c->node_count + LIVE + 1 <= c->node_capacity)
        return DS_OK;
    collect(c);
    if (c->node_count > c->node_capacity / 2 && c->node_capacity < NODES_MAX)
        return grow_nodes(c, c->node_capacity * 2);
    return c->node_count + LIVE + 1 <= c->node_capacity ? DS_OK : DS_E_MEMORY;
}

static uint32_t new_node(chooser *c, uint32_t parent, uint64_t at, int64_t diagonal) {
    c->nodes[c->node_count] = (node){parent, (uint32_t)at, diagonal};
    return c->node_count++;
}

/* ---- prices of a change ---- */

static uint64_t magnitude(int64_t x) {
    return x < 0 ? -(uint64_t)x : (uint64_t)x;
}

static uint64_t price_of_change(const state *from, int64_t to) {
    uint64_t distance = magnitude(to - from->home);
    if (from->diagonal != LITERAL && magnitude(to - from->diagonal) < distance)
        distance = magnitude(to - from->diagonal);
    unsigned doublings = 64u - (unsigned)__builtin_clzll(distance | 1) - 1;
    return PRICE_CHANGE + doublings * PRICE_DISTANCE + (distance > FAR_DISTANCE ? PRICE_FAR : 0);
}

static int64_t home_of(const chooser *c, const state *s, uint64_t at) {
    if (s->diagonal == LITERAL)
        return s->home;
    return s->node == NO_NODE || at - c->nodes[s->node].new_offset >= HOME_LENGTH ? s->diagonal : s->home;
}

static unsigned best_of(const chooser *c) {
    unsigned best = 0;
    for (unsigned i = 1; i < c->live_count; i++)
        if (c->live[i].cost < c->live[best].cost)
            best = i;
    return best;
}

/* Let every state be entered from the best one where that is cheaper. */
static void relax(chooser *c, uint64_t at) {
    const state best = c->live[best_of(c)];
    int64_t home = home_of(c, &best, at);
    state from = best;
    from.home = home;
    for (unsigned i = 0; i < c->live_count; i++) {
        state *s = &c->live[i];
        uint64_t price = i == 0 ? PRICE_INTO_LITERAL : price_of_change(&from, s->diagonal);
        if (best.cost + price >= s->cost)
            continue;
        s->cost = best.cost + price;
        s->home = i == 0 && best.diagonal != LITERAL ? best.diagonal : home;
        s->node = new_node(c, best.node, at, s->diagonal);
    }
}

/* ---- live diagonals ---- */

static void drop(chooser *c, unsigned i) {
    c->live[i] = c->live[--c->live_count];
}

static void enter(chooser *c, int64_t diagonal, uint64_t until) {
    for (unsigned i = 1; i < c->live_count; i++)
        if (c->live[i].diagonal == diagonal) {
            if (c->live[i].until < until)
                c->live[i].until = (uint32_t)until;
            return;
        }
    if (c->live_count == LIVE + 1) {
        unsigned worst = 1;
        for (unsigned i = 2; i < c->live_count; i++)
            if (c->live[i].cost > c->live[worst].cost)
                worst = i;
        drop(c, worst);
    }
    c->live[c->live_count++] = (state){diagonal, 0, UINT64_MAX / 2, NO_NODE, (uint32_t)until};
}

static bool has_old_byte(const chooser *c, const state *s, uint64_t at) {
    return at + (uint64_t)s->diagonal < c->old_side->size;
}

static void drop_dead(chooser *c, uint64_t at) {
    for (unsigned i = c->live_count; i-- > 1;)
        if (c->live[i].until <= at || !has_old_byte(c, &c->live[i], at)) {
            /* What it reached must not be lost: literal takes over where that is cheaper. */
            if (c->live[i].cost + PRICE_INTO_LITERAL < c->live[0].cost) {
                c->live[0].cost = c->live[i].cost + PRICE_INTO_LITERAL;
                c->live[0].home = c->live[i].diagonal;
                c->live[0].node = new_node(c, c->live[i].node, at, LITERAL);
            }
            drop(c, i);
        }
}

static void pay(chooser *c, uint64_t at) {
    uint8_t byte = c->new_side->bytes[at];
    unsigned class_ = c->classes[at];
    c->live[0].cost += price_literal[class_];
    for (unsigned i = 1; i < c->live_count; i++) {
        state *s = &c->live[i];
        s->cost += c->old_side->bytes[at + (uint64_t)s->diagonal] == byte ? PRICE_EQUAL : price_miss[class_];
    }
}

/* Equal bytes from `at` on the only live diagonal, up to `end`. */
static uint64_t lonely_run(const chooser *c, uint64_t at, uint64_t end) {
    const state *s = &c->live[1];
    const uint8_t *a = c->old_side->bytes + at + (uint64_t)s->diagonal, *b = c->new_side->bytes + at;
    uint64_t room = c->old_side->size - (at + (uint64_t)s->diagonal);
    uint64_t limit = end - at < room ? end - at : room, run = 0;
    while (run + 8 <= limit && ds_load64(a + run) == ds_load64(b + run))
        run += 8;
    return run;
}

static ds_status trace(chooser *c, ds_blocks *blocks, uint64_t end) {
    uint64_t count = 0;
    uint32_t last = c->live[best_of(c)].node;
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
                           ds_arena *arena) {
    chooser c = {.old_side = old_side, .new_side = new_side, .arena = arena, .live_count = 1};
    DS_TRY(classify(&c));
    DS_TRY(grow_nodes(&c, NODES_MIN));
    c.live[0] = (state){.diagonal = LITERAL, .node = NO_NODE};
    uint64_t at = 0, next = 0, end = new_side->size;
    while (at < end) {
        DS_TRY(make_room(&c));
        drop_dead(&c, at);
        for (; next < seeds->list.count && seeds->list.items[next].new_offset <= at + REACH_BEFORE; next++) {
            const ds_seed *seed = &seeds->list.items[next];
            state probe = {.diagonal = seed->diagonal};
            if (has_old_byte(&c, &probe, at))
                enter(&c, seed->diagonal, (uint64_t)seed->new_offset + seed->length + REACH_AFTER);
        }
        DS_TRY(make_room(&c));
        relax(&c, at);
        if (c.live_count == 2 && c.live[1].cost < c.live[0].cost) {
            uint64_t stop = c.live[1].until < end ? c.live[1].until : end;
            if (next < seeds->list.count) {
                uint64_t entry = seeds->list.items[next].new_offset;
                entry = entry < REACH_BEFORE ? 0 : entry - REACH_BEFORE;
                stop = entry < stop ? entry : stop;
            }
            uint64_t run = stop > at ? lonely_run(&c, at, stop) : 0;
            if (run > 0) {
                c.live[1].cost += run * PRICE_EQUAL;
                c.live[0].cost += run * price_literal[CODE_BYTE];
                at += run;
                continue;
            }
        }
        pay(&c, at);
        at++;
    }
    DS_TRY(trace(&c, blocks, end));
    ds_arena_free(arena, c.classes);
    ds_arena_free(arena, c.nodes);
    ds_arena_free(arena, c.marks);
    return DS_OK;
}
