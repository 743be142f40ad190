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

static uint32_t put32(ds_ref_kind kind, uint32_t bits, ds_address place, uint32_t aux, ds_address base,
                      ds_address target) {
    uint8_t field[4];
    ds_store32(field, bits);
    ds_ref_put(kind, field, place, aux, base, target);
    CHECK(ds_ref_solve(kind, field, place, aux, base, target) == target);
    return ds_load32(field);
}

/* Worked by hand from the instruction set's manual and from docs/spec/delta-format.md. */
static void test_examples(void) {
    CHECK(put32(DS_REF_REL32, 0, 0x1001, 0, 0, 0x1000) == 0xfffffffb);          /* call to itself: e8 fb ff ff ff */
    CHECK(put32(DS_REF_B26, 0x94000000, 0x4000, 0, 0, 0x3ffc) == 0x97ffffff);   /* bl .-4 */
    CHECK(put32(DS_REF_IMM19, 0x54000000, 0x4000, 0, 0, 0x4008) == 0x54000040); /* b.eq .+8 */
    CHECK(put32(DS_REF_IMM14, 0x36000000, 0x4000, 0, 0, 0x3ff8) == 0x3607ffc0); /* tbz w0, #0, .-8 */
    CHECK(put32(DS_REF_ADR, 0x10000000, 0x4000, 0, 0, 0x4003) == 0x70000000);   /* adr x0, .+3 */
    CHECK(put32(DS_REF_ADRP, 0x90000000, 0x4ffc, 0, 0, 0x6123) == 0xd0000000);  /* adrp x0, two pages on */
    CHECK(put32(DS_REF_LO12, 0xf9400000, 0x5000, 3, 0, 0x6128) == 0xf9409400);  /* ldr x0, [x0, #0x128] */
    CHECK(put32(DS_REF_BACK32, 0, 0x2014, 0, 0, 0x2000) == 0x14);
    CHECK(put32(DS_REF_SIZE32, 0, 0, 0, 0x1000, 0x10ff) == 0x100);
    CHECK(put32(DS_REF_INDEX32, 0, 0, 0, 0x1000, 0x1048) == 3);
    CHECK(put32(DS_REF_ABS32, 0, UINT64_C(3) << 56, 0, 0, (UINT64_C(3) << 56) + 0x1234) == 0x1234);
    CHECK(put32(DS_REF_FILE32, 0, 0, 0, 0, DS_FILE_BASE + 0x1234) == 0x1234);
    CHECK(put32(DS_REF_ULEB2, 0x00000080, 0, 0, 0x1000, 0x1085) == 0x00000185);
    CHECK(put32(DS_REF_STEP6, 0x7f, 0, 2, 0x1000, 0x100b) == 0x43); /* DW_CFA_advance_loc: 12 to 100c, in words */
    CHECK(put32(DS_REF_STEP16, 0, 0, 0, 0x1000, 0x11ff) == 0x200);
    CHECK(put32(DS_REF_STEP_ULEB2, 0x80, 0, 2, 0x1000, 0x17ff) == 0x480); /* 512 words */
    CHECK(put32(DS_REF_NAME23, 0x1ff, 0, 0, 0x1000, 0x1003) == 0x7ff);
}

int main(void) {
    for (unsigned kind = DS_REF_NONE + 1; kind < DS_REF_KINDS; kind++)
        test_kind((ds_ref_kind)kind);
    test_examples();
    return checks_done();
}
