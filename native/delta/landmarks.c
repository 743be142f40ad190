/* Looking; see landmarks.h. */
#include "delta/landmarks.h"

#include "image/refs.h"

/* Nothing leads into the middle of an instruction: that is a reference which only looks like one. Words may be data. */
static bool is_inside(const ds_image *image, ds_address target, ds_offset offset) {
    const ds_region *region = ds_image_region(image, target);
    return region != NULL && region->class_ == DS_REGION_CODE && !region->words && !ds_image_is_start(image, offset);
}

ds_status ds_landmarks_open(ds_landmarks *l, const ds_image *old_image, ds_arena *arena) {
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_offset offset;
    *l = (ds_landmarks){.old_image = old_image};
    l->targets = ds_arena_alloc(arena, old_image->file.size / 8 + 1);
    if (l->targets == NULL)
        return DS_E_MEMORY;
    ds_refs_all(&cursor, old_image);
    while (ds_refs_next(&cursor, &ref))
        if (ds_image_offset(old_image, ref.target, &offset) && offset < old_image->file.size &&
            !is_inside(old_image, ref.target, offset))
            l->targets[offset >> 3] |= (uint8_t)(1u << (offset & 7));
    return DS_OK;
}

void ds_landmarks_close(ds_landmarks *l, ds_arena *arena) {
    ds_arena_free(arena, l->targets);
}

static uint8_t look_at_old(const ds_landmarks *l, ds_offset offset) {
    if (offset >= l->old_image->file.size)
        return DS_LANDMARK_NONE;
    if (l->targets[offset >> 3] >> (offset & 7) & 1)
        return DS_LANDMARK_TARGET;
    return ds_image_is_start(l->old_image, offset) ? DS_LANDMARK_START : DS_LANDMARK_BYTE;
}

/* The block that was copied to the last address that was looked at: the next ones are near. */
typedef struct neighbour {
    ds_offset new_offset, old_offset;
    uint64_t length;
} neighbour;

static uint8_t look_at_new(const ds_landmarks *l, ds_address address, neighbour *last) {
    const ds_predictor *p = l->predictor;
    ds_offset offset;
    if (!ds_layout_offset(p->map->layout, address, &offset))
        return DS_LANDMARK_NONE;
    if (offset - last->new_offset >= last->length) {
        uint64_t at = ds_blocks_find(p->blocks, p->block_count, offset);
        if (at == UINT64_MAX || offset - p->blocks[at].new_offset >= p->blocks[at].length)
            return DS_LANDMARK_NONE;
        *last = (neighbour){p->blocks[at].new_offset, p->blocks[at].old_offset, p->blocks[at].length};
    }
    return look_at_old(l, last->old_offset + (offset - last->new_offset));
}

void ds_landmarks_look(const ds_landmarks *l, const ds_lead *lead, uint64_t first, unsigned count, uint8_t *seen) {
    neighbour last = {0};
    for (unsigned i = 0; i < count; i++) {
        uint64_t number = first + i, place = lead->back ? lead->from - number : lead->from + number;
        seen[i] = lead->to == DS_LEADS_TO_OLD ? look_at_old(l, place) : look_at_new(l, place, &last);
    }
}

#define STARTS_MAX 3
#define TARGETS_MAX 2

uint32_t ds_landmarks_view(const uint8_t *seen, unsigned count) {
    unsigned counts[DS_LANDMARK_TARGET + 1] = {0};
    if (count == 1)
        return seen[0];
    if (count == 2)
        return (uint32_t)seen[0] << 2 | seen[1];
    for (unsigned i = 0; i < count; i++)
        counts[seen[i]]++;
    unsigned starts = counts[DS_LANDMARK_START] < STARTS_MAX ? counts[DS_LANDMARK_START] : STARTS_MAX;
    unsigned targets = counts[DS_LANDMARK_TARGET] < TARGETS_MAX ? counts[DS_LANDMARK_TARGET] : TARGETS_MAX;
    return starts | targets << 2 | (counts[DS_LANDMARK_NONE] > 0) << 4;
}
