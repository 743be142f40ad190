/* The AArch64 sweep: worked words for every kind of reference, pairing of ADRP, what ends it. */
#include "sweep_check.h"

#define ADDRESS 0x401000u
#define NOP 0xd503201fu
#define WORDS 600u

typedef struct program {
    uint8_t bytes[4 * WORDS];
} program;

static program nops(void) {
    program p;
    for (unsigned i = 0; i < WORDS; i++)
        ds_store32(p.bytes + 4 * i, NOP);
    return p;
}

static program words(const uint32_t *first, unsigned count) {
    program p = nops();
    for (unsigned i = 0; i < count; i++)
        ds_store32(p.bytes + 4 * i, first[i]);
    return p;
}

static swept sweep_program(const program *p, const ds_offset *entries, uint64_t entry_count) {
    return sweep_bytes(ds_aarch64_sweep, (ds_span){p->bytes, sizeof p->bytes}, (ds_code){0, ADDRESS, sizeof p->bytes},
                       NULL, 0, entries, entry_count);
}

typedef struct worked {
    uint32_t word;
    uint8_t kind;
    int64_t distance; /* of the target from the word */
} worked;

/* The word stands 256 bytes into the program. */
#define AT 256u

static const worked references[] = {
    {0x14000004, DS_REF_B26, 16},         /* b */
    {0x97ffffff, DS_REF_B26, -4},         /* bl */
    {0x16000000, DS_REF_B26, -0x8000000}, /* b, furthest back */
    {0x54000080, DS_REF_IMM19, 16},       /* b.eq */
    {0x54ffffe1, DS_REF_IMM19, -4},       /* b.ne */
    {0x54000091, DS_REF_IMM19, 16},       /* bc.ne */
    {0x34000083, DS_REF_IMM19, 16},       /* cbz w3 */
    {0xb5ffff83, DS_REF_IMM19, -16},      /* cbnz x3 */
    {0x36180080, DS_REF_IMM14, 16},       /* tbz w0, #3 */
    {0xb7fffff1, DS_REF_IMM14, -4},       /* tbnz x17, #63 */
    {0x18000040, DS_REF_IMM19, 8},        /* ldr w0, literal */
    {0x58000040, DS_REF_IMM19, 8},        /* ldr x0 */
    {0x98000040, DS_REF_IMM19, 8},        /* ldrsw x0 */
    {0xd8000040, DS_REF_IMM19, 8},        /* prfm */
    {0x1c000040, DS_REF_IMM19, 8},        /* ldr s0 */
    {0x5c000040, DS_REF_IMM19, 8},        /* ldr d0 */
    {0x9c000040, DS_REF_IMM19, 8},        /* ldr q0 */
    {0x10000000, DS_REF_ADR, 0},          /* adr x0 */
    {0x70000021, DS_REF_ADR, 7},          /* adr x1 */
    {0x30ffffe2, DS_REF_ADR, -3},         /* adr x2 */
    {0x90000000, DS_REF_ADRP, -(int)AT},  /* adrp x0: the page of the word */
    {0xb0000003, DS_REF_ADRP, 4096 - (int)AT},
    {0xf0ffffe3, DS_REF_ADRP, -4096 - (int)AT},
};

/* clang-format off */
/* Instructions without a reference of their own. */
static const uint32_t plain[] = {
    NOP,        0xd65f03c0 /* ret */,  0xd61f0220 /* br x17 */, 0xd63f0000 /* blr */,  0xaa0003e1 /* mov */,
    0x91000421, 0xf9400021 /* ldr */,  0x3dc00021 /* ldr q */,  0xa9bf7bfd /* stp */,  0xd4000001 /* svc */,
    0xd53bd040, 0x0b020020 /* add */,  0x1e260000 /* fmov */,   0x4e083c00 /* umov */, 0x74000080 /* cbgt */,
    0x04e0e3e0, 0x9000001f /* adrp to the zero register */,
};

/* clang-format on */

/* Words of unallocated groups. */
static const uint32_t data[] = {0x00000000, 0x00001234, 0x02000000, 0x06000000, 0x23000000, 0xe7000000};

