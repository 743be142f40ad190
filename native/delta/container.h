/* The container of one delta: header, then frames of compressed streams (docs/spec/delta-format.md). */
#ifndef DS_CONTAINER_H
#define DS_CONTAINER_H

#include "codec/streams.h"

/* Checked: magic, revision, total length, table of streams against the sizes it speaks of, bounds of frames. */
ds_status ds_container_read(ds_span delta, ds_delta_info *info, ds_frames *frames);

/* The model's table: lines in thousands (4,096). */
#define DS_TABLE_UNIT 4096u
#define DS_TABLE_MAX 192

#endif
