/* What the sweeps of all instruction sets share: instruction starts, the question whether an address
 * belongs to the image, and jump tables of 32-bit entries. Private to isa/.
 *
 * A table is a run of i32 entries, each the distance from the table's first byte to an instruction of
 * the stretch being swept. Code names a table twice: it computes the table's address, and loads from it
 * with a scaled index. Nothing in the image says where a table ends; it ends at the first of
 *   - the next address above it that a reference of this sweep names (hence two tables never overlap,
 *     and all tables of a sweep together are no longer than the file);
 *   - the end of its region;
 *   - the first entry that names no instruction start of the stretch, or one further than
 *     DS_TABLE_REACH from the load.
 *
 * Invariants
 *  - time is O((references + tables) log tables + entries);
 *  - the result depends on the bytes of the image and the order of the sweep alone.
 */
#ifndef DS_SWEEP_H
#define DS_SWEEP_H

#include "image/isa/isa.h"

/* Furthest distance of a case from the instruction that loads its table entry, bytes. Part of the delta format. */
#define DS_TABLE_REACH ((ds_address)1 << 20)
#define DS_TABLE_ENTRY 4u

typedef struct ds_table {
    ds_address address;
    ds_address site; /* of the instruction that loads from it */
} ds_table;

typedef struct ds_sweep_state {
    ds_image *image;
    ds_code code;
    ds_address known_address; /* the region found last: most targets lie where the one before lay */
    uint64_t known_size;
    uint64_t first_ref; /* references from here on were added by this sweep */
    DS_VEC(ds_table) tables;
} ds_sweep_state;

static inline void ds_sweep_mark(const ds_sweep_state *state, ds_offset offset) {
    uint8_t *byte = &state->image->starts[offset >> 3];
    *byte = (uint8_t)(*byte | 1u << (offset & 7));
}

static inline bool ds_sweep_marked(const ds_sweep_state *state, ds_offset offset) {
    return (state->image->starts[offset >> 3] >> (offset & 7) & 1) != 0;
}

/* Whether some region holds the address. */
static inline bool ds_sweep_known(ds_sweep_state *state, ds_address address) {
    if (address - state->known_address < state->known_size || address - state->code.address < state->code.size)
        return true;
    const ds_region *region = ds_image_region(state->image, address);
    if (region == NULL)
        return false;
    state->known_address = region->address;
    state->known_size = region->size;
    return true;
}

/* Reserves room for the references that `per_reference` bytes of code each bring one of. */
ds_status ds_sweep_open(ds_sweep_state *state, ds_image *image, ds_code code, uint64_t per_reference);
/* Notes a table for ds_sweep_close; the same one may be noted many times. */
ds_status ds_sweep_add_table(ds_sweep_state *state, ds_table table);
/* Adds the entries of one table below `limit` now. *end: the first address behind them. */
ds_status ds_sweep_read_table(ds_sweep_state *state, ds_table table, ds_address limit, ds_address *end);
/* Reads the noted tables and frees what the sweep held. To be called after an error too. */
ds_status ds_sweep_close(ds_sweep_state *state, ds_status status);

#endif
