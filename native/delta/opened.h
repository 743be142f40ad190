/* An old image read for the proof of a delta, by a thread of its own, while the delta is still written: what applying
 * does before it needs the delta. It is read anew, as every applier reads it: the proof takes nothing from the writer.
 */
#ifndef DS_OPENED_H
#define DS_OPENED_H

#include "image/image.h"

/* The old image, read as the delta says. */
ds_status ds_opened_read(ds_span old_file, const ds_delta_info *info, ds_arena *arena, ds_image *image);

/* `info`: how the delta will say that the old image is to be read (`plain`, `part_sizes`). The file must stay. Takes
 * at most `memory_bytes` before the proof. DS_E_MEMORY where there is no thread to be had. */
ds_status ds_opened_start(ds_opened **opened, ds_span old_file, const ds_delta_info *info, uint64_t memory_bytes);

typedef struct ds_opened_old {
    ds_image image;
    ds_arena *arena; /* holds the image; the proof takes its memory here too */
    const uint8_t *digest;
    uint64_t held; /* bytes of that arena */
} ds_opened_old;

/* Waits for the thread. False where it ran out of memory, or read another file or in another way than `info` says. */
bool ds_opened_wait(ds_opened *opened, ds_span old_file, const ds_delta_info *info, ds_opened_old *old);

#endif
