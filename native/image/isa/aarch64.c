/* AArch64: a linear sweep over the words of a stretch. Branches, literals and ADR name an address in one
 * word; ADRP names a page, and a later word adds the low twelve bits.
 *
 * Pairing. ADRP gives its register a page. ADD (64-bit, immediate, not shifted) and loads, stores and
 * prefetches with an unsigned offset below one page, through that register, are its partners: each becomes
 * a LO12 reference with the full target, and the first one gives the ADRP its full target. The page is
 * forgotten when the register is written, at a call (x0 to x18, x30), after PAIR_WINDOW words, and at an
 * entry. The path of execution plays no part. An ADRP that finds no partner keeps the page as its target.
 *
 * A register is written when the word says so in a class of `classes`; SVE words count as writing the
 * register of their lowest field where they could. A miss costs a wrong pair at most.
 *
 * Jump tables are not read: those of compilers for AArch64 hold words between two places of one function,
 * mostly as bytes and halfwords, and so change only with it.
 *
 * Words are taken at addresses that are multiples of 4. A word of an unallocated main group is data.
 *
 * Source: Arm Architecture Reference Manual for A-profile (DDI 0487), chapter C4, "A64 instruction set
 * encoding".
 */
#include "image/found.h"
#include "image/isa/sweep.h"

/* Limits; all part of the delta format. */
#define PAIR_WINDOW 256u       /* words from ADRP to a partner */
#define BYTES_PER_REFERENCE 12 /* of usual code; only a first guess of memory */

#define WORD 4u
#define PAGE ((ds_address)4096)
#define CALL_CLOBBERED 0x4007ffffu /* x0 to x18, x30 (AAPCS64 section 6.1.1) */
#define NO_REGISTER 31u            /* SP or ZR: never tracked */

/* Class of a word by its bits 24..31. "writes" speaks of general registers. */
enum {
    NOTHING, /* unallocated: not an instruction */
    PLAIN,   /* no reference, writes nothing */
    WRITES,  /* bits 0..4 */
    ADR,
    ADRP,
    ADD, /* add, subtract immediate; writes */
    B26,
    CALL26,
    BRANCH19,
    BRANCH14,
    REGISTER_BRANCH,
    EXCEPTION,
    SYSTEM,
    LITERAL, /* writes bits 0..4, but for prefetch */
    LITERAL_V,
    OFFSET, /* load or store with unsigned offset */
    OFFSET_V,
    SINGLE, /* the other single loads and stores, atomics */
    SINGLE_V,
    PAIR, /* load or store pair */
    PAIR_V,
    STRUCTURE,   /* SIMD structures, may write the base */
    EXCLUSIVE,   /* and ordered, compare and swap */
    CONDITIONAL, /* data processing, register; conditional compare writes nothing */
    FLOAT,       /* some conversions write */
    VECTOR,      /* umov, smov write */
};

#define __ NOTHING
#define p_ PLAIN
#define w_ WRITES
#define ar ADR
#define ap ADRP
#define ad ADD
#define b_ B26
#define bl CALL26
#define jc BRANCH19
#define jt BRANCH14
#define br REGISTER_BRANCH
#define ex EXCEPTION
#define sy SYSTEM
#define li LITERAL
#define lv LITERAL_V
#define of OFFSET
#define ov OFFSET_V
#define si SINGLE
#define sv SINGLE_V
#define pr PAIR
#define pv PAIR_V
#define st STRUCTURE
#define xc EXCLUSIVE
#define co CONDITIONAL
#define fl FLOAT
#define ve VECTOR

