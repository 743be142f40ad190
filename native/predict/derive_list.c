/* Lists of addresses: function starts. See derive.h; docs/spec/delta-format.md, "Lists".
 *
 * Of an old list the bytes that it names are known, and the blocks say where they went. What no copy explains, or
 * what was copied and is not named any more, is an exception.
 *
 * Invariant: a list is made in one pass along the blocks, and never more is written than it has room for.
 */
#include "predict/derive.h"

/* ---- cells: gaps that have bytes, and blocks, in order ---- */

typedef struct cells {
    const ds_block *blocks;
    uint64_t count, new_size;
    uint64_t next; /* number of the next cell: twice that of the block, for the gap before it; one more for itself */
    const ds_block *block; /* NULL in a gap */
    ds_offset start, end;
} cells;

static bool next_cell(cells *c) {
    while (c->next < 2 * c->count + 1) {
        uint64_t number = c->next++;
        const ds_block *block = number / 2 < c->count ? &c->blocks[number / 2] : NULL;
        c->block = number % 2 != 0 ? block : NULL;
        c->start = c->end;
        c->end = block == NULL ? c->new_size : block->new_offset + (number % 2 != 0 ? block->length : 0);
        if (c->start < c->end)
            return true;
    }
    return false;
}

static uint64_t first_listed(const uint32_t *listed, uint64_t count, ds_offset offset) {
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (listed[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What a block copies of an old list. */
typedef struct copies {
    const uint32_t *at, *end;
    uint64_t shift; /* new offset - old offset */
} copies;

static copies copies_of(const ds_image *old_image, const ds_list *list, const ds_block *block) {
    if (block == NULL || list->count == 0)
        return (copies){0};
    const uint32_t *listed = old_image->listed.items + list->first;
    uint64_t from = first_listed(listed, list->count, block->old_offset),
             to = first_listed(listed, list->count, block->old_offset + block->length);
    return (copies){listed + from, listed + to, block->new_offset - block->old_offset};
}

static ds_offset next_copy(const copies *c) {
    return c->at < c->end ? *c->at + c->shift : UINT64_MAX;
}

/* ---- writing a list ---- */

typedef struct list_writer {
    uint8_t *bytes;
    uint64_t size, used;
    ds_address last;
} list_writer;

static bool write_address(list_writer *w, ds_address address) {
    uint64_t distance = address - w->last;
    w->last = address;
    do {
        if (w->used == w->size)
            return false;
        w->bytes[w->used++] = (uint8_t)(distance & 0x7f) | (distance > 0x7f ? 0x80 : 0);
        distance >>= 7;
    } while (distance != 0);
    return true;
}

/* ---- finding lists ---- */

/* Whether the bytes are those that come out of what they name. */
static bool is_proved(const ds_image *new_image, const ds_list *list) {
    const uint8_t *expected = new_image->file.data + list->offset;
    ds_address last = list->base;
    uint64_t used = 0;
    for (uint64_t i = 0; i < list->count; i++) {
        uint8_t bytes[10];
        list_writer w = {.bytes = bytes, .size = sizeof bytes, .last = last};
        last = ds_image_address(new_image, new_image->listed.items[list->first + i]);
        write_address(&w, last);
        if (!ds_within(used, w.used, list->size) || memcmp(expected + used, bytes, w.used) != 0)
            return false;
        used += w.used;
    }
    for (; used < list->size; used++)
        if (expected[used] != 0)
            return false;
    return list->count > 0;
}

ds_status ds_derive_insert(ds_derivations *all, const ds_derivation *d, ds_arena *arena) {
    uint64_t at = all->list.count;
    while (at > 0 && all->list.items[at - 1].digests > d->digests)
        at--;
    const ds_derivation *before = at > 0 ? &all->list.items[at - 1] : NULL;
    if (all->list.count == DS_DERIVATIONS_MAX ||
        (before != NULL && before->digests + ds_derivation_size(before) > d->digests) ||
        (at < all->list.count && d->digests + d->limit > all->list.items[at].digests))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(arena, &all->list, all->list.count + 1));
    ds_derivation *items = all->list.items;
    memmove(items + at + 1, items + at, (all->list.count - at) * sizeof *items);
    items[at] = *d;
    all->list.count++;
    return DS_OK;
}

ds_status ds_derive_find_lists(const ds_image *new_image, ds_arena *arena, ds_derivations *out) {
    for (uint64_t i = 0; i < new_image->lists.count; i++) {
        const ds_list *list = &new_image->lists.items[i];
        ds_derivation d = {.digests = list->offset, .limit = list->size, .page_bits = DS_DERIVED_LISTED};
        if (is_proved(new_image, list))
            DS_TRY(ds_derive_insert(out, &d, arena));
    }
    return DS_OK;
}

/* ---- finding exceptions ---- */

typedef struct finder {
    ds_derivations *out; /* NULL: only counts */
    uint64_t count, cells;
    ds_offset behind; /* the last exception, if it is in this cell */
    ds_arena *arena;
} finder;

static ds_status add_exception(finder *f, ds_offset at) {
    f->count++;
    if (f->out != NULL) {
        DS_TRY(DS_VEC_RESERVE(f->arena, &f->out->exceptions, f->out->exceptions.count + 1));
        f->out->exceptions.items[f->out->exceptions.count++] = (ds_exception){f->cells, at - f->behind};
    }
    f->cells = 0;
    f->behind = at + 1;
    return DS_OK;
}

/* Of a cell: both sequences ascend. */
static ds_status find_in_cell(finder *f, copies *copied, const uint32_t **named, const uint32_t *named_end,
                              ds_offset end) {
    for (;;) {
        ds_offset copy = next_copy(copied), name = *named < named_end && **named < end ? **named : UINT64_MAX;
        if (copy == UINT64_MAX && name == UINT64_MAX)
            return DS_OK;
        if (copy != name)
            DS_TRY(add_exception(f, copy < name ? copy : name));
        if (copy <= name)
            copied->at++;
        if (name <= copy)
            ++*named;
    }
}

static ds_status find_exceptions(const ds_image *old_image, const ds_list *old_list, const ds_image *new_image,
                                 const ds_list *new_list, cells c, finder *f) {
    const uint32_t *named = new_image->listed.items + new_list->first, *named_end = named + new_list->count;
    while (next_cell(&c)) {
        copies copied = copies_of(old_image, old_list, c.block);
        f->behind = c.start;
        DS_TRY(find_in_cell(f, &copied, &named, named_end, c.end));
        f->cells++;
    }
    return DS_OK;
}

/* ---- whether it pays ---- */

#define EXCEPTION_BYTES 3 /* what each costs, at most */
#define LIST_BYTES 12     /* what a list costs beside */
#define BLOCK_BYTES 4     /* what each block costs that copies parts of a list; the first copies more than the list */

/* What blocks and literals would cost, nearly. */
static uint64_t cost_by_blocks(const ds_derivation *d, const ds_block *blocks, uint64_t count) {
    uint64_t literals = d->limit, parts = 0;
    for (uint64_t i = 0; i < count; i++) {
        ds_offset from = blocks[i].new_offset, to = from + blocks[i].length, end = d->digests + d->limit;
        from = from > d->digests ? from : d->digests;
        to = to < end ? to : end;
        if (from < to) {
            literals -= to - from;
            parts++;
        }
    }
    return literals + BLOCK_BYTES * (parts > 0 ? parts - 1 : 0);
}

static const ds_list *list_at(const ds_image *new_image, ds_offset offset) {
    uint64_t i = 0;
    while (new_image->lists.items[i].offset != offset)
        i++;
    return &new_image->lists.items[i];
}

/* Puts the best old list into the derivation; false where none pays. */
static bool choose_list(ds_derivation *d, const ds_image *old_image, const ds_image *new_image, cells c) {
    const ds_list *new_list = list_at(new_image, d->digests);
    uint64_t least = UINT64_MAX;
    for (uint64_t i = 0; i < old_image->lists.count; i++) {
        finder f = {0};
        if (find_exceptions(old_image, &old_image->lists.items[i], new_image, new_list, c, &f) == DS_OK &&
            f.count < least) {
            least = f.count;
            d->covered = i;
        }
    }
    return least < UINT64_MAX / EXCEPTION_BYTES &&
           EXCEPTION_BYTES * least + LIST_BYTES < cost_by_blocks(d, c.blocks, c.count);
}

void ds_derive_choose_lists(ds_derivations *derivations, const ds_image *old_image, const ds_image *new_image,
                            const ds_block *blocks, uint64_t count) {
    cells c = {.blocks = blocks, .count = count, .new_size = new_image->file.size};
    uint64_t kept = 0;
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        ds_derivation *d = &derivations->list.items[i];
        if (d->page_bits != DS_DERIVED_LISTED || choose_list(d, old_image, new_image, c))
            derivations->list.items[kept++] = *d;
    }
    derivations->list.count = kept;
}

ds_status ds_derive_find_exceptions(ds_derivations *derivations, const ds_image *old_image, const ds_image *new_image,
                                    const ds_block *blocks, uint64_t count, ds_arena *arena) {
    cells c = {.blocks = blocks, .count = count, .new_size = new_image->file.size};
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        ds_derivation *d = &derivations->list.items[i];
        if (d->page_bits != DS_DERIVED_LISTED)
            continue;
        const ds_list *old_list = &old_image->lists.items[d->covered], *new_list = list_at(new_image, d->digests);
        finder f = {.out = derivations, .arena = arena};
        DS_TRY(find_exceptions(old_image, old_list, new_image, new_list, c, &f));
        d->exceptions = f.count;
        d->shift = new_list->base - old_list->base;
    }
    return DS_OK;
}

