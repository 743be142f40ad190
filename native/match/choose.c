/* Choice of blocks: dynamic programming along the new image.
 *
 * States: "literal", and up to LIVE diagonals that seeds keep alive. A byte costs what the coder will
 * pay for it: next to nothing where the normalised bytes agree, a residual where they do not, a literal
 * outside blocks; a change of state costs what a new block costs. The cheapest path is the block list.
 *
 * Exactness: a state whose cost is not below "enter from the best state" has no history worth keeping, so
 * paths are recorded only where a state is entered. Between the mismatches of the best state nothing can
 * overtake it, so it is asked for only behind those, and where it is alone, runs of equal bytes are jumped over.
 *
 * The states of one byte are one vector a field: costs are paid, compared and taken over in all states at once. Each
 * state's cost stands above its number in one word, so that the least word is the best state, of equal ones the first.
 */
#include "match/prices.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define LIVE 24
#define LIVE_POOR 4          /* the same, when the credit is used up */
#define CREDIT_A_BYTE 6      /* visits to states that each new byte earns: look-alikes without end stay cheap, */
#define CREDIT_MAX (1 << 20) /* while changed code may use what unchanged code has earned */
#define REACH_BEFORE 96      /* a seed's diagonal is live from so many bytes before it ... */
#define REACH_AFTER 192      /* ... to so many after */
#define HOME_LENGTH 64
#define FAR_DISTANCE 4096
#define WORD_SIZE 4 /* code in words starts at multiples of it in the file too: linkers align sections */

#define PRICE_EQUAL 1
#define PRICE_INTO_LITERAL (3 * DS_BIT)
#define PRICE_FAR (16 * DS_BIT)

#define NO_NODE UINT32_MAX
#define NO_ENTRY UINT32_MAX
#define LITERAL DS_NO_DIAGONAL

/* Where a state was entered. */
typedef struct node {
    uint32_t parent;
    uint32_t new_offset;
    int64_t diagonal; /* LITERAL, or the block's */
} node;

#define LANES 4 /* of a vector */
#define VECTORS 7
#define STATES (VECTORS * LANES)
_Static_assert(STATES > LIVE, "a lane for literal, and one for each diagonal");

typedef int32_t vector __attribute__((vector_size(LANES * sizeof(int32_t)), may_alias));
typedef uint32_t wholes __attribute__((vector_size(sizeof(vector))));
typedef int16_t halves __attribute__((vector_size(sizeof(vector))));
typedef float floats __attribute__((vector_size(sizeof(vector))));
typedef union field {
    vector vectors[VECTORS];
    int32_t of[STATES];
} field;

/* A state's word: its cost, counted from some base that all share, above its number. */
#define NUMBER_BITS 5
#define NUMBER_MASK ((1 << NUMBER_BITS) - 1)
#define WORD_OF(cost, number) ((int32_t)(cost) << NUMBER_BITS | (int32_t)(number))
#define NO_COST (1 << 25)    /* of a state that was never entered, or is none, and of entering what is none */
#define BASE_LIMIT (1 << 23) /* the base moves when the best state costs more */
_Static_assert(STATES <= NUMBER_MASK + 1, "numbers fit");

/* How states were left that others were entered from: shared by all that were entered in one go. */
#define LEAVINGS 64
typedef struct leaving {
    uint32_t node;        /* of the state that was left; NO_NODE where it has none */
    int64_t home;         /* diagonal of the last long block before */
    int64_t literal_home; /* the same for literal: the diagonal it left */
} leaving;
#define NEVER 0 /* the leaving of states that were never entered */

