/* Derivations: bytes of the new image that can be computed from new bytes before them, so that no delta
 * has to hold them. They are proved when the delta is made: what does not come out exactly is none.
 *
 * Arrays of SHA-256 digests, one a page of the bytes that they cover (code signatures), and the covered bytes
 * spelled in hexadecimal digits (debug links, which name a build id): the covered bytes end before the derived
 * ones begin, so both are made in one pass along the new image.
 *
 * Unwind tables, and what finds their records: made by the walk, each at once (delta/unwind/).
 *
 * Lists of addresses (function starts): what an old list names moves with the blocks that copy it, so the new
 * list is known before the walk, but for exceptions.
 */
#ifndef DS_DERIVE_H
#define DS_DERIVE_H

#include "image/image.h"
#include "predict/map.h"

/* Derivations of one image at most. Universal files have two a slice. */
#define DS_DERIVATIONS_MAX 64
#define DS_DERIVED_PAGE_BITS_MIN 12
#define DS_DERIVED_PAGE_BITS_MAX 16
#define DS_DERIVED_SPELLED 0 /* instead of a logarithm: digits */
#define DS_DERIVED_LISTED 1  /* instead of a logarithm: a list of addresses */
#define DS_DERIVED_FRAMES 2  /* instead of a logarithm: an unwind table, told record by record (delta/unwind/) */
#define DS_DERIVED_HEADER 3  /* and what finds its records */
#define DS_SPELLED_MAX 64

typedef struct ds_derivation {
    ds_offset digests;   /* of the first derived byte, in the new image */
    ds_offset covered;   /* of the first page; of a list: the number of the old one */
    uint64_t limit;      /* bytes in all pages; the last one may be short; of a list or unwind table: its size */
    unsigned page_bits;  /* or one of DS_DERIVED_...; where it is SPELLED, `digests` are digits */
    uint64_t shift;      /* of a list: new base - old base */
    uint64_t exceptions; /* of a list: how many of them, behind those of the lists before */
} ds_derivation;

/* A new byte that is in a list though no listed byte is copied there, or the other way round. The gaps that have
 * bytes, and the blocks, are counted together, in order: `cells` is how many lie between the exception before and
 * this one, `distance` counts from the first byte of its cell, or from behind the exception before in it. */
typedef struct ds_exception {
    uint64_t cells, distance;
} ds_exception;

/* Ascending; no derived byte belongs to two. */
typedef struct ds_derivations {
    DS_VEC(ds_derivation) list;
    DS_VEC(ds_exception) exceptions;
} ds_derivations;

static inline bool ds_derivation_unwinds(const ds_derivation *derivation) {
    return derivation->page_bits == DS_DERIVED_FRAMES || derivation->page_bits == DS_DERIVED_HEADER;
}

/* What is made at once, of so many bytes as are sent: a list or an unwind table. */
static inline bool ds_derivation_is_whole(const ds_derivation *derivation) {
    return derivation->page_bits == DS_DERIVED_LISTED || ds_derivation_unwinds(derivation);
}

/* Derived bytes: one digest a page, two digits a byte, or the whole. */
static inline uint64_t ds_derivation_size(const ds_derivation *derivation) {
    if (derivation->page_bits == DS_DERIVED_SPELLED)
        return 2 * derivation->limit;
    if (ds_derivation_is_whole(derivation))
        return derivation->limit;
    uint64_t page = (uint64_t)1 << derivation->page_bits;
    return (derivation->limit / page + (derivation->limit % page != 0)) * DS_DIGEST_SIZE;
}

/* Whether a derivation makes sense in an image of `new_size` bytes behind the ones before it: pages before
 * digests, digests in the image, and together no more than DS_DERIVED_WORK bytes hashed for each new one. */
#define DS_DERIVED_WORK 4
bool ds_derivation_fits(const ds_derivations *before, const ds_derivation *derivation, uint64_t new_size);

/* Digests and digits that the image holds and that are proved. */
ds_status ds_derive_find(const ds_image *new_image, ds_arena *arena, ds_derivations *out);

/* Adds the lists of the new image that come back from what they name. */
ds_status ds_derive_find_lists(const ds_image *new_image, ds_arena *arena, ds_derivations *out);
/* Chooses the old list for each new one, and drops the lists that blocks describe more cheaply; `blocks` as matching
 * finds them. Then, with the final blocks, what is not as they say. Both without those of the tail. */
void ds_derive_choose_lists(ds_derivations *derivations, const ds_image *old_image, const ds_image *new_image,
                            const ds_block *blocks, uint64_t count);
ds_status ds_derive_find_exceptions(ds_derivations *derivations, const ds_image *old_image, const ds_image *new_image,
                                    const ds_block *blocks, uint64_t count, ds_arena *arena);
/* Adds the unwind table of the new image and what finds its records, if that comes back from it: where the old image has
 * such a table, and at least two programs changed. */
ds_status ds_derive_find_frames(const ds_image *old_image, const ds_image *new_image, ds_arena *arena,
                                ds_derivations *out);
/* Keeps them ascending; what touches another derivation is left out. */
ds_status ds_derive_insert(ds_derivations *all, const ds_derivation *derivation, ds_arena *arena);
/* Whether unwind tables stand right: at most one, with at most one header, and no header alone. */
bool ds_derive_has_good_frames(const ds_derivations *derivations);
/* Number of the derivation of a kind (DS_DERIVED_FRAMES, DS_DERIVED_HEADER); how many there are, where there is none. */
uint64_t ds_derive_find_kind(const ds_derivations *derivations, unsigned kind);
void ds_derivations_free(ds_derivations *derivations, ds_arena *arena);

/* Makes a list: `bytes` has room for derivation->limit. DS_E_DELTA where exceptions lie outside, or it has no room. */
ds_status ds_derive_list(const ds_image *old_image, const ds_layout *layout, const ds_block *blocks, uint64_t count,
                         uint64_t new_size, const ds_derivation *derivation, const ds_exception *exceptions,
                         uint8_t *bytes);

/* Makes the blocks leave derived bytes alone. */
ds_status ds_derive_clip(const ds_derivations *derivations, ds_blocks *blocks, ds_arena *arena);

/* End of the longest stretch from `at` up to `end` of which all bytes are derived, or none. */
ds_offset ds_derived_run(const ds_derivations *derivations, ds_offset at, ds_offset end, bool *derived);

/* ---- making them ---- */

typedef struct ds_deriver ds_deriver;

ds_status ds_deriver_open(ds_deriver **deriver, const ds_derivations *derivations, ds_arena *arena);
/* Room for the bytes of a derivation that is made at once: to be filled before they are passed. */
uint8_t *ds_deriver_whole(ds_deriver *deriver, uint64_t derivation);
void ds_deriver_close(ds_deriver *deriver);
/* To be called with every piece of the new image, in order: writes what is derived into it, and hashes. */
void ds_deriver_pass(ds_deriver *deriver, uint8_t *bytes, uint64_t size);

#endif
