/* Coding of regions, derivations and lists; docs/spec/delta-format.md, "Layout". */
#include "delta/layout.h"

#include "delta/coder.h"

/* ---- regions: differences from the old regions, predicted from what stands before ---- */

typedef struct region_predictor {
    const ds_image *old_image;
    ds_offset old_end, new_end; /* of the last region with bytes */
    uint64_t address_shift;     /* new address - old address of the last region */
} region_predictor;

#define ALIGNMENT_MAX 65536

/* The old padding rule carried over: the smallest power of two that explains the old offset. */
static ds_offset predict_offset(const region_predictor *p, const ds_region *old_region) {
    for (uint64_t alignment = 1; alignment <= ALIGNMENT_MAX; alignment *= 2)
        if (((p->old_end + alignment - 1) & ~(alignment - 1)) == old_region->offset)
            return (p->new_end + alignment - 1) & ~(alignment - 1);
    return old_region->offset + (p->new_end - p->old_end);
}

/* What region `index` of the new image would be if only its place had changed. */
static ds_region predict_region(const region_predictor *p, uint64_t index) {
    static const ds_region none = {0};
    const ds_region *old_region = index < p->old_image->regions.count ? &p->old_image->regions.items[index] : &none;
    ds_region region = *old_region;
    if (region.class_ == DS_REGION_NOBITS) {
        region.offset = 0;
        region.address = old_region->address + p->address_shift;
    } else {
        region.offset = predict_offset(p, old_region);
        region.address = old_region->address + (region.offset - old_region->offset);
    }
    return region;
}

static void advance(region_predictor *p, uint64_t index, const ds_region *region) {
    if (index >= p->old_image->regions.count)
        return;
    const ds_region *old_region = &p->old_image->regions.items[index];
    p->address_shift = region->address - old_region->address;
    if (region->class_ != DS_REGION_NOBITS && old_region->class_ != DS_REGION_NOBITS) {
        p->old_end = old_region->offset + old_region->size;
        p->new_end = region->offset + region->size;
    }
}

static ds_status check_region(const ds_region *region, uint64_t new_size) {
    if (region->size == 0)
        return DS_E_DELTA;
    if (region->address + region->size < region->address)
        return DS_E_DELTA;
    if (region->class_ != DS_REGION_NOBITS && !ds_within(region->offset, region->size, new_size))
        return DS_E_DELTA;
    return DS_OK;
}

/* Numbers of this stream know what they are; the second context, the same for all, what such numbers are like. */
ds_status ds_code_layout(ds_coder *c, unsigned what, uint64_t *value) {
    ds_contexts contexts = {.row = DS_DECIDE_LAYOUT, .hash = {what}};
    return ds_code_number(c, DS_STREAM_LAYOUT, &contexts, value);
}

static ds_status code_difference(ds_coder *c, unsigned what, uint64_t expected, uint64_t *actual) {
    uint64_t difference = ds_zigzag(*actual - expected);
    DS_TRY(ds_code_layout(c, what, &difference));
    *actual = expected + ds_unzigzag(difference);
    return DS_OK;
}

static bool same_region(const ds_region *a, const ds_region *b) {
    return a->class_ == b->class_ && a->offset == b->offset && a->address == b->address && a->size == b->size;
}

static ds_status code_region(ds_coder *c, const ds_region *expected, ds_region *region) {
    uint64_t class_ = region->class_;
    DS_TRY(code_difference(c, DS_LAYOUT_REGION_FIELD, expected->class_, &class_));
    DS_TRY(code_difference(c, DS_LAYOUT_REGION_FIELD + 1, expected->offset, &region->offset));
    DS_TRY(code_difference(c, DS_LAYOUT_REGION_FIELD + 2, expected->address, &region->address));
    DS_TRY(code_difference(c, DS_LAYOUT_REGION_FIELD + 3, expected->size, &region->size));
    if (class_ > DS_REGION_NOBITS)
        return DS_E_DELTA;
    region->class_ = (uint8_t)class_;
    return DS_OK;
}