/* [0] is literal. A state that was entered but never left needs no node yet: leaving and entry say what it would be. */
typedef struct states {
    unsigned count;
    field word;
    field price;                      /* of entering it from the best state, above its number */
    field entry;                      /* new offset, or NO_ENTRY */
    field leaving;                    /* number of the leaving */
    field misses;                     /* of the bytes at hand: a bit where the old byte is another */
    field shift;                      /* the diagonal, modulo 2^32 */
    const uint8_t *old_bytes[STATES]; /* old_bytes[i][new offset] */
    const uint8_t *idle;              /* those of what is no state: the new bytes, it never misses */
    int64_t diagonal[STATES];
    uint32_t node[STATES];  /* of this entry, or an earlier one */
    uint32_t until[STATES]; /* new offset where it dies */
    leaving leavings[LEAVINGS];
    uint64_t free_leavings; /* one bit each */
    unsigned current;       /* the leaving of the best state; its node is made when it is needed */
    bool has_current_node;
} states;

typedef struct chooser {
    const ds_side *old_side, *new_side;
    uint8_t *classes; /* of the new bytes of the range */
    const ds_price_list *prices;
    vector more[DS_BYTE_CLASSES], more_of_first[DS_BYTE_CLASSES]; /* the first one holds literal */
    ds_range range;
    states live;
    unsigned best;
    bool is_open; /* another state may be better by now */
    ds_credit *credit;
    uint32_t home_from; /* new offset from which the best state is its own home */
    node *nodes;
    uint32_t node_count, node_capacity;
    uint32_t *marks; /* for collecting: new number of each node */
    ds_arena *arena;
} chooser;

static int32_t cost_of(const states *s, unsigned i) {
    return s->word.of[i] >> NUMBER_BITS;
}

/* ---- leavings ---- */

static uint64_t used_leavings(const states *s) {
    uint64_t used = UINT64_C(1) << NEVER | UINT64_C(1) << s->current;
    for (unsigned i = 0; i < s->count; i++)
        used |= UINT64_C(1) << s->leaving.of[i];
    return used;
}

/* There are more than states: some are always free. */
static unsigned take_leaving(states *s) {
    if (s->free_leavings == 0)
        s->free_leavings = ~used_leavings(s);
    unsigned taken = (unsigned)__builtin_ctzll(s->free_leavings);
    s->free_leavings &= s->free_leavings - 1;
    return taken;
}

/* ---- the tree of entries, collected when full ---- */

#define NODES_MIN 1024u
#define NODES_FIRST 65536u /* of a large range */
#define NODES_MAX (UINT32_MAX / 2)

/* A state that was entered again has none yet. */
static bool has_node(const chooser *c, unsigned i) {
    uint32_t n = c->live.node[i];
    return n != NO_NODE && c->nodes[n].new_offset == (uint32_t)c->live.entry.of[i];
}

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
    states *s = &c->live;
    uint64_t used = used_leavings(s);
    s->free_leavings = ~used;
    memset(c->marks, 0, c->node_count * sizeof *c->marks);
    for (unsigned i = 0; i < s->count; i++) {
        s->node[i] = has_node(c, i) ? s->node[i] : NO_NODE;
        mark(c, s->node[i]);
    }
    for (uint64_t left = used; left != 0; left &= left - 1)
        mark(c, s->leavings[__builtin_ctzll(left)].node);
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
    for (unsigned i = 0; i < s->count; i++)
        renumber(c, &s->node[i]);
    for (uint64_t left = used; left != 0; left &= left - 1)
        renumber(c, &s->leavings[__builtin_ctzll(left)].node);
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

#define BYTES 32 /* that are looked at together */

/* Each byte needs at most one node, for the best state; so does each state that dies before them. */
#define NODES_A_TURN (BYTES + STATES)

static uint32_t first_capacity(ds_range range) {
    uint64_t wanted = NODES_MIN + (range.to - range.from) / 4;
    return wanted < NODES_FIRST ? (uint32_t)wanted : NODES_FIRST;
}

static ds_status make_room(chooser *c) {
    if (c->node_count + NODES_A_TURN <= c->node_capacity)
        return DS_OK;
    collect(c);
    if (c->node_count > c->node_capacity / 2 && c->node_capacity < NODES_MAX)
        return grow_nodes(c, c->node_capacity * 2);
    return c->node_count + NODES_A_TURN <= c->node_capacity ? DS_OK : DS_E_MEMORY;
}

