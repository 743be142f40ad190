/* Targets that the delta has to name: of references in literal code, and of those predicted wrong. Named by what both
 * sides know: lately named, often referred to in the old image, near. Only the model uses this. Private to this room.
 */
#ifndef DS_TARGETS_H
#define DS_TARGETS_H

#include "delta/coder.h"
#include "predict/predict.h"

#define DS_TARGETS_RECENT 32

typedef enum ds_target_class { DS_TARGET_CODE, DS_TARGET_DATA, DS_TARGET_CLASSES } ds_target_class;

/* Old targets of one class, most referred to first, of equal ones the lower first. */
typedef struct ds_target_list {
    DS_VEC(ds_address) list;
    uint32_t *index; /* writing: new addresses by hash -> rank + 1 */
    unsigned index_bits;
} ds_target_list;

typedef struct ds_targets {
    const ds_predictor *predictor;
    ds_landmarks landmarks;
    ds_target_list ranked[DS_TARGET_CLASSES];
    ds_address recent[DS_TARGETS_RECENT];     /* latest first */
    ds_address latest_far[DS_TARGET_CLASSES]; /* named by a distance, and at least NEAR from its place */
    uint32_t last_steps[DS_TARGET_CLASSES];   /* from one such to the next */
    uint32_t last_distance;                   /* from a place */
    uint32_t last_ways, last_bases;           /* latest ones lowest, two bits each */
    ds_arena *arena;
} ds_targets;

/* The ranks, from the references of code in the old image, and its landmarks; needs nothing of a delta. */
ds_status ds_targets_rank(ds_targets *targets, const ds_image *old_image, ds_arena *arena);
/* Before the first target. Writing: finds ranks by new address. */
ds_status ds_targets_begin(ds_targets *targets, const ds_predictor *predictor, bool writing);
void ds_targets_close(ds_targets *targets);

/* A target to name. */
typedef struct ds_target {
    ds_address place; /* where the reference is, or where it was predicted to point: distances count from here */
    ds_address hint;  /* a guess */
    bool has_hint;
    ds_target_class class_;
    uint32_t known, around; /* of the reference, of its place: contexts */
    ds_address address;     /* the target itself: given, or read */
} ds_target;

ds_status ds_code_target(ds_targets *targets, ds_coder *coder, ds_target *target);

#endif