/* clang-format off */
static const uint8_t classes[256] = {
    /*       0   1   2   3   4   5   6   7   8   9   a   b   c   d   e   f */
    /* 00 */ __, __, __, __, w_, w_, __, __, xc, xc, w_, w_, st, st, ve, p_,
    /* 10 */ ar, ad, w_, w_, b_, b_, b_, b_, li, si, w_, w_, lv, sv, fl, p_,
    /* 20 */ __, __, __, __, p_, w_, __, __, pr, pr, w_, w_, pv, pv, p_, p_,
    /* 30 */ ar, ad, w_, w_, jc, jc, jt, jt, si, of, co, w_, sv, ov, p_, p_,
    /* 40 */ __, __, __, __, p_, p_, __, __, xc, xc, w_, w_, st, st, ve, p_,
    /* 50 */ ar, ad, w_, w_, jc, p_, p_, p_, li, si, w_, w_, lv, sv, p_, p_,
    /* 60 */ __, __, __, __, p_, p_, __, __, pr, pr, w_, w_, pv, pv, p_, p_,
    /* 70 */ ar, ad, w_, w_, p_, p_, p_, p_, si, of, co, w_, sv, ov, p_, p_,
    /* 80 */ p_, p_, __, __, p_, p_, __, __, xc, xc, w_, w_, p_, p_, p_, p_,
    /* 90 */ ap, ad, w_, w_, bl, bl, bl, bl, li, si, w_, w_, lv, sv, fl, p_,
    /* a0 */ p_, p_, __, __, p_, p_, __, __, pr, pr, w_, w_, pv, pv, p_, p_,
    /* b0 */ ap, ad, w_, w_, jc, jc, jt, jt, si, of, co, w_, sv, ov, p_, p_,
    /* c0 */ p_, p_, __, __, p_, p_, __, __, xc, xc, w_, w_, p_, p_, p_, p_,
    /* d0 */ ap, ad, w_, w_, ex, sy, br, br, li, si, w_, w_, p_, sv, p_, p_,
    /* e0 */ p_, p_, __, __, p_, p_, __, __, pr, pr, w_, w_, pv, pv, p_, p_,
    /* f0 */ ap, ad, w_, w_, p_, p_, p_, p_, si, of, co, w_, sv, ov, p_, p_,
};
/* clang-format on */

#undef __
#undef p_
#undef w_
#undef ar
#undef ap
#undef ad
#undef b_
#undef bl
#undef jc
#undef jt
#undef br
#undef ex
#undef sy
#undef li
#undef lv
#undef of
#undef ov
#undef si
#undef sv
#undef pr
#undef pv
#undef st
#undef xc
#undef co
#undef fl
#undef ve

static inline uint32_t bits(uint32_t word, unsigned low, unsigned count) {
    return word >> low & ((1u << count) - 1);
}

static inline uint64_t signed_bits(uint32_t word, unsigned low, unsigned count) {
    uint64_t top = UINT64_C(1) << (count - 1);
    return (bits(word, low, count) ^ top) - top;
}

/* Bit n: register n is written. */
static inline uint32_t reg(uint32_t word, unsigned low) {
    return 1u << bits(word, low, 5);
}

