/* One reference of a settled image, for tests that look at a few. */
#ifndef DS_FIND_REF_H
#define DS_FIND_REF_H

#include "image/refs.h"

/* NULL when no reference begins at the offset. What it points at stays for three more calls. */
static inline const ds_ref *find_ref(const ds_image *image, ds_offset offset) {
    static ds_ref found[4];
    static unsigned next;
    ds_ref *ref = &found[next++ % 4];
    return ds_refs_find(image, offset, ref) ? ref : NULL;
}

#endif
