/* A look-on at the reading walk: which new bytes each decision was made for, and what it cost (docs/explain.md,
 * "Whose is a byte?"). Reads nothing that the walk does not read, and changes nothing that it makes.
 *
 * The new image is cut at given offsets; a cost belongs to the piece that holds the byte decided on. Costs are in
 * 1/4096 bit: those of the model are its own; those of a compressed stream are what an adaptive model of orders 0 to 6
 * says of each raw byte, since zstd has no price of a single byte. They are weights: the caller knows the whole.
 */
#ifndef DS_TRACE_H
#define DS_TRACE_H

#include "codec/model.h"
#include "codec/streams.h"
#include "predict/blocks.h"

#define DS_TRACE_NOWHERE UINT64_MAX /* decided on no byte: the layout */

typedef struct ds_trace ds_trace;

/* `bounds` ascend from 0; the piece behind the last has no end. They stay the caller's. */
ds_status ds_trace_open(ds_trace **trace, const ds_offset *bounds, uint64_t count, ds_arena *arena);
void ds_trace_close(ds_trace *trace);

/* What the walk reads, before it begins: one of the two. */
ds_status ds_trace_streams(ds_trace *trace, const ds_stream_reader *reader, const ds_frames *frames);
ds_status ds_trace_model(ds_trace *trace, const ds_model *model);
/* A part of code literals: the bytes that its frame was compressed behind, which must stay until its end. */
ds_status ds_trace_prefix(ds_trace *trace, ds_span prefix);
ds_status ds_trace_end_part(ds_trace *trace);

/* All that was read since the last call was decided on the new byte `at`. */
void ds_trace_take(ds_trace *trace, ds_offset at);
/* The same, for a reference of a copied block: the model's decisions on targets count as one kind of their own, since
 * those of new code are of the same rows. */
void ds_trace_take_reference(ds_trace *trace, ds_offset at);
/* The same for `size` literals of streams: one raw byte each. */
void ds_trace_take_literals(ds_trace *trace, ds_offset at, uint64_t size);
/* What is copied. */
ds_status ds_trace_keep_blocks(ds_trace *trace, const ds_blocks *blocks);

/* At the end: the first failure of any of the calls, and what was found. */
ds_status ds_trace_finish(ds_trace *trace);
unsigned ds_trace_kinds(const ds_trace *trace);
const char *ds_trace_kind(const ds_trace *trace, unsigned kind);
const uint64_t *ds_trace_costs(const ds_trace *trace);
const ds_block *ds_trace_blocks(const ds_trace *trace, uint64_t *count);

/* As ds_apply; `trace` looks on, or is NULL. */
ds_status ds_apply_traced(ds_span old_file, ds_span delta, const ds_limits *limits, ds_trace *trace, ds_sink sink,
                          void *context);

/* What an adaptive model says of plain bytes that were compressed behind a prefix: a cost for each piece. */
ds_status ds_trace_price(ds_span bytes, ds_span prefix, const ds_offset *bounds, uint64_t count, ds_arena *arena,
                         uint64_t *costs);

#endif
