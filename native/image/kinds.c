/* Reference kinds as functions: target -> bits of the field, and back.
 *
 * Every kind has a field of 1 to 8 bytes and a mask of the bits that hold the reference; put changes
 * no other bit. All arithmetic wraps modulo 2^64; put truncates to the field; hence
 * put(solve(field)) == field for every field, except LO12 with a scaled immediate of a page or more,
 * ADRP and LO12 without the expected target, and ULEB128 fields with other continuation bits than a
 * writer would set, and NEXT without the expected target or over the end of a page: there the walk falls
 * back to bytes.
 *
 * Sources: Intel SDM vol. 2 section 2.2.1.6 (rip-relative), Arm ARM DDI 0487 section C6 (immediates),
 * System V gABI chapters 4 and 5, DWARF 5 section 7.6 (LEB128), Mach-O fixup-chains.h (pointer formats).
 */
#include "image/image.h"

typedef enum field_form {
    FORM_BYTES,
    FORM_ULEB,
    FORM_B26,
    FORM_IMM19,
    FORM_IMM14,
    FORM_ADR,
    FORM_ADRP,
    FORM_LO12,
    FORM_NAME,
    FORM_NEXT
} field_form;
typedef enum origin {
    FROM_PLACE_END,
    FROM_PLACE,
    BACK_FROM_PLACE,
    FROM_SPACE,
    FROM_FILE,
    FROM_BASE,
    FROM_BASE_LAST,
    FROM_BASE_LAST_UNITS /* of 1 << aux bytes */
} origin;

typedef struct kind_row {
    uint8_t length; /* bytes of the field */
    uint8_t form;
    uint8_t origin; /* what the number in the field counts from */
    uint8_t is_signed;
    uint8_t scale; /* the number counts this many bytes */
    uint64_t mask;
} kind_row;

#define ALL1 0xffu
#define ALL2 0xffffu
#define ALL3 0xffffffu
#define ALL4 0xffffffffu
#define ALL8 UINT64_MAX