static void test_words(void) {
    for (unsigned i = 0; i < DS_COUNT(references); i++) {
        const worked *w = &references[i];
        program p = nops();
        ds_store32(p.bytes + AT, w->word);
        static const ds_region wide = {0, 0, UINT64_C(1) << 40, DS_REGION_NOBITS, 0};
        const ds_address far = UINT64_C(1) << 39; /* so that every distance stays inside */
        swept s = sweep_bytes(ds_aarch64_sweep, (ds_span){p.bytes, sizeof p.bytes}, (ds_code){0, far, sizeof p.bytes},
                              &wide, 1, NULL, 0);
        const ds_ref *ref = ref_at(&s, AT);
        bool right = starts_at(&s, AT) && s.image.refs.count == 1 && ref != NULL && ds_ref_kind_of(ref) == w->kind &&
                     ref->target == far + AT + (uint64_t)w->distance;
        if (!right)
            fprintf(stderr, "word %08x:\n", w->word);
        CHECK(right);
        swept_free(&s);
    }
    for (unsigned i = 0; i < DS_COUNT(plain); i++) {
        program p = words(&plain[i], 1);
        swept s = sweep_program(&p, NULL, 0);
        CHECK(s.image.refs.count == 0 && starts_at(&s, 0) && !starts_at(&s, 1) && starts_at(&s, 4));
        swept_free(&s);
    }
    for (unsigned i = 0; i < DS_COUNT(data); i++) {
        program p = words(&data[i], 1);
        swept s = sweep_program(&p, NULL, 0);
        CHECK(s.image.refs.count == 0 && !starts_at(&s, 0) && starts_at(&s, 4));
        swept_free(&s);
    }
}

static void test_bounds(void) {
    /* Targets outside the image do not count. */
    static const uint32_t far[] = {0x16000000, 0x97ffffff, 0xf0800000};
    program p = words(far, 3);
    const ds_region region = {0, ADDRESS, sizeof p.bytes, DS_REGION_CODE, 0};
    swept s = sweep_bytes(ds_aarch64_sweep, (ds_span){p.bytes, sizeof p.bytes}, (ds_code){0, ADDRESS, sizeof p.bytes},
                          &region, 1, NULL, 0);
    CHECK(s.image.refs.count == 1 && ref_at(&s, 4) != NULL);
    swept_free(&s);

    /* Words stand at addresses that are multiples of four, whatever the offset, whole in the stretch. */
    p = nops();
    memmove(p.bytes + 1, p.bytes, sizeof p.bytes - 1);
    s = sweep_bytes(ds_aarch64_sweep, (ds_span){p.bytes, 64}, (ds_code){0, ADDRESS - 1, 12}, NULL, 0, NULL, 0);
    CHECK(!starts_at(&s, 0) && starts_at(&s, 1) && starts_at(&s, 5) && !starts_at(&s, 9));
    swept_free(&s);
}

#define PAGE_REF (ADDRESS + 0x2000)
static const uint32_t adrp_x8 = 0xd0000008; /* adrp x8, PAGE_REF */

typedef struct partner {
    uint32_t word;
    uint8_t scale;
    uint16_t distance;
} partner;

static const partner partners[] = {
    {0x91048d09, 0, 0x123}, /* add x9, x8 */
    {0x91048d08, 0, 0x123}, /* add x8, x8 */
    {0x91000108, 0, 0},     /* the same, zero */
    {0x39448d09, 0, 0x123}, /* ldrb */
    {0x39c48d09, 0, 0x123}, /* ldrsb w */
    {0x39048d09, 0, 0x123}, /* strb */
    {0x79448909, 1, 0x244}, /* ldrh */
    {0xb9448909, 2, 0x488}, /* ldr w */
    {0xb9848909, 2, 0x488}, /* ldrsw */
    {0xb9048909, 2, 0x488}, /* str w */
    {0xf9448909, 3, 0x910}, /* ldr x */
    {0xf9048909, 3, 0x910}, /* str x */
    {0xf9848900, 3, 0x910}, /* prfm */
    {0x3d448d09, 0, 0x123}, /* ldr b */
    {0x7d448909, 1, 0x244}, /* ldr h */
    {0xbd448909, 2, 0x488}, /* ldr s */
    {0xfd448909, 3, 0x910}, /* ldr d */
    {0x3dc3fd09, 4, 0xff0}, /* ldr q */
    {0x3d83fd09, 4, 0xff0}, /* str q */
};

/* Words through x8 that are no partner. */
static const uint32_t strangers[] = {
    0x11048d09, /* add w9, w8 */
    0xb1048d09, /* adds */
    0x91448d09, /* add, shifted by 12 */
    0xd1048d09, /* sub */
    0xf8408109, /* ldur */
    0xf8608909, /* ldr, register offset */
    0xa9400d09, /* ldp */
    0x3dc40109, /* ldr q, at 4096: another page */
    0x91048d29, /* add x9, x9 */
};

