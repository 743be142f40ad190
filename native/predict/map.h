/* The address map that a block list implies: old address -> new address.
 *
 * Rules (part of the format; docs/spec/delta-format.md, "Address map"):
 *  1. An address that names a file byte is mapped by that byte's offset. Of several blocks that copy
 *     the byte the longest wins, of equally long ones the one with the lower new offset.
 *  2. A byte that no block copies moves with the nearest copied byte, ties with the lower one.
 *  3. An address without a byte (.bss) moves with the nearest point already seen in its region, else
 *     with its region; regions without bytes are paired by their order.
 *  4. Everything else maps to itself.
 */
#ifndef DS_MAP_H
#define DS_MAP_H

#include "image/image.h"
#include "predict/blocks.h"

/* Where new bytes lie; built from the regions of the new image, sorted by offset. */
typedef struct ds_layout {
    DS_VEC(ds_region) loaded;
    DS_VEC(ds_region) by_address; /* the loaded ones once more */
    DS_VEC(ds_region) nobits;
} ds_layout;

ds_status ds_layout_build(ds_layout *layout, const ds_region *regions, uint64_t count, ds_arena *arena);
void ds_layout_free(ds_layout *layout, ds_arena *arena);
/* The region that holds the byte at `offset`, or NULL; *stop is the next offset where that may change. */
const ds_region *ds_layout_region(const ds_layout *layout, ds_offset offset, ds_offset *stop);
ds_address ds_layout_address(const ds_layout *layout, ds_offset offset);
/* The byte at an address: in the last region that begins at or before it. False where that does not hold it. */
bool ds_layout_offset(const ds_layout *layout, ds_address address, ds_offset *offset);
/* The same for executable regions. */
const ds_region *ds_layout_code(const ds_layout *layout, ds_offset offset, ds_offset *stop);

/* A stretch of old bytes that move together. */
typedef struct ds_stretch {
    ds_offset old_offset;
    uint64_t length;
    uint64_t shift; /* new offset - old offset, modulo 2^64 */
} ds_stretch;

/* Points seen in one region without bytes: the last shift in each granule. */
typedef struct ds_points {
    ds_region old_region;
    uint64_t shift; /* of the region itself */
    unsigned granule_bits;
    uint64_t granules;
    uint64_t *shifts;
    uint8_t *seen;
} ds_points;

typedef struct ds_map {
    const ds_image *old_image;
    ds_layout *layout;
    ds_layout old_layout;
    ds_arena *arena;
    DS_VEC(ds_stretch) stretches;
    uint32_t *page_index; /* per 4 KiB of old: first stretch that ends after the page's start */
    DS_VEC(ds_points) points;
} ds_map;

ds_status ds_map_build(ds_map *map, const ds_image *old_image, ds_layout *new_layout, const ds_block *blocks,
                       uint64_t count, ds_arena *arena);
void ds_map_free(ds_map *map);

ds_address ds_map_address(const ds_map *map, ds_address old_address);
/* Whether a block copies the old byte at an address. */
bool ds_map_is_copied(const ds_map *map, ds_address old_address);
/* Remember where an address without bytes went (rule 3). Other addresses are ignored. */
void ds_map_see(ds_map *map, ds_address old_address, ds_address new_address);

#endif