static const kind_row kinds[DS_REF_KINDS] = {
    [DS_REF_NONE] = {0, FORM_BYTES, FROM_SPACE, 0, 1, 0},
    [DS_REF_REL8] = {1, FORM_BYTES, FROM_PLACE_END, 1, 1, ALL1},
    [DS_REF_REL32] = {4, FORM_BYTES, FROM_PLACE_END, 1, 1, ALL4},
    [DS_REF_PREL32] = {4, FORM_BYTES, FROM_PLACE, 1, 1, ALL4},
    [DS_REF_BACK32] = {4, FORM_BYTES, BACK_FROM_PLACE, 0, 1, ALL4},
    [DS_REF_PREL64] = {8, FORM_BYTES, FROM_PLACE, 1, 1, ALL8},
    [DS_REF_ABS64] = {8, FORM_BYTES, FROM_SPACE, 0, 1, ALL8},
    [DS_REF_ABS32] = {4, FORM_BYTES, FROM_SPACE, 0, 1, ALL4},
    [DS_REF_FILE64] = {8, FORM_BYTES, FROM_FILE, 0, 1, ALL8},
    [DS_REF_FILE32] = {4, FORM_BYTES, FROM_FILE, 0, 1, ALL4},
    [DS_REF_BASE32] = {4, FORM_BYTES, FROM_BASE, 1, 1, ALL4},
    [DS_REF_BASE64] = {8, FORM_BYTES, FROM_BASE, 0, 1, ALL8},
    [DS_REF_SIZE32] = {4, FORM_BYTES, FROM_BASE_LAST, 0, 1, ALL4},
    [DS_REF_SIZE64] = {8, FORM_BYTES, FROM_BASE_LAST, 0, 1, ALL8},
    [DS_REF_INDEX32] = {4, FORM_BYTES, FROM_BASE, 0, 24, ALL4},
    [DS_REF_RELR64] = {8, FORM_BYTES, FROM_SPACE, 0, 1, ALL8},
    [DS_REF_ULEB1] = {1, FORM_ULEB, FROM_BASE, 0, 1, 0x7f},
    [DS_REF_ULEB2] = {2, FORM_ULEB, FROM_BASE, 0, 1, 0x7f7f},
    [DS_REF_ULEB3] = {3, FORM_ULEB, FROM_BASE, 0, 1, 0x7f7f7f},
    [DS_REF_ULEB4] = {4, FORM_ULEB, FROM_BASE, 0, 1, 0x7f7f7f7f},
    [DS_REF_ULEB_SIZE1] = {1, FORM_ULEB, FROM_BASE_LAST, 0, 1, 0x7f},
    [DS_REF_ULEB_SIZE2] = {2, FORM_ULEB, FROM_BASE_LAST, 0, 1, 0x7f7f},
    [DS_REF_ULEB_SIZE3] = {3, FORM_ULEB, FROM_BASE_LAST, 0, 1, 0x7f7f7f},
    [DS_REF_ULEB_SIZE4] = {4, FORM_ULEB, FROM_BASE_LAST, 0, 1, 0x7f7f7f7f},
    [DS_REF_B26] = {4, FORM_B26, FROM_PLACE, 1, 4, 0x03ffffff},
    [DS_REF_IMM19] = {4, FORM_IMM19, FROM_PLACE, 1, 4, 0x00ffffe0},
    [DS_REF_IMM14] = {4, FORM_IMM14, FROM_PLACE, 1, 4, 0x0007ffe0},
    [DS_REF_ADR] = {4, FORM_ADR, FROM_PLACE, 1, 1, 0x60ffffe0},
    [DS_REF_ADRP] = {4, FORM_ADRP, FROM_PLACE, 1, 1, 0x60ffffe0},
    [DS_REF_LO12] = {4, FORM_LO12, FROM_PLACE, 0, 1, 0x003ffc00},
    [DS_REF_CHAIN36] = {5, FORM_BYTES, FROM_BASE, 0, 1, (UINT64_C(1) << 36) - 1},
    [DS_REF_CHAIN43] = {6, FORM_BYTES, FROM_BASE, 0, 1, (UINT64_C(1) << 43) - 1},
    [DS_REF_CHAIN32] = {4, FORM_BYTES, FROM_BASE, 0, 1, ALL4},
    [DS_REF_NEXT12] = {2, FORM_NEXT, FROM_PLACE, 0, 4, 0x7ff8},
    [DS_REF_NEXT11] = {2, FORM_NEXT, FROM_PLACE, 0, 8, 0x3ff8},
    [DS_REF_BASE24] = {3, FORM_BYTES, FROM_BASE, 0, 1, ALL3},
    [DS_REF_PAGE24] = {3, FORM_BYTES, FROM_BASE, 0, 1, ALL3},
    [DS_REF_INDEX32_4] = {4, FORM_BYTES, FROM_BASE, 0, 4, ALL4},
    [DS_REF_INDEX32_8] = {4, FORM_BYTES, FROM_BASE, 0, 8, ALL4},
    [DS_REF_INDEX32_16] = {4, FORM_BYTES, FROM_BASE, 0, 16, ALL4},
    [DS_REF_COUNT32_4] = {4, FORM_BYTES, FROM_BASE_LAST, 0, 4, ALL4},
    [DS_REF_COUNT32_16] = {4, FORM_BYTES, FROM_BASE_LAST, 0, 16, ALL4},
    [DS_REF_INDEX24_4] = {3, FORM_BYTES, FROM_BASE, 0, 4, ALL3},
    [DS_REF_NAME23] = {4, FORM_NAME, FROM_BASE, 0, 1, 0xfffffe00},
    [DS_REF_STEP6] = {1, FORM_BYTES, FROM_BASE_LAST_UNITS, 0, 1, 0x3f},
    [DS_REF_STEP8] = {1, FORM_BYTES, FROM_BASE_LAST_UNITS, 0, 1, ALL1},
    [DS_REF_STEP16] = {2, FORM_BYTES, FROM_BASE_LAST_UNITS, 0, 1, ALL2},
    [DS_REF_STEP32] = {4, FORM_BYTES, FROM_BASE_LAST_UNITS, 0, 1, ALL4},
    [DS_REF_STEP_ULEB1] = {1, FORM_ULEB, FROM_BASE_LAST_UNITS, 0, 1, 0x7f},
    [DS_REF_STEP_ULEB2] = {2, FORM_ULEB, FROM_BASE_LAST_UNITS, 0, 1, 0x7f7f},
    [DS_REF_STEP_ULEB3] = {3, FORM_ULEB, FROM_BASE_LAST_UNITS, 0, 1, 0x7f7f7f},
    [DS_REF_STEP_ULEB4] = {4, FORM_ULEB, FROM_BASE_LAST_UNITS, 0, 1, 0x7f7f7f7f},
};

