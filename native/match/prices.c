/* Prices and byte classes; see prices.h. */
#include "match/prices.h"

#include "image/refs.h"

/* What the two codings pay. The model makes literals of code cheap, since it knows the code round them, and blocks
 * dearer against them. */
static const ds_price_list price_lists[] = {
    [DS_PRICES_STREAMS] = {.change = 15 * DS_BIT,
                           .distance = 70,
                           .miss = {[DS_DATA_BYTE] = 9 * DS_BIT,
                                    [DS_CODE_BYTE] = 9 * DS_BIT,
                                    [DS_WORD_BYTE] = 11 * DS_BIT / 2,
                                    [DS_WORD_REF_BYTE] = 18 * DS_BIT / 4,
                                    [DS_REF1_BYTE] = 14 * DS_BIT,
                                    [DS_REF2_BYTE] = 14 * DS_BIT / 2,
                                    [DS_REF3_BYTE] = 14 * DS_BIT / 3,
                                    [DS_REF4_BYTE] = 12 * DS_BIT / 4,
                                    [DS_REF8_BYTE] = 14 * DS_BIT / 8},
                           .literal = {[DS_DATA_BYTE] = 7 * DS_BIT,
                                       [DS_CODE_BYTE] = 32 * DS_BIT / 10,
                                       [DS_WORD_BYTE] = 27 * DS_BIT / 10,
                                       [DS_WORD_REF_BYTE] = 10 * DS_BIT / 4,
                                       [DS_REF1_BYTE] = 5 * DS_BIT,
                                       [DS_REF2_BYTE] = 10 * DS_BIT / 2,
                                       [DS_REF3_BYTE] = 10 * DS_BIT / 3,
                                       [DS_REF4_BYTE] = 10 * DS_BIT / 4,
                                       [DS_REF8_BYTE] = 10 * DS_BIT / 8}},
    [DS_PRICES_MODEL] = {.change = 17 * DS_BIT,
                         .distance = 92,
                         .broken = 3 * DS_BIT,
                         .miss = {[DS_DATA_BYTE] = 9 * DS_BIT,
                                  [DS_CODE_BYTE] = 9 * DS_BIT,
                                  [DS_WORD_BYTE] = 11 * DS_BIT / 2,
                                  [DS_WORD_REF_BYTE] = 20 * DS_BIT / 4,
                                  [DS_REF1_BYTE] = 14 * DS_BIT,
                                  [DS_REF2_BYTE] = 14 * DS_BIT / 2,
                                  [DS_REF3_BYTE] = 14 * DS_BIT / 3,
                                  [DS_REF4_BYTE] = 15 * DS_BIT / 4,
                                  [DS_REF8_BYTE] = 14 * DS_BIT / 8},
                         .literal = {[DS_DATA_BYTE] = 7 * DS_BIT,
                                     [DS_CODE_BYTE] = 26 * DS_BIT / 10,
                                     [DS_WORD_BYTE] = 27 * DS_BIT / 10,
                                     [DS_WORD_REF_BYTE] = 10 * DS_BIT / 4,
                                     [DS_REF1_BYTE] = 5 * DS_BIT,
                                     [DS_REF2_BYTE] = 10 * DS_BIT / 2,
                                     [DS_REF3_BYTE] = 10 * DS_BIT / 3,
                                     [DS_REF4_BYTE] = 10 * DS_BIT / 4,
                                     [DS_REF8_BYTE] = 10 * DS_BIT / 8}},
};

const ds_price_list *ds_prices_of(ds_price_coding coding) {
    return &price_lists[coding];
}

/* Sets classes from `from` to before `to`, as far as they lie in the range. */
static void classify(uint8_t *classes, ds_range range, uint64_t from, uint64_t to, uint8_t class_) {
    from = from > range.from ? from : range.from;
    to = to < range.to ? to : range.to;
    if (from < to)
        memset(classes + (from - range.from), class_, to - from);
}

/* A reference that begins before the range may reach into it. */
static void classify_refs(uint8_t *classes, ds_range range, const ds_image *image) {
    static const uint8_t by_length[] = {
        0,           DS_REF1_BYTE, DS_REF2_BYTE, DS_REF3_BYTE, DS_REF4_BYTE, DS_REF4_BYTE, DS_REF8_BYTE, DS_REF8_BYTE,
        DS_REF8_BYTE};
    uint64_t first = range.from < DS_COUNT(by_length) ? 0 : range.from - DS_COUNT(by_length);
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_refs_between(&cursor, image, first, range.to);
    while (ds_refs_next(&cursor, &ref)) {
        unsigned length = ds_ref_length(ds_ref_kind_of(&ref));
        bool in_word = ref.offset >= range.from && classes[ref.offset - range.from] == DS_WORD_BYTE;
        classify(classes, range, ref.offset, ref.offset + (uint64_t)length,
                 in_word ? DS_WORD_REF_BYTE : by_length[length]);
    }
}

/* Where no instruction of the region starts. */
static void mark_insides(uint8_t *classes, ds_range range, const ds_image *image, const ds_region *region) {
    uint64_t from = region->offset > range.from ? region->offset : range.from, to = region->offset + region->size;
    to = to < range.to ? to : range.to;
    for (uint64_t at = from; at < to; at++)
        classes[at - range.from] |= ds_image_is_start(image, at) ? 0 : DS_IN_INSTRUCTION;
}

ds_status ds_classes_open(uint8_t **out, const ds_image *new_image, ds_range range, ds_arena *arena) {
    uint8_t *classes = ds_arena_alloc(arena, range.to - range.from + 1);
    *out = classes;
    if (classes == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < new_image->regions.count; i++) {
        const ds_region *region = &new_image->regions.items[i];
        if (region->class_ == DS_REGION_CODE)
            classify(classes, range, region->offset, region->offset + region->size,
                     region->words ? DS_WORD_BYTE : DS_CODE_BYTE);
    }
    classify_refs(classes, range, new_image);
    for (uint64_t i = 0; i < new_image->regions.count; i++) {
        const ds_region *region = &new_image->regions.items[i];
        if (region->class_ == DS_REGION_CODE && !region->words)
            mark_insides(classes, range, new_image, region);
    }
    return DS_OK;
}
