/* Page digests of code signatures, and the spelling of build ids. See derive.h.
 *
 * Source: Apple, xnu, osfmk/kern/cs_blobs.h (CS_SuperBlob, CS_CodeDirectory); all numbers are big-endian.
 *
 * A signature is a list of blobs; each of type CodeDirectory holds a digest for every page of the bytes
 * from the start of the slice to its code limit, which lies before the signature.
 *
 * A signature that replaces a longer one may leave the end of that behind itself: digests of pages of the
 * same bytes, of OLD_PAGE_BITS, at any byte. Where two stand one after the other, they are derived too.
 *
 * Invariant: a deriver never holds more than the digests of the arrays it is to fill.
 */
#include "predict/derive.h"

#include "predict/frame_table.h"

enum { SUPER_BLOB = 0xfade0cc0, CODE_DIRECTORY = 0xfade0c02 };
enum { SUPER_HEADER = 12, SUPER_ENTRY = 8, DIRECTORY_HEADER = 44, HASH_SHA256 = 2 };
enum { HAS_LONG_LIMIT = 0x20300, LONG_LIMIT_AT = 56 };

/* Blobs of one signature that are looked at. */
#define BLOBS_MAX 32
/* Pages of the signatures that linkers write. */
#define OLD_PAGE_BITS 12
/* Fewer digests in a row are cheaper to send. */
#define RUN_MIN 2

/* --- finding ----------------------------------------------------------------------------- */

static uint64_t derivation_end(const ds_derivation *d) {
    return d->digests + ds_derivation_size(d);
}

bool ds_derivation_fits(const ds_derivations *before, const ds_derivation *d, uint64_t new_size) {
    uint64_t work = d->limit;
    bool spelled = d->page_bits == DS_DERIVED_SPELLED, whole = ds_derivation_is_whole(d);
    if (whole)
        work = 0;
    if (d->page_bits == DS_DERIVED_FRAMES && d->limit > DS_FRAME_TABLE_MAX)
        return false;
    if (before->list.count >= DS_DERIVATIONS_MAX || d->limit == 0 || (spelled && d->limit > DS_SPELLED_MAX))
        return false;
    if (!spelled && !whole && (d->page_bits < DS_DERIVED_PAGE_BITS_MIN || d->page_bits > DS_DERIVED_PAGE_BITS_MAX))
        return false;
    if (d->digests > new_size || (!whole && !ds_within(d->covered, d->limit, d->digests)) ||
        !ds_within(d->digests, ds_derivation_size(d), new_size))
        return false;
    for (uint64_t i = 0; i < before->list.count; i++) {
        if (!ds_derivation_is_whole(&before->list.items[i]))
            work += before->list.items[i].limit; /* none is larger than the image */
        if (derivation_end(&before->list.items[i]) > d->digests)
            return false;
    }
    return (work + DS_DERIVED_WORK - 1) / DS_DERIVED_WORK <= new_size;
}

static void spell(uint8_t byte, uint8_t *digits) {
    static const char alphabet[16] = "0123456789abcdef";
    digits[0] = (uint8_t)alphabet[byte >> 4];
    digits[1] = (uint8_t)alphabet[byte & 15];
}

static bool is_spelled(ds_span file, const ds_derivation *d) {
    for (uint64_t i = 0; i < d->limit; i++) {
        uint8_t digits[2];
        spell(file.data[d->covered + i], digits);
        if (memcmp(file.data + d->digests + 2 * i, digits, sizeof digits) != 0)
            return false;
    }
    return true;
}

/* From a state that was opened once for all pages: to open one is slow (base/sha256.h). */
static void digest_page(const ds_sha256_state *fresh, const uint8_t *data, uint64_t size,
                        uint8_t digest[DS_DIGEST_SIZE]) {
    ds_sha256_state page = *fresh;
    ds_sha256_add(&page, data, size);
    ds_sha256_close(&page, digest);
}

/* Whether the derived bytes are what they would be computed to. */
static bool is_proved(ds_span file, const ds_derivation *d) {
    if (d->page_bits == DS_DERIVED_SPELLED)
        return is_spelled(file, d);
    ds_sha256_state fresh;
    ds_sha256_open(&fresh);
    uint8_t digest[DS_DIGEST_SIZE];
    uint64_t page = (uint64_t)1 << d->page_bits;
    const uint8_t *expected = file.data + d->digests;
    for (uint64_t at = 0; at < d->limit; at += page, expected += DS_DIGEST_SIZE) {
        digest_page(&fresh, file.data + d->covered + at, d->limit - at < page ? d->limit - at : page, digest);
        if (memcmp(digest, expected, sizeof digest) != 0)
            return false;
    }
    return true;
}

