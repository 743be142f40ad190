/* Targets that the delta has to name: of references in literal code, and of those predicted wrong. Named by what both
 * sides know: lately named, often referred to in the old image, near. Only the model uses this.
 */
#ifndef DS_TARGETS_H
#define DS_TARGETS_H

#include "delta/coder.h"
#include "predict/predict.h"

#define DS_TARGETS_RECENT 32

/* Old targets of one class of region, most referred to first. */
typedef struct ds_target_list {
    DS_VEC(ds_address) list;
    uint32_t *index; /* when writing: hash of a new address -> rank + 1 */
    unsigned index_bits;
} ds_target_list;

typedef struct ds_targets {
    const ds_predictor *predictor;
    ds_target_list ranked[2]; /* code, data */
    ds_address recent[DS_TARGETS_RECENT];
    uint32_t last_distance;
    unsigned last_way; /* latest ways, two bits each */
} ds_targets;

ds_status ds_targets_open(ds_targets *targets, const ds_predictor *predictor, bool writing, ds_arena *arena);
void ds_targets_close(ds_targets *targets, ds_arena *arena);

/* Code the address that `place` refers to; `hint` is the best guess. `contexts`: what is known of the reference. */
ds_status ds_code_target(ds_targets *targets, ds_coder *coder, ds_address place, bool has_hint, ds_address hint,
                         uint32_t known, uint32_t around, unsigned class_, ds_address *target);

#endif
