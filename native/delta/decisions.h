/* The kinds of decisions that the model knows: rows of its table (docs/spec/delta-model.md, "Decisions"). */
#ifndef DS_DECISIONS_H
#define DS_DECISIONS_H

#include "codec/model.h"

typedef enum ds_decision {
    DS_DECIDE_LAYOUT,
    DS_DECIDE_GAP,
    DS_DECIDE_PLACE,
    DS_DECIDE_FAR,
    DS_DECIDE_LENGTH,
    DS_DECIDE_CODE,
    DS_DECIDE_WORD,
    DS_DECIDE_DATA,
    DS_DECIDE_TARGET_WAY,
    DS_DECIDE_TARGET_RECENT,
    DS_DECIDE_TARGET_RANK,
    DS_DECIDE_TARGET_DISTANCE,
    DS_DECIDE_TARGET_BASE,
    DS_DECIDE_TARGET_STEP,
    DS_DECIDE_REF_WRONG,
    DS_DECIDE_REF_KEPT,
    DS_DECIDE_REF_FIX,
    DS_DECIDE_UNIT_DIFFERS,
    DS_DECIDE_BYTE_DIFFERS,
    DS_DECIDE_BYTE,
    DS_DECIDE_WORD_DIFFERS,
    DS_DECIDE_WORD_FIELD,
    DS_DECIDE_BLOCK_ENDS,
    DS_DECIDE_FRAME_WAY,
    DS_DECIDE_FRAME_RIGHT,
    DS_DECIDE_FRAME_NUMBER,
    DS_DECIDE_FRAME_STEP,
    DS_DECIDE_FRAME_BYTE,
    DS_DECISIONS,
} ds_decision;

extern const ds_model_row ds_decision_rows[DS_DECISIONS];

#endif