/* Writing: the region as it is sent, which knows nothing of instruction sets but what the old one knew. */
static ds_region region_to_send(const ds_region *actual, const ds_region *expected) {
    ds_region region = *actual;
    region.words = expected->words;
    if (region.class_ == DS_REGION_NOBITS)
        region.offset = expected->offset;
    return region;
}

/* Whether all old code is in words: then all new code is; else a region goes by the old one of its number. */
static bool all_in_words(const ds_image *image) {
    bool any = false;
    for (uint64_t i = 0; i < image->regions.count; i++) {
        const ds_region *region = &image->regions.items[i];
        if (region->class_ == DS_REGION_CODE && !region->words)
            return false;
        any |= region->words;
    }
    return any;
}

static uint64_t clean_run(region_predictor p, const ds_region *regions, uint64_t from, uint64_t count) {
    uint64_t at = from;
    for (; at < count; at++) {
        ds_region expected = predict_region(&p, at), region = region_to_send(&regions[at], &expected);
        if (!same_region(&region, &expected))
            break;
        advance(&p, at, &region);
    }
    return at - from;
}

ds_status ds_code_regions(ds_coder *c, const ds_image *old_image, const ds_image *new_image, uint64_t new_size,
                          ds_arena *arena, ds_regions *regions) {
    region_predictor p = {.old_image = old_image};
    const ds_region *actual = new_image != NULL ? new_image->regions.items : NULL;
    uint64_t count = new_image != NULL ? new_image->regions.count : 0, clean = 0;
    bool all_words = all_in_words(old_image);
    DS_TRY(code_difference(c, DS_LAYOUT_REGION_COUNT, old_image->regions.count, &count));
    if (count > DS_REGIONS_MAX)
        return DS_E_LIMIT;
    DS_TRY(DS_VEC_RESERVE(arena, &regions->list, count + 1));
    for (uint64_t i = 0; i <= count; i++) {
        if (clean == 0) {
            if (actual != NULL)
                clean = clean_run(p, actual, i, count);
            DS_TRY(ds_code_layout(c, DS_LAYOUT_REGIONS_CLEAN, &clean));
            if (clean > count - i)
                return DS_E_DELTA;
            clean++;
        }
        if (i == count)
            break;
        ds_region expected = predict_region(&p, i), region = expected;
        if (--clean == 0) {
            if (actual != NULL)
                region = region_to_send(&actual[i], &expected);
            DS_TRY(code_region(c, &expected, &region));
        }
        region.words |= all_words;
        DS_TRY(check_region(&region, new_size));
        advance(&p, i, &region);
        regions->list.items[regions->list.count++] = region;
    }
    return DS_OK;
}

/* ---- derivations: where they stand, counted from the end of the new image ---- */

/* Added to twice their number where fresh bytes lie as they did, where compressed streams are listed, where renames
 * are. */
#define HAS_FRESH 1
#define HAS_PACKED (2 * (DS_DERIVATIONS_MAX + 1))
#define HAS_RENAMES (2 * HAS_PACKED)

/* Where derived bytes of the old image begin, and what they are made of: the new ones are likely to be as far from the
 * end, and as many. None: all zeros. */
typedef struct old_derivation {
    ds_offset offset, covered;
    uint64_t size; /* as `limit` of a derivation */
} old_derivation;

static old_derivation find_old(const ds_image *old_image, const ds_derivation *d) {
    const ds_extent *table = d->page_bits == DS_DERIVED_FRAMES ? &old_image->frames : &old_image->frame_header;
    if (d->page_bits == DS_DERIVED_SPELLED && old_image->spellings.count > 0) {
        const ds_spelling *spelling = &old_image->spellings.items[0];
        return (old_derivation){spelling->digits, spelling->spelled, spelling->size};
    }
    if (d->page_bits == DS_DERIVED_LISTED && d->covered < old_image->lists.count) {
        const ds_list *list = &old_image->lists.items[d->covered];
        return (old_derivation){list->offset, 0, list->size};
    }
    return ds_derivation_unwinds(d) ? (old_derivation){table->offset, 0, table->size} : (old_derivation){0};
}

