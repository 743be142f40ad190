/* Derivations: bytes of the new image that can be computed from new bytes before them, so that no delta
 * has to hold them. They are proved when the delta is made: what does not come out exactly is none.
 *
 * Two kinds: arrays of SHA-256 digests, one a page of the bytes that they cover (code signatures); and the
 * covered bytes spelled in hexadecimal digits (debug links, which name a build id). The covered bytes end
 * before the derived ones begin, so both are made in one pass along the new image.
 */
#ifndef DS_DERIVE_H
#define DS_DERIVE_H

#include "image/image.h"
#include "predict/blocks.h"

/* Derivations of one image at most. Universal files have two a slice. */
#define DS_DERIVATIONS_MAX 64
#define DS_DERIVED_PAGE_BITS_MIN 12
#define DS_DERIVED_PAGE_BITS_MAX 16
#define DS_DERIVED_SPELLED 0 /* instead of a logarithm: digits */
#define DS_SPELLED_MAX 64

typedef struct ds_derivation {
    ds_offset digests;  /* of the first derived byte, in the new image */
    ds_offset covered;  /* of the first page */
    uint64_t limit;     /* bytes in all pages; the last one may be short */
    unsigned page_bits; /* or DS_DERIVED_SPELLED: `digests` are digits */
} ds_derivation;

/* Ascending; no derived byte belongs to two. */
typedef struct ds_derivations {
    DS_VEC(ds_derivation) list;
} ds_derivations;

/* Derived bytes: one digest a page, or two digits a byte. */
static inline uint64_t ds_derivation_size(const ds_derivation *derivation) {
    if (derivation->page_bits == DS_DERIVED_SPELLED)
        return 2 * derivation->limit;
    uint64_t page = (uint64_t)1 << derivation->page_bits;
    return (derivation->limit / page + (derivation->limit % page != 0)) * DS_DIGEST_SIZE;
}

/* Whether a derivation makes sense in an image of `new_size` bytes behind the ones before it: pages before
 * digests, digests in the image, and together no more than DS_DERIVED_WORK bytes hashed for each new one. */
#define DS_DERIVED_WORK 4
bool ds_derivation_fits(const ds_derivations *before, const ds_derivation *derivation, uint64_t new_size);

/* All that the image holds and that is proved. */
ds_status ds_derive_find(const ds_image *new_image, ds_arena *arena, ds_derivations *out);

/* Makes the blocks leave derived bytes alone. */
ds_status ds_derive_clip(const ds_derivations *derivations, ds_blocks *blocks, ds_arena *arena);

/* Whether the blocks do. */
bool ds_derive_is_clear(const ds_derivations *derivations, const ds_blocks *blocks);

/* End of the longest stretch from `at` up to `end` of which all bytes are derived, or none. */
ds_offset ds_derived_run(const ds_derivations *derivations, ds_offset at, ds_offset end, bool *derived);

/* ---- making them ---- */

typedef struct ds_deriver ds_deriver;

ds_status ds_deriver_open(ds_deriver **deriver, const ds_derivations *derivations, ds_arena *arena);
void ds_deriver_close(ds_deriver *deriver);
/* To be called with every piece of the new image, in order: writes what is derived into it, and hashes. */
void ds_deriver_pass(ds_deriver *deriver, uint8_t *bytes, uint64_t size);

#endif
