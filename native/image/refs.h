/* The references of a settled image, packed: two or three bytes each where a ds_ref has sixteen. An image has one for
 * each ten bytes of code, and an applier holds them all while it works.
 *
 * Most of a target stands in the file already. What is kept is the distance to the reference before, a form (kind and
 * auxiliary value), and the bias: target - what the field says where its place is its offset and its base 0. For a
 * kind that counts from its place the bias is the same all over a region, for a based kind it is the base. So it is
 * kept only where it differs from that of the form's last reference. What has no form (there is room for a hundred
 * and some) is kept whole.
 *
 * Bytes of a reference
 *     form << 1 | differs          or DS_REF_WHOLE << 1
 *     gap                          one byte below 0x80, else two, 7 bits each, the lower first
 *     zigzag of the difference     LEB128, where it differs
 *     kind_aux, bias               4 and 8 bytes, of a whole one
 *
 * Invariants
 *  - the file is cut in stretches of DS_REF_STRETCH bytes; every stretch is read without those before it: gaps count from
 *    the end of the reference before or from the start of the stretch, biases start as ds_refs.first;
 *  - a packed reference is never longer than DS_REF_PACKED_MOST, whatever it is;
 *  - LO12 counts from the page that the latest ADRP or LO12 named: so all its forms share one bias with each other.
 */
#ifndef DS_REFS_H
#define DS_REFS_H

#include "image/image.h"

#define DS_REF_STRETCH_BITS 9
#define DS_REF_STRETCH ((uint64_t)1 << DS_REF_STRETCH_BITS)
#define DS_REF_WHOLE 127u /* in place of a form: there is none */
#define DS_REF_PACKED_MOST 15

/* Where the references of an image are read, one after the other, ascending. Any number may read at once. */
typedef struct ds_ref_cursor {
    const ds_image *image;
    const uint8_t *at, *stop; /* in the stretch */
    uint64_t stretch, last;   /* this one, and the last that is to be read */
    ds_offset end;            /* of the reference before, or the start of the stretch */
    ds_offset to;
    ds_address biases[DS_REF_WHOLE];
} ds_ref_cursor;

/* Those that begin from `from` on, and before `to`. */
void ds_refs_between(ds_ref_cursor *cursor, const ds_image *image, ds_offset from, ds_offset to);
/* The same once more; cheap where `from` lies a little behind what was read last. */
void ds_refs_move(ds_ref_cursor *cursor, ds_offset from, ds_offset to);
void ds_refs_all(ds_ref_cursor *cursor, const ds_image *image);
/* False behind the last. */
bool ds_refs_next(ds_ref_cursor *cursor, ds_ref *ref);
/* The reference that begins at exactly this offset. */
bool ds_refs_find(const ds_image *image, ds_offset offset, ds_ref *ref);
/* Whether a reference begins before `offset` and ends behind it; where. */
bool ds_refs_over(const ds_image *image, ds_offset offset, ds_offset *begin, ds_offset *end);
/* Some offset before which lies about `part` in `parts` of all references; the same for every machine. */
ds_offset ds_refs_part(const ds_image *image, unsigned part, unsigned parts);

/* Packs references of ascending offsets, none overlapping another. `room` has DS_REF_PACKED_MOST bytes for each; the
 * next one may be read from behind what is written. */
typedef struct ds_ref_packer {
    ds_image *image;
    uint64_t stretch;
    ds_offset end;
    ds_address biases[DS_REF_WHOLE];
    uint8_t known[DS_REF_KINDS][8]; /* forms of each kind with a small auxiliary value; 0: not asked for yet */
} ds_ref_packer;

/* What the image held before is forgotten, not freed. `bytes` becomes what it holds. */
ds_status ds_refs_pack_open(ds_ref_packer *packer, ds_image *image, uint8_t *bytes);
/* Returns the end of the reference's field. */
ds_offset ds_refs_pack(ds_ref_packer *packer, const ds_ref *ref);
/* Gives back what is left of the room. */
ds_status ds_refs_pack_close(ds_ref_packer *packer);

void ds_refs_free(ds_image *image);

#endif