static ds_status code_likely(ds_coder *c, const ds_image *old_image, uint64_t new_size, ds_derivation *d) {
    old_derivation old = find_old(old_image, d);
    uint64_t from_end = new_size - d->digests;
    DS_TRY(code_difference(c, DS_LAYOUT_DERIVATION, old.size > 0 ? old_image->file.size - old.offset : 0, &from_end));
    DS_TRY(code_difference(c, DS_LAYOUT_DERIVATION, old.size, &d->limit));
    d->digests = new_size - from_end;
    if (from_end > new_size)
        return DS_E_DELTA;
    return d->page_bits == DS_DERIVED_SPELLED ? code_difference(c, DS_LAYOUT_DERIVATION, old.covered, &d->covered)
                                              : DS_OK;
}

/* Digests of pages: how many follow from where they end, which is near the end of a slice. */
static ds_status code_digests(ds_coder *c, uint64_t new_size, ds_derivation *d) {
    uint64_t page = (uint64_t)1 << d->page_bits, left = new_size;
    uint64_t between = d->digests - d->covered - d->limit, behind = new_size - d->digests - ds_derivation_size(d);
    DS_TRY(ds_code_layout(c, DS_LAYOUT_DERIVATION, &d->covered));
    DS_TRY(ds_code_layout(c, DS_LAYOUT_DERIVATION, &between));
    DS_TRY(ds_code_layout(c, DS_LAYOUT_DERIVATION, &behind));
    const uint64_t parts[] = {d->covered, between, behind};
    for (unsigned i = 0; i < DS_COUNT(parts); i++) {
        if (parts[i] > left)
            return DS_E_DELTA;
        left -= parts[i];
    }
    uint64_t pages = left / (page + DS_DIGEST_SIZE) + (left % (page + DS_DIGEST_SIZE) != 0);
    if (left <= pages * DS_DIGEST_SIZE)
        return DS_E_DELTA;
    d->limit = left - pages * DS_DIGEST_SIZE;
    d->digests = d->covered + d->limit + between;
    return ds_derivation_size(d) == pages * DS_DIGEST_SIZE ? DS_OK : DS_E_DELTA;
}

static ds_status code_derivation(ds_coder *c, const ds_image *old_image, uint64_t new_size, ds_derivation *d) {
    uint64_t page_bits = d->page_bits;
    DS_TRY(ds_code_layout(c, DS_LAYOUT_DERIVATION, &page_bits));
    if (page_bits > DS_DERIVED_PAGE_BITS_MAX)
        return DS_E_DELTA;
    d->page_bits = (unsigned)page_bits;
    if (d->page_bits == DS_DERIVED_LISTED)
        DS_TRY(ds_code_layout(c, DS_LAYOUT_DERIVATION, &d->covered));
    bool likely = d->page_bits == DS_DERIVED_SPELLED || ds_derivation_is_whole(d);
    return likely ? code_likely(c, old_image, new_size, d) : code_digests(c, new_size, d);
}

ds_status ds_code_derivations(ds_coder *c, const ds_image *old_image, uint64_t new_size, ds_arena *arena,
                              ds_derivations *derivations, ds_listed *listed) {
    uint64_t count = 2 * derivations->list.count;
    count += (listed->fresh ? HAS_FRESH : 0) + (listed->packed ? HAS_PACKED : 0) + (listed->renames ? HAS_RENAMES : 0);
    DS_TRY(ds_code_layout(c, DS_LAYOUT_DERIVATION_COUNT, &count));
    listed->renames = count >= HAS_RENAMES;
    count -= listed->renames ? HAS_RENAMES : 0;
    listed->packed = count >= HAS_PACKED;
    count -= listed->packed ? HAS_PACKED : 0;
    listed->fresh = count & HAS_FRESH;
    count /= 2;
    if (count > DS_DERIVATIONS_MAX)
        return DS_E_LIMIT;
    if (!c->writing) {
        DS_TRY(DS_VEC_RESERVE(arena, &derivations->list, count + 1));
        memset(derivations->list.items, 0, count * sizeof *derivations->list.items);
    }
    for (uint64_t i = 0; i < count; i++) {
        DS_TRY(code_derivation(c, old_image, new_size, &derivations->list.items[i]));
        if (c->writing)
            continue;
        if (!ds_derivation_fits(derivations, &derivations->list.items[i], new_size))
            return DS_E_DELTA;
        derivations->list.count++;
    }
    return ds_derive_has_good_frames(derivations) ? DS_OK : DS_E_DELTA;
}

