/* Coding of regions and blocks; docs/spec/delta-format.md, "Layout" and "Blocks". */
#include "delta/layout.h"

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

/* Fields of a region as the differences that are coded, in this order. */
#define REGION_FIELDS 4

ds_status ds_regions_write(const ds_image *old_image, const ds_image *new_image, ds_stream_writer *writer) {
    region_predictor p = {.old_image = old_image};
    uint64_t count = new_image->regions.count;
    DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, ds_zigzag(count - old_image->regions.count)));
    uint64_t clean = 0;
    for (uint64_t i = 0; i < count; i++) {
        ds_region region = new_image->regions.items[i], expected = predict_region(&p, i);
        if (region.class_ == DS_REGION_NOBITS)
            region.offset = expected.offset;
        advance(&p, i, &region);
        uint64_t fields[REGION_FIELDS] = {(uint64_t)(region.class_ - expected.class_), region.offset - expected.offset,
                                          region.address - expected.address, region.size - expected.size};
        if ((fields[0] | fields[1] | fields[2] | fields[3]) == 0) {
            clean++;
            continue;
        }
        DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, clean));
        clean = 0;
        for (unsigned f = 0; f < REGION_FIELDS; f++)
            DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, ds_zigzag(fields[f])));
    }
    return ds_write_number(writer, DS_STREAM_LAYOUT, clean);
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

ds_status ds_regions_read(const ds_image *old_image, uint64_t new_size, ds_stream_reader *reader, ds_arena *arena,
                          ds_regions *regions) {
    region_predictor p = {.old_image = old_image};
    uint64_t count, clean;
    DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &count));
    count = ds_unzigzag(count) + old_image->regions.count;
    if (count > DS_REGIONS_MAX)
        return DS_E_LIMIT;
    DS_TRY(DS_VEC_RESERVE(arena, &regions->list, count + 1));
    DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &clean));
    for (uint64_t i = 0; i < count; i++) {
        ds_region region = predict_region(&p, i);
        if (clean == 0) {
            uint64_t fields[REGION_FIELDS];
            for (unsigned f = 0; f < REGION_FIELDS; f++) {
                DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &fields[f]));
                fields[f] = ds_unzigzag(fields[f]);
            }
            if (region.class_ + fields[0] > DS_REGION_NOBITS)
                return DS_E_DELTA;
            region.class_ = (uint8_t)(region.class_ + fields[0]);
            region.offset += fields[1];
            region.address += fields[2];
            region.size += fields[3];
            DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &clean));
        } else
            clean--;
        DS_TRY(check_region(&region, new_size));
        advance(&p, i, &region);
        regions->list.items[regions->list.count++] = region;
    }
    return clean == 0 ? DS_OK : DS_E_DELTA;
}

/* ---- derivations: where they stand, counted from the end of the new image ---- */

ds_status ds_derivations_write(const ds_derivations *derivations, uint64_t new_size, ds_stream_writer *writer) {
    DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, derivations->list.count));
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        const ds_derivation *d = &derivations->list.items[i];
        DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, new_size - d->digests));
        DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, d->covered));
        DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, d->digests - d->covered - d->limit));
        DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, d->page_bits));
    }
    return DS_OK;
}

ds_status ds_derivations_read(uint64_t new_size, ds_stream_reader *reader, ds_arena *arena,
                              ds_derivations *derivations) {
    uint64_t count;
    DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &count));
    if (count > DS_DERIVATIONS_MAX)
        return DS_E_LIMIT;
    DS_TRY(DS_VEC_RESERVE(arena, &derivations->list, count + 1));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t from_end, covered, between, page_bits;
        DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &from_end));
        DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &covered));
        DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &between));
        DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &page_bits));
        if (from_end > new_size || covered > new_size - from_end || between > new_size - from_end - covered ||
            page_bits > DS_DERIVED_PAGE_BITS_MAX)
            return DS_E_DELTA;
        ds_derivation d = {.digests = new_size - from_end, .covered = covered, .page_bits = (unsigned)page_bits};
        d.limit = d.digests - covered - between;
        if (!ds_derivation_fits(derivations, &d, new_size))
            return DS_E_DELTA;
        derivations->list.items[derivations->list.count++] = d;
    }
    return DS_OK;
}

/* ---- blocks ---- */

/* A place is one of the latest diagonals, or the old end of one of the latest blocks (a stretch goes on where it
 * was left for a moment), or a distance from the end of the block before. Both lists are moved to front.
 * Codes: 0 the latest diagonal, 1 the latest end, then the older diagonals, the older ends, and from PLACE_FAR
 * on a zigzag distance. A place that has several codes takes the first. */
#define DIAGONALS 8
#define ENDS 16
#define PLACE_DIAGONALS 2 /* the code of diagonal 1 */
#define PLACE_ENDS (PLACE_DIAGONALS + DIAGONALS - 1)
#define PLACE_FAR (PLACE_ENDS + ENDS - 1)