/* The node of a state, made when something first hangs on it. */
static uint32_t node_of(chooser *c, unsigned i) {
    states *s = &c->live;
    uint32_t entry = (uint32_t)s->entry.of[i];
    if (entry != NO_ENTRY && !has_node(c, i)) {
        c->nodes[c->node_count] = (node){s->leavings[s->leaving.of[i]].node, entry, s->diagonal[i]};
        s->node[i] = c->node_count++;
    }
    return s->node[i];
}

/* ---- changes of state ---- */

static int64_t home_of(const chooser *c, unsigned i, uint64_t at) {
    const states *s = &c->live;
    const leaving *left = &s->leavings[s->leaving.of[i]];
    if (s->diagonal[i] == LITERAL)
        return left->literal_home;
    return at - (uint32_t)s->entry.of[i] >= HOME_LENGTH ? s->diagonal[i] : left->home;
}

/* How a state is left at `at`. Its node is made later where `later`. */
static leaving leave(chooser *c, unsigned i, uint64_t at, bool later) {
    int64_t home = home_of(c, i, at), diagonal = c->live.diagonal[i];
    return (leaving){
        .node = later ? NO_NODE : node_of(c, i), .home = home, .literal_home = diagonal != LITERAL ? diagonal : home};
}

static vector all(int32_t value) {
    return (vector){value, value, value, value};
}

static vector either(vector mask, vector yes, vector no) {
    return (mask & yes) | (~mask & no);
}

/* Vectors that hold states; those behind hold none. */
static unsigned vectors_of(const states *s) {
    return (s->count + LANES - 1) / LANES;
}

static const vector numbers = {0, 1, 2, 3};

/* Modulo 2^32. */
static vector distance_of(vector a, vector b) {
    wholes apart = (wholes)a - (wholes)b, negative = (wholes)((vector)apart < 0);
    return (vector)((apart ^ negative) - negative) & INT32_MAX;
}

/* The exponent of a number, at least 1, as a float: its logarithm rounded down, but for rounding from 2^24 on. */
static vector doublings_of(vector distance) {
    return ((vector) __builtin_convertvector(distance, floats) >> 23) - 127;
}

/* Neither factors nor products are above INT16_MAX. */
static vector times(vector a, int32_t b) {
    return (vector)((halves)a * (halves)all(b));
}

/* Of a block on each of the diagonals, by how far it is from the last long block and from the one that is left. */
static vector prices_of_change(const ds_price_list *prices, vector home, vector from, vector to) {
    vector to_home = distance_of(to, home), to_from = distance_of(to, from);
    vector distance = either(to_from < to_home, to_from, to_home), far = distance > all(FAR_DISTANCE);
    return all(prices->change) + times(doublings_of(distance | 1), prices->distance) + (far & all(PRICE_FAR));
}

/* Prices of leaving the best state; they hold until another is best, or it becomes its own home. */
static void set_prices(chooser *c, uint64_t at) {
    states *s = &c->live;
    s->current = take_leaving(s);
    s->leavings[s->current] = leave(c, c->best, at, true);
    s->has_current_node = false;
    int64_t home = s->leavings[s->current].home, from = s->diagonal[c->best];
    c->home_from = from == LITERAL || home == from ? UINT32_MAX : (uint32_t)s->entry.of[c->best] + HOME_LENGTH;
    vector homes = all((int32_t)home), froms = from == LITERAL ? homes : all((int32_t)from);
    for (unsigned v = 0; v < vectors_of(s); v++) {
        vector price = prices_of_change(c->prices, homes, froms, s->shift.vectors[v]);
        vector number = numbers + (int32_t)(v * LANES), is_state = number < (int32_t)s->count;
        price = either(number == 0, all(PRICE_INTO_LITERAL), either(is_state, price, all(NO_COST)));
        s->price.vectors[v] = price << NUMBER_BITS | number;
    }
}

/* The least word of all. */
static unsigned best_of(const states *s) {
    vector least = s->word.vectors[0];
    for (unsigned v = 1; v < vectors_of(s); v++)
        least = either(s->word.vectors[v] < least, s->word.vectors[v], least);
    int32_t first = least[0] < least[1] ? least[0] : least[1], second = least[2] < least[3] ? least[2] : least[3];
    return (unsigned)((first < second ? first : second) & NUMBER_MASK);
}