static void test_partners(void) {
    for (unsigned i = 0; i < DS_COUNT(partners); i++) {
        const uint32_t pair[] = {adrp_x8, partners[i].word};
        program p = words(pair, 2);
        swept s = sweep_program(&p, NULL, 0);
        ds_address target = PAGE_REF + partners[i].distance;
        const ds_ref *page = ref_at(&s, 0), *low = ref_at(&s, 4);
        bool right = s.image.refs.count == 2 && page != NULL && low != NULL && ds_ref_kind_of(page) == DS_REF_ADRP &&
                     ds_ref_kind_of(low) == DS_REF_LO12 && ds_ref_aux(low) == partners[i].scale &&
                     page->target == target && low->target == target;
        if (!right)
            fprintf(stderr, "partner %08x:\n", partners[i].word);
        CHECK(right);
        check_round_trip(&s);
        swept_free(&s);
    }
    for (unsigned i = 0; i < DS_COUNT(strangers); i++) {
        const uint32_t pair[] = {adrp_x8, strangers[i]};
        program p = words(pair, 2);
        swept s = sweep_program(&p, NULL, 0);
        const ds_ref *page = ref_at(&s, 0);
        if (s.image.refs.count != 1)
            fprintf(stderr, "no partner %08x:\n", strangers[i]);
        CHECK(s.image.refs.count == 1 && page != NULL && page->target == PAGE_REF);
        swept_free(&s);
    }

    /* Two partners: the first names the ADRP's target. */
    const uint32_t twice[] = {adrp_x8, 0xf9448909, 0x91048d08};
    program p = words(twice, 3);
    swept s = sweep_program(&p, NULL, 0);
    CHECK(s.image.refs.count == 3 && ref_at(&s, 0)->target == PAGE_REF + 0x910);
    CHECK(ref_at(&s, 4)->target == PAGE_REF + 0x910 && ref_at(&s, 8)->target == PAGE_REF + 0x123);
    swept_free(&s);

    /* A second ADRP takes the register over; two registers do not mix. */
    const uint32_t two[] = {adrp_x8, 0xf0000008, 0xd0000007, 0xf9448909, 0x910490e7};
    p = words(two, 5);
    s = sweep_program(&p, NULL, 0);
    CHECK(ref_at(&s, 0)->target == PAGE_REF && ref_at(&s, 4)->target == ADDRESS + 0x3910);
    CHECK(ref_at(&s, 8)->target == PAGE_REF + 0x124 && ref_at(&s, 16)->target == PAGE_REF + 0x124);
    swept_free(&s);
}

/* Whether the partner still finds the ADRP with `between` between them. */
static bool pairs_across(uint32_t between) {
    const uint32_t three[] = {adrp_x8, between, 0x91048d09};
    program p = words(three, 3);
    swept s = sweep_program(&p, NULL, 0);
    bool paired = ref_at(&s, 8) != NULL;
    swept_free(&s);
    return paired;
}

/* Words that write x8. */
static const uint32_t writers[] = {
    0xaa0003e8, /* mov x8, x0 */
    0xd2800028, /* mov x8, #1 */
    0x92400008, /* and x8, x0, #1 */
    0xd3410008, /* ubfx */
    0x93c00808, /* extr */
    0x8b000028, /* add x8, x1, x0 */
    0x9b007c28, /* mul */
    0x9a800028, /* csel */
    0xdac01008, /* clz */
    0x91000028, /* add x8, x1, #0 */
    0x10000008, /* adr x8 */
    0x58000048, /* ldr x8, literal */
    0xf9400028, /* ldr x8, [x1] */
    0xf8408428, /* ldr x8, [x1], #8 */
    0xf8408509, /* ldr x9, [x8], #8 */
    0xf8008d09, /* str x9, [x8, #8]! */
    0xfc008509, /* str d9, [x8], #8 */
    0xf8606828, /* ldr x8, [x1, x0] */
    0xa9402428, /* ldp x8, x9, [x1] */
    0xa9402029, /* ldp x9, x8, [x1] */
    0xa8c10909, /* ldp x9, x2, [x8], #16 */
    0xa9bf0909, /* stp x9, x2, [x8, #-16]! */
    0x6cc10909, /* ldp d9, d2, [x8], #16 */
    0x0cdf7109, /* ld1 {v9.8b}, [x8], #8 */
    0xc85f7c28, /* ldxr x8, [x1] */
    0xc8087c29, /* stxr w8, x9, [x1] */
    0xc8df7c28, /* ldar x8 */
    0xc8a87c29, /* cas x8, x9, [x1] */
    0xf8200028, /* ldadd x0, x8, [x1] */
    0xd53bd048, /* mrs x8, tpidr_el0 */
    0x9e660008, /* fmov x8, d0 */
    0x9e780008, /* fcvtzs x8, d0 */
    0x9e58fc08, /* fcvtzs x8, d0, #1 */
    0x4e083c08, /* umov x8, v0.d[0] */
    0x0e012c08, /* smov w8, v0.b[0] */
    0x94000002, /* bl: x0 to x18 */
    0xd63f0020, /* blr x1 */
    0xd73f0820, /* blraa x1, x0 */
};

