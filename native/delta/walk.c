/* The walk, written once for both directions: see walk.h.
 *
 * `coder` holds either a writer (and the new image to describe) or a reader (and a sink to fill). Each
 * decision is one call of a code_… function, which writes what the new image says or returns what the
 * streams say. Whatever depends on decisions made before is computed by the same lines on both sides.
 */
#include "delta/walk.h"

#include "delta/layout.h"

#define CHUNK ((uint64_t)32 << 10) /* copied bytes looked at together */
#define OUTPUT ((uint64_t)256 << 10)
#define NO_EVENT UINT64_MAX /* in a stream of gaps: all further items are clean */

typedef struct coder {
    ds_stream_writer *writer; /* when writing */
    const uint8_t *new_bytes;
    ds_stream_reader *reader; /* when reading */
    ds_sink sink;
    void *context;
    const ds_derivations *derivations;
    ds_deriver *deriver; /* when reading */
    uint8_t *output;     /* OUTPUT bytes; when writing, scratch for predicted bytes */
    uint64_t filled;
    uint64_t until[DS_STREAM_COUNT]; /* reading: clean items before the next event of a stream of gaps */
} coder;

/* ---- decisions ---- */

static ds_status load_gap(coder *c, ds_stream stream) {
    if (ds_stream_at_end(c->reader, stream)) {
        c->until[stream] = NO_EVENT;
        return DS_OK;
    }
    DS_TRY(ds_read_number(c->reader, stream, &c->until[stream]));
    return c->until[stream] == NO_EVENT ? DS_E_DELTA : DS_OK;
}

/* How many of the next `limit` items are clean, *run, before one that is not (or the limit). */
static inline ds_status code_run(coder *c, ds_stream stream, uint64_t limit, uint64_t *run) {
    if (c->writer != NULL) {
        c->writer->runs[stream] += *run;
        if (*run == limit)
            return DS_OK;
        uint64_t gap = c->writer->runs[stream];
        c->writer->runs[stream] = 0;
        return ds_write_number(c->writer, stream, gap);
    }
    if (c->until[stream] >= limit) {
        c->until[stream] -= c->until[stream] == NO_EVENT ? 0 : limit;
        *run = limit;
        return DS_OK;
    }
    *run = c->until[stream];
    return load_gap(c, stream);
}

static ds_status code_number(coder *c, ds_stream stream, uint64_t *value) {
    return c->writer != NULL ? ds_write_number(c->writer, stream, *value) : ds_read_number(c->reader, stream, value);
}

/* ---- output ---- */

static ds_status flush(coder *c) {
    uint64_t size = c->filled;
    c->filled = 0;
    if (c->writer != NULL || size == 0)
        return DS_OK;
    ds_deriver_pass(c->deriver, c->output, size);
    return c->sink(c->context, c->output, size) ? DS_OK : DS_E_CANCELLED;
}

/* Room for the next `size` bytes of the new image, at most CHUNK. */
static ds_status make_room(coder *c, uint64_t size, uint8_t **bytes) {
    if (c->filled + size > OUTPUT)
        DS_TRY(flush(c));
    *bytes = c->output + c->filled;
    c->filled += size;
    return DS_OK;
}

/* ---- literals ---- */

static ds_status walk_literal(coder *c, const ds_layout *layout, ds_offset at, ds_offset end) {
    while (at < end) {
        ds_offset stop;
        bool derived;
        ds_stream stream = ds_layout_is_code(layout, at, &stop) ? DS_STREAM_CODE : DS_STREAM_DATA;
        stop = ds_derived_run(c->derivations, at, stop < end ? stop : end, &derived);
        while (at < stop) {
            uint64_t size = stop - at < CHUNK ? stop - at : CHUNK;
            uint8_t *bytes;
            DS_TRY(make_room(c, size, &bytes));
            if (derived)
                memset(bytes, 0, size);
            else if (c->writer != NULL)
                DS_TRY(ds_write_bytes(c->writer, stream, c->new_bytes + at, size));
            else
                DS_TRY(ds_read_bytes(c->reader, stream, bytes, size));
            at += size;
        }
    }
    return DS_OK;
}

/* ---- references of copied bytes ---- */

static bool same_bits(ds_ref_kind kind, const uint8_t *a, const uint8_t *b) {
    uint64_t mask = ds_ref_mask(kind);
    for (unsigned i = 0; i < ds_ref_length(kind); i++)
        if ((a[i] ^ b[i]) & mask >> 8 * i & 0xff)
            return false;
    return true;
}

/* Writing: the target that makes the field what it is in the new image. False where no target does;
 * then the field stays as predicted and residuals mend it. */
