/* Applying a delta in a process that has nothing but three descriptors. */
#ifndef DS_CONFINED_H
#define DS_CONFINED_H

#include "base/base.h"

typedef struct ds_confinement {
    int old_fd, delta_fd, out_fd;
    uint64_t delta_offset, delta_size; /* where in its file the delta stands */
    ds_limits limits;
    uint64_t seconds; /* of processor time */
} ds_confinement;

/* Gives up everything else for good, then applies: call it once, from a process made for it. */
ds_status ds_apply_confined(const ds_confinement *confinement);

#endif