typedef struct places {
    uint64_t diagonals[DIAGONALS]; /* old offset - new offset, latest first */
    ds_offset ends[ENDS];          /* old ends of blocks, latest first */
    ds_offset new_end;
} places;

/* Rank of `value` among the first `count` of a list; `count` where it is not. */
static unsigned rank_of(const uint64_t *list, unsigned count, uint64_t value) {
    unsigned rank = 0;
    while (rank < count && list[rank] != value)
        rank++;
    return rank;
}

/* The entry at `rank` goes (the last, where there is none), `value` comes in front. */
static void push(uint64_t *list, unsigned count, unsigned rank, uint64_t value) {
    memmove(list + 1, list, (rank < count ? rank : count - 1) * sizeof *list);
    list[0] = value;
}

static void settle_place(places *p, const ds_block *block) {
    uint64_t diagonal = block->old_offset - block->new_offset;
    push(p->diagonals, DIAGONALS, rank_of(p->diagonals, DIAGONALS, diagonal), diagonal);
    push(p->ends, ENDS, rank_of(p->ends, ENDS, block->old_offset), block->old_offset + block->length);
    p->new_end = block->new_offset + block->length;
}

static uint64_t place_code(const places *p, const ds_block *block) {
    unsigned diagonal = rank_of(p->diagonals, DIAGONALS, block->old_offset - block->new_offset);
    unsigned end = rank_of(p->ends, ENDS, block->old_offset);
    if (diagonal == 0 || end == 0)
        return diagonal == 0 ? 0 : 1;
    if (diagonal < DIAGONALS)
        return PLACE_DIAGONALS + diagonal - 1;
    if (end < ENDS)
        return PLACE_ENDS + end - 1;
    return PLACE_FAR + ds_zigzag(block->old_offset - p->ends[0]);
}

static ds_offset place_of(const places *p, uint64_t code, ds_offset new_offset) {
    if (code == 0)
        return new_offset + p->diagonals[0];
    if (code == 1)
        return p->ends[0];
    if (code < PLACE_ENDS)
        return new_offset + p->diagonals[code - PLACE_DIAGONALS + 1];
    if (code < PLACE_FAR)
        return p->ends[code - PLACE_ENDS + 1];
    return p->ends[0] + ds_unzigzag(code - PLACE_FAR);
}

ds_status ds_blocks_write(const ds_blocks *blocks, ds_stream_writer *writer) {
    places p = {0};
    DS_TRY(ds_write_number(writer, DS_STREAM_LAYOUT, blocks->list.count));
    for (uint64_t i = 0; i < blocks->list.count; i++) {
        const ds_block *block = &blocks->list.items[i];
        DS_TRY(ds_write_number(writer, DS_STREAM_GAPS, block->new_offset - p.new_end));
        DS_TRY(ds_write_number(writer, DS_STREAM_PLACES, place_code(&p, block)));
        DS_TRY(ds_write_number(writer, DS_STREAM_LENGTHS, block->length - 1));
        settle_place(&p, block);
    }
    return DS_OK;
}

static ds_status read_block(places *p, uint64_t old_size, uint64_t new_size, ds_stream_reader *reader,
                            ds_block *block) {
    uint64_t gap, place, length;
    DS_TRY(ds_read_number(reader, DS_STREAM_GAPS, &gap));
    DS_TRY(ds_read_number(reader, DS_STREAM_PLACES, &place));
    DS_TRY(ds_read_number(reader, DS_STREAM_LENGTHS, &length));
    if (!ds_add(p->new_end, gap, &block->new_offset) || !ds_add(length, 1, &block->length) ||
        !ds_within(block->new_offset, block->length, new_size))
        return DS_E_DELTA;
    block->old_offset = place_of(p, place, block->new_offset);
    if (!ds_within(block->old_offset, block->length, old_size))
        return DS_E_DELTA;
    settle_place(p, block);
    return DS_OK;
}

ds_status ds_blocks_read(uint64_t old_size, uint64_t new_size, ds_stream_reader *reader, ds_arena *arena,
                         ds_blocks *blocks) {
    places p = {0};
    uint64_t count;
    DS_TRY(ds_read_number(reader, DS_STREAM_LAYOUT, &count));
    /* Each block takes a byte of every stream that names it, and makes a byte at least. */
    if (count > ds_stream_left(reader, DS_STREAM_LENGTHS) || count > new_size)
        return DS_E_DELTA;
    DS_TRY(DS_VEC_RESERVE(arena, &blocks->list, count + 1));
    for (uint64_t i = 0; i < count; i++) {
        DS_TRY(read_block(&p, old_size, new_size, reader, &blocks->list.items[i]));
        blocks->list.count++;
    }
    return DS_OK;
}