/* Words that name x8 in the lowest bits or elsewhere, and do not write it. */
static const uint32_t readers[] = {
    NOP,        0xf9000028, /* str x8, [x1] */
    0xf8008428,             /* str x8, [x1], #8 */
    0xa9002428,             /* stp x8, x9, [x1] */
    0xf9800028,             /* prfm #8, [x1] */
    0xd8000048,             /* prfm #8, literal */
    0xf8a06828,             /* prfm #8, [x1, x0] */
    0x3dc00028,             /* ldr q8, [x1] */
    0x4e201c08,             /* and v8.16b */
    0x1e604008,             /* fmov d8, d0 */
    0x9e670008,             /* fmov d8, x0 */
    0x9e620008,             /* scvtf d8, x0 */
    0x9e42fc08,             /* scvtf d8, x0, #1 */
    0xfa401808,             /* ccmp */
    0x54000048,             /* b.hi */
    0xb4000048,             /* cbz x8 */
    0x37000048,             /* tbnz w8 */
    0xc8887c29,             /* a store-release through x1 of x9 */
    0xd51bd048,             /* msr tpidr_el0, x8 */
    0xd61f0100,             /* br x8 */
    0xd65f03c0,             /* ret */
    0x4e081d08,             /* mov v8.d[0], x8 */
    0xd4000001,             /* svc: x0 only */
};

static void test_ends(void) {
    for (unsigned i = 0; i < DS_COUNT(writers); i++) {
        if (pairs_across(writers[i]))
            fprintf(stderr, "writer %08x:\n", writers[i]);
        CHECK(!pairs_across(writers[i]));
    }
    for (unsigned i = 0; i < DS_COUNT(readers); i++) {
        if (!pairs_across(readers[i]))
            fprintf(stderr, "reader %08x:\n", readers[i]);
        CHECK(pairs_across(readers[i]));
    }

    /* x19 outlives a call. */
    const uint32_t kept[] = {0xd0000013, 0x94000002, 0x91048e69};
    program p = words(kept, 3);
    swept s = sweep_program(&p, NULL, 0);
    CHECK(ref_at(&s, 8) != NULL && ds_ref_kind_of(ref_at(&s, 8)) == DS_REF_LO12);
    swept_free(&s);

    /* 256 words are near enough, 257 are not. */
    for (unsigned distance = 256; distance <= 257; distance++) {
        p = nops();
        ds_store32(p.bytes, adrp_x8);
        ds_store32(p.bytes + (size_t)4 * distance, 0x91048d09);
        s = sweep_program(&p, NULL, 0);
        CHECK(s.image.refs.count == (distance == 256 ? 2 : 1));
        swept_free(&s);
    }

    /* An entry parts them. */
    const uint32_t pair[] = {adrp_x8, 0x91048d09};
    const ds_offset entry = 4;
    p = words(pair, 2);
    s = sweep_program(&p, &entry, 1);
    CHECK(s.image.refs.count == 1);
    swept_free(&s);
}

int main(void) {
    test_words();
    test_bounds();
    test_partners();
    test_ends();
    static const uint8_t salt[] = {0x90, 0xb0, 0x91, 0xf9, 0x14, 0x94, 0x54, 0x36, 0x58, 0x10, 0x08, 0x00, 0x01};
    check_random(ds_aarch64_sweep, salt, DS_COUNT(salt), 4000);
    return checks_done();
}
