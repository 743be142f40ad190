/* The adaptive model; see model.h. */
#include "codec/model.h"

#include "codec/range.h"

#define LINE_COUNTERS 16 /* [0] holds the check word, [1..15] the nodes of a half byte */
#define FLAG_BITS 20     /* counters of flags have a table of their own */
#define COUNT_BITS 10
#define COUNT_MASK ((1u << COUNT_BITS) - 1)
#define HALF_P (1u << 31)

#define STRETCH_MAX 3071 /* 12 * 256 - 1: logistic domain in 1/256 */
#define WEIGHT_ONE 65536
#ifndef FINAL_START
#define FINAL_START 22000
#endif
#define RATE_SHIFT 13
#ifndef FINAL_SHIFT
#define FINAL_SHIFT 15
#endif

typedef struct line {
    uint32_t counters[LINE_COUNTERS];
} line;

typedef struct row_state {
    int32_t *select_weights; /* [select][bit][input] */
    int32_t *trust_weights;  /* [trust][input] */
    int32_t final_weights[DS_MODEL_BITS * 3];
    int32_t *node_weights; /* [bits so far][input] */
    uint64_t cost;
} row_state;

struct ds_model {
    const ds_model_row *rows;
    row_state *states;
    unsigned row_count;
    ds_range_encoder encoder;
    ds_range_decoder decoder;
    bool reading;
    line *lines;
    uint32_t line_count;
    uint32_t *flags;
    uint32_t rates[COUNT_MASK + 1];
    uint16_t squash[2 * STRETCH_MAX + 1];
    int16_t stretch[65536];
    ds_arena *arena;
};

/* ---- logistic tables: integers throughout ---- */

/* e^(1/256) in 2^-40: 1.00391388933834757... */
#define EXP_STEP UINT64_C(1103814994613)

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
    for (unsigned n = 0; n <= COUNT_MASK; n++)
        m->rates[n] = 131072 / (2 * n + 3); /* 65536 / (n + 1.5) */
}

static inline uint32_t squash(const ds_model *m, int x) {
    x = x > STRETCH_MAX ? STRETCH_MAX : x < -STRETCH_MAX ? -STRETCH_MAX : x;
    return m->squash[x + STRETCH_MAX];
}

/* ---- counters: 22 bits of probability, 10 of count; stored so that zeroed memory means 1/2, never seen ---- */

static inline uint32_t counter_p16(uint32_t counter) {
    return (counter ^ HALF_P) >> 16;
}

static inline void counter_learn(const ds_model *m, uint32_t *counter, bool bit, uint32_t limit) {
    uint32_t c = *counter ^ HALF_P, n = c & COUNT_MASK, p = c >> COUNT_BITS;
    uint32_t target = bit ? (1u << 22) - 1 : 0;
    int64_t delta = ((int64_t)target - (int64_t)p) * m->rates[n] >> 16;
    p = (uint32_t)((int64_t)p + delta);
    *counter = (p << COUNT_BITS | (n < limit ? n + 1 : n)) ^ HALF_P;
}

/* ---- one bit ---- */

#ifndef R0
#define R0 3072
#define R1 384
#define RN 64
#endif
/* in 1/1024: falls from R0+R1 to R1 */
static inline int learn_rate(int32_t *n) {
    int rate = R1 + R0 * RN / (RN + *n);
    *n += *n < 65535;
    return rate;
}
#define TRUSTED 2 /* a counter seen so often has a say */

#define WEIGHT_MAX (10 * WEIGHT_ONE) /* a weight times STRETCH_MAX fits 31 bits */
static inline int32_t clip(int32_t w) {
    return w > WEIGHT_MAX ? WEIGHT_MAX : w < -WEIGHT_MAX ? -WEIGHT_MAX : w;
}

