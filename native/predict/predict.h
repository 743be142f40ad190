/* Predicted references: where the reference of a copied old byte points in the new image.
 *
 * Both sides run this over the same decisions in the same order, so that it may learn. Rules (part of
 * the format; docs/spec/delta-format.md, "Prediction"):
 *  1. A place-relative reference into the block that holds it, or into the block before or after, moves
 *     with that block.
 *  2. A target that was corrected before goes where the last correction said.
 *  3. Else the address map decides.
 *  4. Bases are mapped like targets, but for three groups of kinds whose field tells how far a place in a
 *     function is from another one. What matters there is the distance, and old bytes may be copied twice,
 *     so both ends are looked for near each other: in the block that holds the one that is known, and NEAR - 1
 *     on either side, but not much farther apart than they were; else they keep their distance.
 *      - sizes: the start is known, mostly from the reference before; the end is looked for.
 *      - distances (ULEB128): the start is the target of the reference before; or the base of the distance
 *        before, where both are the same; else the end is mapped, and the start looked for. A base whose first
 *        distance is wrong, or that is wrong twice by the same number, was wrong itself.
 *      - steps: both ends are mapped.
 *  5. The base of a PAGE24 reference is that of the last one, if that stands
 *     at most PAGE_STEP before; else a page begins, and its base is the predicted target. A correction says
 *     that the base was wrong, not the target.
 *  6. Distances and steps teach nothing: when one is corrected, its base may have been wrong.
 */
#ifndef DS_PREDICT_H
#define DS_PREDICT_H

#include "predict/map.h"

typedef struct ds_lesson {
    ds_address old_target; /* 0: free */
    ds_address new_target;
} ds_lesson;

/* What many distances count from. */
typedef struct ds_base {
    ds_address old_base, new_base;
    ds_address error; /* of the last wrong one; 0 when one was right since */
    bool right;       /* one was right */
    bool in_code;     /* else it is that of a table, which everything is counted from, and right */
} ds_base;

#define DS_CORRECTIONS 64

/* What was looked up last: for all from `from` on and before `stop` the answer is as far away. */
typedef struct ds_stay {
    uint64_t from, stop, shift;
} ds_stay;

typedef struct ds_predictor {
    const ds_image *old_image;
    ds_map *map;
    const ds_block *blocks;
    uint64_t block_count;
    ds_stay place_stay, new_stay, old_stay;
    ds_lesson *lessons;
    unsigned lesson_bits;
    uint64_t lesson_count;
    ds_lesson corrections[DS_CORRECTIONS]; /* the latest lessons; number n is at n % DS_CORRECTIONS */
    uint64_t corrected;                    /* how many there were */
    ds_address page_place, page_base;      /* of the last PAGE24 reference */
    ds_address last_old, last_new;         /* target of the last reference, and what became of it */
    ds_base distance_base;                 /* of the last distance */
    uint32_t without;                      /* for measurement: DS_WITHOUT_LESSONS, DS_WITHOUT_NEIGHBOURS */
    ds_arena *arena;
} ds_predictor;

typedef enum ds_rule { DS_RULE_SAME_BLOCK, DS_RULE_NEXT_BLOCK, DS_RULE_LESSON, DS_RULE_MAP } ds_rule;

/* A reference of a copied block, ready to be put: everything but the target itself. */
typedef struct ds_prediction {
    ds_ref_kind kind;
    uint32_t aux;
    ds_address place; /* in the new image */
    ds_address base;  /* mapped, for based kinds */
    ds_address old_base, old_target;
    ds_address target;
    ds_rule rule; /* that gave the target */
} ds_prediction;

ds_status ds_predictor_open(ds_predictor *predictor, const ds_image *old_image, ds_map *map, const ds_block *blocks,
                            uint64_t count, ds_arena *arena);
void ds_predictor_close(ds_predictor *predictor);

ds_prediction ds_predict(ds_predictor *predictor, const ds_ref *ref, uint64_t block);
/* Where an old target is to be found that nothing near refers to: rules 2 and 3. */
ds_address ds_predict_far(const ds_predictor *predictor, ds_address old_target);
/* Where an old target is to be found, seen from the gap before `block`: rules 1 to 3. */
ds_address ds_predict_beside(ds_predictor *predictor, ds_address old_target, uint64_t block);
/* Where an old target is to be found if it moved as the latest did that stood near it and was corrected. False where none
 * of the last DS_CORRECTIONS stood near. */
bool ds_predict_as_corrected(const ds_predictor *predictor, ds_address old_target, ds_address *target);
/* How many bytes what started at an old address takes now that it starts at `new_start`: as for a size. */
uint64_t ds_predict_size(ds_predictor *predictor, ds_address old_start, uint64_t old_size, ds_address new_start);
/* After each reference: what it turned out to be. `corrected` says that the prediction was wrong. */
ds_status ds_predictor_learn(ds_predictor *predictor, const ds_prediction *prediction, ds_address actual,
                             bool corrected);

#endif
