/* See trace.h.
 *
 * A stream's bytes are read a second time by a reader of our own, in step with the walk: so many as the walk has
 * taken. Numbers of gaps are read ahead, right behind the event before the one they lead to; they are held until it
 * comes.
 */
#include "delta/trace.h"

#include "delta/decisions.h"

/* ---- prices of plain bytes ---- */

#define ORDERS 6
#define PRICE_LINES ((uint32_t)1 << 17)
#define BYTE_AS_IT_IS ((uint64_t)8 << 12)

static const ds_model_row price_rows[] = {{"byte", ORDERS, 1}};

typedef struct prices {
    ds_model *model;
    uint64_t history[DS_STREAM_COUNT]; /* latest bytes of each stream, latest lowest */
} prices;

static ds_status open_prices(prices *p, ds_arena *arena) {
    *p = (prices){0};
    return ds_model_open_write(&p->model, price_rows, DS_COUNT(price_rows), PRICE_LINES, arena);
}

static void orders(const prices *p, unsigned stream, uint32_t hash[DS_MODEL_INPUTS]) {
    uint64_t h = p->history[stream];
    uint32_t four = (uint32_t)h, two = (uint32_t)(h >> 32) & 0xffff;
    hash[0] = stream;
    hash[1] = ds_mix(stream, four & 0xff);
    hash[2] = ds_mix(stream, four & 0xffff);
    hash[3] = ds_mix(stream, four & 0xffffff);
    hash[4] = ds_mix(stream, four);
    hash[5] = ds_mix(ds_mix(stream, four), two);
}

static uint64_t price(prices *p, unsigned stream, uint8_t byte) {
    uint32_t hash[DS_MODEL_INPUTS];
    uint64_t before = ds_model_cost(p->model, 0);
    orders(p, stream, hash);
    ds_model_symbol(p->model, 0, 0, hash, 8, byte);
    p->history[stream] = p->history[stream] << 8 | byte;
    return ds_model_cost(p->model, 0) - before;
}

static void learn(prices *p, unsigned stream, ds_span prefix) {
    uint32_t hash[DS_MODEL_INPUTS];
    for (uint64_t i = 0; i < prefix.size; i++) {
        orders(p, stream, hash);
        ds_model_teach(p->model, 0, ORDERS, hash, 8, prefix.data[i]);
        p->history[stream] = p->history[stream] << 8 | prefix.data[i];
    }
}

/* ---- the trace ---- */

struct ds_trace {
    ds_arena *arena;
    const ds_offset *bounds;
    uint64_t count;
    uint64_t piece; /* that was found last */
    unsigned kinds;
    uint64_t *costs; /* of each kind, piece by piece; behind the last those of no place */
    DS_VEC(ds_block) blocks;
    ds_status status;
    /* streams */
    const ds_stream_reader *reader;
    ds_stream_reader *own;
    prices prices;
    uint64_t left[DS_STREAM_COUNT]; /* of what we have not read */
    bool as_it_is[DS_STREAM_COUNT]; /* its frame is not compressed */
    uint64_t held[DS_STREAM_COUNT];
    /* model */
    const ds_model *model;
    uint64_t seen[DS_DECISIONS];
};

ds_status ds_trace_open(ds_trace **out, const ds_offset *bounds, uint64_t count, ds_arena *arena) {
    ds_trace *t = ds_arena_alloc(arena, sizeof *t);
    *out = t;
    if (t == NULL)
        return DS_E_MEMORY;
    *t = (ds_trace){.arena = arena, .bounds = bounds, .count = count};
    if (count == 0 || bounds[0] != 0)
        return DS_E_ARGUMENT;
    for (uint64_t i = 1; i < count; i++)
        if (bounds[i] <= bounds[i - 1])
            return DS_E_ARGUMENT;
    return DS_OK;
}

void ds_trace_close(ds_trace *t) {
    if (t != NULL)
        ds_stream_reader_close(t->own);
}

static ds_status open_costs(ds_trace *t, unsigned kinds) {
    uint64_t size;
    t->kinds = kinds;
    if (!ds_mul(t->count + 1, kinds * sizeof *t->costs, &size))
        return DS_E_LIMIT;
    t->costs = ds_arena_alloc(t->arena, size);
    return t->costs == NULL ? DS_E_MEMORY : DS_OK;
}

ds_status ds_trace_streams(ds_trace *t, const ds_stream_reader *reader, const ds_frames *frames) {
    DS_TRY(open_costs(t, DS_STREAM_COUNT));
    DS_TRY(open_prices(&t->prices, t->arena));
    DS_TRY(ds_stream_reader_open(&t->own, frames, t->arena));
    t->reader = reader;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        t->left[s] = frames->raw_sizes[s];
        t->as_it_is[s] = frames->raw[frames->frame_of[s]];
    }
    return DS_OK;
}

ds_status ds_trace_model(ds_trace *t, const ds_model *model) {
    t->model = model;
    return open_costs(t, DS_DECISIONS + 1);
}

ds_status ds_trace_prefix(ds_trace *t, ds_span prefix) {
    learn(&t->prices, DS_CONTEXT_STREAM, prefix);
    return ds_stream_set_prefix(t->own, DS_STREAM_CODE, prefix);
}

ds_status ds_trace_end_part(ds_trace *t) {
    return ds_stream_end_frame(t->own, DS_STREAM_CODE);
}

/* ---- costs ---- */