static bool code_bit(ds_model *m, unsigned row, unsigned select, unsigned bit_index, unsigned node_index,
                     uint32_t *const counters[], bool bit) {
    const ds_model_row *r = &m->rows[row];
    row_state *state = &m->states[row];
    unsigned inputs = r->inputs, trusted = 0;
    int x[DS_MODEL_INPUTS];
    for (unsigned i = 0; i < inputs; i++) {
        uint32_t c = *counters[i], n = c & COUNT_MASK;
        x[i] = m->stretch[counter_p16(c)];
        trusted += n >= TRUSTED;
    }
    int32_t *a = state->select_weights + (select * DS_MODEL_BITS + bit_index) * (inputs + 1);
    int32_t *b = state->trust_weights + trusted * (inputs + 1);
    int32_t *d = state->node_weights + node_index * (inputs + 1);
    int32_t dot_a = 0, dot_b = 0, dot_d = 0;
    for (unsigned i = 0; i < inputs; i++) {
        dot_a += x[i] * a[i] >> 8;
        dot_b += x[i] * b[i] >> 8;
        dot_d += x[i] * d[i] >> 8;
    }
    int out_a = dot_a >> 8, out_b = dot_b >> 8, out_d = dot_d >> 8;
    int outs[3] = {out_a, out_b, out_d};
    for (unsigned i = 0; i < 3; i++)
        outs[i] = outs[i] > STRETCH_MAX ? STRETCH_MAX : outs[i] < -STRETCH_MAX ? -STRETCH_MAX : outs[i];
    int32_t *f = state->final_weights + bit_index * 3;
    int out_f = (int)(((int64_t)outs[0] * f[0] + (int64_t)outs[1] * f[1] + (int64_t)outs[2] * f[2]) >> 16);
    uint32_t p = squash(m, out_f);
    p = p < 1 ? 1 : p;
    if (m->reading)
        bit = ds_range_decode(&m->decoder, p);
    else
        ds_range_encode(&m->encoder, p, bit);
#ifdef DS_COSTS
    {
        extern double log2(double);
        state->cost += (uint64_t)(-log2((bit ? p : 65536 - p) / 65536.0) * 65536);
    }
#endif
    int error_a = (int)((bit ? 65535u : 0u) - squash(m, out_a));
    int error_b = (int)((bit ? 65535u : 0u) - squash(m, out_b));
    int error_f = (int)((bit ? 65535u : 0u) - p);
    for (unsigned i = 0; i < 3; i++)
        f[i] += (outs[i] * error_f + (1 << (FINAL_SHIFT - 1))) >> FINAL_SHIFT;
    int error_d = (int)((bit ? 65535u : 0u) - squash(m, out_d));
    int rate_a = learn_rate(a + inputs), rate_b = learn_rate(b + inputs), rate_d = learn_rate(d + inputs);
    error_a = error_a * rate_a >> 10;
    error_b = error_b * rate_b >> 10;
    error_d = error_d * rate_d >> 10;
    for (unsigned i = 0; i < inputs; i++) {
        d[i] = clip(d[i] + ((x[i] * error_d + (1 << (RATE_SHIFT - 1))) >> RATE_SHIFT));
        a[i] = clip(a[i] + ((x[i] * error_a + (1 << (RATE_SHIFT - 1))) >> RATE_SHIFT));
        b[i] = clip(b[i] + ((x[i] * error_b + (1 << (RATE_SHIFT - 1))) >> RATE_SHIFT));
    }
    for (unsigned i = 0; i < inputs; i++) {
        counter_learn(m, counters[i], bit, r->limit);
    }
    return bit;
}

/* ---- finding counters ---- */