/* ---- making ---- */

/* The exceptions still to come. */
typedef struct exceptions {
    const ds_exception *items;
    uint64_t left;
    uint64_t cells;   /* before the cell of the next one */
    ds_offset behind; /* the last one, or the start of the cell */
} exceptions;

/* The next one's place, if it is in this cell. False where it would lie behind the cell's end. */
static bool next_exception(const exceptions *e, ds_offset end, ds_offset *at) {
    *at = UINT64_MAX;
    if (e->left == 0 || e->cells > 0)
        return true;
    *at = e->behind + e->items->distance;
    return e->items->distance < end - e->behind;
}

static void pass_exception(exceptions *e, ds_offset at) {
    e->behind = at + 1;
    e->left--;
    e->items++;
    e->cells = e->left > 0 ? e->items->cells : 0;
}

static ds_status make_cell(list_writer *w, copies copied, exceptions *e, const ds_layout *layout, ds_offset end) {
    for (;;) {
        ds_offset copy = next_copy(&copied), exception;
        if (!next_exception(e, end, &exception))
            return DS_E_DELTA;
        if (copy == UINT64_MAX && exception == UINT64_MAX)
            return DS_OK;
        ds_offset at = copy < exception ? copy : exception;
        if (copy != exception && !write_address(w, ds_layout_address(layout, at)))
            return DS_E_DELTA;
        if (copy <= exception)
            copied.at++;
        if (exception <= copy)
            pass_exception(e, at);
    }
}

ds_status ds_derive_list(const ds_image *old_image, const ds_layout *layout, const ds_block *blocks, uint64_t count,
                         uint64_t new_size, const ds_derivation *derivation, const ds_exception *items,
                         uint8_t *bytes) {
    cells c = {.blocks = blocks, .count = count, .new_size = new_size};
    if (derivation->covered >= old_image->lists.count)
        return DS_E_DELTA;
    const ds_list *list = &old_image->lists.items[derivation->covered];
    list_writer w = {.bytes = bytes, .size = derivation->limit, .last = list->base + derivation->shift};
    exceptions e = {items, derivation->exceptions, derivation->exceptions > 0 ? items->cells : 0, 0};
    while (next_cell(&c)) {
        e.behind = c.start;
        DS_TRY(make_cell(&w, copies_of(old_image, list, c.block), &e, layout, c.end));
        e.cells -= e.cells > 0;
    }
    memset(bytes + w.used, 0, w.size - w.used);
    return e.left == 0 ? DS_OK : DS_E_DELTA;
}
