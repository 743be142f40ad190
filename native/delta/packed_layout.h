/* The list of compressed streams in the layout: docs/spec/delta-format.md, "Compressed streams". */
#ifndef DS_DELTA_PACKED_LAYOUT_H
#define DS_DELTA_PACKED_LAYOUT_H

#include "delta/coder.h"
#include "predict/derive.h"
#include "predict/packed.h"

/* Writes what it is given, or reads it: the sides are empty. Then the old tail is made.
 * Checked: ascending, disjoint, inside the files; sizes of the tails allowed. */
ds_status ds_code_packed(ds_coder *coder, ds_span old_file, uint64_t new_size, ds_arena *arena, ds_packed_both *both);

/* Whether no derived digest lies in a listed stream. */
bool ds_packed_is_apart(const ds_packed_side *new_side, const ds_derivations *derivations);

#endif