static void choose_best(chooser *c, uint64_t at) {
    c->best = best_of(&c->live);
    c->is_open = false;
    set_prices(c, at);
}

/* ---- live diagonals ---- */

static void clear_state(states *s, unsigned i) {
    s->word.of[i] = WORD_OF(NO_COST, i);
    s->price.of[i] = WORD_OF(NO_COST, i);
    s->entry.of[i] = (int32_t)NO_ENTRY;
    s->node[i] = NO_NODE;
    s->leaving.of[i] = NEVER;
    s->misses.of[i] = 0;
    s->old_bytes[i] = s->idle;
    s->shift.of[i] = 0;
}

static void move_state(states *s, unsigned to, unsigned from) {
    s->word.of[to] = WORD_OF(cost_of(s, from), to);
    s->entry.of[to] = s->entry.of[from];
    s->leaving.of[to] = s->leaving.of[from];
    s->node[to] = s->node[from];
    s->old_bytes[to] = s->old_bytes[from];
    s->diagonal[to] = s->diagonal[from];
    s->shift.of[to] = s->shift.of[from];
    s->until[to] = s->until[from];
    clear_state(s, from);
}

/* What a dying state reached must not be lost: literal takes over where that is cheaper. */
static void drop(chooser *c, unsigned i, uint64_t at) {
    states *s = &c->live;
    if (cost_of(s, i) + PRICE_INTO_LITERAL < cost_of(s, 0)) {
        unsigned left = take_leaving(s);
        s->leavings[left] = leave(c, i, at, false);
        s->word.of[0] = WORD_OF(cost_of(s, i) + PRICE_INTO_LITERAL, 0);
        s->entry.of[0] = (int32_t)at;
        s->leaving.of[0] = (int32_t)left;
        s->node[0] = NO_NODE;
    }
    move_state(s, i, --s->count);
}

static void drop_worst(chooser *c, uint64_t at) {
    states *s = &c->live;
    unsigned worst = 1;
    for (unsigned i = 2; i < s->count; i++)
        if (cost_of(s, i) > cost_of(s, worst))
            worst = i;
    drop(c, worst, at);
}

/* Lets a diagonal live up to `until`, or to where the old image ends on it. */
static void enter(chooser *c, int64_t diagonal, uint64_t at, uint64_t until) {
    states *s = &c->live;
    uint64_t end = c->old_side->size - (uint64_t)diagonal;
    until = until < end ? until : end;
    if (until <= at)
        return;
    for (unsigned i = 1; i < s->count; i++)
        if (s->diagonal[i] == diagonal) {
            if (s->until[i] < until)
                s->until[i] = (uint32_t)until;
            return;
        }
    while (s->count > (c->credit->visits > 0 ? LIVE : LIVE_POOR))
        drop_worst(c, at);
    unsigned i = s->count++;
    clear_state(s, i);
    s->old_bytes[i] = c->old_side->bytes + diagonal;
    s->diagonal[i] = diagonal;
    s->shift.of[i] = (int32_t)diagonal;
    s->until[i] = (uint32_t)until;
}

static bool drop_dead(chooser *c, uint64_t at) {
    states *s = &c->live;
    bool dropped = false;
    for (unsigned i = s->count; i-- > 1;)
        if (s->until[i] <= at) {
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
        enter(c, ds_seed_diagonal(seed), at, (uint64_t)seed->new_offset + seed->length + REACH_AFTER);
    }
    return *next != first;
}

/* New offset up to which no state enters or dies. */
static uint64_t quiet_until(const chooser *c, const ds_seeds *seeds, uint64_t next) {
    uint64_t stop = c->range.to;
    for (unsigned i = 1; i < c->live.count; i++) {
        stop = c->live.until[i] < stop ? c->live.until[i] : stop;
    }
    if (next < seeds->list.count) {
        uint64_t entry = entry_of(&seeds->list.items[next]);
        stop = entry < stop ? entry : stop;
    }
    return stop;
}