/* The blob at `at`, as far as it is a directory of SHA-256 digests. */
static bool read_directory(ds_span file, const ds_signature *signature, ds_offset at, ds_derivation *out) {
    if (!ds_within(at, DIRECTORY_HEADER, signature->offset + signature->size))
        return false;
    const uint8_t *p = file.data + at;
    if (ds_load32_be(p) != (uint32_t)CODE_DIRECTORY || p[36] != DS_DIGEST_SIZE || p[37] != HASH_SHA256)
        return false;
    *out = (ds_derivation){.digests = at + ds_load32_be(p + 16),
                           .covered = signature->covered,
                           .limit = ds_load32_be(p + 32),
                           .page_bits = p[39]};
    if (ds_load32_be(p + 8) >= HAS_LONG_LIMIT &&
        ds_within(at, LONG_LIMIT_AT + 8, signature->offset + signature->size) && ds_load64_be(p + LONG_LIMIT_AT) != 0)
        out->limit = ds_load64_be(p + LONG_LIMIT_AT);
    return out->page_bits < 64 && ds_derivation_size(out) / DS_DIGEST_SIZE == ds_load32_be(p + 28);
}

/* Keeps the list ascending; what does not fit is left out. */
static ds_status add(ds_derivations *all, const ds_derivation *d, uint64_t new_size, ds_arena *arena) {
    static const ds_derivations none = {0};
    if (!ds_derivation_fits(&none, d, new_size))
        return DS_OK;
    uint64_t at = all->list.count;
    DS_TRY(DS_VEC_RESERVE(arena, &all->list, at + 1));
    for (; at > 0 && all->list.items[at - 1].digests > d->digests; at--)
        all->list.items[at] = all->list.items[at - 1];
    all->list.items[at] = *d;
    all->list.count++;
    return DS_OK;
}

/* Digests of the pages of the covered bytes, one after the other. */
static ds_status digest_pages(ds_span covered, ds_arena *arena, uint8_t **out) {
    uint64_t page = (uint64_t)1 << OLD_PAGE_BITS;
    uint8_t *digest = *out = ds_arena_alloc(arena, (covered.size / page + 1) * DS_DIGEST_SIZE);
    if (digest == NULL)
        return DS_E_MEMORY;
    ds_sha256_state fresh;
    ds_sha256_open(&fresh);
    for (uint64_t at = 0; at < covered.size; at += page, digest += DS_DIGEST_SIZE)
        digest_page(&fresh, covered.data + at, covered.size - at < page ? covered.size - at : page, digest);
    return DS_OK;
}

/* How many digests at the start of `left` are those of the pages from `first` on. */
static uint64_t equal_digests(ds_span left, const uint8_t *pages, uint64_t first, uint64_t page_count) {
    uint64_t run = 0;
    while (first + run < page_count && ds_within(run * DS_DIGEST_SIZE, DS_DIGEST_SIZE, left.size) &&
           memcmp(left.data + run * DS_DIGEST_SIZE, pages + (first + run) * DS_DIGEST_SIZE, DS_DIGEST_SIZE) == 0)
        run++;
    return run;
}

/* Where in the tail digests begin, and of which page; false when nothing is found. */
static bool align_tail(ds_span tail, const uint8_t *pages, uint64_t page_count, uint64_t *skip, uint64_t *first) {
    for (*skip = 0; *skip < DS_DIGEST_SIZE && *skip < tail.size; ++*skip)
        for (*first = 0; *first + RUN_MIN <= page_count; ++*first)
            if (equal_digests((ds_span){tail.data + *skip, tail.size - *skip}, pages, *first, page_count) >= RUN_MIN)
                return true;
    return false;
}

