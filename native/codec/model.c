/* The adaptive model; see model.h. */
#include "codec/model.h"

#include "codec/counters.h"
#include "codec/lanes.h"
#include "codec/range.h"

#define LINE_COUNTERS 16 /* [0] holds the check word, [1..15] the nodes of a half byte */
#define FLAG_BITS 20     /* counters of flags have a table of their own */

#define STRETCH_MAX 3071 /* 12 * 256 - 1: logistic domain in 1/256 */

/* Opinions: two of each input, and one that is always the same, for what all of them get wrong together. */
#define BIAS 640
#define OPINIONS_MAX ((2 * DS_MODEL_INPUTS + 1 + DS_LANES - 1) / DS_LANES * DS_LANES) /* filled up with zeros */

/* Weights in 1/8192. */
#define WEIGHT_SHIFT 13
#define WEIGHT_ONE (1 << WEIGHT_SHIFT)
_Static_assert((INT64_C(2) * DS_MODEL_INPUTS * STRETCH_MAX + BIAS) * -(int64_t)INT16_MIN <= INT32_MAX,
               "a sum of opinions fits");

/* How quickly mixers learn: a weight moves by opinion * step / 65536, where a step is error * rate >> RATE_SHIFT, and
 * the rate falls from RATE_MORE + RATE_LEAST to RATE_LEAST as its set is used. */
#define RATE_SHIFT 10
#define RATE_MORE 800
#define RATE_HALF 150 /* uses after which half of RATE_MORE is left */
#define RATE_LEAST 215
#define USES_MAX 4095
#define STEP_LEAST 11
_Static_assert((STEP_LEAST - 1) * STRETCH_MAX < 32768, "smaller steps move nothing");
#define FINAL_ONE 65536
#define FINAL_MAX (10 * FINAL_ONE)
#define FINAL_SHIFT 16
#define FINAL_START 19500 /* a little less than a third */

typedef struct line {
    uint32_t counters[LINE_COUNTERS];
} line;
#define NEIGHBOURS (2 * sizeof(line)) /* processors read two cache lines together */

/* Where a context's counters are, as long as nobody looked. */
typedef struct line_place {
    line *first; /* or its neighbour */
    uint32_t check;
} line_place;

/* Mixers of one kind of decision. */
enum { BY_SELECT, BY_TRUST, BY_NODE, MIXERS };

/* A weight for each opinion, and how often it was used. */
typedef struct mixer_set {
    _Alignas(16) int16_t weights[OPINIONS_MAX];
    uint32_t uses;
} mixer_set;

typedef struct row_state {
    mixer_set *sets[MIXERS]; /* by the caller's choice; by trusted inputs; by the bits so far */
    int32_t final[DS_MODEL_SELECTS][DS_MODEL_BITS][MIXERS];
    uint32_t (*maps)[HISTORIES]; /* of each input: what came after each history */
    uint64_t cost;
} row_state;

/* What is to be taught: it is put off until memory had time to bring its lines. */
#define LESSONS 8 /* that wait at most: a power of two */
typedef struct lesson {
    line_place places[2][DS_MODEL_INPUTS]; /* of both groups */
    uint8_t inputs, bits, value;
} lesson;

struct ds_model {
    const ds_model_row *rows;
    row_state *states;
    unsigned row_count;
    ds_range_encoder encoder;
    ds_range_decoder decoder;
    bool reading;
    line *lines; /* at a multiple of NEIGHBOURS, in `table` */
    uint32_t line_count;
    uint8_t *table;
    uint32_t *flags;
    lesson lessons[LESSONS];
    unsigned lessons_put, lessons_taken; /* so many altogether */
    ds_counter_steps steps;
    uint16_t mixer_rates[USES_MAX + 1];
    uint16_t squash[2 * STRETCH_MAX + 1];
    int16_t stretch[65536];
    uint16_t price[4097]; /* of a bit by its probability >> 4, in 1/4096 bit; for reports only */
    ds_arena *arena;
};

/* ---- logistic tables: integers throughout ---- */

/* e^(1/256) in 2^-40: 1.00391388933834757... */
#define EXP_STEP UINT64_C(1103814994613)

/* -log2 by squaring, in 1/4096. */
static void build_prices(ds_model *m) {
    m->price[0] = UINT16_MAX;
    for (unsigned i = 1; i <= 4096; i++) {
        unsigned whole = 31 - (unsigned)__builtin_clz(i), fraction = 0;
        uint64_t x = (uint64_t)i << (31 - whole); /* 1 to 2, in 1/2^31 */
        for (unsigned bit = 0; bit < 12; bit++) {
            x = x * x >> 31;
            fraction = fraction << 1 | (x >= UINT64_C(1) << 32);
            x >>= x >= UINT64_C(1) << 32;
        }
        m->price[i] = (uint16_t)((12 << 12) - (whole << 12 | fraction));
    }
}

