/* The address map; rules in map.h. */
#include "predict/map.h"

#define PAGE_BITS 12
#define GRANULE_BITS_MIN 6 /* one remembered point each 64 bytes of .bss */
#define GRANULES_MAX 65536 /* more address space has coarser granules */
#define GRANULE_REACH 256  /* how far the nearest point is looked for, in granules */

typedef enum sort_key { UNSORTED, BY_OFFSET, BY_ADDRESS } sort_key;

static uint64_t key_of(const ds_region *region, sort_key key) {
    return key == BY_OFFSET ? region->offset : key == BY_ADDRESS ? region->address : 0;
}

static ds_status add_region(ds_arena *arena, ds_region region, ds_region **items, uint64_t *count, uint64_t *capacity,
                            sort_key key) {
    if (*count == *capacity)
        DS_TRY(ds_vec_grow(arena, (void **)items, capacity, *count + 1, sizeof **items));
    uint64_t at = *count;
    while (at > 0 && key_of(&(*items)[at - 1], key) > key_of(&region, key)) {
        (*items)[at] = (*items)[at - 1];
        at--;
    }
    (*items)[at] = region;
    ++*count;
    return DS_OK;
}

#define ADD_REGION(arena, region, list, key) \
    add_region(arena, region, &(list)->items, &(list)->count, &(list)->capacity, key)

ds_status ds_layout_build(ds_layout *layout, const ds_region *regions, uint64_t count, ds_arena *arena) {
    *layout = (ds_layout){0};
    for (uint64_t i = 0; i < count; i++) {
        if (regions[i].class_ == DS_REGION_NOBITS) {
            DS_TRY(ADD_REGION(arena, regions[i], &layout->nobits, UNSORTED));
        } else {
            DS_TRY(ADD_REGION(arena, regions[i], &layout->loaded, BY_OFFSET));
            DS_TRY(ADD_REGION(arena, regions[i], &layout->by_address, BY_ADDRESS));
        }
    }
    return DS_OK;
}

void ds_layout_free(ds_layout *layout, ds_arena *arena) {
    DS_VEC_FREE(arena, &layout->loaded);
    DS_VEC_FREE(arena, &layout->by_address);
    DS_VEC_FREE(arena, &layout->nobits);
}