/* What an older signature left between `end` and the end of the signature, of the same covered bytes. */
static ds_status find_tail(const ds_image *image, const ds_signature *signature, ds_offset end, uint64_t limit,
                           ds_arena *arena, ds_derivations *found) {
    ds_span file = image->file;
    ds_span tail = {file.data + end, signature->offset + signature->size - end};
    uint64_t page = (uint64_t)1 << OLD_PAGE_BITS, count = limit / page + (limit % page != 0), skip, first;
    uint8_t *pages;
    if (tail.size < RUN_MIN * DS_DIGEST_SIZE)
        return DS_OK;
    DS_TRY(digest_pages((ds_span){file.data + signature->covered, limit}, arena, &pages));
    ds_status status = DS_OK;
    bool aligned = align_tail(tail, pages, count, &skip, &first);
    while (aligned && status == DS_OK && first < count && ds_within(skip, DS_DIGEST_SIZE, tail.size)) {
        uint64_t run = equal_digests((ds_span){tail.data + skip, tail.size - skip}, pages, first, count);
        uint64_t left = limit - first * page;
        ds_derivation d = {.digests = end + skip,
                           .covered = signature->covered + first * page,
                           .limit = run * page < left ? run * page : left,
                           .page_bits = OLD_PAGE_BITS};
        if (run >= RUN_MIN && found->list.count < DS_DERIVATIONS_MAX)
            status = add(found, &d, file.size, arena);
        run += run == 0; /* a page that was changed since */
        skip += run * DS_DIGEST_SIZE;
        first += run;
    }
    ds_arena_free(arena, pages);
    return status;
}

static ds_status find_in(const ds_image *image, const ds_signature *signature, ds_arena *arena, ds_derivations *found) {
    const uint8_t *p = image->file.data + signature->offset;
    if (signature->size < SUPER_HEADER || ds_load32_be(p) != (uint32_t)SUPER_BLOB)
        return DS_OK;
    uint64_t blobs = ds_load32_be(p + 8);
    if (blobs > BLOBS_MAX || !ds_within(SUPER_HEADER, blobs * SUPER_ENTRY, signature->size))
        return DS_OK;
    uint64_t limit = 0;
    for (uint64_t i = 0; i < blobs && found->list.count < DS_DERIVATIONS_MAX; i++) {
        ds_derivation d;
        ds_offset at = signature->offset + ds_load32_be(p + SUPER_HEADER + i * SUPER_ENTRY + 4);
        if (!read_directory(image->file, signature, at, &d))
            continue;
        limit = d.limit;
        DS_TRY(add(found, &d, image->file.size, arena));
    }
    uint64_t size = ds_load32_be(p + 4);
    if (size > signature->size || !ds_within(signature->covered, limit, signature->offset))
        return DS_OK;
    return find_tail(image, signature, signature->offset + size, limit, arena, found);
}

ds_status ds_derive_find(const ds_image *new_image, ds_arena *arena, ds_derivations *out) {
    ds_derivations found = {0};
    *out = (ds_derivations){0};
    for (uint64_t i = 0; i < new_image->signatures.count; i++)
        DS_TRY(find_in(new_image, &new_image->signatures.items[i], arena, &found));
    for (uint64_t i = 0; i < new_image->spellings.count; i++) {
        const ds_spelling *s = &new_image->spellings.items[i];
        ds_derivation d = {s->digits, s->spelled, s->size, DS_DERIVED_SPELLED, 0, 0};
        DS_TRY(add(&found, &d, new_image->file.size, arena));
    }
    DS_TRY(DS_VEC_RESERVE(arena, &out->list, found.list.count + 1));
    for (uint64_t i = 0; i < found.list.count; i++) {
        const ds_derivation *d = &found.list.items[i];
        if (ds_derivation_fits(out, d, new_image->file.size) && is_proved(new_image->file, d))
            out->list.items[out->list.count++] = *d;
    }
    DS_VEC_FREE(arena, &found.list);
    return DS_OK;
}

void ds_derivations_free(ds_derivations *derivations, ds_arena *arena) {
    DS_VEC_FREE(arena, &derivations->list);
    DS_VEC_FREE(arena, &derivations->exceptions);
}

/* --- leaving them alone ------------------------------------------------------------------ */

ds_offset ds_derived_run(const ds_derivations *derivations, ds_offset at, ds_offset end, bool *derived) {
    *derived = false;
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        const ds_derivation *d = &derivations->list.items[i];
        if (at >= derivation_end(d))
            continue;
        *derived = at >= d->digests;
        ds_offset stop = *derived ? derivation_end(d) : d->digests;
        return stop < end ? stop : end;
    }
    return end;
}

static ds_offset run_of(const void *derivations, ds_offset at, ds_offset end, bool *derived) {
    return ds_derived_run(derivations, at, end, derived);
}

