/* The x86-64 sweep: worked bytes for every form of an instruction, references, entries, jump tables. */
#include "sweep_check.h"

#define ADDRESS 0x401000u
#define FILLER 0x90 /* nop: an instruction start at every byte */
#define SLOT 64u

typedef struct worked {
    const char *hex;
    uint8_t kind;  /* of the reference in it */
    uint8_t field; /* where that stands */
    uint8_t aux;
    int64_t distance; /* of the target from the instruction's end */
} worked;

/* clang-format off */
/* Valid instructions; the length is that of the text. */
static const worked instructions[] = {
    /* no operand, ModR/M in all its shapes */
    {"90", 0, 0, 0, 0},                                   /* nop */
    {"c3", 0, 0, 0, 0},                                   /* ret */
    {"55", 0, 0, 0, 0},                                   /* push rbp */
    {"4155", 0, 0, 0, 0},                                 /* push r13 */
    {"4889e5", 0, 0, 0, 0},                               /* mov rbp, rsp */
    {"8b00", 0, 0, 0, 0},                                 /* mov eax, [rax] */
    {"8b0424", 0, 0, 0, 0},                               /* mov eax, [rsp] */
    {"8b042511223344", 0, 0, 0, 0},                       /* mov eax, [0x44332211] */
    {"8b04c511223344", 0, 0, 0, 0},                       /* mov eax, [rax*8 + 0x44332211] */
    {"8b4500", 0, 0, 0, 0},                               /* mov eax, [rbp] */
    {"8b442508", 0, 0, 0, 0},                             /* mov eax, [rbp + 8], with SIB */
    {"8b8011223344", 0, 0, 0, 0},                         /* mov eax, [rax + 0x44332211] */
    {"8b842411223344", 0, 0, 0, 0},                       /* mov eax, [rsp + 0x44332211] */
    {"67458b18", 0, 0, 0, 0},                             /* mov r11d, [r8d] */
    {"64488b042528000000", 0, 0, 0, 0},                   /* mov rax, fs:[0x28] */
    {"6666662e0f1f840000000000", 0, 0, 0, 0},             /* nop */
    {"8d7500", 0, 0, 0, 0},                               /* lea esi, [rbp] */
    {"8f00", 0, 0, 0, 0},                                 /* pop [rax] */
    {"d9c0", 0, 0, 0, 0},                                 /* fld st(0) */
    {"0f01c8", 0, 0, 0, 0},                               /* monitor */
    {"0f05", 0, 0, 0, 0},                                 /* syscall */
    {"0f0b", 0, 0, 0, 0},                                 /* ud2 */
    {"0fb900", 0, 0, 0, 0},                               /* ud1 */
    {"0fa2", 0, 0, 0, 0},                                 /* cpuid */
    {"0fc8", 0, 0, 0, 0},                                 /* bswap */
    {"0f2000", 0, 0, 0, 0},                               /* mov rax, cr0: mod has no meaning */
    {"0f2044", 0, 0, 0, 0},                               /* mov rsp, cr0 */
    {"f30f1efa", 0, 0, 0, 0},                             /* endbr64 */
    {"f30fb8c1", 0, 0, 0, 0},                             /* popcnt */
    {"f348a5", 0, 0, 0, 0},                               /* rep movsq */
    {"f0480fb10a", 0, 0, 0, 0},                           /* lock cmpxchg [rdx], rcx */
    {"ffe0", 0, 0, 0, 0},                                 /* jmp rax */
    {"3effe0", 0, 0, 0, 0},                               /* notrack jmp rax */
    {"ff18", 0, 0, 0, 0},                                 /* call far [rax] */
    /* immediates */
    {"04ff", 0, 0, 0, 0},                                 /* add al, imm8 */
    {"0511223344", 0, 0, 0, 0},                           /* add eax, imm32 */
    {"66051122", 0, 0, 0, 0},                             /* add ax, imm16 */
    {"480511223344", 0, 0, 0, 0},                         /* add rax, imm32 */
    {"66480511223344", 0, 0, 0, 0},                       /* REX.W overrides 66 */
    {"4866051122", 0, 0, 0, 0},                           /* a REX before a prefix is void */
    {"6a11", 0, 0, 0, 0},                                 /* push imm8 */
    {"6811223344", 0, 0, 0, 0},                           /* push imm32 */
    {"66681122", 0, 0, 0, 0},                             /* push imm16 */
    {"69c011223344", 0, 0, 0, 0},                         /* imul eax, eax, imm32 */
    {"6bc011", 0, 0, 0, 0},                               /* imul eax, eax, imm8 */
    {"80f911", 0, 0, 0, 0},                               /* cmp cl, imm8 */
    {"81f911223344", 0, 0, 0, 0},                         /* cmp ecx, imm32 */
    {"6681f91122", 0, 0, 0, 0},                           /* cmp cx, imm16 */
    {"83c411", 0, 0, 0, 0},                               /* add esp, imm8 */
    {"b011", 0, 0, 0, 0},                                 /* mov al, imm8 */
    {"b811223344", 0, 0, 0, 0},                           /* mov eax, imm32 */
    {"66b81122", 0, 0, 0, 0},                             /* mov ax, imm16 */
    {"48b81122334455667788", 0, 0, 0, 0},                 /* mov rax, imm64 */
    {"6648b81122334455667788", 0, 0, 0, 0},               /* the same */
    {"a01122334455667788", 0, 0, 0, 0},                   /* mov al, moffs64 */
    {"48a31122334455667788", 0, 0, 0, 0},                 /* mov moffs64, rax */
    {"67a111223344", 0, 0, 0, 0},                         /* mov eax, moffs32 */
    {"a811", 0, 0, 0, 0},                                 /* test al, imm8 */
    {"a911223344", 0, 0, 0, 0},                           /* test eax, imm32 */
    {"c1e004", 0, 0, 0, 0},                               /* shl eax, imm8 */
    {"c21100", 0, 0, 0, 0},                               /* ret imm16 */
    {"c6450011", 0, 0, 0, 0},                             /* mov byte [rbp], imm8 */
    {"c7450011223344", 0, 0, 0, 0},                       /* mov dword [rbp], imm32 */
    {"66c745001122", 0, 0, 0, 0},                         /* mov word [rbp], imm16 */
    {"c8112233", 0, 0, 0, 0},                             /* enter imm16, imm8 */
    {"cd80", 0, 0, 0, 0},                                 /* int imm8 */
    {"e511", 0, 0, 0, 0},                                 /* in eax, imm8 */
    {"c6f811", 0, 0, 0, 0},                               /* xabort imm8 */
    /* group 3: only test has an immediate */
    {"f6c011", 0, 0, 0, 0},                               /* test al, imm8 */
    {"f6c811", 0, 0, 0, 0},                               /* the same */
    {"f6d0", 0, 0, 0, 0},                                 /* not al */
    {"f7c011223344", 0, 0, 0, 0},                         /* test eax, imm32 */
    {"66f7c01122", 0, 0, 0, 0},                           /* test ax, imm16 */
    {"48f7c011223344", 0, 0, 0, 0},                       /* test rax, imm32 */
    {"f7d8", 0, 0, 0, 0},                                 /* neg eax */
    {"48f7f9", 0, 0, 0, 0},                               /* idiv rcx */
    {"f745f811223344", 0, 0, 0, 0},                       /* test dword [rbp - 8], imm32 */
    /* further maps */
    {"0f70c011", 0, 0, 0, 0},                             /* pshufw mm0, mm0, imm8 */
    {"660f71d011", 0, 0, 0, 0},                           /* psrlw xmm0, imm8 */
    {"0fa4c011", 0, 0, 0, 0},                             /* shld eax, eax, imm8 */
    {"0fbae011", 0, 0, 0, 0},                             /* bt eax, imm8 */
    {"0fc2c001", 0, 0, 0, 0},                             /* cmpltps */
    {"660fc5c001", 0, 0, 0, 0},                           /* pextrw */
    {"660f78c01122", 0, 0, 0, 0},                         /* extrq xmm0, imm8, imm8 */
    {"f20f78c11122", 0, 0, 0, 0},                         /* insertq */
    {"0f7800", 0, 0, 0, 0},                               /* vmread */
    {"660f3800c1", 0, 0, 0, 0},                           /* pshufb */
    {"0f38f000", 0, 0, 0, 0},                             /* movbe */
    {"660f3a0fc111", 0, 0, 0, 0},                         /* palignr */
    {"f3480fa7c0", 0, 0, 0, 0},                           /* xstore (PadLock) */
    /* VEX */
    {"c5f877", 0, 0, 0, 0},                               /* vzeroupper */
    {"c5fc28c1", 0, 0, 0, 0},                             /* vmovaps */
    {"c5f970c111", 0, 0, 0, 0},                           /* vpshufd imm8 */
    {"c5f8c2c111", 0, 0, 0, 0},                           /* vcmpps imm8 */
    {"c5f1c4c011", 0, 0, 0, 0},                           /* vpinsrw imm8 */
    {"c5f8c6c111", 0, 0, 0, 0},                           /* vshufps imm8 */
    {"c4e27118c0", 0, 0, 0, 0},                           /* third map: no immediate */
    {"c4e3790fc011", 0, 0, 0, 0},                         /* fourth map: imm8 */
    {"c4e3fbf0c011", 0, 0, 0, 0},                         /* rorx */
    {"c4e178104424f8", 0, 0, 0, 0},                       /* vmovups [rsp - 8] */
    /* EVEX */
    {"62f17c481000", 0, 0, 0, 0},                         /* vmovups zmm0, [rax] */
    {"62f17c48104001", 0, 0, 0, 0},                       /* vmovups zmm0, [rax + 64]: disp8 */
    {"62f17c4810842411223344", 0, 0, 0, 0},               /* vmovups zmm0, [rsp + disp32] */
    {"62f17d4870c111", 0, 0, 0, 0},                       /* vpshufd imm8 */
    {"62f17d4872e111", 0, 0, 0, 0},                       /* vpsrad imm8 */
    {"62f17c48c2c911", 0, 0, 0, 0},                       /* vcmpps k1, imm8 */
    {"62f27d4858c0", 0, 0, 0, 0},                         /* vpbroadcastd */
    {"62f37d481fc111", 0, 0, 0, 0},                       /* fourth map: imm8 */
    {"62f57c4858c1", 0, 0, 0, 0},                         /* vaddph, map 5 */
    {"62f67d4898c1", 0, 0, 0, 0},                         /* vfmadd132ph, map 6 */
    /* XOP */
    {"8fe978c0c0", 0, 0, 0, 0},                           /* vpshlb (map 9): no immediate */
    {"8fe878c0c011", 0, 0, 0, 0},                         /* vprotb imm8 (map 8) */
    {"8fea7810c011223344", 0, 0, 0, 0},                   /* bextr imm32 (map 10) */
    {"8fe878c2051100000007", DS_REF_REL32, 5, 1, 0x11},   /* vprotd [rip] */
    /* branches */
    {"7480", DS_REF_REL8, 1, 0, -0x80},                   /* je */
    {"eb70", DS_REF_REL8, 1, 0, 0x70},                    /* jmp */
    {"e2fe", DS_REF_REL8, 1, 0, -2},                      /* loop */
    {"e310", DS_REF_REL8, 1, 0, 0x10},                    /* jrcxz */
    {"67e310", DS_REF_REL8, 2, 0, 0x10},                  /* jecxz */
    {"3e7410", DS_REF_REL8, 2, 0, 0x10},                  /* je, taken */
    {"e800000100", DS_REF_REL32, 1, 0, 0x10000},          /* call */
    {"67e800000100", DS_REF_REL32, 2, 0, 0x10000},        /* call, as linkers pad it */
    {"666648e800000100", DS_REF_REL32, 4, 0, 0x10000},    /* call in a thread-local sequence */
    {"66e800000100", DS_REF_REL32, 2, 0, 0x10000},        /* 66 does not shorten it */
    {"f2e800000100", DS_REF_REL32, 2, 0, 0x10000},        /* bnd call */
    {"e9fcffffff", DS_REF_REL32, 1, 0, -4},               /* jmp */
    {"0f84ffffffff", DS_REF_REL32, 2, 0, -1},             /* je */
    {"2e0f8500010000", DS_REF_REL32, 3, 0, 0x100},        /* jne, not taken */
    {"c7f800010000", DS_REF_REL32, 2, 0, 0x100},          /* xbegin */
    {"66c7f80001", 0, 0, 0, 0},                           /* xbegin, 16 bits: no kind for it */
    /* rip-relative operands, and the bytes behind the field */
    {"8b0511000000", DS_REF_REL32, 2, 0, 0x11},           /* mov eax, [rip + 0x11] */
    {"488d3d11000000", DS_REF_REL32, 3, 0, 0x11},         /* lea */
    {"833d1100000001", DS_REF_REL32, 2, 1, 0x11},         /* cmp dword [rip], imm8 */
    {"c7051100000001020304", DS_REF_REL32, 2, 4, 0x11},   /* mov dword [rip], imm32 */
    {"66c705110000000102", DS_REF_REL32, 3, 2, 0x11},     /* mov word [rip], imm16 */
    {"48f7051100000001020304", DS_REF_REL32, 3, 4, 0x11}, /* test qword [rip], imm32 */
    {"f61d11000000", DS_REF_REL32, 2, 0, 0x11},           /* neg byte [rip] */
    {"ff1511000000", DS_REF_REL32, 2, 0, 0x11},           /* call [rip] */
    {"f2ff2511000000", DS_REF_REL32, 3, 0, 0x11},         /* bnd jmp [rip] */
    {"660f6f0511000000", DS_REF_REL32, 4, 0, 0x11},       /* movdqa */
    {"660f3a0f051100000001", DS_REF_REL32, 5, 1, 0x11},   /* palignr */
    {"c5fa100511000000", DS_REF_REL32, 4, 0, 0x11},       /* vmovss */
    {"c4e379611511000000ff", DS_REF_REL32, 5, 1, 0x11},   /* vpcmpestri */
    {"62f17c48280511000000", DS_REF_REL32, 6, 0, 0x11},   /* vmovaps zmm0 */
    {"62f37d48251511000000ff", DS_REF_REL32, 6, 1, 0x11}, /* vpternlogd */
    {"678b0511000000", 0, 0, 0, 0},                       /* [eip + 0x11] */
};

