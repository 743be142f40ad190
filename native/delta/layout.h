/* Layout and block list: what both sides must know before the walk along the new image. */
#ifndef DS_DELTA_LAYOUT_H
#define DS_DELTA_LAYOUT_H

#include "codec/streams.h"
#include "image/image.h"
#include "predict/blocks.h"
#include "predict/derive.h"

typedef struct ds_regions {
    DS_VEC(ds_region) list;
} ds_regions;

ds_status ds_regions_write(const ds_image *old_image, const ds_image *new_image, ds_stream_writer *writer);
ds_status ds_regions_read(const ds_image *old_image, uint64_t new_size, ds_stream_reader *reader, ds_arena *arena,
                          ds_regions *regions);

ds_status ds_derivations_write(const ds_derivations *derivations, uint64_t new_size, ds_stream_writer *writer);
/* Checked: each fits behind those before it. */
ds_status ds_derivations_read(uint64_t new_size, ds_stream_reader *reader, ds_arena *arena,
                              ds_derivations *derivations);

ds_status ds_blocks_write(const ds_blocks *blocks, ds_stream_writer *writer);
/* Checked: ascending, disjoint, inside old and new, at most as many as bytes. */
ds_status ds_blocks_read(uint64_t old_size, uint64_t new_size, ds_stream_reader *reader, ds_arena *arena,
                         ds_blocks *blocks);

#endif
