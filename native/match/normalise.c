/* Reference-free form: every byte of a reference field is replaced by a label of what it points at, so
 * that two fields are equal when they point at the same thing, wherever that lies.
 *
 * Steps keep their numbers: so small a field says little of a place, and alike functions have alike ones. In
 * the new image they become the number that the old code between both places would give. */
#include "match/match.h"

#include "image/refs.h"

#define CONTENT_BYTES 16
#define PAGE_MASK ((ds_address)4095)

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

/* Bits of code regions are instruction starts, all other bits are set. */
static ds_status mark_anchors(ds_side *side, ds_arena *arena) {
    uint64_t bytes = side->size / 8 + 1;
    side->anchors = ds_arena_alloc(arena, bytes + DS_SIDE_BEHIND);
    if (side->anchors == NULL)
        return DS_E_MEMORY;
    memset(side->anchors, 0xff, bytes);
    if (side->image->starts == NULL)
        return DS_OK;
    for (uint64_t i = 0; i < side->image->regions.count; i++) {
        const ds_region *region = &side->image->regions.items[i];
        if (region->class_ != DS_REGION_CODE)
            continue;
        uint64_t first = (region->offset + 7) / 8, last = (region->offset + region->size) / 8;
        if (last > first)
            memcpy(side->anchors + first, side->image->starts + first, last - first);
    }
    return DS_OK;
}

ds_status ds_side_open(ds_side *side, const ds_image *image, ds_arena *arena) {
    *side = (ds_side){.image = image, .size = ds_image_size(image)};
    side->bytes = ds_arena_alloc(arena, side->size + DS_SIDE_BEHIND);
    if (side->bytes == NULL)
        return DS_E_MEMORY;
    return mark_anchors(side, arena);
}

void ds_side_thin(ds_side *side, uint8_t pattern) {
    for (uint64_t i = 0; i <= side->size / 8; i++)
        side->anchors[i] &= pattern;
}

uint64_t ds_side_anchors(const ds_side *side) {
    uint64_t count = 0;
    for (uint64_t i = 0; i <= side->size / 8; i++)
        count += (unsigned)__builtin_popcount(side->anchors[i]);
    return count;
}

void ds_side_close(ds_side *side, ds_arena *arena) {
    ds_arena_free(arena, side->bytes);
    ds_arena_free(arena, side->anchors);
}

static void put_label(uint8_t *field, ds_ref_kind kind, uint64_t label) {
    uint64_t mask = ds_ref_mask(kind);
    switch (ds_ref_length(kind)) {
    case 8:
        ds_store64(field, (ds_load64(field) & ~mask) | (label & mask));
        break;
    case 4:
        ds_store32(field, (uint32_t)((ds_load32(field) & ~mask) | (label & mask)));
        break;
    default:
        for (unsigned i = 0; i < ds_ref_length(kind); i++)
            field[i] = (uint8_t)((field[i] & ~(mask >> 8 * i)) | (label >> 8 * i & mask >> 8 * i));
    }
}

/* The tail follows the file, so that one is matched with the other. */
static void copy_image(ds_side *side) {
    const ds_span *file = &side->image->file, *tail = &side->image->tail;
    if (file->size > 0)
        memcpy(side->bytes, file->data, file->size);
    if (tail->size > 0)
        memcpy(side->bytes + file->size, tail->data, tail->size);
    if (side->renames != NULL)
        ds_renames_put(side->renames, 0, side->bytes, file->size);
}

/* A page without a known place inside it says little: all such references look alike. */
static bool is_bare_page(const ds_ref *ref) {
    return ds_ref_kind_of(ref) == DS_REF_ADRP && (ref->target & PAGE_MASK) == 0;
}

static uint64_t content_label(const ds_side *side, ds_address target) {
    ds_offset offset;
    if (!ds_image_offset(side->image, target, &offset) || !ds_within(offset, CONTENT_BYTES, side->size))
        return UINT64_C(0x5851f42d4c957f2d);
    return mix(ds_load64(side->bytes + offset) ^ mix(ds_load64(side->bytes + offset + 8)));
}

void ds_side_label_nothing(ds_side *side) {
    copy_image(side);
}

ds_status ds_side_label_content(ds_side *side, ds_arena *arena) {
    const ds_image *image = side->image;
    uint64_t refs = image->refs.count, slots = image->slots.count, at = 0;
    ds_ref_cursor cursor;
    ds_ref ref;
    copy_image(side);
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &ref)) {
        ds_ref_kind kind = ds_ref_kind_of(&ref);
        if (!ds_ref_is_step(kind))
            put_label(side->bytes + ref.offset, kind, kind * UINT64_C(0x0101010101010101));
    }
    uint32_t *labels = ds_arena_alloc(arena, (refs + slots) * sizeof *labels);
    if (labels == NULL)
        return DS_E_MEMORY;
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &ref))
        labels[at++] = is_bare_page(&ref) ? 1 : (uint32_t)content_label(side, ref.target);
    for (uint64_t i = 0; i < slots; i++)
        labels[refs + i] = (uint32_t)content_label(side, image->slots.items[i].target);
    ds_refs_all(&cursor, image);
    for (at = 0; ds_refs_next(&cursor, &ref); at++)
        if (!ds_ref_is_step(ds_ref_kind_of(&ref)))
            put_label(side->bytes + ref.offset, ds_ref_kind_of(&ref), mix(labels[at]));
    for (uint64_t i = 0; i < slots; i++)
        ds_store64(side->bytes + image->slots.items[i].offset, mix(labels[refs + i]));
    ds_arena_free(arena, labels);
    return DS_OK;
}