/* clang-format on */

/* No instruction begins at the first byte. */
static const char *const invalid[] = {
    "06",           "0f04",         "0f0f0000",   "0f24c0",   "27",         "60",       "62f87c481000",
    "62f178481000", "62f07c481000", "82c011",     "8dc0",     "8feb7800c0", "8f10",     "668fe978c0c0",
    "9a",           "c4e07800c0",   "c4e47800c0", "66c5f877", "48c5f877",   "f0c5f877", "f362f17c4810",
    "c6c811",       "c7d000",       "ce",         "d400",     "d6",         "ea",       "fed0",
    "ffd8",         "ffe8",         "fff8",       "ff38",
};

static unsigned unhex(const char *text, uint8_t *out) {
    unsigned count = 0;
    for (; text[0] != 0; text += 2, count++) {
        char pair[3] = {text[0], text[1], 0};
        out[count] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return count;
}

static swept sweep_all(const uint8_t *bytes, uint64_t size) {
    return sweep_bytes(ds_x86_64_sweep, (ds_span){bytes, size}, (ds_code){0, ADDRESS, size}, NULL, 0, NULL, 0);
}

static void check_worked(const worked *w) {
    uint8_t bytes[4 * SLOT];
    memset(bytes, FILLER, sizeof bytes);
    unsigned at = 2 * SLOT, length = unhex(w->hex, bytes + at);
    swept s = sweep_all(bytes, sizeof bytes);
    bool right = starts_at(&s, at) && s.image.refs.count == (w->kind != 0);
    for (unsigned i = 1; i < 20; i++)
        right = right && starts_at(&s, at + i) == (i >= length);
    if (right && w->kind != 0) {
        const ds_ref *ref = ref_at(&s, at + w->field);
        right = ref != NULL && ds_ref_kind_of(ref) == w->kind && ds_ref_aux(ref) == w->aux &&
                ref->target == ADDRESS + at + length + (uint64_t)w->distance;
    }
    if (!right)
        fprintf(stderr, "instruction %s:\n", w->hex);
    CHECK(right);
    check_round_trip(&s);
    swept_free(&s);
}

static void check_invalid(const char *hex) {
    uint8_t bytes[SLOT];
    memset(bytes, FILLER, sizeof bytes);
    unhex(hex, bytes);
    swept s = sweep_all(bytes, sizeof bytes);
    if (starts_at(&s, 0))
        fprintf(stderr, "instruction %s:\n", hex);
    CHECK(!starts_at(&s, 0));
    swept_free(&s);
}

static void test_limits(void) {
    /* Fifteen bytes are an instruction, sixteen are not. */
    uint8_t bytes[SLOT];
    memset(bytes, FILLER, sizeof bytes);
    memset(bytes, 0x66, 14);
    swept s = sweep_all(bytes, sizeof bytes);
    CHECK(starts_at(&s, 0) && !starts_at(&s, 14) && starts_at(&s, 15));
    swept_free(&s);
    memset(bytes, 0x66, 15);
    s = sweep_all(bytes, sizeof bytes);
    CHECK(!starts_at(&s, 0) && starts_at(&s, 1) && starts_at(&s, 16));
    swept_free(&s);

    /* An instruction that the stretch cuts is none; nor is one that an entry cuts, and decoding starts there. */
    static const uint8_t call[] = {0x90, 0xe8, 0x0f, 0x05, 0x00, 0x00, 0x90, 0x90};
    s = sweep_bytes(ds_x86_64_sweep, (ds_span){call, sizeof call}, (ds_code){0, ADDRESS, 5}, NULL, 0, NULL, 0);
    CHECK(!starts_at(&s, 1) && starts_at(&s, 2) && s.image.refs.count == 0);
    swept_free(&s);
    ds_offset entry = 4;
    s = sweep_bytes(ds_x86_64_sweep, (ds_span){call, sizeof call}, (ds_code){0, ADDRESS, 8}, NULL, 0, &entry, 1);
    CHECK(starts_at(&s, 0) && !starts_at(&s, 1) && starts_at(&s, 2) && starts_at(&s, 4) && s.image.refs.count == 0);
    swept_free(&s);

    /* Only targets inside the image count; short branches stay in the stretch. */
    static const uint8_t far[] = {0xe8, 0x00, 0x00, 0x00, 0x10, 0xe8, 0x00, 0x00, 0x00, 0x00, 0xeb, 0x7f, 0xeb, 0xfe};
    const ds_region region = {0, ADDRESS, sizeof far, DS_REGION_CODE, 0};
    s = sweep_bytes(ds_x86_64_sweep, (ds_span){far, sizeof far}, (ds_code){0, ADDRESS, sizeof far}, &region, 1, NULL,
                    0);
    CHECK(s.image.refs.count == 2 && ref_at(&s, 6) != NULL && ref_at(&s, 13) != NULL);
    swept_free(&s);
}

/* lea rbx, [rip + table]; movsxd rax, [rbx + rcx*4]; add rax, rbx; jmp rax; nops */
#define LEA_FIELD 3u
#define LOAD 7u
static const uint8_t dispatch[] = {0x48, 0x8d, 0x1d, 0, 0, 0, 0, 0x48, 0x63, 0x04, 0x8b, 0x48, 0x01, 0xd8, 0xff, 0xe0};
#define CASES sizeof dispatch /* nops from here on */

#define CODE_SIZE 256u
#define TABLE 256u /* offset and distance from the code's start */
#define FILE_SIZE 512u

typedef struct program {
    uint8_t bytes[FILE_SIZE];
} program;

static program make_program(uint32_t table, uint32_t base) {
    program p;
    memset(p.bytes, FILLER, CODE_SIZE);
    memset(p.bytes + CODE_SIZE, 0xee, FILE_SIZE - CODE_SIZE);
    memcpy(p.bytes, dispatch, sizeof dispatch);
    ds_store32(p.bytes + LEA_FIELD, table - (LEA_FIELD + 4));
    for (unsigned i = 0; i < 5; i++)
        ds_store32(p.bytes + base + 4 * i, (uint32_t)CASES + i - base);
    return p;
}

static swept sweep_program(const program *p, const ds_offset *entries, uint64_t entry_count) {
    static const ds_region regions[] = {
        {0, ADDRESS, CODE_SIZE, DS_REGION_CODE, 0},
        {CODE_SIZE, ADDRESS + TABLE, FILE_SIZE - CODE_SIZE, DS_REGION_DATA, 0},
    };
    return sweep_bytes(ds_x86_64_sweep, (ds_span){p->bytes, FILE_SIZE}, (ds_code){0, ADDRESS, CODE_SIZE}, regions, 2,
                       entries, entry_count);
}

static unsigned table_entries(const swept *s, ds_offset table) {
    unsigned count = 0;
    for (const ds_ref *ref; (ref = ref_at(s, table + 4 * count)) != NULL; count++) {
        CHECK(ds_ref_kind_of(ref) == DS_REF_BASE32);
        CHECK(ds_ref_base(&s->image, ref) == ADDRESS + table);
        CHECK(ref->target == ADDRESS + CASES + count);
    }
    return count;
}

static unsigned count_program(const program *p) {
    swept s = sweep_program(p, NULL, 0);
    unsigned count = table_entries(&s, TABLE);
    check_round_trip(&s);
    swept_free(&s);
    return count;
}

static void test_tables(void) {
    /* Five cases, then bytes that are no case. */
    program p = make_program(TABLE, TABLE);
    CHECK(count_program(&p) == 5);

    /* The next address that code names ends the table: lea rdx, [rip + TABLE + 12]. */
    static const uint8_t lea[] = {0x48, 0x8d, 0x15};
    memcpy(p.bytes + 100, lea, sizeof lea);
    ds_store32(p.bytes + 103, TABLE + 12 - 107);
    CHECK(count_program(&p) == 3);

    /* So does an entry that names no start of an instruction: here the middle of the movsxd. */
    p = make_program(TABLE, TABLE);
    ds_store32(p.bytes + TABLE + 4, LOAD + 1 - TABLE);
    CHECK(count_program(&p) == 1);

    /* A load of other scale, through another register, or too far from the lea is none of a table. */
    p = make_program(TABLE, TABLE);
    p.bytes[LOAD + 3] = 0x4b;
    CHECK(count_program(&p) == 0);
    p.bytes[LOAD + 3] = 0x8a;
    CHECK(count_program(&p) == 0);
    for (unsigned distance = 39; distance <= 41; distance++) {
        p = make_program(TABLE, TABLE);
        memset(p.bytes + LOAD, FILLER, sizeof dispatch - LOAD);
        memcpy(p.bytes + LOAD + distance - 1, dispatch + LOAD, 4);
        CHECK(count_program(&p) == (distance <= 40 ? 5 : 0));
    }

    /* An entry between lea and load parts them. */
    p = make_program(TABLE, TABLE);
    const ds_offset at_load = LOAD;
    swept s = sweep_program(&p, &at_load, 1);
    CHECK(table_entries(&s, TABLE) == 0);
    swept_free(&s);

    /* A table in the function is read when the sweep comes to it, and is not code. */
    p = make_program(128, 128);
    memset(p.bytes + 148, 0xc3, 8);
    s = sweep_program(&p, NULL, 0);
    CHECK(table_entries(&s, 128) == 5);
    for (unsigned i = 128; i < 148; i++)
        CHECK(!starts_at(&s, i));
    CHECK(starts_at(&s, 127) && starts_at(&s, 148) && starts_at(&s, 149));
    swept_free(&s);

    /* One whose address is not a multiple of four, or that lies in the load itself, is not read. */
    p = make_program(TABLE + 2, TABLE + 2);
    s = sweep_program(&p, NULL, 0);
    CHECK(table_entries(&s, TABLE + 2) == 0);
    swept_free(&s);
    p = make_program(8, TABLE);
    s = sweep_program(&p, NULL, 0);
    CHECK(starts_at(&s, LOAD) && starts_at(&s, LOAD + 4) && ref_at(&s, 8) == NULL);
    swept_free(&s);
}

/* More tables in one function than are looked out for, one behind the other, named from high to low: the
 * first to be noted are read, the rest is code, and nothing is read twice. */
static void test_many_tables(void) {
    enum { LOADS = 100, PART = 16, END = LOADS * PART + 4 * LOADS };
    static uint8_t bytes[END];
    memset(bytes, FILLER, sizeof bytes);
    for (uint32_t i = 0; i < LOADS; i++) {
        uint32_t part = i * PART, table = LOADS * PART + 4 * (LOADS - 1 - i);
        memcpy(bytes + part, dispatch, 11);
        ds_store32(bytes + part + LEA_FIELD, table - (part + LEA_FIELD + 4));
        ds_store32(bytes + table, part - table);
    }
    swept s = sweep_all(bytes, sizeof bytes);
    check_round_trip(&s);
    unsigned entries = 0;
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_refs_all(&cursor, &s.image);
    while (ds_refs_next(&cursor, &ref))
        entries += ds_ref_kind_of(&ref) == DS_REF_BASE32;
    CHECK(entries == 32);
    CHECK(ref_at(&s, END - 4) != NULL && !starts_at(&s, END - 4));
    swept_free(&s);
}

int main(void) {
    for (unsigned i = 0; i < DS_COUNT(instructions); i++)
        check_worked(&instructions[i]);
    for (unsigned i = 0; i < DS_COUNT(invalid); i++)
        check_invalid(invalid[i]);
    test_limits();
    test_tables();
    test_many_tables();
    static const uint8_t salt[] = {0x66, 0xf2, 0x48, 0x4c, 0x0f, 0x38, 0x3a, 0xc4, 0xc5, 0x62, 0xe8, 0x8d,
                                   0x05, 0x0d, 0x63, 0x04, 0x81, 0x88, 0x00, 0x00, 0xff, 0xf7, 0x74};
    check_random(ds_x86_64_sweep, salt, DS_COUNT(salt), 4000);
    return checks_done();
}