/* ---- along the bytes ---- */

/* A bit for each of sixteen bytes, where they differ. */
static uint32_t differing(const uint8_t *a, const uint8_t *b) {
#ifdef __SSE2__
    __m128i same = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)a), _mm_loadu_si128((const __m128i *)b));
    return (uint32_t)_mm_movemask_epi8(same) ^ 0xffff;
#else
    uint32_t bits = 0;
    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t x = ds_load64(a + i) ^ ds_load64(b + i), low = UINT64_C(0x7f7f7f7f7f7f7f7f);
        uint64_t high = (((x & low) + low) | x) & ~low;
        bits |= (uint32_t)((high >> 7) * UINT64_C(0x0102040810204080) >> 56) << i;
    }
    return bits;
#endif
}

static int32_t misses_of(const chooser *c, unsigned i, uint64_t at) {
    const uint8_t *new_bytes = c->new_side->bytes + at, *old_bytes = c->live.old_bytes[i] + at;
    return (int32_t)(differing(old_bytes, new_bytes) | differing(old_bytes + 16, new_bytes + 16) << 16);
}

/* Sides have room behind their ends, so that all of BYTES can be read wherever one can. */
static void compare(chooser *c, uint64_t at) {
    states *s = &c->live;
    for (unsigned v = 0; v < vectors_of(s); v++) {
        unsigned i = v * LANES;
        s->misses.vectors[v] = (vector){v == 0 ? -1 : misses_of(c, i, at), misses_of(c, i + 1, at),
                                        misses_of(c, i + 2, at), misses_of(c, i + 3, at)};
    }
}

static void move_base(states *s, int32_t by) {
    for (unsigned i = 0; i < s->count; i++)
        if (cost_of(s, i) < NO_COST)
            s->word.of[i] -= by << NUMBER_BITS;
    for (unsigned i = s->count; i < STATES; i++)
        clear_state(s, i);
}

/* What a byte of each class costs beyond PRICE_EQUAL in a state that misses it. */
static void open_prices(chooser *c) {
    for (unsigned class_ = 0; class_ < DS_BYTE_CLASSES; class_++) {
        c->more[class_] = c->more_of_first[class_] = all(WORD_OF(c->prices->miss[class_] - PRICE_EQUAL, 0));
        c->more_of_first[class_][0] = WORD_OF(c->prices->literal[class_] - PRICE_EQUAL, 0);
    }
}

static vector pay(vector word, vector misses, vector bit, vector more) {
    return word + WORD_OF(PRICE_EQUAL, 0) + (((misses & bit) == bit) & more);
}

/* Lets every state pay. */
static void pay_all(chooser *c, vector bit, unsigned class_) {
    states *s = &c->live;
    s->word.vectors[0] = pay(s->word.vectors[0], s->misses.vectors[0], bit, c->more_of_first[class_]);
    for (unsigned v = 1; v < vectors_of(s); v++)
        s->word.vectors[v] = pay(s->word.vectors[v], s->misses.vectors[v], bit, c->more[class_]);
}

/* What states that are entered have in common. */
typedef struct entering {
    vector best, entry, leaving;
} entering;

/* Lets a vector of states be entered where that is cheaper, and pay; says which were. */
static inline vector enter_vector(states *s, unsigned v, const entering *from_best, vector bit, vector more) {
    vector word = s->word.vectors[v], offer = from_best->best + s->price.vectors[v], entered = offer < word;
    s->entry.vectors[v] = either(entered, from_best->entry, s->entry.vectors[v]);
    s->leaving.vectors[v] = either(entered, from_best->leaving, s->leaving.vectors[v]);
    s->word.vectors[v] = pay(either(entered, offer, word), s->misses.vectors[v], bit, more);
    return entered;
}