void ds_side_label_targets(ds_side *side) {
    ds_ref_cursor cursor;
    ds_ref ref;
    copy_image(side);
    ds_refs_all(&cursor, side->image);
    while (ds_refs_next(&cursor, &ref))
        if (!ds_ref_is_step(ds_ref_kind_of(&ref)))
            put_label(side->bytes + ref.offset, ds_ref_kind_of(&ref), is_bare_page(&ref) ? 1 : mix(ref.target));
    for (uint64_t i = 0; i < side->image->slots.count; i++)
        ds_store64(side->bytes + side->image->slots.items[i].offset, mix(side->image->slots.items[i].target));
}

/* ---- votes: what aligned references say of targets that no block covers ---- */

typedef struct vote {
    ds_address new_target; /* 0: free */
    ds_address old_target;
    uint64_t weight;
} vote;

typedef struct ds_votes {
    vote *items;
    uint64_t used;
    unsigned bits;
    ds_arena *arena;
} votes;

#define VOTE_BITS_MIN 10

static vote *vote_of(const votes *all, ds_address new_target) {
    uint64_t mask = (UINT64_C(1) << all->bits) - 1;
    uint64_t at = mix(new_target) & mask;
    while (all->items[at].new_target != 0 && all->items[at].new_target != new_target)
        at = (at + 1) & mask;
    return &all->items[at];
}

static ds_status resize_votes(votes *all, unsigned bits) {
    votes before = *all;
    vote *items = ds_arena_alloc(all->arena, sizeof *items << bits);
    if (items == NULL)
        return DS_E_MEMORY;
    all->items = items;
    all->bits = bits;
    for (uint64_t i = 0; before.items != NULL && i < UINT64_C(1) << before.bits; i++)
        if (before.items[i].new_target != 0)
            *vote_of(all, before.items[i].new_target) = before.items[i];
    ds_arena_free(all->arena, before.items);
    return DS_OK;
}

/* Boyer-Moore majority, one counter a target. */
static ds_status cast(votes *all, ds_address new_target, ds_address old_target) {
    if (all->used >= (UINT64_C(1) << all->bits) / 2)
        DS_TRY(resize_votes(all, all->bits + 1));
    vote *v = vote_of(all, new_target);
    all->used += v->new_target == 0;
    if (v->weight == 0)
        *v = (vote){new_target, old_target, 1};
    else if (v->old_target == old_target)
        v->weight++;
    else
        v->weight--;
    return DS_OK;
}

/* What a pair of aligned references says. */
typedef struct said {
    ds_address new_target, old_target;
} said;

typedef struct ds_poll {
    DS_VEC(said) list; /* of one part, in the order of the new image */
} poll;

static ds_status note(poll *p, const ds_image *new_image, const ds_ref *old_ref, const ds_ref *new_ref,
                      ds_arena *arena) {
    ds_offset in_file;
    if (ds_ref_kind_of(old_ref) != ds_ref_kind_of(new_ref) || new_ref->target == 0 ||
        ds_image_offset(new_image, new_ref->target, &in_file))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(arena, &p->list, p->list.count + 1));
    p->list.items[p->list.count++] = (said){new_ref->target, old_ref->target};
    return DS_OK;
}

/* References of one image, and the one that is next. */
typedef struct line {
    ds_ref_cursor cursor;
    ds_ref ref;
    bool more;
} line;

static void step(line *l) {
    l->more = ds_refs_next(&l->cursor, &l->ref);
}

/* Those of the new references that lie in the block. */
static ds_status poll_block(const ds_image *new_image, const ds_block *block, line *new_line, line *old_line, poll *p,
                            ds_arena *arena) {
    uint64_t shift = block->new_offset - block->old_offset;
    while (new_line->more && new_line->ref.offset < block->new_offset)
        step(new_line);
    if (!new_line->more || new_line->ref.offset - block->new_offset >= block->length)
        return DS_OK;
    ds_refs_move(&old_line->cursor, new_line->ref.offset - shift, block->old_offset + block->length);
    step(old_line);
    while (old_line->more && new_line->more && new_line->ref.offset - block->new_offset < block->length) {
        uint64_t expected = old_line->ref.offset + shift, found = new_line->ref.offset;
        if (expected == found)
            DS_TRY(note(p, new_image, &old_line->ref, &new_line->ref, arena));
        if (expected <= found)
            step(old_line);
        if (expected >= found)
            step(new_line);
    }
    return DS_OK;
}

