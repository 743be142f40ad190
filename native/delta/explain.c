/* Explaining: the delta is applied once more while a trace looks on; see trace.h. */
#include <stdlib.h>

#include "delta/trace.h"

struct ds_explanation {
    ds_arena *arena;
    ds_trace *trace;
};

static bool drop(void *context, const uint8_t *data, size_t size) {
    (void)context, (void)data, (void)size;
    return true;
}

static ds_status explain(ds_explanation *e, ds_span old_file, ds_span delta, const ds_limits *limits,
                         const uint64_t *bounds, uint64_t count) {
    e->arena = ds_arena_open(limits->memory_bytes);
    if (e->arena == NULL)
        return DS_E_MEMORY;
    DS_TRY(ds_trace_open(&e->trace, bounds, count, e->arena));
    DS_TRY(ds_apply_traced(old_file, delta, limits, e->trace, drop, NULL));
    return ds_trace_finish(e->trace);
}

ds_status ds_explain(const uint8_t *old_data, uint64_t old_size, const uint8_t *delta, uint64_t delta_size,
                     const ds_limits *limits, const uint64_t *bounds, uint64_t bound_count, ds_explanation **out) {
    *out = NULL;
    if (limits == NULL || bounds == NULL)
        return DS_E_ARGUMENT;
    ds_explanation *e = calloc(1, sizeof *e);
    if (e == NULL)
        return DS_E_MEMORY;
    ds_status status =
        explain(e, (ds_span){old_data, old_size}, (ds_span){delta, delta_size}, limits, bounds, bound_count);
    if (status == DS_OK)
        *out = e;
    else
        ds_explain_free(e);
    return status;
}

void ds_explain_free(ds_explanation *e) {
    if (e == NULL)
        return;
    ds_trace_close(e->trace);
    ds_arena_close(e->arena);
    free(e);
}

const char *ds_explained_kind(const ds_explanation *e, unsigned kind) {
    return ds_trace_kind(e->trace, kind);
}

const uint64_t *ds_explained_costs(const ds_explanation *e) {
    return ds_trace_costs(e->trace);
}

_Static_assert(sizeof(ds_block) == 3 * sizeof(uint64_t), "a block is three numbers to the caller");

const uint64_t *ds_explained_blocks(const ds_explanation *e, uint64_t *count) {
    return (const uint64_t *)ds_trace_blocks(e->trace, count);
}

ds_status ds_explain_bytes(const uint8_t *data, uint64_t size, const uint8_t *prefix, uint64_t prefix_size,
                           uint64_t memory_bytes, const uint64_t *bounds, uint64_t bound_count, uint64_t *costs) {
    if (bounds == NULL || bound_count == 0 || bounds[0] != 0 || costs == NULL)
        return DS_E_ARGUMENT;
    ds_arena *arena = ds_arena_open(memory_bytes);
    if (arena == NULL)
        return DS_E_MEMORY;
    ds_status status =
        ds_trace_price((ds_span){data, size}, (ds_span){prefix, prefix_size}, bounds, bound_count, arena, costs);
    ds_arena_close(arena);
    return status;
}