static uint32_t written(uint32_t word) {
    switch (classes[word >> 24]) {
    case WRITES:
    case ADR:
    case ADRP:
    case ADD:
        return reg(word, 0);
    case CALL26:
        return CALL_CLOBBERED;
    case REGISTER_BRANCH: /* bits 21..23: blr, blraa are 1 */
        return bits(word, 21, 2) == 1 ? CALL_CLOBBERED : 0;
    case EXCEPTION: /* svc, hvc, smc give a result in x0 */
        return bits(word, 21, 3) == 0 ? 1 : 0;
    case SYSTEM: /* mrs, sysl */
        return bits(word, 21, 1) ? reg(word, 0) : 0;
    case LITERAL:
        return bits(word, 30, 2) != 3 ? reg(word, 0) : 0;
    case OFFSET: /* bits 22..23: 0 stores; 2 of the largest size prefetches */
        return bits(word, 22, 2) == 0 || word >> 22 == 0x3e6 ? 0 : reg(word, 0);
    case SINGLE: {
        uint32_t data = bits(word, 22, 2) == 0 || (word >> 22 & 0x37f) == 0x362 ? 0 : reg(word, 0);
        if (bits(word, 24, 1)) /* ldapur, tags, memory copy */
            return bits(word, 21, 1) || bits(word, 10, 2) != 0 ? reg(word, 0) | reg(word, 5) | reg(word, 16) : data;
        if (bits(word, 21, 1)) /* atomics; register offset; pointer authentication */
            return bits(word, 10, 2) == 2 ? data : reg(word, 0) | (bits(word, 10, 2) == 3 ? reg(word, 5) : 0);
        return bits(word, 10, 1) ? data | reg(word, 5) : data; /* post- and pre-index */
    }
    case SINGLE_V:
        return !bits(word, 24, 1) && !bits(word, 21, 1) && bits(word, 10, 1) ? reg(word, 5) : 0;
    case PAIR: {
        uint32_t data = bits(word, 22, 1) ? reg(word, 0) | reg(word, 10) : 0;
        return bits(word, 23, 1) ? data | reg(word, 5) : data;
    }
    case PAIR_V:
    case STRUCTURE:
        return bits(word, 23, 1) ? reg(word, 5) : 0;
    case EXCLUSIVE:
        if (bits(word, 22, 1)) /* loads, of two registers with bit 21 */
            return reg(word, 0) | (bits(word, 21, 1) ? reg(word, 10) | reg(word, 16) : 0);
        return bits(word, 23, 1) && !bits(word, 21, 1) ? 0 : reg(word, 16); /* status; compare and swap */
    case CONDITIONAL:
        return bits(word, 21, 3) == 2 ? 0 : reg(word, 0);
    case FLOAT: /* to integer: opcodes 0, 1, 4, 5 and 6 of bits 16..18; fmov to general; fixed point */
        if (bits(word, 21, 1))
            return bits(word, 10, 6) == 0 && bits(word, 16, 3) != 2 && bits(word, 16, 3) != 3 && bits(word, 16, 3) != 7
                       ? reg(word, 0)
                       : 0;
        return bits(word, 17, 2) == 0 ? reg(word, 0) : 0;
    case VECTOR: /* copy to a general register: bits 10..15 are 0x1011 or 1111 */
        return bits(word, 21, 3) == 0 && bits(word, 10, 1) && (bits(word, 11, 5) == 5 || bits(word, 11, 5) == 7)
                   ? reg(word, 0)
                   : 0;
    default:
        return 0;
    }
}

typedef struct sweep {
    ds_sweep_state state;
    uint64_t serial;      /* of the word */
    uint32_t pages;       /* bit n: page[n] holds */
    ds_address page[32];  /* from ADRP */
    uint64_t serials[32]; /* when */
    uint64_t refs[32];    /* the ADRP's reference while it wants a partner, else NO_REF */
} sweep;

#define NO_REF UINT64_MAX

static void forget(sweep *s, uint32_t registers) {
    s->pages &= ~registers;
}

/* A reference that one word holds whole. */
static ds_status add_whole(sweep *s, ds_offset offset, ds_ref_kind kind, ds_address target) {
    return ds_sweep_known(&s->state, target) ? ds_image_add_ref(s->state.image, offset, kind, 0, target) : DS_OK;
}

/* The number of ADR and ADRP. */
static uint64_t adr_number(uint32_t word) {
    return (signed_bits(word, 5, 19) << 2) + bits(word, 29, 2);
}

static ds_status take_adrp(sweep *s, uint32_t word, ds_offset offset, ds_address place) {
    ds_address page = (place & ~(PAGE - 1)) + adr_number(word) * PAGE;
    unsigned to = bits(word, 0, 5);
    if (to == NO_REGISTER || (!ds_sweep_known(&s->state, page) && !ds_sweep_known(&s->state, page + PAGE - 1)))
        return DS_OK;
    ds_image *image = s->state.image;
    s->pages |= 1u << to;
    s->page[to] = page;
    s->serials[to] = s->serial;
    s->refs[to] = ds_found_ref_next(image);
    return ds_image_add_ref(image, offset, DS_REF_ADRP, 0, page);
}

/* A partner of the page in `base`: completes the ADRP. Zero when there is no page, or no such address. */
static ds_address pair(sweep *s, unsigned base, uint32_t distance) {
    if ((s->pages >> base & 1) == 0 || s->serial - s->serials[base] > PAIR_WINDOW || distance >= PAGE)
        return 0;
    ds_address target = s->page[base] + distance;
    if (!ds_sweep_known(&s->state, target))
        return 0;
    if (s->refs[base] != NO_REF) {
        ds_found_ref_set_target(s->state.image, s->refs[base], target);
        s->refs[base] = NO_REF;
    }
    return target;
}