#define PAGE_BITS 12
#define PAGE_MASK ((ds_address)4095)
#define UNIT_MASK 31u /* of aux, so that every shift is defined */

unsigned ds_ref_length(ds_ref_kind kind) {
    return kinds[kind].length;
}

uint64_t ds_ref_mask(ds_ref_kind kind) {
    return kinds[kind].mask;
}

bool ds_ref_is_based(ds_ref_kind kind) {
    return kinds[kind].origin >= FROM_BASE;
}

static uint64_t load_field(const uint8_t *field, unsigned length) {
    switch (length) {
    case 8:
        return ds_load64(field);
    case 4:
        return ds_load32(field);
    default: {
        uint64_t value = 0;
        for (unsigned i = length; i-- > 0;)
            value = value << 8 | field[i];
        return value;
    }
    }
}

static void store_field(uint8_t *field, unsigned length, uint64_t value) {
    switch (length) {
    case 8:
        ds_store64(field, value);
        return;
    case 4:
        ds_store32(field, (uint32_t)value);
        return;
    default:
        for (unsigned i = 0; i < length; i++)
            field[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t sign_extend(uint64_t value, unsigned bits) {
    uint64_t top = UINT64_C(1) << (bits - 1);
    return (value ^ top) - top;
}

/* The number in the field, before scale and origin. */
static uint64_t number_of(const kind_row *row, uint64_t bits) {
    switch (row->form) {
    case FORM_ULEB: {
        uint64_t value = 0;
        for (unsigned i = 0; i < row->length; i++)
            value |= (bits >> 8 * i & 0x7f) << 7 * i;
        return value;
    }
    case FORM_B26:
        return sign_extend(bits & 0x03ffffff, 26);
    case FORM_IMM19:
        return sign_extend(bits >> 5 & 0x7ffff, 19);
    case FORM_IMM14:
        return sign_extend(bits >> 5 & 0x3fff, 14);
    case FORM_ADR:
    case FORM_ADRP:
        return sign_extend((bits >> 5 & 0x7ffff) << 2 | (bits >> 29 & 3), 21);
    case FORM_LO12:
        return bits >> 10 & 0xfff;
    case FORM_NAME:
        return bits >> 9;
    case FORM_NEXT:
        return (bits & row->mask) >> 3;
    default:
        bits &= row->mask;
        return row->is_signed && row->length < 8 ? sign_extend(bits, 8u * row->length) : bits;
    }
}

static uint64_t bits_of(const kind_row *row, uint64_t number) {
    switch (row->form) {
    case FORM_ULEB: {
        uint64_t bits = 0;
        for (unsigned i = 0; i < row->length; i++)
            bits |= (number >> 7 * i & 0x7f) << 8 * i;
        return bits;
    }
    case FORM_B26:
        return number & 0x03ffffff;
    case FORM_IMM19:
        return (number & 0x7ffff) << 5;
    case FORM_IMM14:
        return (number & 0x3fff) << 5;
    case FORM_ADR:
    case FORM_ADRP:
        return (number & 3) << 29 | (number >> 2 & 0x7ffff) << 5;
    case FORM_LO12:
        return (number & 0xfff) << 10;
    case FORM_NAME:
        return number << 9;
    case FORM_NEXT:
        return number << 3;
    default:
        return number;
    }
}

/* Of a chained pointer's last two bytes: where its word begins. */
#define NEXT_IN_WORD 6

static bool same_page(ds_address a, ds_address b, uint32_t bits) {
    return (a ^ b) >> (bits & 63) == 0;
}

static ds_address solve_next(uint64_t distance, ds_address place, uint32_t page_bits, ds_address expected) {
    ds_address word = place - NEXT_IN_WORD;
    return distance != 0 || same_page(word, expected, page_bits) ? word + distance : expected;
}

static ds_address origin_of(const kind_row *row, ds_address place, uint32_t aux, ds_address base) {
    switch (row->origin) {
    case FROM_PLACE_END:
        return place + row->length + aux;
    case FROM_PLACE:
        return place;
    case FROM_FILE:
        return DS_FILE_BASE;
    case FROM_BASE:
        return base;
    case FROM_BASE_LAST:
    case FROM_BASE_LAST_UNITS:
        return base - 1;
    default:
        return place & DS_SPACE_MASK;
    }
}

ds_address ds_ref_solve(ds_ref_kind kind, const uint8_t *field, ds_address place, uint32_t aux, ds_address base,
                        ds_address expected) {
    const kind_row *row = &kinds[kind];
    uint64_t number = number_of(row, load_field(field, row->length));
    if (row->form == FORM_ADRP)
        return ((place & ~PAGE_MASK) + (number << PAGE_BITS)) | (expected & PAGE_MASK);
    if (row->form == FORM_LO12)
        return (expected & ~PAGE_MASK) | (number << aux & PAGE_MASK);
    if (row->form == FORM_NEXT)
        return solve_next(number * row->scale, place, aux, expected);
    if (row->origin == BACK_FROM_PLACE)
        return place - number;
    number = row->origin == FROM_BASE_LAST_UNITS ? number << (aux & UNIT_MASK) : number * row->scale;
    return origin_of(row, place, aux, base) + number;
}

void ds_ref_put(ds_ref_kind kind, uint8_t *field, ds_address place, uint32_t aux, ds_address base, ds_address target) {
    const kind_row *row = &kinds[kind];
    uint64_t number;
    if (row->form == FORM_ADRP)
        number = (target >> PAGE_BITS) - (place >> PAGE_BITS);
    else if (row->form == FORM_LO12)
        number = (target & PAGE_MASK) >> aux;
    else if (row->form == FORM_NEXT)
        number = same_page(place - NEXT_IN_WORD, target, aux) ? (target - (place - NEXT_IN_WORD)) / row->scale : 0;
    else if (row->origin == BACK_FROM_PLACE)
        number = place - target;
    else {
        number = target - origin_of(row, place, aux, base);
        if (row->origin == FROM_BASE_LAST_UNITS)
            number = (uint64_t)((int64_t)number >> (aux & UNIT_MASK));
        else if (row->scale == 4)
            number = (uint64_t)((int64_t)number >> 2);
        else if (row->scale > 1)
            number /= row->scale;
    }
    uint64_t old_bits = load_field(field, row->length);
    store_field(field, row->length, (old_bits & ~row->mask) | (bits_of(row, number) & row->mask));
}

bool ds_ref_is_step(ds_ref_kind kind) {
    return kinds[kind].origin == FROM_BASE_LAST_UNITS;
}

ds_address ds_ref_base(const ds_image *image, const ds_ref *ref) {
    return ref->target - ds_ref_solve(ds_ref_kind_of(ref), image->file.data + ref->offset, 0, ds_ref_aux(ref), 0, 0);
}
