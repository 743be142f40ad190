/* Looking for renames: the same string against the same other one, again and again, between bytes that lie as far from
 * each other in both images. */
#include "predict/map.h"
#include "predict/renames.h"

#define GAP_MAX 64             /* between blocks that go on as before: what a rename left uncopied */
#define SAME_MAX 3             /* bytes that two strings have in common by chance, in a row */
#define DIFFERENCES_MAX 131072 /* looked at, of one pair of images */
#define WORTH 64               /* bytes that differ, of all occurrences together, pay for being listed */
#define GOOD_SHARE 2           /* one in so many occurrences of the old bytes became the new ones, or more */

/* Bytes that differ, and what stands before them where they are few. */
typedef struct difference {
    ds_offset old_offset, new_offset;
    uint32_t size, changed;
} difference;

typedef struct finder {
    ds_span old_file, new_file;
    ds_layout layout; /* of the old image */
    DS_VEC(difference) list;
    DS_VEC(ds_pair) groups; /* alike differences have the same key */
    ds_arena *arena;
} finder;

/* ---- differences ---- */

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static bool is_text(const uint8_t *bytes, uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        if (bytes[i] < 0x20 || bytes[i] > 0x7e)
            return false;
    return true;
}

static uint64_t hash_of(uint64_t hash, const uint8_t *bytes, uint64_t size) {
    for (uint64_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

static ds_status note(finder *f, difference d) {
    const uint8_t *old_bytes = f->old_file.data + d.old_offset, *new_bytes = f->new_file.data + d.new_offset;
    if (!is_text(old_bytes, d.size) || !is_text(new_bytes, d.size))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(f->arena, &f->list, f->list.count + 1));
    DS_TRY(DS_VEC_RESERVE(f->arena, &f->groups, f->groups.count + 1));
    uint64_t key = hash_of(hash_of(UINT64_C(0xcbf29ce484222325), old_bytes, d.size), new_bytes, d.size);
    f->groups.items[f->groups.count++] = (ds_pair){key, f->list.count};
    f->list.items[f->list.count++] = d;
    return DS_OK;
}

/* Where the difference that begins at `at` ends: behind the last byte that differs. */
static uint64_t end_of(const uint8_t *old_bytes, const uint8_t *new_bytes, uint64_t at, uint64_t size) {
    uint64_t end = at + 1;
    for (uint64_t i = end; i < size && i - end <= SAME_MAX; i++)
        if (old_bytes[i] != new_bytes[i])
            end = i + 1;
    return end;
}

/* Bytes that lie against each other in both images, the old ones in one region or in none. */
static ds_status compare(finder *f, ds_offset old_offset, ds_offset new_offset, uint64_t size) {
    const uint8_t *old_bytes = f->old_file.data + old_offset, *new_bytes = f->new_file.data + new_offset;
    for (uint64_t at = 0, before = 0; at < size && f->list.count < DIFFERENCES_MAX;) {
        if (at + 8 <= size && ds_load64(old_bytes + at) == ds_load64(new_bytes + at)) {
            at += 8;
        } else if (old_bytes[at] == new_bytes[at]) {
            at++;
        } else {
            uint64_t end = end_of(old_bytes, new_bytes, at, size), from = at;
            if (end - at < DS_RENAME_SIZE_MIN)
                from = end - before >= DS_RENAME_SIZE_MIN ? end - DS_RENAME_SIZE_MIN : end;
            if (from < end && end - from <= DS_RENAME_SIZE_MAX)
                DS_TRY(note(f, (difference){old_offset + from, new_offset + from, (uint32_t)(end - from),
                                            (uint32_t)(end - at)}));
            before = at = end;
        }
    }
    return DS_OK;
}

static ds_status compare_outside_code(finder *f, ds_offset old_offset, ds_offset new_offset, uint64_t size) {
    for (uint64_t at = 0; at < size;) {
        ds_offset stop;
        bool code = ds_layout_code(&f->layout, old_offset + at, &stop) != NULL;
        uint64_t part = least(stop - (old_offset + at), size - at);
        if (!code)
            DS_TRY(compare(f, old_offset + at, new_offset + at, part));
        at += part;
    }
    return DS_OK;
}

static bool goes_on(const ds_block *before, const ds_block *block) {
    return before->old_offset - before->new_offset == block->old_offset - block->new_offset &&
           block->new_offset - (before->new_offset + before->length) <= GAP_MAX;
}

static ds_status compare_blocks(finder *f, const ds_block *blocks, uint64_t count) {
    for (uint64_t i = 0, last; i < count; i = last + 1) {
        last = i;
        while (last + 1 < count && goes_on(&blocks[last], &blocks[last + 1]))
            last++;
        if (blocks[i].old_offset >= f->old_file.size)
            continue; /* of the tail */
        /* Before they are clipped, blocks may go on into both tails. */
        uint64_t size = blocks[last].new_offset + blocks[last].length - blocks[i].new_offset;
        size = least(size, f->old_file.size - blocks[i].old_offset);
        size = least(size, f->new_file.size - blocks[i].new_offset);
        DS_TRY(compare_outside_code(f, blocks[i].old_offset, blocks[i].new_offset, size));
    }
    return DS_OK;
}

/* ---- renames ---- */

/* Groups that are worth it, as pairs of worth and first difference, those worth most first. */
static void rank(finder *f) {
    ds_pair *groups = f->groups.items;
    uint64_t count = 0;
    ds_sort_pairs(groups, f->groups.count);
    for (uint64_t i = 0, end; i < f->groups.count; i = end) {
        for (end = i + 1; end < f->groups.count && groups[end].key == groups[i].key;)
            end++;
        uint64_t worth = (end - i) * f->list.items[groups[i].value].changed;
        if (worth >= WORTH)
            groups[count++] = (ds_pair){UINT64_MAX - worth, groups[i].value};
    }
    f->groups.count = count;
    ds_sort_pairs(groups, count);
}

static bool begins_alike(const finder *f, const ds_renames *renames, ds_offset old_offset) {
    for (uint64_t i = 0; i < renames->list.count; i++)
        if (memcmp(f->old_file.data + renames->list.items[i].offset, f->old_file.data + old_offset,
                   DS_RENAME_SIZE_MIN) == 0)
            return true;
    return false;
}

static ds_status propose(const finder *f, ds_renames *renames) {
    DS_TRY(DS_VEC_RESERVE(f->arena, &renames->list, DS_RENAMES_MAX));
    for (uint64_t i = 0; i < f->groups.count && renames->list.count < DS_RENAMES_MAX; i++) {
        const difference *d = &f->list.items[f->groups.items[i].value];
        if (begins_alike(f, renames, d->old_offset))
            continue;
        ds_rename *rename = &renames->list.items[renames->list.count++];
        *rename = (ds_rename){.offset = d->old_offset, .size = d->size};
        memcpy(rename->bytes, f->new_file.data + d->new_offset, d->size);
    }
    return DS_OK;
}

/* How many differences are this rename. */
static uint64_t count_shown(const finder *f, const ds_rename *rename) {
    uint64_t shown = 0;
    for (uint64_t i = 0; i < f->list.count; i++) {
        const difference *d = &f->list.items[i];
        shown += d->size == rename->size &&
                 memcmp(f->old_file.data + d->old_offset, f->old_file.data + rename->offset, d->size) == 0 &&
                 memcmp(f->new_file.data + d->new_offset, rename->bytes, d->size) == 0;
    }
    return shown;
}

/* Leaves those that are right more often than wrong, each with its first occurrence. */
static ds_status keep_good(const finder *f, ds_renames *renames, const ds_image *old_image) {
    uint64_t occur[DS_RENAMES_MAX] = {0}, kept = 0;
    DS_TRY(ds_renames_locate(renames, old_image, f->arena));
    for (uint64_t i = 0; i < renames->occurrences.count; i++)
        occur[renames->occurrences.items[i].number]++;
    for (uint64_t i = 0; i < renames->list.count; i++)
        if (occur[i] > 0 && count_shown(f, &renames->list.items[i]) * GOOD_SHARE >= occur[i])
            renames->list.items[kept++] = renames->list.items[i];
    renames->list.count = kept;
    return DS_OK;
}

/* In the order of their first occurrences; none is over another then. */
static ds_status settle(const finder *f, ds_renames *renames, const ds_image *old_image) {
    ds_rename *list = renames->list.items;
    uint64_t seen[DS_RENAMES_MAX] = {0}, count = 0;
    DS_TRY(ds_renames_locate(renames, old_image, f->arena));
    ds_rename *sorted = ds_arena_alloc(f->arena, (renames->list.count + 1) * sizeof *sorted);
    if (sorted == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < renames->occurrences.count; i++) {
        const ds_occurrence *o = &renames->occurrences.items[i];
        if (seen[o->number]++ > 0)
            continue;
        sorted[count] = list[o->number];
        sorted[count++].offset = o->offset;
    }
    if (count > 0)
        memcpy(list, sorted, count * sizeof *sorted);
    renames->list.count = count;
    ds_arena_free(f->arena, sorted);
    return ds_renames_locate(renames, old_image, f->arena);
}

static ds_status find(finder *f, ds_renames *renames, const ds_image *old_image, const ds_blocks *blocks) {
    DS_TRY(ds_layout_build(&f->layout, old_image->regions.items, old_image->regions.count, f->arena));
    DS_TRY(compare_blocks(f, blocks->list.items, ds_blocks_before(blocks, f->new_file.size)));
    rank(f);
    DS_TRY(propose(f, renames));
    DS_TRY(keep_good(f, renames, old_image));
    return settle(f, renames, old_image);
}

ds_status ds_renames_find(ds_renames *renames, const ds_image *old_image, const ds_image *new_image,
                          const ds_blocks *blocks, ds_arena *arena) {
    finder f = {.old_file = old_image->file, .new_file = new_image->file, .arena = arena};
    ds_status status = find(&f, renames, old_image, blocks);
    if (status != DS_OK || renames->list.count == 0)
        ds_renames_free(renames, arena);
    ds_layout_free(&f.layout, arena);
    DS_VEC_FREE(arena, &f.list);
    DS_VEC_FREE(arena, &f.groups);
    return status == DS_E_MEMORY ? DS_OK : status;
}
