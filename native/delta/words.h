/* Words of AArch64 code by the model: fields of an instruction, the operation first. Private to this room. */
#ifndef DS_WORDS_H
#define DS_WORDS_H

#include "delta/steps.h"

#define DS_WORD 4

/* New words [at, at + size) that no block covers. */
ds_status ds_words_literal(ds_walk *walk, uint64_t block, ds_offset at, uint64_t size, uint8_t *bytes,
                           const uint8_t *new_bytes);
/* Copied words of which some differ from what is predicted; `size` is a multiple of DS_WORD. */
void ds_words_residual(ds_walk *walk, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                       const uint8_t *new_bytes, uint64_t size);

#endif
