/* Inputs and weight sets of every kind of decision; see decisions.h. */
#include "delta/decisions.h"

const ds_model_row ds_decision_rows[DS_DECISIONS] = {
    [DS_DECIDE_LAYOUT] = {"layout", 2, 3},
    [DS_DECIDE_GAP] = {"gap", 6, 3},
    [DS_DECIDE_PLACE] = {"place", 7, 1},
    [DS_DECIDE_FAR] = {"far", 4, 3},
    [DS_DECIDE_LENGTH] = {"length", 6, 3},
    [DS_DECIDE_CODE] = {"code", 11, 8},
    [DS_DECIDE_WORD] = {"word", 10, 8},
    [DS_DECIDE_DATA] = {"data", 8, 1},
    [DS_DECIDE_TARGET_WAY] = {"target way", 5, 2},
    [DS_DECIDE_TARGET_RECENT] = {"target recent", 3, 2},
    [DS_DECIDE_TARGET_RANK] = {"target rank", 2, 3},
    [DS_DECIDE_TARGET_DISTANCE] = {"target distance", 6, 3},
    [DS_DECIDE_REF_WRONG] = {"reference wrong", 7, 8},
    [DS_DECIDE_REF_FIX] = {"reference fix", 5, 3},
    [DS_DECIDE_UNIT_DIFFERS] = {"unit differs", 10, 2},
    [DS_DECIDE_BYTE_DIFFERS] = {"byte differs", 8, 8},
    [DS_DECIDE_BYTE] = {"byte", 7, 8},
    [DS_DECIDE_WORD_DIFFERS] = {"word differs", 8, 2},
    [DS_DECIDE_WORD_FIELD] = {"word field", 10, 8},
    [DS_DECIDE_BLOCK_ENDS] = {"block ends", 6, 2},
};