/* ---- renames ---- */

static ds_status code_rename(ds_coder *c, const ds_image *old_image, ds_offset *end, ds_rename *rename) {
    uint64_t gap = rename->offset - *end, more = rename->size - DS_RENAME_SIZE_MIN;
    DS_TRY(ds_code_layout(c, DS_LAYOUT_RENAME_GAP, &gap));
    DS_TRY(ds_code_layout(c, DS_LAYOUT_RENAME_SIZE, &more));
    if (more > DS_RENAME_SIZE_MAX - DS_RENAME_SIZE_MIN || !ds_add(*end, gap, &rename->offset))
        return DS_E_DELTA;
    rename->size = more + DS_RENAME_SIZE_MIN;
    if (!ds_within(rename->offset, rename->size, old_image->file.size))
        return DS_E_DELTA;
    *end = rename->offset + rename->size;
    for (uint64_t i = 0; i < rename->size; i++) {
        uint64_t byte = rename->bytes[i];
        DS_TRY(ds_code_layout(c, DS_LAYOUT_RENAME_BYTE, &byte));
        if (byte > UINT8_MAX)
            return DS_E_DELTA;
        rename->bytes[i] = (uint8_t)byte;
    }
    return DS_OK;
}

ds_status ds_code_renames(ds_coder *c, const ds_image *old_image, ds_arena *arena, ds_renames *renames) {
    uint64_t count = renames->list.count;
    ds_offset end = 0;
    DS_TRY(ds_code_layout(c, DS_LAYOUT_RENAME_COUNT, &count));
    if (count == 0)
        return DS_E_DELTA;
    if (count > DS_RENAMES_MAX)
        return DS_E_LIMIT;
    if (!c->writing) {
        DS_TRY(DS_VEC_RESERVE(arena, &renames->list, count));
        memset(renames->list.items, 0, count * sizeof *renames->list.items);
        renames->list.count = count;
    }
    for (uint64_t i = 0; i < count; i++)
        DS_TRY(code_rename(c, old_image, &end, &renames->list.items[i]));
    return DS_OK;
}

/* ---- lists ---- */

/* A reader allocates as exceptions come: each takes something of what it reads. */
#define EXCEPTIONS_AHEAD 4096

static ds_status code_exceptions(ds_coder *c, uint64_t first, uint64_t count, ds_arena *arena, ds_derivations *d) {
    for (uint64_t i = 0; i < count; i++) {
        if (!c->writing) {
            if (i % EXCEPTIONS_AHEAD == 0)
                DS_TRY(DS_VEC_RESERVE(arena, &d->exceptions, first + i + EXCEPTIONS_AHEAD));
            d->exceptions.items[first + i] = (ds_exception){0};
            d->exceptions.count = first + i + 1;
        }
        if (i % EXCEPTIONS_AHEAD == 0 && c->model != NULL)
            DS_TRY(ds_model_check(c->model));
        ds_exception *exception = &d->exceptions.items[first + i];
        DS_TRY(ds_code_layout(c, DS_LAYOUT_EXCEPTION_CELLS, &exception->cells));
        DS_TRY(ds_code_layout(c, DS_LAYOUT_EXCEPTION_DISTANCE, &exception->distance));
    }
    return DS_OK;
}

ds_status ds_code_lists(ds_coder *c, uint64_t new_size, ds_arena *arena, ds_derivations *derivations) {
    uint64_t first = 0;
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        ds_derivation *d = &derivations->list.items[i];
        if (d->page_bits != DS_DERIVED_LISTED)
            continue;
        DS_TRY(code_difference(c, DS_LAYOUT_LIST_BASE, 0, &d->shift));
        DS_TRY(ds_code_layout(c, DS_LAYOUT_EXCEPTION_COUNT, &d->exceptions));
        if (d->exceptions > new_size)
            return DS_E_DELTA;
        DS_TRY(code_exceptions(c, first, d->exceptions, arena, derivations));
        first += d->exceptions;
    }
    return c->model != NULL ? ds_model_check(c->model) : DS_OK;
}