static void build_tables(ds_model *m) {
    /* squash(x) = 65536 / (1 + e^-x), by repeated multiplication in 2^-40 fixed point. */
    uint64_t e = UINT64_C(1) << 40;
    for (int x = 0; x <= STRETCH_MAX; x++) {
        /* p = 65536 * e^x / (1 + e^x) */
        unsigned __int128 numerator = (unsigned __int128)e << 16;
        uint64_t p = (uint64_t)(numerator / (e + (UINT64_C(1) << 40)));
        p = p > 65535 ? 65535 : p;
        m->squash[STRETCH_MAX + x] = (uint16_t)p;
        m->squash[STRETCH_MAX - x] = (uint16_t)(65536 - p);
        e = (uint64_t)(((unsigned __int128)e * EXP_STEP) >> 40);
    }
    int x = -STRETCH_MAX;
    for (unsigned p = 0; p < 65536; p++) {
        while (x < STRETCH_MAX && m->squash[STRETCH_MAX + x] < p)
            x++;
        m->stretch[p] = (int16_t)x;
    }
    build_prices(m);
    ds_counter_steps_open(&m->steps);
    for (unsigned uses = 0; uses <= USES_MAX; uses++)
        m->mixer_rates[uses] = (uint16_t)(RATE_LEAST + RATE_MORE * RATE_HALF / (RATE_HALF + uses));
}

static inline uint32_t squash(const ds_model *m, int x) {
    x = x > STRETCH_MAX ? STRETCH_MAX : x < -STRETCH_MAX ? -STRETCH_MAX : x;
    return m->squash[x + STRETCH_MAX];
}

/* ---- one bit ---- */

/* Where a bit stands in its decision. */
typedef struct bit_place {
    unsigned row, select;
    unsigned inputs; /* of the row */
    unsigned index;  /* bits before it */
    unsigned node;   /* a one, and the bits before it */
} bit_place;

static inline int clip(int value, int limit) {
    return value > limit ? limit : value < -limit ? -limit : value;
}

/* What is thought of a bit, filled up with zeros. */
typedef struct opinions {
    _Alignas(16) int16_t of[OPINIONS_MAX];
} opinions;

/* `vectors`, here and below: so many hold all opinions. Known where it is compiled, so that they stay in registers. */
static inline int mix(const opinions *x, const mixer_set *set, unsigned vectors) {
    return clip(ds_lanes_dot(x->of, set->weights, vectors) >> WEIGHT_SHIFT, STRETCH_MAX);
}

/* `error`: what the bit was, less its probability, in 1/65536. A step below STEP_LEAST moves nothing. */
static inline void learn_set(const ds_model *m, const opinions *x, mixer_set *set, unsigned vectors, int error) {
    const int step = clip(error * m->mixer_rates[set->uses] >> RATE_SHIFT, INT16_MAX);
    set->uses += set->uses < USES_MAX;
    if (step >= STEP_LEAST || step <= -STEP_LEAST)
        ds_lanes_learn(x->of, set->weights, vectors, (int16_t)step);
}

static inline uint32_t mix_final(const ds_model *m, const int *outputs, const int32_t *weights) {
    int64_t sum = 0;
    for (unsigned i = 0; i < MIXERS; i++)
        sum += (int64_t)outputs[i] * weights[i];
    return squash(m, (int)(sum >> 16));
}

static inline void learn_final(const int *outputs, int32_t *weights, int error) {
    for (unsigned i = 0; i < MIXERS; i++)
        weights[i] = clip(weights[i] + ((outputs[i] * error + (1 << (FINAL_SHIFT - 1))) >> FINAL_SHIFT), FINAL_MAX);
}

/* Of each counter its own opinion, and what came after its history elsewhere. Returns how many counters have been seen
 * before: what they say is worth something. */
static inline unsigned take_opinions(const ds_model *m, const bit_place *place, uint32_t *const counters[],
                                     uint32_t *entries[], opinions *x, unsigned vectors) {
    uint32_t *map = m->states[place->row].maps[0];
    unsigned trusted = 0;
    memset(x->of, 0, vectors * DS_LANES * sizeof *x->of);
    for (unsigned i = 0; i < place->inputs; i++, map += HISTORIES) {
        const uint32_t counter = *counters[i];
        entries[i] = map + ds_counter_history(counter);
        x->of[2 * i] = m->stretch[ds_counter_chance(counter)];
        x->of[2 * i + 1] = m->stretch[ds_map_chance(*entries[i])];
        trusted += ds_counter_count(counter) > 0;
    }
    x->of[2 * place->inputs] = BIAS;
    return trusted;
}

