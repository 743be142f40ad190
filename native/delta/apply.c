/* Applying: container under limits, old image checked and parsed, walk, result checked. */
#include "delta/container.h"
#include "delta/follow.h"
#include "delta/opened.h"
#include "delta/trace.h"
#include "delta/walk.h"

typedef struct checked_sink {
    ds_sink sink;
    void *context;
    bool hashing;
    ds_sha256_state hash;
} checked_sink;

static bool pass_on(void *context, const uint8_t *data, size_t size) {
    checked_sink *checked = context;
    if (checked->hashing)
        ds_sha256_add(&checked->hash, data, size);
    return checked->sink(checked->context, data, size);
}

static ds_status apply_streams(const ds_image *old_image, const ds_delta_info *info, const ds_frames *frames,
                               ds_trace *trace, ds_sink sink, void *context, ds_arena *arena) {
    ds_coder coder = {.trace = trace};
    ds_status status = ds_stream_reader_open(&coder.reader, frames, arena);
    if (status == DS_OK && trace != NULL)
        status = ds_trace_streams(trace, coder.reader, frames);
    if (status == DS_OK)
        status = ds_walk_read(old_image, info->new_size, info->has_context, &coder, NULL, sink, context, arena);
    ds_stream_reader_close(coder.reader);
    return status;
}

static ds_status apply_modelled(const ds_image *old_image, const ds_delta_info *info, ds_span coded, ds_relay *relay,
                                ds_trace *trace, ds_sink sink, void *context, ds_arena *arena) {
    ds_coder coder = {.trace = trace};
    ds_targets targets;
    /* Ranking takes memory that the model may have afterwards. */
    DS_TRY(ds_targets_rank(&targets, old_image, arena));
    coder.landmarks = &targets.landmarks;
    DS_TRY(ds_model_open_read(&coder.model, ds_decision_rows, DS_DECISIONS, info->table * DS_TABLE_UNIT, coded, relay,
                              arena));
    if (trace != NULL)
        DS_TRY(ds_trace_model(trace, coder.model));
    DS_TRY(ds_walk_read(old_image, info->new_size, false, &coder, &targets, sink, context, arena));
    return ds_model_at_end(coder.model) ? DS_OK : DS_E_DELTA;
}

ds_status ds_apply_followed(const ds_image *old_image, const ds_delta_info *info, ds_relay *relay, ds_sink sink,
                            void *context, ds_arena *arena) {
    return apply_modelled(old_image, info, (ds_span){0}, relay, NULL, sink, context, arena);
}

/* What can be refused without a look at any byte of the old image. */
static ds_status open_delta(ds_span old_file, ds_span delta, const ds_limits *limits, ds_delta_info *info,
                            ds_frames *frames) {
    DS_TRY(ds_container_read(delta, info, frames));
    if (info->new_size > limits->output_bytes)
        return DS_E_LIMIT;
    return info->old_size == old_file.size ? DS_OK : DS_E_OLD;
}

static bool is_old(const ds_delta_info *info, const uint8_t *digest) {
    return memcmp(digest, info->old_digest, sizeof info->old_digest) == 0;
}

/* From the old image, which is the right one, to the last check of the new one. */
static ds_status apply(const ds_image *old_image, const ds_delta_info *info, const ds_frames *frames, ds_trace *trace,
                       ds_sink sink, void *context, ds_arena *arena) {
    uint8_t digest[DS_DIGEST_SIZE];
    checked_sink checked = {.sink = sink, .context = context, .hashing = info->has_digests};
    ds_sha256_open(&checked.hash);
    DS_TRY(info->modelled ? apply_modelled(old_image, info, frames->body, NULL, trace, pass_on, &checked, arena)
                          : apply_streams(old_image, info, frames, trace, pass_on, &checked, arena));
    if (!info->has_digests)
        return DS_OK;
    ds_sha256_close(&checked.hash, digest);
    return memcmp(digest, info->new_digest, sizeof info->new_digest) == 0 ? DS_OK : DS_E_DIGEST;
}

ds_status ds_apply_traced(ds_span old_file, ds_span delta, const ds_limits *limits, ds_trace *trace, ds_sink sink,
                          void *context) {
    ds_delta_info info;
    ds_frames frames;
    ds_image old_image;
    uint8_t digest[DS_DIGEST_SIZE];
    if (limits == NULL || sink == NULL)
        return DS_E_ARGUMENT;
    DS_TRY(open_delta(old_file, delta, limits, &info, &frames));
    if (info.has_digests) {
        ds_sha256(old_file.data, old_file.size, digest);
        if (!is_old(&info, digest))
            return DS_E_OLD;
    }
    ds_arena *arena = ds_arena_open(limits->memory_bytes);
    if (arena == NULL)
        return DS_E_MEMORY;
    ds_status status = ds_opened_read(old_file, &info, arena, &old_image);
    if (status == DS_OK)
        status = apply(&old_image, &info, &frames, trace, sink, context, arena);
    ds_arena_close(arena);
    return status;
}

/* The same with an old image that was read before, where it was. */
static ds_status apply_opened(ds_opened *opened, ds_span old_file, ds_span delta, const ds_limits *limits, ds_sink sink,
                              void *context) {
    ds_delta_info info;
    ds_frames frames;
    ds_opened_old old;
    DS_TRY(open_delta(old_file, delta, limits, &info, &frames));
    if (opened == NULL || !ds_opened_wait(opened, old_file, &info, &old))
        return ds_apply_traced(old_file, delta, limits, NULL, sink, context);
    if (info.has_digests && !is_old(&info, old.digest))
        return DS_E_OLD;
    ds_arena_allow(old.arena, limits->memory_bytes);
    return apply(&old.image, &info, &frames, NULL, sink, context, old.arena);
}

ds_status ds_apply(const uint8_t *old_data, uint64_t old_size, const uint8_t *delta, uint64_t delta_size,
                   const ds_limits *limits, ds_sink sink, void *context) {
    return ds_apply_traced((ds_span){old_data, old_size}, (ds_span){delta, delta_size}, limits, NULL, sink, context);
}

typedef struct comparison {
    ds_span expected;
    uint64_t same;
    bool differs;
    bool (*progress)(void *context, unsigned done);
    void *context;
} comparison;

static bool compare(void *context, const uint8_t *data, size_t size) {
    comparison *c = context;
    const uint8_t *expected = c->expected.data + c->same;
    c->differs = size > c->expected.size - c->same || memcmp(data, expected, size) != 0;
    if (!c->differs) {
        c->same += size;
        return c->progress == NULL || c->progress(c->context, (unsigned)(c->same * 1000 / c->expected.size));
    }
    while (c->same < c->expected.size && *data++ == *expected++)
        c->same++;
    return false;
}

ds_status ds_prove(const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data, uint64_t new_size,
                   const uint8_t *delta, uint64_t delta_size, uint64_t memory_bytes, ds_opened *opened,
                   bool (*progress)(void *context, unsigned done), void *context, uint64_t *same) {
    comparison c = {.expected = {new_data, new_size}, .progress = progress, .context = context};
    ds_limits limits = {.output_bytes = new_size, .memory_bytes = memory_bytes};
    ds_status status =
        apply_opened(opened, (ds_span){old_data, old_size}, (ds_span){delta, delta_size}, &limits, compare, &c);
    *same = c.same;
    return c.differs ? DS_OK : status;
}
