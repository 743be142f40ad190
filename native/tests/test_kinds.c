/* Reference kinds as functions: what put writes, solve reads, and no other bit of the field changes. */
#include "image/image.h"
#include "tests/check.h"

static uint64_t state = 1;

static uint64_t draw(void) { /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Numbers at the edges of fields as often as any. */
static uint64_t draw_address(void) {
    uint64_t value = draw(), shift = draw() % 64;
    switch (draw() % 4) {
    case 0:
        return value >> shift;
    case 1:
        return (UINT64_C(1) << shift) - 1 + draw() % 3;
    case 2:
        return (UINT64_C(0) - (UINT64_C(1) << shift)) - 1 + draw() % 3;
    default:
        return DS_FILE_BASE + (value & 0xffffffff);
    }
}

static uint32_t draw_aux(ds_ref_kind kind) {
    if (kind == DS_REF_LO12)
        return (uint32_t)(draw() % 5);
    return kind == DS_REF_NEXT12 || kind == DS_REF_NEXT11 ? 12 + (uint32_t)(draw() % 3) : (uint32_t)(draw() % 6);
}

/* Kinds whose field does not say the whole target, so that putting back what was solved may differ. */
static bool says_all(ds_ref_kind kind) {
    return kind != DS_REF_ADRP && kind != DS_REF_LO12 && kind != DS_REF_NEXT12 && kind != DS_REF_NEXT11;
}

static void test_kind(ds_ref_kind kind) {
    unsigned length = ds_ref_length(kind);
    uint64_t mask = ds_ref_mask(kind);
    CHECK(length >= 1 && length <= 8 && mask != 0 && (length == 8 || mask >> 8 * length == 0));
    for (unsigned n = 0; n < 4000; n++) {
        uint8_t field[16], before[16];
        for (unsigned i = 0; i < sizeof field; i++)
            field[i] = before[i] = (uint8_t)draw();
        ds_address place = draw_address(), base = draw_address(), target = draw_address();
        uint32_t aux = draw_aux(kind);
        ds_address solved = ds_ref_solve(kind, field, place, aux, base, target);
        ds_ref_put(kind, field, place, aux, base, solved);
        if (says_all(kind))
            CHECK(memcmp(field, before, sizeof field) == 0);
        ds_ref_put(kind, field, place, aux, base, target);
        for (unsigned i = 0; i < sizeof field; i++) {
            uint8_t may = i < length ? (uint8_t)(mask >> 8 * i) : 0;
            CHECK(((field[i] ^ before[i]) & ~may) == 0);
        }
        /* Written once, a field is stable: what it says, put again, is itself. (NEXT steps over page ends.) */
        if (kind == DS_REF_NEXT12 || kind == DS_REF_NEXT11)
            continue;
        memcpy(before, field, sizeof field);
        ds_ref_put(kind, field, place, aux, base, ds_ref_solve(kind, field, place, aux, base, target));
        CHECK(memcmp(field, before, sizeof field) == 0);
    }
}

#define SPACE(s) ((ds_address)(s) << 56)

/* One kind at work: eight bytes from the field's first on, before and after `target` is put. */
typedef struct worked {
    ds_ref_kind kind;
    uint64_t before;
    ds_address place;
    uint32_t aux;
    ds_address base, target;
    uint64_t after;
} worked;

/* Worked by hand from the instruction sets' manuals and from docs/spec/delta-format.md; every kind is there. */
static const worked examples[] = {
    {DS_REF_REL8, 0xeb00, 0x1001, 0, 0, 0xfff, 0xebfd},  /* two bytes back; the byte behind stays */
    {DS_REF_REL32, 0, 0x1001, 0, 0, 0x1000, 0xfffffffb}, /* call to itself: e8 fb ff ff ff */
    {DS_REF_REL32, 0, 0x1002, 1, 0, 0x2000, 0xff9},      /* cmp byte [rip + x], imm8: one byte behind the field */
    {DS_REF_PREL32, 0, 0x2010, 0, 0, 0x2000, 0xfffffff0},
    {DS_REF_BACK32, 0, 0x2014, 0, 0, 0x2000, 0x14}, /* a CIE pointer */
    {DS_REF_PREL64, 0, 0x2010, 0, 0, 0x3010, 0x1000},
    {DS_REF_ABS64, 0, SPACE(3) + 0x10, 0, 0, SPACE(3) + 0x1234, 0x1234},
    {DS_REF_ABS32, 0, SPACE(3), 0, 0, SPACE(3) + 0x1234, 0x1234},
    {DS_REF_FILE64, 0, 0, 0, 0, DS_FILE_BASE + 0x40, 0x40}, /* e_phoff */
    {DS_REF_FILE32, 0, 0, 0, 0, DS_FILE_BASE + 0x1234, 0x1234},
    {DS_REF_BASE32, 0, 0, 0, 0x2000, 0x1ff0, 0xfffffff0}, /* a jump table's entry, backwards */
    {DS_REF_BASE64, 0, 0, 0, 0x1000, 0x1010, 0x10},
    {DS_REF_SIZE32, 0, 0, 0, 0x1000, 0x10ff, 0x100}, /* 0x100 bytes */
    {DS_REF_SIZE64, 0, 0, 0, 0x1000, 0x1000, 0x1},   /* one byte */
    {DS_REF_INDEX32, 0, 0, 0, 0x1000, 0x1048, 0x3},  /* the third symbol of 24 bytes */
    {DS_REF_RELR64, 0, 0x20, 0, 0, 0x4008, 0x4008},
    {DS_REF_ULEB1, 0x80, 0, 0, 0x1000, 0x1005, 0x85}, /* a long form keeps its bit */
    {DS_REF_ULEB2, 0x80, 0, 0, 0x1000, 0x1085, 0x185},
    {DS_REF_ULEB3, 0x8080, 0, 0, 0x1000, 0x9085, 0x28185},
    {DS_REF_ULEB4, 0x808080, 0, 0, 0, 0x200000, 0x1808080},
    {DS_REF_ULEB_SIZE1, 0, 0, 0, 0x1000, 0x1004, 0x5},            /* 5 bytes */
    {DS_REF_ULEB_SIZE2, 0x80, 0, 0, 0x1000, 0x112b, 0x2ac},       /* 300 bytes: ac 02 */
    {DS_REF_ULEB_SIZE3, 0x8080, 0, 0, 0, 0x3fff, 0x18080},        /* 0x4000 */
    {DS_REF_ULEB_SIZE4, 0x808080, 0, 0, 0, 0x1fffff, 0x1808080},  /* 0x200000 */
    {DS_REF_B26, 0x94000000, 0x4000, 0, 0, 0x3ffc, 0x97ffffff},   /* bl .-4 */
    {DS_REF_IMM19, 0x54000000, 0x4000, 0, 0, 0x4008, 0x54000040}, /* b.eq .+8 */
    {DS_REF_IMM14, 0x36000000, 0x4000, 0, 0, 0x3ff8, 0x3607ffc0}, /* tbz w0, #0, .-8 */
    {DS_REF_ADR, 0x10000000, 0x4000, 0, 0, 0x4003, 0x70000000},   /* adr x0, .+3 */
    {DS_REF_ADRP, 0x90000000, 0x4ffc, 0, 0, 0x6123, 0xd0000000},  /* adrp x0, two pages on */
    {DS_REF_LO12, 0xf9400000, 0x5000, 3, 0, 0x6128, 0xf9409400},  /* ldr x0, [x0, #0x128] */
    {DS_REF_CHAIN36, 0xff00000000, 0, 0, 0x100000000, 0x100004000,
     0xf000004000}, /* the upper four bits of the fifth byte stay */
    {DS_REF_CHAIN43, 0xf80000000000, 0, 0, 0x100000000, 0x100004000, 0xf80000004000},
    {DS_REF_CHAIN32, 0, 0, 0, 0x100000000, 0x100004000, 0x4000}, /* authenticated */
    {DS_REF_NEXT12, 0x8007, 0x8006, 12, 0, 0x8010, 0x8027},      /* 16 bytes on, in steps of 4 */
    {DS_REF_NEXT12, 0, 0x8ffe, 12, 0, 0x9000, 0x0},              /* on another page: the last of this one */
    {DS_REF_NEXT11, 0xc007, 0x8006, 14, 0, 0x8010, 0xc017},      /* in steps of 8 */
    {DS_REF_BASE24, 0x1000000, 0, 0, 0x1000, 0x1234, 0x1000234}, /* the byte behind stays */
    {DS_REF_PAGE24, 0x2000000, 0, 0, 0x4000, 0x4abc, 0x2000abc},
    {DS_REF_INDEX32_4, 0, 0, 0, 0x1000, 0x1010, 0x4},
    {DS_REF_INDEX32_8, 0, 0, 0, 0x1000, 0x1010, 0x2},
    {DS_REF_INDEX32_16, 0, 0, 0, 0x1000, 0x1020, 0x2},
    {DS_REF_COUNT32_4, 0, 0, 0, 0x1000, 0x100f, 0x4},  /* 4 entries */
    {DS_REF_COUNT32_16, 0, 0, 0, 0x1000, 0x100f, 0x1}, /* one entry */
    {DS_REF_INDEX24_4, 0x80000000, 0, 0, 0x1000, 0x100c, 0x80000003},
    {DS_REF_NAME23, 0x1ff, 0, 0, 0x1000, 0x1003, 0x7ff}, /* the lower 9 bits stay */
    {DS_REF_STEP6, 0x7f, 0, 2, 0x1000, 0x100b, 0x43},    /* DW_CFA_advance_loc: 12 to 100c, in words */
    {DS_REF_STEP8, 0, 0, 0, 0x1000, 0x107f, 0x80},       /* 128 bytes */
    {DS_REF_STEP16, 0, 0, 0, 0x1000, 0x11ff, 0x200},
    {DS_REF_STEP32, 0, 0, 0, 0x1000, 0x100fff, 0x100000},
    {DS_REF_STEP_ULEB1, 0, 0, 2, 0x1000, 0x1007, 0x2},      /* 2 words */
    {DS_REF_STEP_ULEB2, 0x80, 0, 2, 0x1000, 0x17ff, 0x480}, /* 512 words */
    {DS_REF_STEP_ULEB3, 0x8080, 0, 0, 0, 0x3fff, 0x18080},
    {DS_REF_STEP_ULEB4, 0x808080, 0, 0, 0, 0x1fffff, 0x1808080},
};

static void test_examples(void) {
    bool seen[DS_REF_KINDS] = {false};
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const worked *w = &examples[i];
        uint8_t field[8];
        ds_store64(field, w->before);
        ds_ref_put(w->kind, field, w->place, w->aux, w->base, w->target);
        CHECK(ds_load64(field) == w->after);
        bool is_end = (w->kind == DS_REF_NEXT12 || w->kind == DS_REF_NEXT11) && w->after == 0;
        CHECK(is_end || ds_ref_solve(w->kind, field, w->place, w->aux, w->base, w->target) == w->target);
        seen[w->kind] = true;
    }
    for (unsigned kind = DS_REF_NONE + 1; kind < DS_REF_KINDS; kind++)
        CHECK(seen[kind]);
}

int main(void) {
    for (unsigned kind = DS_REF_NONE + 1; kind < DS_REF_KINDS; kind++)
        test_kind((ds_ref_kind)kind);
    test_examples();
    return checks_done();
}
