/* Landmarks: what both sides see at the places that a number may lead to. Of sixteen bytes of code some four start an
 * instruction, and one or two are referred to: where that is known, the last bits of a number say little. Only the model
 * uses this. Private to this room.
 */
#ifndef DS_LANDMARKS_H
#define DS_LANDMARKS_H

#include "predict/predict.h"

/* Part of the format. */
enum { DS_LANDMARK_NONE, DS_LANDMARK_BYTE, DS_LANDMARK_START, DS_LANDMARK_TARGET };
#define DS_LANDMARKS_MAX 16 /* seen together */

typedef struct ds_landmarks {
    const ds_image *old_image;
    uint8_t *targets; /* a bit for each byte of the old file: does a reference of the old image lead there */
    const ds_predictor *predictor; /* knows what is copied where; set before the first number to a new place */
} ds_landmarks;

ds_status ds_landmarks_open(ds_landmarks *landmarks, const ds_image *old_image, ds_arena *arena);
void ds_landmarks_close(ds_landmarks *landmarks, ds_arena *arena);

/* Where a number leads to: so far behind, or before, an old offset or a new address. */
typedef struct ds_lead {
    enum { DS_LEADS_NOWHERE, DS_LEADS_TO_OLD, DS_LEADS_TO_NEW } to;
    uint64_t from;
    bool back;
} ds_lead;

/* What the numbers from `first` on lead to, at most DS_LANDMARKS_MAX of them. */
void ds_landmarks_look(const ds_landmarks *landmarks, const ds_lead *lead, uint64_t first, unsigned count,
                       uint8_t *seen);
/* All that is told of `count` of them, a power of two: which they are of one or two, how many there are of more. */
uint32_t ds_landmarks_view(const uint8_t *seen, unsigned count);

#endif
