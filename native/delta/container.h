/* The container of one delta: header, then frames of compressed streams (docs/spec/delta-format.md). */
#ifndef DS_CONTAINER_H
#define DS_CONTAINER_H

#include "codec/streams.h"

/* Checked: magic, revision, total length, table of streams against the sizes it speaks of, bounds of frames. */
ds_status ds_container_read(ds_span delta, ds_delta_info *info, ds_frames *frames);

/* Logarithm of the lines of the model's table. */
#define DS_TABLE_BITS_MIN 12
#define DS_TABLE_BITS_MAX 20

#endif