static inline bool code_vectors(ds_model *m, const bit_place *place, uint32_t *const counters[], bool bit,
                                unsigned vectors) {
    row_state *state = &m->states[place->row];
    uint32_t *entries[DS_MODEL_INPUTS];
    opinions x;
    int outputs[MIXERS];
    unsigned trusted = take_opinions(m, place, counters, entries, &x, vectors);
    int32_t *final = state->final[place->select][place->index];
    mixer_set *sets[MIXERS] = {[BY_SELECT] = state->sets[BY_SELECT] + place->select,
                               [BY_TRUST] = state->sets[BY_TRUST] + trusted,
                               [BY_NODE] = state->sets[BY_NODE] + place->node};
    for (unsigned i = 0; i < MIXERS; i++)
        outputs[i] = mix(&x, sets[i], vectors);
    uint32_t p = mix_final(m, outputs, final);
    if (m->reading)
        bit = ds_range_decode(&m->decoder, p);
    else
        ds_range_encode(&m->encoder, p, bit);
    state->cost += m->price[(bit ? p : 65536 - p) >> 4];
    int actual = bit ? 65535 : 0;
    learn_final(outputs, final, actual - (int)p);
    for (unsigned i = 0; i < MIXERS; i++)
        learn_set(m, &x, sets[i], vectors, actual - (int)squash(m, outputs[i]));
    for (unsigned i = 0; i < place->inputs; i++) {
        ds_counter_learn(counters[i], bit, &m->steps);
        ds_map_learn(entries[i], bit, m->steps.map);
    }
    return bit;
}

/* Compiled for each number of vectors. */
static bool code_bit(ds_model *m, const bit_place *place, uint32_t *const counters[], bool bit) {
    switch (2 * place->inputs / DS_LANES) {
    case 0:
        return code_vectors(m, place, counters, bit, 1);
    case 1:
        return code_vectors(m, place, counters, bit, 2);
    default:
        return code_vectors(m, place, counters, bit, 3);
    }
}
_Static_assert(OPINIONS_MAX == 3 * DS_LANES, "vectors for all inputs");

#define DS_MODEL_NODES (1u << DS_MODEL_BITS)

/* ---- finding counters ---- */