/* Lets every state be entered from the best one where that is cheaper, and pay. */
static void enter_and_pay(chooser *c, uint64_t at, vector bit, unsigned class_) {
    states *s = &c->live;
    bool broken = c->classes[at - c->range.from] & DS_IN_INSTRUCTION;
    int32_t best = (s->word.of[c->best] & ~NUMBER_MASK) + (broken ? WORD_OF(c->prices->broken, 0) : 0);
    const entering from_best = {all(best), all((int32_t)at), all((int32_t)s->current)};
    vector any = enter_vector(s, 0, &from_best, bit, c->more_of_first[class_]), more = c->more[class_];
    unsigned vectors = vectors_of(s);
    for (unsigned v = 1; v < vectors; v++)
        any |= enter_vector(s, v, &from_best, bit, more);
    if (!s->has_current_node && (any[0] | any[1] | any[2] | any[3]) != 0) {
        s->leavings[s->current].node = node_of(c, c->best);
        s->has_current_node = true;
    }
}

/* Where another state is the best by now, or that one its own home. */
static void settle(chooser *c, uint64_t at) {
    unsigned best = c->is_open ? best_of(&c->live) : c->best;
    c->is_open = false;
    if (best == c->best && at < c->home_from)
        return;
    c->best = best;
    set_prices(c, at);
}

/* Equal bytes from `at` on the only live diagonal, up to `end`. */
static uint64_t lonely_run(const chooser *c, uint64_t at, uint64_t end) {
    const uint8_t *a = c->live.old_bytes[1] + at, *b = c->new_side->bytes + at;
    uint64_t run = 0;
    while (run + 8 <= end - at && ds_load64(a + run) == ds_load64(b + run))
        run += 8;
    return run;
}

#define RUN_COST_MAX (BASE_LIMIT / 2) /* literal is entered anew behind a run of that cost, whatever it is */

/* The jump over a run: where the best state is alone with literal, nothing can overtake it. */
static uint64_t jump(chooser *c, uint64_t at, uint64_t stop) {
    states *s = &c->live;
    uint64_t run = lonely_run(c, at, stop);
    if (run == 0)
        return 0;
    uint64_t ahead = run * (c->prices->literal[DS_CODE_BYTE] - PRICE_EQUAL);
    s->word.of[0] += WORD_OF(ahead < RUN_COST_MAX ? ahead : RUN_COST_MAX, 0);
    set_prices(c, at + run);
    return run;
}

/* An instruction word is never cut. */
static bool may_change(const chooser *c, uint64_t at) {
    uint8_t class_ = c->classes[at - c->range.from] & DS_CLASS_MASK;
    return at % WORD_SIZE == 0 || (class_ != DS_WORD_BYTE && class_ != DS_WORD_REF_BYTE);
}

static void spend(ds_credit *credit, uint64_t visits) {
    credit->visits -= visits < credit->visits ? visits : credit->visits;
}