static inline uint32_t spread(uint32_t hash, uint32_t salt) {
    uint64_t h = (uint64_t)(hash ^ salt * 0x632be5abu) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

static inline line *line_of(const ds_model *m, uint32_t hash) {
    return &m->lines[(uint64_t)hash * m->line_count >> 32];
}

/* The line of a context: one of two neighbours whose check word agrees; else the one less used is taken over. */
static line *find_line(ds_model *m, uint32_t hash) {
    uint32_t check = hash * 0x2c1b3c6du | 1;
    line *first = line_of(m, hash), *second = &m->lines[(first - m->lines) ^ 1];
    if (first->counters[0] == check)
        return first;
    if (second->counters[0] == check)
        return second;
    line *victim = (first->counters[1] & COUNT_MASK) <= (second->counters[1] & COUNT_MASK) ? first : second;
    memset(victim, 0, sizeof *victim);
    victim->counters[0] = check;
    return victim;
}

/* The lines of all contexts; looked for together, so that memory answers together. */
static void find_lines(ds_model *m, unsigned inputs, const uint32_t *contexts, uint32_t offset, uint32_t salt,
                       line *lines[]) {
    uint32_t hashes[DS_MODEL_INPUTS];
    for (unsigned i = 0; i < inputs; i++) {
        hashes[i] = spread(contexts[i] + offset, salt | i);
        const line *first = line_of(m, hashes[i]);
        __builtin_prefetch(first, 1);
        __builtin_prefetch(&m->lines[(first - m->lines) ^ 1], 1);
    }
    for (unsigned i = 0; i < inputs; i++)
        lines[i] = find_line(m, hashes[i]);
}

bool ds_model_flag(ds_model *m, unsigned row, unsigned select, const uint32_t *contexts, bool bit) {
    uint32_t *counters[DS_MODEL_INPUTS];
    for (unsigned i = 0; i < m->rows[row].inputs; i++)
        counters[i] = &m->flags[spread(contexts[i], row << 8 | i) >> (32 - FLAG_BITS)];
    return code_bit(m, row, select, 0, 0, counters, bit);
}

static inline unsigned first_group(unsigned bits) {
    return bits > 4 ? bits - 4 : bits;
}

unsigned ds_model_symbol(ds_model *m, unsigned row, unsigned select, const uint32_t *contexts, unsigned bits,
                         unsigned value) {
    const unsigned inputs = m->rows[row].inputs;
    line *lines[DS_MODEL_INPUTS];
    uint32_t *counters[DS_MODEL_INPUTS];
    unsigned coded = 0, done = 0, salt = row << 8;
    while (done < bits) {
        unsigned group = done == 0 ? first_group(bits) : bits - done, node = 1;
        find_lines(m, inputs, contexts, done == 0 ? 0 : (coded + 1) * 0x3c6ef372u, salt, lines);
        for (unsigned k = 0; k < group; k++, done++) {
            for (unsigned i = 0; i < inputs; i++)
                counters[i] = &lines[i]->counters[node];
            bool bit = code_bit(m, row, select, done, (1u << done) | coded, counters, value >> (bits - 1 - done) & 1);
            node = node << 1 | bit;
            coded = coded << 1 | bit;
        }
    }
    return coded;
}

static void teach_group(const ds_model *m, line *l, unsigned value, unsigned bits, uint32_t limit) {
    unsigned node = 1;
    for (unsigned k = bits; k-- > 0; node = node << 1 | (value >> k & 1))
        counter_learn(m, &l->counters[node], value >> k & 1, limit);
}

void ds_model_teach(ds_model *m, unsigned row, unsigned inputs, const uint32_t *contexts, unsigned bits,
                    unsigned value) {
    const unsigned limit = m->rows[row].limit;
    unsigned first = first_group(bits), second = bits - first;
    line *lines[2][DS_MODEL_INPUTS];
    find_lines(m, inputs, contexts, 0, row << 8, lines[0]);
    if (second > 0)
        find_lines(m, inputs, contexts, ((value >> second) + 1) * 0x3c6ef372u, row << 8, lines[1]);
    for (unsigned i = 0; i < inputs; i++) {
        teach_group(m, lines[0][i], value >> second, first, limit);
        if (second > 0)
            teach_group(m, lines[1][i], value & ((1u << second) - 1), second, limit);
    }
}

/* ---- life ---- */

static ds_status open_model(ds_model **out, const ds_model_row *rows, unsigned row_count, uint32_t lines,
                            ds_arena *arena) {
    ds_model *m = ds_arena_alloc(arena, sizeof *m);
    *out = m;
    if (m == NULL)
        return DS_E_MEMORY;
    *m = (ds_model){.rows = rows, .row_count = row_count, .arena = arena};
    m->line_count = lines;
    m->lines = ds_arena_alloc(arena, sizeof *m->lines * lines);
    m->flags = ds_arena_alloc(arena, sizeof *m->flags << FLAG_BITS);
    m->states = ds_arena_alloc(arena, row_count * sizeof *m->states);
    if (m->lines == NULL || m->flags == NULL || m->states == NULL)
        return DS_E_MEMORY;
    for (unsigned r = 0; r < row_count; r++) {
        uint64_t inputs = rows[r].inputs, sets = (uint64_t)rows[r].selects * DS_MODEL_BITS, trusts = inputs + 1;
        m->states[r].select_weights = ds_arena_alloc(arena, sets * (inputs + 1) * sizeof(int32_t));
        m->states[r].trust_weights = ds_arena_alloc(arena, trusts * (inputs + 1) * sizeof(int32_t));
        if (m->states[r].select_weights == NULL || m->states[r].trust_weights == NULL)
            return DS_E_MEMORY;
        int32_t start = (int32_t)(inputs == 1 ? WEIGHT_ONE : inputs < 4 ? WEIGHT_ONE / 2 : WEIGHT_ONE * 3 / 10);
        for (uint64_t i = 0; i < sets * (inputs + 1); i++)
            m->states[r].select_weights[i] = i % (inputs + 1) == inputs ? 0 : start;
        for (unsigned i = 0; i < DS_MODEL_BITS * 3; i++)
            m->states[r].final_weights[i] = FINAL_START;
        m->states[r].node_weights = ds_arena_alloc(arena, 256 * (inputs + 1) * sizeof(int32_t));
        for (uint64_t i = 0; i < 256 * (inputs + 1); i++)
            m->states[r].node_weights[i] = i % (inputs + 1) == inputs ? 0 : start;
        for (uint64_t i = 0; i < trusts * (inputs + 1); i++)
            m->states[r].trust_weights[i] = i % (inputs + 1) == inputs ? 0 : start;
    }
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
                             ds_span coded, ds_arena *arena) {
    DS_TRY(open_model(model, rows, row_count, lines, arena));
    (*model)->reading = true;
    ds_range_decoder_open(&(*model)->decoder, coded);
    return DS_OK;
}

void ds_model_close(ds_model *m) {
    if (m == NULL)
        return;
    for (unsigned r = 0; r < m->row_count; r++) {
        ds_arena_free(m->arena, m->states[r].select_weights);
        ds_arena_free(m->arena, m->states[r].trust_weights);
    }
    ds_arena_free(m->arena, m->states);
    ds_arena_free(m->arena, m->flags);
    ds_arena_free(m->arena, m->lines);
    ds_arena_free(m->arena, m);
}

ds_status ds_model_finish(ds_model *m, ds_span *coded) {
    return ds_range_encoder_finish(&m->encoder, coded);
}

ds_status ds_model_check(const ds_model *m) {
    return m->reading ? ds_range_decoder_check(&m->decoder) : m->encoder.status;
}

bool ds_model_at_end(const ds_model *m) {
    return m->decoder.at == m->decoder.end;
}

uint64_t ds_model_cost(const ds_model *m, unsigned row) {
    return m->states[row].cost;
}