static uint64_t find_piece(const ds_offset *bounds, uint64_t count, ds_offset at, uint64_t guess) {
    if (bounds[guess] <= at && (guess + 1 == count || at < bounds[guess + 1]))
        return guess;
    uint64_t low = 0, high = count;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (bounds[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void add(ds_trace *t, ds_offset at, unsigned kind, uint64_t cost) {
    if (cost == 0)
        return;
    uint64_t piece = t->count;
    if (at != DS_TRACE_NOWHERE)
        piece = t->piece = find_piece(t->bounds, t->count, at, t->piece);
    t->costs[piece * t->kinds + kind] += cost;
}

/* The next bytes of a stream, read again. */
static uint64_t price_next(ds_trace *t, unsigned stream, uint64_t size) {
    uint64_t cost = 0;
    t->left[stream] -= size;
    for (; size > 0 && t->status == DS_OK; size--) {
        uint8_t byte = 0;
        t->status = ds_read_bytes(t->own, (ds_stream)stream, &byte, 1);
        uint64_t said = price(&t->prices, stream, byte);
        cost += t->as_it_is[stream] ? BYTE_AS_IT_IS : said;
    }
    return cost;
}

static uint64_t taken(const ds_trace *t, unsigned stream) {
    return t->left[stream] - ds_stream_left(t->reader, (ds_stream)stream);
}

static void take_other(ds_trace *t, ds_offset at, unsigned stream) {
    uint64_t size = taken(t, stream);
    if (size > 0)
        add(t, at, stream, price_next(t, stream, size));
}

/* An event that came, with the gap before it; the gap behind it has been read too. */
static void take_events(ds_trace *t, ds_offset at, unsigned gaps, unsigned events) {
    uint64_t happened = taken(t, events), ahead = taken(t, gaps);
    if (happened > 0) {
        add(t, at, events, price_next(t, events, happened));
        add(t, at, gaps, t->held[gaps]);
        t->held[gaps] = 0;
    }
    if (ahead > 0)
        t->held[gaps] += price_next(t, gaps, ahead);
}

static void take_streams(ds_trace *t, ds_offset at) {
    take_events(t, at, DS_STREAM_RESIDUAL_GAPS, DS_STREAM_RESIDUALS);
    take_events(t, at, DS_STREAM_REF_GAPS, DS_STREAM_REF_FIXES);
    for (unsigned s = DS_STREAM_LAYOUT; s <= DS_STREAM_DATA; s++)
        take_other(t, at, s);
}

#define REFERENCE_TARGET DS_DECISIONS /* the kind behind the model's own */

static bool is_target(unsigned row) {
    return row >= DS_DECIDE_TARGET_WAY && row <= DS_DECIDE_TARGET_DISTANCE;
}

static void take_decisions(ds_trace *t, ds_offset at, bool of_reference) {
    for (unsigned row = 0; row < DS_DECISIONS; row++) {
        uint64_t cost = ds_model_cost(t->model, row);
        add(t, at, of_reference && is_target(row) ? REFERENCE_TARGET : row, cost - t->seen[row]);
        t->seen[row] = cost;
    }
}

void ds_trace_take(ds_trace *t, ds_offset at) {
    if (t->model != NULL)
        take_decisions(t, at, false);
    else
        take_streams(t, at);
}

void ds_trace_take_reference(ds_trace *t, ds_offset at) {
    if (t->model != NULL)
        take_decisions(t, at, true);
    else
        take_streams(t, at);
}

void ds_trace_take_literals(ds_trace *t, ds_offset at, uint64_t size) {
    for (unsigned s = DS_STREAM_CODE; s <= DS_STREAM_DATA; s++)
        if (taken(t, s) == size)
            for (uint64_t i = 0; i < size; i++)
                add(t, at + i, s, price_next(t, s, 1));
}

ds_status ds_trace_keep_blocks(ds_trace *t, const ds_blocks *blocks) {
    DS_TRY(DS_VEC_RESERVE(t->arena, &t->blocks, blocks->list.count + 1));
    t->blocks.count = blocks->list.count;
    memcpy(t->blocks.items, blocks->list.items, blocks->list.count * sizeof *blocks->list.items);
    return DS_OK;
}

/* ---- the end ---- */

ds_status ds_trace_finish(ds_trace *t) {
    if (t->status == DS_OK && t->model == NULL)
        for (unsigned s = 0; s < DS_STREAM_COUNT; s++)
            if (t->left[s] != 0)
                return DS_E_DELTA;
    return t->status;
}

unsigned ds_trace_kinds(const ds_trace *t) {
    return t->kinds;
}

const char *ds_trace_kind(const ds_trace *t, unsigned kind) {
    if (kind >= t->kinds)
        return NULL;
    if (t->model == NULL)
        return ds_stream_name(kind);
    return kind == DS_DECISIONS ? "reference target" : ds_decision_rows[kind].name;
}

const uint64_t *ds_trace_costs(const ds_trace *t) {
    return t->costs;
}

const ds_block *ds_trace_blocks(const ds_trace *t, uint64_t *count) {
    *count = t->blocks.count;
    return t->blocks.items;
}

ds_status ds_trace_price(ds_span bytes, ds_span prefix, const ds_offset *bounds, uint64_t count, ds_arena *arena,
                         uint64_t *costs) {
    prices p;
    uint64_t piece = 0;
    DS_TRY(open_prices(&p, arena));
    learn(&p, 0, prefix);
    for (uint64_t i = 0; i < bytes.size; i++) {
        piece = find_piece(bounds, count, i, piece);
        costs[piece] += price(&p, 0, bytes.data[i]);
    }
    ds_model_close(p.model);
    return DS_OK;
}