/* Number of regions that start at or before `offset`. */
static uint64_t regions_before(const ds_layout *layout, ds_offset offset) {
    uint64_t low = 0, high = layout->loaded.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (layout->loaded.items[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const ds_region *ds_layout_region(const ds_layout *layout, ds_offset offset, ds_offset *stop) {
    uint64_t before = regions_before(layout, offset);
    *stop = before < layout->loaded.count ? layout->loaded.items[before].offset : UINT64_MAX;
    if (before == 0)
        return NULL;
    const ds_region *region = &layout->loaded.items[before - 1];
    if (offset - region->offset >= region->size)
        return NULL;
    if (region->offset + region->size < *stop)
        *stop = region->offset + region->size;
    return region;
}

ds_address ds_layout_address(const ds_layout *layout, ds_offset offset) {
    ds_offset stop;
    const ds_region *region = ds_layout_region(layout, offset, &stop);
    return region != NULL ? region->address + (offset - region->offset) : DS_FILE_BASE + offset;
}

bool ds_layout_offset(const ds_layout *layout, ds_address address, ds_offset *offset) {
    uint64_t low = 0, high = layout->by_address.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (layout->by_address.items[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    const ds_region *region = &layout->by_address.items[low - 1];
    *offset = region->offset + (address - region->address);
    return address - region->address < region->size;
}

const ds_region *ds_layout_code(const ds_layout *layout, ds_offset offset, ds_offset *stop) {
    const ds_region *region = ds_layout_region(layout, offset, stop);
    return region != NULL && region->class_ == DS_REGION_CODE ? region : NULL;
}

/* ---- stretches: the longest block over each old byte ---- */

typedef struct heap {
    const ds_block *blocks;
    uint32_t *items;
    uint64_t count;
} heap;

static bool heap_before(const heap *h, uint32_t a, uint32_t b) {
    const ds_block *x = &h->blocks[a], *y = &h->blocks[b];
    return x->length != y->length ? x->length > y->length : x->new_offset < y->new_offset;
}

static void heap_push(heap *h, uint32_t item) {
    uint64_t at = h->count++;
    while (at > 0 && heap_before(h, item, h->items[(at - 1) / 2])) {
        h->items[at] = h->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->items[at] = item;
}

static void heap_pop(heap *h) {
    uint32_t item = h->items[--h->count];
    uint64_t at = 0;
    for (;;) {
        uint64_t child = 2 * at + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && heap_before(h, h->items[child + 1], h->items[child]))
            child++;
        if (!heap_before(h, h->items[child], item))
            break;
        h->items[at] = h->items[child];
        at = child;
    }
    if (h->count > 0)
        h->items[at] = item;
}

static ds_status add_stretch(ds_map *map, ds_offset from, ds_offset to, uint64_t shift) {
    if (from >= to)
        return DS_OK;
    if (map->stretches.count > 0) {
        ds_stretch *last = &map->stretches.items[map->stretches.count - 1];
        if (last->old_offset + last->length == from && last->shift == shift) {
            last->length += to - from;
            return DS_OK;
        }
    }
    DS_TRY(DS_VEC_RESERVE(map->arena, &map->stretches, map->stretches.count + 1));
    map->stretches.items[map->stretches.count++] = (ds_stretch){from, to - from, shift};
    return DS_OK;
}

/* Sort block numbers by old offset: LSD radix, 16 bits a pass, stable. */
static ds_status order_by_old(const ds_block *blocks, uint64_t count, ds_arena *arena, uint32_t **order_out) {
    uint32_t *order = ds_arena_alloc(arena, count * sizeof *order);
    uint32_t *spare = ds_arena_alloc(arena, count * sizeof *spare);
    uint32_t *starts = ds_arena_alloc(arena, 65537 * sizeof *starts);
    if (order == NULL || spare == NULL || starts == NULL)
        return DS_E_MEMORY;
    uint64_t top = 0;
    for (uint64_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
        top |= blocks[i].old_offset;
    }
    for (unsigned shift = 0; shift < 64 && top >> shift != 0; shift += 16) {
        memset(starts, 0, 65537 * sizeof *starts);
        for (uint64_t i = 0; i < count; i++)
            starts[(blocks[order[i]].old_offset >> shift & 0xffff) + 1]++;
        for (unsigned i = 0; i < 65536; i++)
            starts[i + 1] += starts[i];
        for (uint64_t i = 0; i < count; i++)
            spare[starts[blocks[order[i]].old_offset >> shift & 0xffff]++] = order[i];
        uint32_t *swap = order;
        order = spare;
        spare = swap;
    }
    ds_arena_free(arena, spare);
    ds_arena_free(arena, starts);
    *order_out = order;
    return DS_OK;
}

static ds_status build_stretches(ds_map *map, const ds_block *blocks, uint64_t count) {
    uint32_t *order;
    if (count >= UINT32_MAX)
        return DS_E_MEMORY;
    DS_TRY(order_by_old(blocks, count, map->arena, &order));
    heap active = {.blocks = blocks, .items = ds_arena_alloc(map->arena, (count + 1) * sizeof(uint32_t))};
    if (active.items == NULL)
        return DS_E_MEMORY;
    ds_offset at = 0;
    uint64_t next = 0;
    while (next < count || active.count > 0) {
        while (active.count > 0 && blocks[active.items[0]].old_offset + blocks[active.items[0]].length <= at)
            heap_pop(&active);
        if (active.count == 0) {
            if (next == count)
                break;
            if (blocks[order[next]].old_offset > at)
                at = blocks[order[next]].old_offset;
        }
        while (next < count && blocks[order[next]].old_offset <= at)
            heap_push(&active, order[next++]);
        const ds_block *best = &blocks[active.items[0]];
        ds_offset end = best->old_offset + best->length;
        if (next < count && blocks[order[next]].old_offset < end)
            end = blocks[order[next]].old_offset;
        DS_TRY(add_stretch(map, at, end, best->new_offset - best->old_offset));
        if (end > at)
            at = end;
    }
    ds_arena_free(map->arena, active.items);
    ds_arena_free(map->arena, order);
    return DS_OK;
}

static ds_status build_page_index(ds_map *map) {
    uint64_t pages = (ds_image_size(map->old_image) >> PAGE_BITS) + 1;
    map->page_index = ds_arena_alloc(map->arena, pages * sizeof *map->page_index);
    if (map->page_index == NULL)
        return DS_E_MEMORY;
    uint64_t at = 0;
    for (uint64_t page = 0; page < pages; page++) {
        while (at < map->stretches.count &&
               map->stretches.items[at].old_offset + map->stretches.items[at].length <= page << PAGE_BITS)
            at++;
        map->page_index[page] = (uint32_t)at;
    }
    return DS_OK;
}

static ds_status build_points(ds_map *map) {
    for (uint64_t i = 0; i < map->old_layout.nobits.count; i++) {
        ds_region old_region = map->old_layout.nobits.items[i];
        ds_points points = {.old_region = old_region, .granule_bits = GRANULE_BITS_MIN};
        if (i < map->layout->nobits.count)
            points.shift = map->layout->nobits.items[i].address - old_region.address;
        while (old_region.size >> points.granule_bits >= GRANULES_MAX)
            points.granule_bits++;
        points.granules = (old_region.size >> points.granule_bits) + 1;
        points.shifts = ds_arena_alloc(map->arena, points.granules * sizeof *points.shifts);
        points.seen = ds_arena_alloc(map->arena, points.granules);
        if (points.shifts == NULL || points.seen == NULL)
            return DS_E_MEMORY;
        DS_TRY(DS_VEC_RESERVE(map->arena, &map->points, map->points.count + 1));
        map->points.items[map->points.count++] = points;
    }
    return DS_OK;
}

ds_status ds_map_build(ds_map *map, const ds_image *old_image, ds_layout *new_layout, const ds_block *blocks,
                       uint64_t count, ds_arena *arena) {
    *map = (ds_map){.old_image = old_image, .layout = new_layout, .arena = arena};
    DS_TRY(ds_layout_build(&map->old_layout, old_image->regions.items, old_image->regions.count, arena));
    DS_TRY(build_stretches(map, blocks, count));
    DS_TRY(build_page_index(map));
    return build_points(map);
}

void ds_map_free(ds_map *map) {
    for (uint64_t i = 0; i < map->points.count; i++) {
        ds_arena_free(map->arena, map->points.items[i].shifts);
        ds_arena_free(map->arena, map->points.items[i].seen);
    }
    DS_VEC_FREE(map->arena, &map->points);
    DS_VEC_FREE(map->arena, &map->stretches);
    ds_arena_free(map->arena, map->page_index);
    ds_layout_free(&map->old_layout, map->arena);
}

/* ---- looking up ---- */

/* First stretch that ends after `offset`. */
static uint64_t stretch_after(const ds_map *map, ds_offset offset) {
    const ds_stretch *items = map->stretches.items;
    uint64_t low = map->page_index[offset >> PAGE_BITS], high = map->stretches.count;
    uint64_t pages = ds_image_size(map->old_image) >> PAGE_BITS;
    if (offset >> PAGE_BITS < pages) {
        high = map->page_index[(offset >> PAGE_BITS) + 1] + (uint64_t)1;
        if (high > map->stretches.count)
            high = map->stretches.count;
    }
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (items[middle].old_offset + items[middle].length <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The copied old byte that decides where `offset` goes, and its shift; false when nothing is copied. */
static bool guide_of(const ds_map *map, ds_offset offset, ds_offset *guide, uint64_t *shift) {
    uint64_t after = stretch_after(map, offset);
    const ds_stretch *items = map->stretches.items;
    bool has_after = after < map->stretches.count;
    if (has_after && items[after].old_offset <= offset) {
        *guide = offset;
        *shift = items[after].shift;
        return true;
    }
    if (!has_after && after == 0)
        return false;
    if (after > 0) {
        const ds_stretch *before = &items[after - 1];
        ds_offset last = before->old_offset + before->length - 1;
        if (!has_after || offset - last <= items[after].old_offset - offset) {
            *guide = last;
            *shift = before->shift;
            return true;
        }
    }
    *guide = items[after].old_offset;
    *shift = items[after].shift;
    return true;
}

/* The first region that holds the address or ends with it; regions ascend and are apart. */
static const ds_points *points_of(const ds_map *map, ds_address address) {
    uint64_t low = 0, high = map->points.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        const ds_region *region = &map->points.items[middle].old_region;
        if (region->address + region->size < address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == map->points.count || address < map->points.items[low].old_region.address)
        return NULL;
    return &map->points.items[low];
}

static ds_address map_point(const ds_points *points, ds_address address) {
    uint64_t at = (address - points->old_region.address) >> points->granule_bits;
    for (uint64_t reach = 0; reach < GRANULE_REACH; reach++) {
        if (reach <= at && points->seen[at - reach])
            return address + points->shifts[at - reach];
        if (at + reach < points->granules && points->seen[at + reach])
            return address + points->shifts[at + reach];
    }
    return address + points->shift;
}

ds_address ds_map_address(const ds_map *map, ds_address old_address) {
    ds_offset guide, offset;
    uint64_t shift;
    if (old_address - DS_FILE_BASE < ds_image_size(map->old_image)) {
        offset = old_address - DS_FILE_BASE;
        return guide_of(map, offset, &guide, &shift) ? old_address + shift : old_address;
    }
    if (!ds_image_offset(map->old_image, old_address, &offset)) {
        const ds_points *points = points_of(map, old_address);
        return points == NULL ? old_address : map_point(points, old_address);
    }
    if (!guide_of(map, offset, &guide, &shift))
        return old_address;
    ds_address moved = ds_layout_address(map->layout, guide + shift);
    return guide == offset ? moved : moved + (offset - guide);
}

bool ds_map_is_copied(const ds_map *map, ds_address old_address) {
    ds_offset guide, offset;
    uint64_t shift;
    return ds_image_offset(map->old_image, old_address, &offset) && guide_of(map, offset, &guide, &shift) &&
           guide == offset;
}

void ds_map_see(ds_map *map, ds_address old_address, ds_address new_address) {
    const ds_points *points = points_of(map, old_address);
    if (points == NULL)
        return;
    uint64_t at = (old_address - points->old_region.address) >> points->granule_bits;
    points->shifts[at] = new_address - old_address;
    points->seen[at] = 1;
}