/* States that live from `at` to `stop`, none entering or dying. */
static ds_status run_quietly(chooser *c, uint64_t at, uint64_t stop) {
    while (at < stop) {
        DS_TRY(make_room(c));
        if (cost_of(&c->live, c->best) > BASE_LIMIT)
            move_base(&c->live, cost_of(&c->live, c->best));
        unsigned bytes = stop - at < BYTES ? (unsigned)(stop - at) : BYTES, byte = 0;
        uint64_t jumped = 0;
        compare(c, at);
        for (; byte < bytes; byte++, at++) {
            bool may = may_change(c, at);
            if (may)
                settle(c, at);
            if (c->live.count == 2 && c->best == 1 && !c->is_open && (jumped = jump(c, at, stop)) > 0)
                break;
            unsigned class_ = c->classes[at - c->range.from] & DS_CLASS_MASK;
            c->is_open |= ((uint32_t)c->live.misses.of[c->best] >> byte & 1) != 0;
            if (may)
                enter_and_pay(c, at, all((int32_t)(1u << byte)), class_);
            else
                pay_all(c, all((int32_t)(1u << byte)), class_);
        }
        spend(c->credit, (uint64_t)byte * c->live.count);
        at += jumped;
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

#define TRIMMED_MOST 3 /* bytes */
#define TRIMMED_KEEPS 8

/* A block that ends a few bytes into an instruction, before a literal, ends in front of it: a coder that knows where
 * instructions start, and what stood in a literal's place, has the end for less, and the bytes for next to nothing. */
static void trim_ends(const chooser *c, ds_blocks *blocks) {
    for (uint64_t i = 0; i < blocks->list.count; i++) {
        ds_block *block = &blocks->list.items[i];
        uint64_t end = block->new_offset + block->length, by = 0;
        bool goes_on = i + 1 < blocks->list.count && block[1].new_offset == end;
        if (goes_on || end >= c->range.to || block->length <= TRIMMED_MOST + TRIMMED_KEEPS)
            continue;
        while (by <= TRIMMED_MOST && c->classes[end - by - c->range.from] & DS_IN_INSTRUCTION)
            by++;
        block->length -= by <= TRIMMED_MOST ? by : 0;
    }
}

static void open_states(states *s) {
    for (unsigned i = 0; i < STATES; i++)
        clear_state(s, i);
    s->count = 1;
    s->word.of[0] = WORD_OF(0, 0);
    s->diagonal[0] = LITERAL;
    s->leavings[NEVER] = (leaving){.node = NO_NODE};
}

/* The block that the range begins in costs nothing. */
static void begin_inside(chooser *c, int64_t diagonal, uint64_t at) {
    states *s = &c->live;
    enter(c, diagonal, at, at + REACH_AFTER);
    s->word.of[0] = WORD_OF(PRICE_INTO_LITERAL, 0);
    s->word.of[1] = WORD_OF(0, 1);
    s->entry.of[1] = (int32_t)at;
    s->leavings[NEVER].home = s->leavings[NEVER].literal_home = diagonal;
}

/* That of what follows the range is paid for in it, unless it ends in the same block. */
static void end_inside(chooser *c, int64_t diagonal) {
    for (unsigned i = 0; i < c->live.count; i++)
        if (c->live.diagonal[i] != diagonal)
            c->live.word.of[i] += WORD_OF(c->prices->change, 0);
}

void ds_credit_open(ds_credit *credit, uint64_t from) {
    *credit = (ds_credit){.visits = CREDIT_MAX, .earned = from};
}

static void earn(ds_credit *credit, uint64_t at) {
    credit->visits += (at - credit->earned) * CREDIT_A_BYTE;
    credit->visits = credit->visits < CREDIT_MAX ? credit->visits : CREDIT_MAX;
    credit->earned = at;
}

ds_status ds_blocks_choose(ds_blocks *blocks, const ds_seeds *seeds, const ds_side *old_side, const ds_side *new_side,
                           ds_price_coding coding, ds_range range, ds_credit *credit, ds_arena *arena) {
    chooser c = {.old_side = old_side,
                 .new_side = new_side,
                 .prices = ds_prices_of(coding),
                 .range = range,
                 .credit = credit,
                 .arena = arena};
    DS_TRY(ds_classes_open(&c.classes, new_side->image, range, arena));
    DS_TRY(grow_nodes(&c, first_capacity(range)));
    open_prices(&c);
    c.live.idle = new_side->bytes;
    open_states(&c.live);
    uint64_t at = range.from, next = 0;
    if (range.before != DS_NO_DIAGONAL)
        begin_inside(&c, range.before, at);
    while (at < range.to) {
        DS_TRY(make_room(&c));
        earn(credit, at);
        bool changed = drop_dead(&c, at);
        if (let_in(&c, seeds, &next, at) || changed || at == range.from)
            choose_best(&c, at);
        uint64_t stop = quiet_until(&c, seeds, next);
        DS_TRY(run_quietly(&c, at, stop));
        at = stop;
    }
    DS_TRY(make_room(&c));
    if (range.behind != DS_NO_DIAGONAL)
        end_inside(&c, range.behind);
    choose_best(&c, at);
    DS_TRY(trace(&c, blocks, at));
    if (c.prices->broken > 0)
        trim_ends(&c, blocks);
    ds_arena_free(arena, c.nodes);
    ds_arena_free(arena, c.marks);
    ds_arena_free(arena, c.classes);
    return DS_OK;
}
