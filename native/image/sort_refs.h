/* Sorting references by offset, those of one offset in the order in which they were added. Private to image/. */
#ifndef DS_SORT_REFS_H
#define DS_SORT_REFS_H

#include "image/image.h"

/* In place. Time n log r for r runs that ascend already: parsers add some dozen. Memory: at most half of the
 * references once more, mostly far less. DS_E_MEMORY. */
ds_status ds_sort_refs(ds_found_ref *refs, uint64_t count, ds_arena *arena);

#endif