ds_status ds_derive_clip(const ds_derivations *derivations, ds_blocks *blocks, ds_arena *arena) {
    return derivations->list.count == 0 ? DS_OK : ds_blocks_leave_out(blocks, run_of, derivations, arena);
}

/* --- making them ------------------------------------------------------------------------- */

typedef struct digester {
    ds_derivation what;
    ds_sha256_state page; /* of the page under way */
    uint8_t *digests;     /* of the pages before */
    uint64_t count;
} digester;

struct ds_deriver {
    digester *digesters;
    uint64_t count;
    ds_sha256_state fresh;
    ds_offset at; /* new bytes seen */
    ds_arena *arena;
};

ds_status ds_deriver_open(ds_deriver **out, const ds_derivations *derivations, ds_arena *arena) {
    ds_deriver *deriver = *out = ds_arena_alloc(arena, sizeof *deriver);
    if (deriver == NULL)
        return DS_E_MEMORY;
    deriver->arena = arena;
    ds_sha256_open(&deriver->fresh);
    deriver->digesters = ds_arena_alloc(arena, derivations->list.count * sizeof *deriver->digesters);
    if (deriver->digesters == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        digester *d = &deriver->digesters[i];
        d->what = derivations->list.items[i];
        d->page = deriver->fresh;
        d->digests = ds_arena_alloc(arena, ds_derivation_size(&d->what));
        if (d->digests == NULL)
            return DS_E_MEMORY;
        deriver->count++;
    }
    return DS_OK;
}

uint8_t *ds_deriver_whole(ds_deriver *deriver, uint64_t derivation) {
    return deriver->digesters[derivation].digests;
}

void ds_deriver_close(ds_deriver *deriver) {
    if (deriver == NULL)
        return;
    for (uint64_t i = 0; i < deriver->count; i++)
        ds_arena_free(deriver->arena, deriver->digesters[i].digests);
    ds_arena_free(deriver->arena, deriver->digesters);
    ds_arena_free(deriver->arena, deriver);
}

/* The part of [at, at + size) that lies in [start, start + length). */
static bool overlap(ds_offset at, uint64_t size, ds_offset start, uint64_t length, ds_offset *from, ds_offset *to) {
    *from = at > start ? at : start;
    *to = at + size < start + length ? at + size : start + length;
    return *from < *to;
}

static void fill(const digester *d, ds_offset at, uint8_t *bytes, uint64_t size) {
    ds_offset from, to;
    if (overlap(at, size, d->what.digests, ds_derivation_size(&d->what), &from, &to))
        memcpy(bytes + (from - at), d->digests + (from - d->what.digests), to - from);
}

static void feed(digester *d, const ds_sha256_state *fresh, ds_offset at, const uint8_t *bytes, uint64_t size) {
    uint64_t page = (uint64_t)1 << d->what.page_bits;
    ds_offset from, to;
    if (ds_derivation_is_whole(&d->what))
        return;
    if (!overlap(at, size, d->what.covered, d->what.limit, &from, &to))
        return;
    if (d->what.page_bits == DS_DERIVED_SPELLED) {
        for (; from < to; from++)
            spell(bytes[from - at], d->digests + 2 * (from - d->what.covered));
        return;
    }
    while (from < to) {
        uint64_t done = from - d->what.covered, left = page - done % page;
        uint64_t part = to - from < left ? to - from : left;
        ds_sha256_add(&d->page, bytes + (from - at), part);
        from += part;
        if (part == left || done + part == d->what.limit) {
            ds_sha256_close(&d->page, d->digests + d->count++ * DS_DIGEST_SIZE);
            d->page = *fresh;
        }
    }
}

/* A piece is cut where an array begins: all its pages end there at the latest. */
void ds_deriver_pass(ds_deriver *deriver, uint8_t *bytes, uint64_t size) {
    while (size > 0) {
        uint64_t part = size;
        for (uint64_t i = 0; i < deriver->count; i++) {
            uint64_t distance = deriver->digesters[i].what.digests - deriver->at;
            if (distance > 0 && distance < part) /* wraps for arrays that were passed */
                part = distance;
        }
        for (uint64_t i = 0; i < deriver->count; i++)
            fill(&deriver->digesters[i], deriver->at, bytes, part);
        for (uint64_t i = 0; i < deriver->count; i++)
            feed(&deriver->digesters[i], &deriver->fresh, deriver->at, bytes, part);
        deriver->at += part;
        bytes += part;
        size -= part;
    }
}
