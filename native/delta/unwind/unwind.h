/* The unwind tables of the new image, record by record: docs/spec/delta-frames.md.
 *
 * Records follow those of the old table. What a record says is predicted: where its function lies by the address map,
 * and its program from the code of the function, which both sides have.
 */
#ifndef DS_DELTA_UNWIND_H
#define DS_DELTA_UNWIND_H

#include "delta/steps.h"

/* Both tables, where a derived byte of either is met first, at `at`. `frames` and `header`: room for the bytes of each,
 * or NULL (writing, or no header). */
ds_status ds_walk_unwind(ds_walk *walk, ds_offset at, uint8_t *frames, uint8_t *header);

#endif