ds_status ds_mapped_poll(const ds_mapped *mapped, unsigned part) {
    const ds_image *new_image = mapped->side->image;
    const ds_block *blocks = mapped->blocks->list.items;
    ds_offset from = ds_refs_part(new_image, part, DS_MAPPED_PARTS);
    uint64_t count = mapped->blocks->list.count, b = ds_blocks_find(blocks, count, from);
    line new_line, old_line;
    ds_refs_between(&new_line.cursor, new_image, from, ds_refs_part(new_image, part + 1, DS_MAPPED_PARTS));
    ds_refs_between(&old_line.cursor, mapped->old_image, 0, 0);
    step(&new_line);
    for (b = b == UINT64_MAX ? 0 : b; b < count && new_line.more; b++)
        DS_TRY(poll_block(new_image, &blocks[b], &new_line, &old_line, &mapped->polls[part], mapped->votes->arena));
    return DS_OK;
}

ds_status ds_mapped_count(const ds_mapped *mapped) {
    for (unsigned part = 0; part < DS_MAPPED_PARTS; part++) {
        poll *p = &mapped->polls[part];
        for (uint64_t i = 0; i < p->list.count; i++)
            DS_TRY(cast(mapped->votes, p->list.items[i].new_target, p->list.items[i].old_target));
        DS_VEC_FREE(mapped->votes->arena, &p->list);
    }
    return DS_OK;
}

static bool old_target_of(ds_address new_target, const ds_image *old_image, const ds_image *new_image,
                          const ds_blocks *blocks, const votes *all, ds_address *old_target) {
    ds_offset offset;
    if (ds_image_offset(new_image, new_target, &offset)) {
        uint64_t at = ds_blocks_find(blocks->list.items, blocks->list.count, offset);
        if (at == UINT64_MAX)
            return false;
        const ds_block *block = &blocks->list.items[at];
        if (offset - block->new_offset >= block->length)
            return false;
        ds_offset old_offset = block->old_offset + (offset - block->new_offset);
        bool file_view = new_target - DS_FILE_BASE < new_image->file.size;
        *old_target = file_view ? DS_FILE_BASE + old_offset : ds_image_address(old_image, old_offset);
        return true;
    }
    const vote *v = vote_of(all, new_target);
    *old_target = v->old_target;
    return v->new_target == new_target && v->weight > 0;
}

static bool has_old_target(const ds_mapped *mapped, ds_address target, ds_address *old_target) {
    return old_target_of(target, mapped->old_image, mapped->side->image, mapped->blocks, mapped->votes, old_target);
}

ds_status ds_mapped_open(ds_mapped *mapped, ds_side *side, const ds_image *old_image, const ds_blocks *blocks,
                         ds_arena *arena) {
    votes *all = ds_arena_alloc(arena, sizeof *all);
    poll *polls = ds_arena_alloc(arena, DS_MAPPED_PARTS * sizeof *polls);
    if (all == NULL || polls == NULL)
        return DS_E_MEMORY;
    all->arena = arena;
    *mapped = (ds_mapped){.side = side, .old_image = old_image, .blocks = blocks, .votes = all, .polls = polls};
    copy_image(side);
    return resize_votes(all, VOTE_BITS_MIN);
}

void ds_mapped_close(ds_mapped *mapped, ds_arena *arena) {
    ds_arena_free(arena, mapped->polls);
    ds_arena_free(arena, mapped->votes->items);
    ds_arena_free(arena, mapped->votes);
}

static void label_reference(const ds_mapped *mapped, const ds_ref *ref) {
    const ds_image *image = mapped->side->image;
    ds_ref_kind kind = ds_ref_kind_of(ref);
    uint8_t *field = mapped->side->bytes + ref->offset;
    ds_address old_target, old_base;
    if (ds_ref_is_step(kind)) {
        if (has_old_target(mapped, ref->target, &old_target) &&
            has_old_target(mapped, ds_ref_base(image, ref), &old_base))
            ds_ref_put(kind, field, 0, ds_ref_aux(ref), old_base, old_target);
        return;
    }
    uint64_t label = is_bare_page(ref) ? 1
                     : has_old_target(mapped, ref->target, &old_target)
                         ? mix(old_target)
                         : mix(ref->target + UINT64_C(0x7fb5d329728ea185));
    put_label(field, kind, label);
}

void ds_mapped_label(const ds_mapped *mapped, unsigned part) {
    const ds_image *image = mapped->side->image;
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_refs_between(&cursor, image, ds_refs_part(image, part, DS_MAPPED_PARTS),
                    ds_refs_part(image, part + 1, DS_MAPPED_PARTS));
    while (ds_refs_next(&cursor, &ref))
        label_reference(mapped, &ref);
}

void ds_mapped_label_slots(const ds_mapped *mapped) {
    const ds_image *image = mapped->side->image;
    for (uint64_t i = 0; i < image->slots.count; i++) {
        ds_address old_target;
        if (has_old_target(mapped, image->slots.items[i].target, &old_target))
            ds_store64(mapped->side->bytes + image->slots.items[i].offset, mix(old_target));
    }
}