static ds_status take_add(sweep *s, uint32_t word, ds_offset offset) {
    ds_address target = word >> 22 == 0x91000000u >> 22 ? pair(s, bits(word, 5, 5), bits(word, 10, 12)) : 0;
    forget(s, written(word));
    return target == 0 ? DS_OK : ds_image_add_ref(s->state.image, offset, DS_REF_LO12, 0, target);
}

static ds_status take_offset(sweep *s, uint32_t word, ds_offset offset) {
    unsigned scale = bits(word, 30, 2);
    if (bits(word, 26, 1) && bits(word, 23, 1)) /* 128-bit SIMD: size 0, opcode 2 and 3 */
        scale = 4;
    ds_address target = pair(s, bits(word, 5, 5), bits(word, 10, 12) << scale);
    forget(s, written(word));
    return target == 0 ? DS_OK : ds_image_add_ref(s->state.image, offset, DS_REF_LO12, scale, target);
}

static ds_status take(sweep *s, unsigned class_, uint32_t word, ds_offset offset, ds_address place) {
    switch (class_) {
    case ADR:
        forget(s, reg(word, 0));
        return add_whole(s, offset, DS_REF_ADR, place + adr_number(word));
    case ADRP:
        forget(s, reg(word, 0));
        return take_adrp(s, word, offset, place);
    case ADD:
        return take_add(s, word, offset);
    case OFFSET:
    case OFFSET_V:
        return take_offset(s, word, offset);
    case CALL26:
        forget(s, CALL_CLOBBERED);
        return add_whole(s, offset, DS_REF_B26, place + signed_bits(word, 0, 26) * WORD);
    case B26:
        return add_whole(s, offset, DS_REF_B26, place + signed_bits(word, 0, 26) * WORD);
    case LITERAL:
        forget(s, written(word));
        return add_whole(s, offset, DS_REF_IMM19, place + signed_bits(word, 5, 19) * WORD);
    case LITERAL_V:
    case BRANCH19:
        return add_whole(s, offset, DS_REF_IMM19, place + signed_bits(word, 5, 19) * WORD);
    case BRANCH14:
        return add_whole(s, offset, DS_REF_IMM14, place + signed_bits(word, 5, 14) * WORD);
    default:
        if (s->pages != 0)
            forget(s, written(word));
        return DS_OK;
    }
}

static ds_status sweep_chunk(sweep *s, ds_offset offset, ds_offset end) {
    const uint8_t *data = s->state.image->file.data;
    const ds_address bias = s->state.code.address - s->state.code.offset;
    forget(s, UINT32_MAX);
    offset += (0 - (bias + offset)) % WORD;
    for (; offset < end && end - offset >= WORD; offset += WORD) {
        uint32_t word = ds_load32(data + offset);
        unsigned class_ = classes[word >> 24];
        if (class_ == NOTHING)
            continue;
        s->serial++;
        ds_sweep_mark(&s->state, offset);
        DS_TRY(take(s, class_, word, offset, bias + offset));
    }
    return DS_OK;
}

static ds_status sweep_entries(sweep *s, const ds_offset *entries, uint64_t entry_count) {
    ds_offset start = s->state.code.offset, end = start + s->state.code.size;
    for (uint64_t i = 0; i < entry_count; i++) {
        if (entries[i] <= start || entries[i] >= end)
            continue;
        DS_TRY(sweep_chunk(s, start, entries[i]));
        start = entries[i];
    }
    return sweep_chunk(s, start, end);
}

ds_status ds_aarch64_sweep(ds_image *image, ds_code code, const ds_offset *entries, uint64_t entry_count) {
    sweep s = {0};
    DS_TRY(ds_sweep_open(&s.state, image, code, BYTES_PER_REFERENCE));
    return ds_sweep_close(&s.state, sweep_entries(&s, entries, entry_count));
}