static inline uint32_t spread(uint32_t hash, uint32_t salt) {
    uint64_t h = (uint64_t)(hash ^ salt * 0x632be5abu) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

static inline line *line_of(const ds_model *m, uint32_t hash) {
    return &m->lines[(uint64_t)hash * m->line_count >> 32];
}

static inline line *neighbour(line *l) {
    return (uintptr_t)l & sizeof *l ? l - 1 : l + 1;
}

/* Asks memory for the lines of all contexts together. */
static inline void place_lines(const ds_model *m, unsigned inputs, const uint32_t *contexts, uint32_t offset,
                               uint32_t salt, line_place *places) {
    for (unsigned i = 0; i < inputs; i++) {
        uint32_t hash = spread(contexts[i] + offset, salt | i);
        places[i] = (line_place){line_of(m, hash), hash * 0x2c1b3c6du | 1};
        __builtin_prefetch(places[i].first, 1);
        __builtin_prefetch(neighbour(places[i].first), 1);
    }
}

/* One of two neighbours whose check word agrees; else the one less used is taken over. */
static inline line *find_line(const line_place *place) {
    line *first = place->first, *second = neighbour(first);
    if (first->counters[0] == place->check)
        return first;
    if (second->counters[0] == place->check)
        return second;
    line *victim = ds_counter_count(first->counters[1]) <= ds_counter_count(second->counters[1]) ? first : second;
    memset(victim, 0, sizeof *victim);
    victim->counters[0] = place->check;
    return victim;
}

/* All of them, before a counter of one is touched: which line gives way depends on counts. */
static inline void find_lines(unsigned inputs, const line_place *places, line *lines[]) {
    for (unsigned i = 0; i < inputs; i++)
        lines[i] = find_line(&places[i]);
}

/* Contexts of the bits behind the first group have the group in them. */
static inline uint32_t second_offset(unsigned first_group) {
    return (first_group + 1) * 0x3c6ef372u;
}

/* ---- teaching ---- */

static inline unsigned first_group(unsigned bits) {
    return bits > 4 ? bits - 4 : bits;
}

static inline void learn_path(uint32_t *counters, unsigned value, unsigned bits, const ds_counter_steps *steps) {
    for (unsigned k = bits, node = 1; k-- > 0; node = node << 1 | (value >> k & 1))
        ds_counter_learn(&counters[node], value >> k & 1, steps);
}

static void learn_group(ds_model *m, const lesson *l, unsigned group, unsigned value, unsigned bits) {
    line *lines[DS_MODEL_INPUTS];
    find_lines(l->inputs, l->places[group], lines);
    if (bits == 4) /* most are: compiled for it */
        for (unsigned i = 0; i < l->inputs; i++)
            learn_path(lines[i]->counters, value, 4, &m->steps);
    else
        for (unsigned i = 0; i < l->inputs; i++)
            learn_path(lines[i]->counters, value, bits, &m->steps);
}

static void learn_lesson(ds_model *m) {
    const lesson *l = &m->lessons[m->lessons_taken++ % LESSONS];
    unsigned first = first_group(l->bits), second = l->bits - first;
    learn_group(m, l, 0, l->value >> second, first);
    if (second != 0)
        learn_group(m, l, 1, l->value & ((1u << second) - 1), second);
}

/* Before anything else looks at a line. */
static inline void learn_lessons(ds_model *m) {
    while (m->lessons_taken != m->lessons_put)
        learn_lesson(m);
}

void ds_model_teach(ds_model *m, unsigned row, unsigned inputs, const uint32_t *contexts, unsigned bits,
                    unsigned value) {
    if (m->lessons_put - m->lessons_taken == LESSONS)
        learn_lesson(m);
    lesson *l = &m->lessons[m->lessons_put++ % LESSONS];
    unsigned second = bits - first_group(bits);
    l->inputs = (uint8_t)inputs;
    l->bits = (uint8_t)bits;
    l->value = (uint8_t)value;
    place_lines(m, inputs, contexts, 0, row << 8, l->places[0]);
    if (second != 0)
        place_lines(m, inputs, contexts, second_offset(value >> second), row << 8, l->places[1]);
}

/* ---- decisions ---- */

bool ds_model_flag(ds_model *m, unsigned row, unsigned select, const uint32_t *contexts, bool bit) {
    uint32_t *counters[DS_MODEL_INPUTS];
    const unsigned inputs = m->rows[row].inputs;
    for (unsigned i = 0; i < inputs; i++)
        counters[i] = &m->flags[spread(contexts[i], row << 8 | i) >> (32 - FLAG_BITS)];
    return code_bit(m, &(bit_place){.row = row, .select = select, .inputs = inputs, .node = 1}, counters, bit);
}

unsigned ds_model_symbol(ds_model *m, unsigned row, unsigned select, const uint32_t *contexts, unsigned bits,
                         unsigned value) {
    const unsigned inputs = m->rows[row].inputs;
    line *lines[DS_MODEL_INPUTS];
    line_place places[DS_MODEL_INPUTS];
    uint32_t *counters[DS_MODEL_INPUTS];
    unsigned coded = 0, done = 0;
    learn_lessons(m);
    while (done < bits) {
        unsigned group = done == 0 ? first_group(bits) : bits - done, node = 1;
        place_lines(m, inputs, contexts, done == 0 ? 0 : second_offset(coded), row << 8, places);
        find_lines(inputs, places, lines);
        for (unsigned k = 0; k < group; k++, done++) {
            for (unsigned i = 0; i < inputs; i++)
                counters[i] = &lines[i]->counters[node];
            bit_place place = {row, select, inputs, done, 1u << done | coded};
            bool bit = code_bit(m, &place, counters, value >> (bits - 1 - done) & 1);
            node = node << 1 | bit;
            coded = coded << 1 | bit;
        }
    }
    return coded;
}

unsigned ds_model_plain(ds_model *m, unsigned row, unsigned bits, unsigned value) {
    const uint32_t half = 1u << 15;
    unsigned coded = 0;
    for (unsigned k = bits; k-- > 0;) {
        bool bit = value >> k & 1;
        if (m->reading)
            bit = ds_range_decode(&m->decoder, half);
        else
            ds_range_encode(&m->encoder, half, bit);
        coded = coded << 1 | bit;
    }
    m->states[row].cost += (uint64_t)bits * m->price[half >> 4];
    return coded;
}

/* ---- life ---- */

/* What the inputs of a row weigh at first: a counter three parts, its map two; the bias nothing. */
static void open_set(mixer_set *set, unsigned inputs) {
    int start = inputs == 1 ? WEIGHT_ONE : inputs < 4 ? WEIGHT_ONE / 2 : WEIGHT_ONE / 4;
    for (unsigned i = 0; i < inputs; i++) {
        set->weights[2 * i] = (int16_t)(start * 3 / 5);
        set->weights[2 * i + 1] = (int16_t)(start * 2 / 5);
    }
}

static ds_status open_row(row_state *state, const ds_model_row *row, ds_arena *arena) {
    uint64_t counts[MIXERS] = {[BY_SELECT] = row->selects, [BY_TRUST] = row->inputs + 1u, [BY_NODE] = DS_MODEL_NODES};
    for (unsigned i = 0; i < MIXERS; i++) {
        state->sets[i] = ds_arena_alloc(arena, counts[i] * sizeof *state->sets[i]);
        if (state->sets[i] == NULL)
            return DS_E_MEMORY;
        for (uint64_t set = 0; set < counts[i]; set++)
            open_set(&state->sets[i][set], row->inputs);
    }
    state->maps = ds_arena_alloc(arena, row->inputs * sizeof *state->maps);
    if (state->maps == NULL)
        return DS_E_MEMORY;
    for (unsigned i = 0; i < row->inputs; i++)
        ds_map_open(state->maps[i]);
    for (unsigned select = 0; select < row->selects; select++)
        for (unsigned bit = 0; bit < DS_MODEL_BITS; bit++)
            for (unsigned i = 0; i < MIXERS; i++)
                state->final[select][bit][i] = FINAL_START;
    return DS_OK;
}

static ds_status open_model(ds_model **out, const ds_model_row *rows, unsigned row_count, uint32_t lines,
                            ds_arena *arena) {
    ds_model *m = ds_arena_alloc(arena, sizeof *m);
    *out = m;
    if (m == NULL)
        return DS_E_MEMORY;
    *m = (ds_model){.rows = rows, .row_count = row_count, .arena = arena};
    m->line_count = lines;
    m->table = ds_arena_alloc(arena, sizeof *m->lines * lines + NEIGHBOURS);
    m->flags = ds_arena_alloc(arena, sizeof *m->flags << FLAG_BITS);
    m->states = ds_arena_alloc(arena, row_count * sizeof *m->states);
    if (m->table == NULL || m->flags == NULL || m->states == NULL)
        return DS_E_MEMORY;
    m->lines = (line *)(m->table + (NEIGHBOURS - (uintptr_t)m->table % NEIGHBOURS));
    for (unsigned r = 0; r < row_count; r++)
        DS_TRY(open_row(&m->states[r], &rows[r], arena));
    build_tables(m);
    return DS_OK;
}

ds_status ds_model_open_write(ds_model **model, const ds_model_row *rows, unsigned row_count, uint32_t lines,
                              ds_arena *arena) {
    DS_TRY(open_model(model, rows, row_count, lines, arena));
    ds_range_encoder_open(&(*model)->encoder, arena);
    return DS_OK;
}

ds_status ds_model_open_read(ds_model **model, const ds_model_row *rows, unsigned row_count, uint32_t lines,
                             ds_span coded, ds_relay *relay, ds_arena *arena) {
    DS_TRY(open_model(model, rows, row_count, lines, arena));
    (*model)->reading = true;
    ds_range_decoder_open(&(*model)->decoder, coded, relay);
    return DS_OK;
}

void ds_model_relay(ds_model *m, ds_relay *relay) {
    m->encoder.relay = relay;
}

void ds_model_close(ds_model *m) {
    if (m == NULL)
        return;
    for (unsigned r = 0; r < m->row_count; r++) {
        for (unsigned i = 0; i < MIXERS; i++)
            ds_arena_free(m->arena, m->states[r].sets[i]);
        ds_arena_free(m->arena, m->states[r].maps);
    }
    ds_arena_free(m->arena, m->states);
    ds_arena_free(m->arena, m->flags);
    ds_arena_free(m->arena, m->table);
    ds_arena_free(m->arena, m);
}

ds_status ds_model_finish(ds_model *m, ds_span *coded) {
    return ds_range_encoder_finish(&m->encoder, coded);
}

ds_status ds_model_check(const ds_model *m) {
    return m->reading ? ds_range_decoder_check(&m->decoder) : m->encoder.status;
}

bool ds_model_at_end(ds_model *m) {
    return m->decoder.at == m->decoder.end && !ds_range_refill(&m->decoder);
}

uint64_t ds_model_cost(const ds_model *m, unsigned row) {
    return m->states[row].cost;
}

void ds_model_charge(ds_model *m, unsigned row, uint64_t before, unsigned other) {
    m->states[other].cost += m->states[row].cost - before;
    m->states[row].cost = before;
}