static bool find_fix(const ds_prediction *p, const uint8_t *field, const uint8_t *new_field, ds_address *actual) {
    uint8_t trial[8];
    unsigned length = ds_ref_length(p->kind);
    *actual = ds_ref_solve(p->kind, new_field, p->place, p->aux, p->base, p->target);
    memcpy(trial, field, length);
    ds_ref_put(p->kind, trial, p->place, p->aux, p->base, *actual);
    return same_bits(p->kind, trial, new_field);
}

static ds_status walk_ref(coder *c, ds_predictor *predictor, const ds_ref *ref, uint64_t block, uint8_t *field,
                          const uint8_t *new_field) {
    ds_prediction p = ds_predict(predictor, ref, block);
    ds_ref_put(p.kind, field, p.place, p.aux, p.base, p.target);
    ds_address actual = p.target;
    uint64_t right = 1;
    if (c->writer != NULL && !same_bits(p.kind, field, new_field))
        right = !find_fix(&p, field, new_field, &actual);
    DS_TRY(code_run(c, DS_STREAM_REF_GAPS, 1, &right));
    if (right)
        return ds_predictor_learn(predictor, &p, p.target, false);
    uint64_t fix = ds_zigzag(actual - p.target);
    DS_TRY(code_number(c, DS_STREAM_REF_FIXES, &fix));
    actual = p.target + ds_unzigzag(fix);
    ds_ref_put(p.kind, field, p.place, p.aux, p.base, actual);
    return ds_predictor_learn(predictor, &p, actual, true);
}

/* ---- residuals ---- */

static uint64_t equal_run(const uint8_t *a, const uint8_t *b, uint64_t limit) {
    uint64_t run = 0;
    while (run + 8 <= limit && ds_load64(a + run) == ds_load64(b + run))
        run += 8;
    while (run < limit && a[run] == b[run])
        run++;
    return run;
}

/* `new_bytes` is NULL when reading. */
static ds_status walk_residuals(coder *c, uint8_t *bytes, const uint8_t *new_bytes, uint64_t size) {
    uint64_t at = 0;
    while (at < size) {
        uint64_t run = new_bytes != NULL ? equal_run(bytes + at, new_bytes + at, size - at) : 0;
        DS_TRY(code_run(c, DS_STREAM_RESIDUAL_GAPS, size - at, &run));
        at += run;
        if (at == size)
            break;
        if (new_bytes != NULL) {
            uint8_t residual = (uint8_t)(new_bytes[at] - bytes[at]);
            DS_TRY(ds_write_bytes(c->writer, DS_STREAM_RESIDUALS, &residual, 1));
        } else {
            uint8_t residual;
            DS_TRY(ds_read_bytes(c->reader, DS_STREAM_RESIDUALS, &residual, 1));
            bytes[at] = (uint8_t)(bytes[at] + residual);
        }
        at++;
    }
    return DS_OK;
}

/* ---- blocks ---- */

