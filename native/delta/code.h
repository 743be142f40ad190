/* Code as the model sees it, by instruction set: what is known of an instruction where its next part is coded. Private
 * to this room. `new_bytes` is NULL when reading.
 */
#ifndef DS_CODE_H
#define DS_CODE_H

#include "delta/steps.h"

#define DS_WORD 4 /* bytes of an AArch64 instruction */

/* New code [at, at + size) that no block covers; `block` is the number of the one behind it. */
ds_status ds_code_x86_64(ds_walk *walk, uint64_t block, ds_offset at, uint64_t size, uint8_t *bytes,
                         const uint8_t *new_bytes);
ds_status ds_code_aarch64(ds_walk *walk, uint64_t block, ds_offset at, uint64_t size, uint8_t *bytes,
                          const uint8_t *new_bytes);

/* Copied bytes of which at least one differs from what is predicted; for AArch64 whole words. Data goes with x86-64:
 * bytes of no instruction. */
void ds_recode_x86_64(ds_walk *walk, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                      const uint8_t *new_bytes, uint64_t size);
void ds_recode_aarch64(ds_walk *walk, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                       const uint8_t *new_bytes, uint64_t size);

/* In streams: the word, moved as others did that count from the same frame; and what came of it. */
uint32_t ds_aarch64_moved_in_frame(const ds_shifts *shifts, uint32_t word);
void ds_aarch64_learn_frame(ds_shifts *shifts, uint32_t word, uint32_t new_word);
/* Registers are not renamed, as far as is known. */
void ds_aarch64_forget(ds_walk *walk);

/* The old instructions that begin in the `size` bytes at `offset`, at most one for each byte; how many. */
unsigned ds_sites_x86_64(const ds_image *image, ds_offset offset, unsigned size, ds_site *sites);
unsigned ds_sites_aarch64(const ds_image *image, ds_offset offset, unsigned size, ds_site *sites);

/* Note where the last instruction starts that this block copies: the code behind it goes on from there. */
void ds_x86_64_follow(ds_walk *walk, const ds_block *block);
/* Show the model the old bytes [at, end), code from its first instruction. */
void ds_x86_64_teach(ds_walk *walk, ds_offset at, ds_offset end);
void ds_aarch64_teach(ds_walk *walk, ds_offset at, ds_offset end);
void ds_data_teach(ds_walk *walk, ds_offset at, ds_offset end);
/* Show it what lies round the gap before `block`, of which `size` bytes are to come; `code` is the region of the new
 * bytes, NULL for data. */
void ds_walk_teach(ds_walk *walk, uint64_t block, const ds_region *code, uint64_t size);

#endif