static uint64_t first_ref(const ds_image *image, ds_offset offset) {
    uint64_t low = 0, high = image->refs.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (image->refs.items[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static ds_offset ref_end(const ds_ref *ref) {
    return ref->offset + (uint64_t)ds_ref_length(ds_ref_kind_of(ref));
}

static ds_status walk_block(coder *c, ds_predictor *predictor, uint64_t number) {
    const ds_block *block = &predictor->blocks[number];
    const ds_image *old_image = predictor->old_image;
    const ds_ref *refs = old_image->refs.items;
    ds_offset at = block->old_offset, end = at + block->length;
    uint64_t next = first_ref(old_image, at);
    while (at < end) {
        ds_offset stop = end - at < CHUNK ? end : at + CHUNK;
        uint64_t last = next;
        /* A chunk ends before a reference that would not fit in; one that leaves the block is no reference. */
        while (last < old_image->refs.count && refs[last].offset < stop) {
            if (ref_end(&refs[last]) > stop && ref_end(&refs[last]) <= end) {
                stop = refs[last].offset;
                break;
            }
            last++;
        }
        uint8_t *bytes;
        const uint8_t *new_bytes =
            c->writer != NULL ? c->new_bytes + block->new_offset + (at - block->old_offset) : NULL;
        DS_TRY(make_room(c, stop - at, &bytes));
        memcpy(bytes, old_image->file.data + at, stop - at);
        for (; next < last; next++)
            if (ref_end(&refs[next]) <= end) {
                uint64_t in_chunk = refs[next].offset - at;
                DS_TRY(walk_ref(c, predictor, &refs[next], number, bytes + in_chunk,
                                c->writer != NULL ? new_bytes + in_chunk : NULL));
            }
        DS_TRY(walk_residuals(c, bytes, new_bytes, stop - at));
        at = stop;
    }
    return DS_OK;
}

static ds_status walk(coder *c, const ds_image *old_image, uint64_t new_size, ds_layout *layout,
                      const ds_blocks *blocks, ds_arena *arena) {
    ds_map map = {.arena = arena};
    ds_predictor predictor;
    if (old_image->refs.count > 0)
        DS_TRY(ds_map_build(&map, old_image, layout, blocks->list.items, blocks->list.count, arena));
    DS_TRY(ds_predictor_open(&predictor, old_image, &map, blocks->list.items, blocks->list.count, arena));
    c->output = ds_arena_alloc(arena, OUTPUT);
    if (c->output == NULL)
        return DS_E_MEMORY;
    ds_offset at = 0;
    for (uint64_t i = 0; i < blocks->list.count; i++) {
        DS_TRY(walk_literal(c, layout, at, blocks->list.items[i].new_offset));
        DS_TRY(walk_block(c, &predictor, i));
        at = blocks->list.items[i].new_offset + blocks->list.items[i].length;
    }
    DS_TRY(walk_literal(c, layout, at, new_size));
    DS_TRY(flush(c));
    ds_arena_free(arena, c->output);
    ds_predictor_close(&predictor);
    ds_map_free(&map);
    return DS_OK;
}

ds_status ds_walk_write(const ds_image *old_image, const ds_image *new_image, const ds_derivations *derivations,
                        const ds_blocks *blocks, ds_stream_writer *writer, ds_bytes *context_bytes, ds_arena *arena) {
    coder c = {.writer = writer, .new_bytes = new_image->file.data, .derivations = derivations};
    ds_layout layout;
    DS_TRY(ds_regions_write(old_image, new_image, writer));
    DS_TRY(ds_derivations_write(derivations, new_image->file.size, writer));
    DS_TRY(ds_blocks_write(blocks, writer));
    DS_TRY(ds_layout_build(&layout, new_image->regions.items, new_image->regions.count, arena));
    DS_TRY(ds_context_collect(old_image->file, new_image->file.size, &layout, blocks, arena, context_bytes));
    DS_TRY(walk(&c, old_image, new_image->file.size, &layout, blocks, arena));
    ds_layout_free(&layout, arena);
    return DS_OK;
}

ds_status ds_walk_read(const ds_image *old_image, uint64_t new_size, bool has_context, ds_stream_reader *reader,
                       ds_sink sink, void *context, ds_arena *arena) {
    coder c = {.reader = reader, .sink = sink, .context = context};
    ds_regions regions = {0};
    ds_blocks blocks = {0};
    ds_layout layout;
    ds_bytes prefix = {0};
    ds_derivations derivations = {0};
    DS_TRY(ds_regions_read(old_image, new_size, reader, arena, &regions));
    DS_TRY(ds_derivations_read(new_size, reader, arena, &derivations));
    DS_TRY(ds_deriver_open(&c.deriver, &derivations, arena));
    c.derivations = &derivations;
    DS_TRY(ds_blocks_read(old_image->file.size, new_size, reader, arena, &blocks));
    if (!ds_derive_is_clear(&derivations, &blocks))
        return DS_E_DELTA;
    DS_TRY(ds_layout_build(&layout, regions.list.items, regions.list.count, arena));
    if (has_context) {
        DS_TRY(ds_context_collect(old_image->file, new_size, &layout, &blocks, arena, &prefix));
        DS_TRY(ds_stream_set_prefix(reader, DS_STREAM_CODE, (ds_span){prefix.items, prefix.count}));
    }
    DS_TRY(load_gap(&c, DS_STREAM_RESIDUAL_GAPS));
    DS_TRY(load_gap(&c, DS_STREAM_REF_GAPS));
    DS_TRY(walk(&c, old_image, new_size, &layout, &blocks, arena));
    ds_layout_free(&layout, arena);
    DS_VEC_FREE(arena, &blocks.list);
    DS_VEC_FREE(arena, &regions.list);
    DS_VEC_FREE(arena, &prefix);
    ds_deriver_close(c.deriver);
    DS_VEC_FREE(arena, &derivations.list);
    /* An event that lies behind the last item would never have happened. */
    if (c.until[DS_STREAM_RESIDUAL_GAPS] != NO_EVENT || c.until[DS_STREAM_REF_GAPS] != NO_EVENT)
        return DS_E_DELTA;
    return ds_stream_reader_finish(reader);
}
