/* Worked ELF images, made in memory, and what the parser must find in them; then the same images
 * damaged in every way that is cheap to try. */
#include <stdlib.h>

#include "image/format/unwind.h"
#include "tests/check.h"
#include "tests/elf_builder.h"
#include "tests/sound.h"

#define CEILING ((uint64_t)1 << 28)
/* --- headers and regions ----------------------------------------------------------------- */

static void test_regions_and_headers(ds_arena *arena) {
    builder b;
    begin(&b, MACHINE_X86_64);
    section(&b, ".text", PROGBITS, CODE, 0x400, 0x40, 0);
    section(&b, ".tbss", NOBITS, TLS, 0x500, 0x300, 0);
    section(&b, ".data", PROGBITS, ALLOC, 0x500, 0x80, 0);
    section(&b, ".overlap", PROGBITS, ALLOC, 0x540, 0x80, 0);
    section(&b, ".outside", PROGBITS, ALLOC, 0x1f00, 0x200, 0);
    section(&b, ".bss", NOBITS, ALLOC, 0x600, 0x1000, 0);
    section(&b, ".comment", PROGBITS, 0, 0x700, 0x10, 0);
    segment(&b, 1, 5, 0, 0x480, 0x480);
    segment(&b, 1, 6, 0x500, 0x80, 0x1100);
    put64(&b, 24, LOADED + 0x410);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);

    CHECK(image.arch == DS_ARCH_X86_64);
    CHECK(image.regions.count == 3);
    const ds_region *r = image.regions.items;
    CHECK(r[0].class_ == DS_REGION_CODE && r[0].offset == 0x400 && r[0].address == LOADED + 0x400 && r[0].size == 0x40);
    CHECK(r[1].class_ == DS_REGION_DATA && r[1].offset == 0x500 && r[1].size == 0x80);
    CHECK(r[2].class_ == DS_REGION_NOBITS && r[2].address == LOADED + 0x600 && r[2].size == 0x1000);

    CHECK(has_ref(&image, 24, DS_REF_ABS64, LOADED + 0x410));
    CHECK(has_ref(&image, 32, DS_REF_FILE64, DS_FILE_BASE + SEGMENTS_AT));
    CHECK(has_ref(&image, 40, DS_REF_FILE64, DS_FILE_BASE + SECTIONS_AT));
    uint64_t second = SEGMENTS_AT + 56;
    CHECK(has_ref(&image, second + 8, DS_REF_FILE64, DS_FILE_BASE + 0x500));
    CHECK(has_ref(&image, second + 16, DS_REF_ABS64, LOADED + 0x500));
    CHECK(has_ref(&image, second + 24, DS_REF_ABS64, LOADED + 0x500));
    CHECK(has_ref(&image, second + 32, DS_REF_SIZE64, LOADED + 0x57f));
    CHECK(has_ref(&image, second + 40, DS_REF_SIZE64, LOADED + 0x15ff)); /* a byte of .bss */
    uint64_t data = SECTIONS_AT + 64 * 4, comment = SECTIONS_AT + 64 * 8;
    CHECK(has_ref(&image, data + 16, DS_REF_ABS64, LOADED + 0x500));
    CHECK(has_ref(&image, data + 24, DS_REF_FILE64, DS_FILE_BASE + 0x500));
    CHECK(has_ref(&image, data + 32, DS_REF_SIZE64, LOADED + 0x57f));
    CHECK(ref_at(&image, comment + 16) == NULL);
    CHECK(has_ref(&image, comment + 32, DS_REF_SIZE64, DS_FILE_BASE + 0x70f));
    CHECK(ref_at(&image, SECTIONS_AT + 64 * 3 + 32) == NULL); /* size of .tbss */
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
}

/* Of two sections that share bytes the first in the file stays, of two that share addresses the lower one. */
static void test_regions_do_not_overlap(ds_arena *arena) {
    builder b;
    begin(&b, MACHINE_X86_64);
    section(&b, ".twice", PROGBITS, ALLOC, 0x520, 0x20, 0);
    section(&b, ".data", PROGBITS, ALLOC, 0x500, 0x40, 0);
    put64(&b, SECTIONS_AT + 64 * 2 + 16, 0x90000);
    section(&b, ".high", PROGBITS, ALLOC, 0x600, 0x40, 0);
    section(&b, ".low", PROGBITS, ALLOC, 0x700, 0x40, 0);
    put64(&b, SECTIONS_AT + 64 * 5 + 16, LOADED + 0x5f0);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(image.regions.count == 2);
    CHECK(image.regions.items[0].offset == 0x500 && image.regions.items[0].address == LOADED + 0x500);
    CHECK(image.regions.items[1].offset == 0x700 && image.regions.items[1].address == LOADED + 0x5f0);
    ds_image_free(&image);
}

/* What a segment has beyond its bytes lies behind them, not at an address that wrapped round. */
static void test_a_segment_does_not_wrap(ds_arena *arena) {
    builder b;
    begin(&b, MACHINE_X86_64);
    segment(&b, 1, 4, 0x400, 0x40, 0x60);
    segment(&b, 1, 6, 0x500, UINT64_MAX - 0xfff, UINT64_MAX);
    without_sections(&b);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(image.regions.count == 2);
    CHECK(image.regions.items[0].size == 0x40);
    CHECK(image.regions.items[1].class_ == DS_REGION_NOBITS && image.regions.items[1].address == LOADED + 0x440);
    ds_image_free(&image);
}

static void test_other_files_are_plain(ds_arena *arena) {
    static const struct {
        unsigned at, value;
    } changes[] = {{0, 'x'}, {4, 1}, {5, 2}, {16, 1}, {16, 4}, {18, 40}};
    for (unsigned i = 0; i < DS_COUNT(changes); i++) {
        builder b;
        begin(&b, MACHINE_X86_64);
        section(&b, ".text", PROGBITS, CODE, 0x400, 0x40, 0);
        b.bytes[changes[i].at] = (uint8_t)changes[i].value;
        ds_image image = parse(arena, b.bytes, FILE_SIZE);
        CHECK(image.arch == DS_ARCH_NONE && image.refs.count == 0 && image.regions.count == 0);
        ds_image_free(&image);
    }
    ds_image image = parse(arena, NULL, 0);
    CHECK(image.refs.count == 0);
    ds_image_free(&image);
}

/* --- one image with all tables ----------------------------------------------------------- */

enum {
    DYNSYM_AT = 0x200, /* 4 symbols */
    DYNSTR_AT = 0x260,
    HASH_AT = 0x280,
    GNU_HASH_AT = 0x2c0,
    VERNEED_AT = 0x300,
    RELA_AT = 0x340, /* 5 entries, then 1 of the PLT */
    PLT_RELA_AT = RELA_AT + 5 * 24,
    RELR_AT = 0x3e0,
    PLT_AT = 0x400,
    TEXT_AT = 0x430,
    DATA_AT = 0x800,
    GOT_AT = 0x900,
    INIT_AT = 0x940,
    DYNAMIC_AT = 0x980,
    RELR_FAR = DYNAMIC_AT + 0x108, /* beside DT_NULL; more than 63 words after the others */
    BSS_AT = 0xb00,
    JUMP_SLOT_AT = GOT_AT + 24,
};

static void symbol(builder *b, unsigned index, uint32_t name, uint8_t info, uint16_t shndx, uint64_t value,
                   uint64_t size) {
    uint64_t at = DYNSYM_AT + 24ull * index;
    put32(b, at, name);
    b->bytes[at + 4] = info;
    put16(b, at + 6, shndx);
    put64(b, at + 8, value);
    put64(b, at + 16, size);
}

static void rela(builder *b, uint64_t at, uint64_t offset, uint32_t type, uint32_t symbol_index, uint64_t addend) {
    put64(b, at, offset);
    put32(b, at + 8, type);
    put32(b, at + 12, symbol_index);
    put64(b, at + 16, addend);
}

static void full_image(builder *b, unsigned machine) {
    bool arm = machine == MACHINE_AARCH64;
    begin(b, machine);
    unsigned dynstr = b->sections + 1;
    unsigned dynsym = section(b, ".dynsym", DYNSYM, ALLOC, DYNSYM_AT, 4 * 24, dynstr);
    section(b, ".dynstr", STRTAB, ALLOC, DYNSTR_AT, 0x20, 0);
    section(b, ".hash", HASH, ALLOC, HASH_AT, 8 + 4 * 5, dynsym);
    section(b, ".gnu.hash", GNU_HASH, ALLOC, GNU_HASH_AT, 16 + 8 + 8 + 8, dynsym);
    section(b, ".gnu.version_r", VERNEED, ALLOC, VERNEED_AT, 32, dynstr);
    section(b, ".rela.dyn", RELA, ALLOC, RELA_AT, 5 * 24, dynsym);
    section(b, ".rela.plt", RELA, ALLOC, PLT_RELA_AT, 24, dynsym);
    section(b, ".relr.dyn", RELR, ALLOC, RELR_AT, 24, 0);
    section(b, ".plt", PROGBITS, CODE, PLT_AT, 0x20, 0);
    section(b, ".text", PROGBITS, CODE, TEXT_AT, 0x200, 0);
    section(b, ".data", PROGBITS, ALLOC, DATA_AT, 0x100, 0);
    section(b, ".got", PROGBITS, ALLOC, GOT_AT, 0x40, 0);
    section(b, ".init_array", INIT_ARRAY, ALLOC, INIT_AT, 8, 0);
    section(b, ".dynamic", DYNAMIC, ALLOC, DYNAMIC_AT, 0x110, dynstr);
    section(b, ".bss", NOBITS, ALLOC, BSS_AT, 0x80, 0);
    segment(b, 1, 5, 0, 0x700, 0x700);
    segment(b, 1, 6, 0x800, 0x300, 0x380);
    segment(b, 2, 6, DYNAMIC_AT, 0x110, 0x110);

    symbol(b, 1, 5, 0x12, 0, 0, 0);                           /* imported function */
    symbol(b, 2, 9, 0x12, 11, LOADED + TEXT_AT + 0x40, 0x30); /* function */
    symbol(b, 3, 13, 0x16, 11, 0x8, 4);                       /* thread-local */
    memcpy(b->bytes + DYNSTR_AT, "\0lib\0imp\0fun\0tls\0VER", 21);
    const uint32_t hash[] = {1, 4, 2, 0, 0, 3, 0};
    memcpy(b->bytes + HASH_AT, hash, sizeof hash);
    const uint32_t gnu_hash[] = {2, 2, 1, 0, 0, 0, 2, 0, 0x10, 0x21};
    memcpy(b->bytes + GNU_HASH_AT, gnu_hash, sizeof gnu_hash);
    put16(b, VERNEED_AT, 1);
    put16(b, VERNEED_AT + 2, 1);
    put32(b, VERNEED_AT + 4, 1);   /* file "lib" */
    put32(b, VERNEED_AT + 8, 16);  /* first part */
    put32(b, VERNEED_AT + 24, 17); /* its name "VER" */

    uint32_t relative = arm ? 1027 : 8, glob_dat = arm ? 1025 : 6, jump_slot = arm ? 1026 : 7;
    uint32_t plain64 = arm ? 257 : 1, tp_offset = arm ? 1030 : 18;
    rela(b, RELA_AT, LOADED + DATA_AT, relative, 0, LOADED + TEXT_AT + 0x40);
    put64(b, DATA_AT, LOADED + TEXT_AT + 0x40); /* addend in place too */
    rela(b, RELA_AT + 24, LOADED + DATA_AT + 8, relative, 0, LOADED + BSS_AT + 8);
    rela(b, RELA_AT + 48, LOADED + GOT_AT + 8, glob_dat, 1, 0);
    rela(b, RELA_AT + 72, LOADED + DATA_AT + 0x10, plain64, 2, 0x18);
    rela(b, RELA_AT + 96, LOADED + GOT_AT + 0x10, tp_offset, 0, 0x40);
    rela(b, PLT_RELA_AT, LOADED + JUMP_SLOT_AT, jump_slot, 1, 0);
    put64(b, JUMP_SLOT_AT, LOADED + PLT_AT + 0x16);
    put64(b, RELR_AT, LOADED + DATA_AT + 0x20);
    put64(b, RELR_AT + 8, 1 | 1 << 1 | 1 << 3); /* the next word and the one two after it */
    put64(b, DATA_AT + 0x20, LOADED + 0x700 + 0x100);
    put64(b, DATA_AT + 0x28, LOADED + DATA_AT);
    put64(b, DATA_AT + 0x38, LOADED + GOT_AT);
    put64(b, RELR_AT + 16, 1 | (uint64_t)1 << (1 + (RELR_FAR - (DATA_AT + 0x28 + 63 * 8)) / 8));
    put64(b, GOT_AT, LOADED + DYNAMIC_AT);
    put64(b, INIT_AT, LOADED + TEXT_AT);
    memcpy(b->bytes + PLT_AT + 0x10, "\xff\x25\0\0\0\0\x68\0\0\0\0\xe9\xe0\xff\xff\xff", 16);
    memset(b->bytes + TEXT_AT, 0x90, 0x200);

    const uint64_t dynamic[][2] = {
        {1, 1},                  /* DT_NEEDED */
        {5, LOADED + DYNSTR_AT}, /* DT_STRTAB */
        {10, 0x20},              /* DT_STRSZ */
        {6, LOADED + DYNSYM_AT}, /* DT_SYMTAB */
        {4, LOADED + HASH_AT},   /* DT_HASH */
        {0x6ffffef5, LOADED + GNU_HASH_AT},
        {7, LOADED + RELA_AT},      /* DT_RELA */
        {8, 5 * 24},                /* DT_RELASZ */
        {9, 24},                    /* DT_RELAENT */
        {23, LOADED + PLT_RELA_AT}, /* DT_JMPREL */
        {2, 24},                    /* DT_PLTRELSZ */
        {36, LOADED + RELR_AT},     /* DT_RELR */
        {35, 24},                   /* DT_RELRSZ */
        {25, LOADED + INIT_AT},     /* DT_INIT_ARRAY */
        {27, 8},                    /* DT_INIT_ARRAYSZ */
        {0x6ffffffe, LOADED + VERNEED_AT},
        {0, 0},
    };
    memcpy(b->bytes + DYNAMIC_AT, dynamic, sizeof dynamic);
    put64(b, RELR_FAR, LOADED + DATA_AT + 0x30);
}

/* What sections and .dynamic alone must both lead to. */
static void check_tables(const ds_image *image) {
    /* symbols */
    CHECK(has_ref(image, DYNSYM_AT + 24, DS_REF_BASE32, LOADED + DYNSTR_AT + 5));
    CHECK(ref_at(image, DYNSYM_AT + 24 + 8) == NULL);
    CHECK(has_ref(image, DYNSYM_AT + 48 + 8, DS_REF_ABS64, LOADED + TEXT_AT + 0x40));
    CHECK(has_ref(image, DYNSYM_AT + 48 + 16, DS_REF_SIZE64, LOADED + TEXT_AT + 0x6f));
    CHECK(ref_at(image, DYNSYM_AT + 72 + 8) == NULL); /* thread-local */
    /* hash tables, versions */
    CHECK(has_ref(image, HASH_AT + 8, DS_REF_INDEX32, LOADED + DYNSYM_AT + 48));
    CHECK(has_ref(image, HASH_AT + 20, DS_REF_INDEX32, LOADED + DYNSYM_AT + 72));
    CHECK(ref_at(image, HASH_AT) == NULL && ref_at(image, HASH_AT + 12) == NULL);
    CHECK(has_ref(image, GNU_HASH_AT + 4, DS_REF_INDEX32, LOADED + DYNSYM_AT + 48));
    CHECK(has_ref(image, GNU_HASH_AT + 24, DS_REF_INDEX32, LOADED + DYNSYM_AT + 48));
    CHECK(ref_at(image, GNU_HASH_AT + 28) == NULL && ref_at(image, GNU_HASH_AT + 32) == NULL);
    CHECK(has_ref(image, VERNEED_AT + 4, DS_REF_BASE32, LOADED + DYNSTR_AT + 1));
    CHECK(has_ref(image, VERNEED_AT + 24, DS_REF_BASE32, LOADED + DYNSTR_AT + 17));
    /* relocations and what they fill */
    CHECK(has_ref(image, RELA_AT, DS_REF_ABS64, LOADED + DATA_AT));
    CHECK(has_ref(image, RELA_AT + 16, DS_REF_ABS64, LOADED + TEXT_AT + 0x40));
    CHECK(ref_at(image, RELA_AT + 12) == NULL);
    CHECK(has_ref(image, DATA_AT, DS_REF_ABS64, LOADED + TEXT_AT + 0x40));
    CHECK(has_slot(image, DATA_AT + 8, LOADED + BSS_AT + 8));
    CHECK(has_ref(image, RELA_AT + 48 + 12, DS_REF_INDEX32, LOADED + DYNSYM_AT + 24));
    CHECK(has_slot(image, GOT_AT + 8, LOADED + DYNSYM_AT + 24));
    CHECK(ref_at(image, RELA_AT + 72 + 16) == NULL); /* addend beside a symbol */
    CHECK(has_slot(image, DATA_AT + 0x10, LOADED + DYNSYM_AT + 48));
    CHECK(ref_at(image, RELA_AT + 96 + 16) == NULL); /* offset in the TLS block */
    CHECK(!has_slot(image, GOT_AT + 0x10, 0x40));
    CHECK(has_ref(image, JUMP_SLOT_AT, DS_REF_ABS64, LOADED + PLT_AT + 0x16));
    CHECK(has_slot(image, JUMP_SLOT_AT, LOADED + DYNSYM_AT + 24)); /* which import, for matching */
    CHECK(has_ref(image, RELR_AT, DS_REF_RELR64, LOADED + DATA_AT + 0x20));
    CHECK(ref_at(image, RELR_AT + 8) == NULL);
    CHECK(has_ref(image, DATA_AT + 0x20, DS_REF_ABS64, LOADED + 0x800));
    CHECK(has_ref(image, DATA_AT + 0x28, DS_REF_ABS64, LOADED + DATA_AT));
    CHECK(ref_at(image, DATA_AT + 0x30) == NULL);
    CHECK(has_ref(image, DATA_AT + 0x38, DS_REF_ABS64, LOADED + GOT_AT));
    CHECK(has_ref(image, RELR_FAR, DS_REF_ABS64, LOADED + DATA_AT + 0x30));
    CHECK(has_ref(image, INIT_AT, DS_REF_ABS64, LOADED + TEXT_AT));
    /* .dynamic */
    CHECK(has_ref(image, DYNAMIC_AT + 8, DS_REF_BASE64, LOADED + DYNSTR_AT + 1));
    CHECK(has_ref(image, DYNAMIC_AT + 16 + 8, DS_REF_ABS64, LOADED + DYNSTR_AT));
    CHECK(has_ref(image, DYNAMIC_AT + 32 + 8, DS_REF_SIZE64, LOADED + DYNSTR_AT + 0x1f));
    CHECK(has_ref(image, DYNAMIC_AT + 7 * 16 + 8, DS_REF_SIZE64, LOADED + RELA_AT + 5 * 24 - 1));
    CHECK(ref_at(image, DYNAMIC_AT + 8 * 16 + 8) == NULL); /* DT_RELAENT */
    CHECK(ds_is_sound(image));
}

static void test_tables_by_sections(ds_arena *arena) {
    builder b;
    full_image(&b, MACHINE_X86_64);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    check_tables(&image);
    CHECK(has_ref(&image, GOT_AT, DS_REF_ABS64, LOADED + DYNAMIC_AT));
    CHECK(has_ref(&image, PLT_AT + 0x17, DS_REF_INDEX32, LOADED + PLT_RELA_AT));
    ds_image_free(&image);
}

static void test_tables_by_dynamic_section_alone(ds_arena *arena) {
    builder b;
    full_image(&b, MACHINE_X86_64);
    without_sections(&b);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    check_tables(&image);
    CHECK(image.regions.count == 3);
    CHECK(image.regions.items[0].class_ == DS_REGION_CODE && image.regions.items[0].size == 0x700);
    CHECK(image.regions.items[2].class_ == DS_REGION_NOBITS && image.regions.items[2].address == LOADED + 0xb00);
    ds_image_free(&image);

    put64(&b, DYNAMIC_AT + 4 * 16, 0x1234567); /* no DT_HASH: .gnu.hash gives the number of symbols */
    image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, DYNSYM_AT + 72, DS_REF_BASE32, LOADED + DYNSTR_AT + 13));
    CHECK(ref_at(&image, HASH_AT + 8) == NULL);
    ds_image_free(&image);
    put64(&b, DYNAMIC_AT + 5 * 16, 0x1234567); /* neither: the strings follow the symbols */
    image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, DYNSYM_AT + 72, DS_REF_BASE32, LOADED + DYNSTR_AT + 13));
    ds_image_free(&image);
}

static void test_aarch64_relocations(ds_arena *arena) {
    builder b;
    full_image(&b, MACHINE_AARCH64);
    for (unsigned at = TEXT_AT; at < TEXT_AT + 0x200; at += 4)
        put32(&b, at, 0xd503201f); /* nop */
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(image.arch == DS_ARCH_AARCH64);
    check_tables(&image);
    CHECK(ref_at(&image, PLT_AT + 0x17) == NULL);
    ds_image_free(&image);
}

/* Function starts cut the sweep: an instruction whose bytes reach over a start is not decoded past it. */
static void test_code_is_decoded_from_function_starts(ds_arena *arena) {
    builder b;
    full_image(&b, MACHINE_X86_64);
    /* mov $imm64, %rax would swallow the start at + 0x40 */
    b.bytes[TEXT_AT + 0x3e] = 0x48;
    b.bytes[TEXT_AT + 0x3f] = 0xb8;
    b.bytes[TEXT_AT + 0x40] = 0xe8;
    put32(&b, TEXT_AT + 0x41, 0x10);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    uint64_t at = TEXT_AT + 0x40;
    CHECK((image.starts[at / 8] >> at % 8 & 1) != 0);
    CHECK(has_ref(&image, TEXT_AT + 0x41, DS_REF_REL32, LOADED + TEXT_AT + 0x55));
    ds_image_free(&image);
}

/* --- unwind tables ----------------------------------------------------------------------- */

enum { FRAMES_AT = 0xc00, HEADER_AT = 0xd00, EXCEPT_AT = 0xe00 };

static void unwind_image(builder *b) {
    full_image(b, MACHINE_X86_64);
    section(b, ".eh_frame", PROGBITS, ALLOC, FRAMES_AT, 0x60, 0);
    section(b, ".eh_frame_hdr", PROGBITS, ALLOC, HEADER_AT, 0x14, 0);
    section(b, ".gcc_except_table", PROGBITS, ALLOC, EXCEPT_AT, 0x40, 0);
    segment(b, 0x6474e550, 4, HEADER_AT, 0x14, 0x14);
    /* CIE "zPLR": personality indirect pc-relative, LSDA and function pc-relative */
    static const uint8_t cie[] = {0x1c, 0, 0,    0, 0, 0, 0, 0,    1,    'z',  'P', 'L', 'R',  0, 1, 0x78,
                                  0x10, 7, 0x9b, 0, 0, 0, 0, 0x1b, 0x1b, 0x0c, 7,   8,   0x90, 1, 0, 0};
    memcpy(b->bytes + FRAMES_AT, cie, sizeof cie);
    put32(b, FRAMES_AT + 0x13, (uint64_t)DATA_AT + 8 - (FRAMES_AT + 0x13));
    uint64_t fde = FRAMES_AT + 0x20;
    put32(b, fde, 0x1c);
    put32(b, fde + 4, 0x24);
    put32(b, fde + 8, TEXT_AT + 0x80 - (fde + 8));
    put32(b, fde + 12, 0x20);
    b->bytes[fde + 16] = 4;
    put32(b, fde + 17, EXCEPT_AT - (fde + 17));
    static const uint8_t program[] = {0x41, 0x0e, 0x10, 0x02, 0x5a, 0x0a, 0x0e, 0x08, 0x40};
    memcpy(b->bytes + fde + 21, program, sizeof program);

    b->bytes[HEADER_AT] = 1;
    b->bytes[HEADER_AT + 1] = 0x1b;
    b->bytes[HEADER_AT + 2] = 0x03;
    b->bytes[HEADER_AT + 3] = 0x3b;
    put32(b, HEADER_AT + 4, (uint64_t)FRAMES_AT - (HEADER_AT + 4));
    put32(b, HEADER_AT + 8, 1);
    put32(b, HEADER_AT + 12, (uint64_t)TEXT_AT + 0x80 - HEADER_AT);
    put32(b, HEADER_AT + 16, (uint64_t)fde - HEADER_AT);

    /* @LPStart omitted, types indirect pc-relative, call sites ULEB128: two of them, the second
     * with a landing pad of two bytes and an action; one action (filter 1, no next); one type. */
    static const uint8_t lsda[] = {0xff, 0x9b, 0x11, 0x01, 0x09, 0x02, 0x03, 0x00,
                                   0x00, 0x08, 0x04, 0x90, 0x01, 0x01, 0x01, 0x00};
    memcpy(b->bytes + EXCEPT_AT, lsda, sizeof lsda);
    put32(b, EXCEPT_AT + 0x10, (uint64_t)DATA_AT + 0x10 - (EXCEPT_AT + 0x10));
}

static void check_unwind(const ds_image *image) {
    ds_address function = LOADED + TEXT_AT + 0x80;
    uint64_t fde = FRAMES_AT + 0x20;
    CHECK(has_ref(image, FRAMES_AT + 0x13, DS_REF_PREL32, LOADED + DATA_AT + 8));
    CHECK(has_ref(image, fde + 4, DS_REF_BACK32, LOADED + FRAMES_AT));
    CHECK(has_ref(image, fde + 8, DS_REF_PREL32, function));
    CHECK(has_ref(image, fde + 12, DS_REF_SIZE32, function + 0x1f));
    CHECK(has_ref(image, fde + 17, DS_REF_PREL32, LOADED + EXCEPT_AT));
    CHECK(has_ref(image, fde + 21, DS_REF_STEP6, function));
    CHECK(has_ref(image, fde + 25, DS_REF_STEP8, function + 0x5a));
    CHECK(ref_at(image, fde + 29) == NULL); /* a step of 0 */
    CHECK(has_ref(image, HEADER_AT + 4, DS_REF_PREL32, LOADED + FRAMES_AT));
    CHECK(has_ref(image, HEADER_AT + 12, DS_REF_BASE32, function));
    CHECK(has_ref(image, HEADER_AT + 16, DS_REF_BASE32, LOADED + fde));
    CHECK(ref_at(image, HEADER_AT + 8) == NULL);
    CHECK(has_ref(image, EXCEPT_AT + 5, DS_REF_ULEB1, function + 2));
    CHECK(has_ref(image, EXCEPT_AT + 6, DS_REF_ULEB_SIZE1, function + 4));
    CHECK(ref_at(image, EXCEPT_AT + 7) == NULL); /* no landing pad */
    CHECK(has_ref(image, EXCEPT_AT + 9, DS_REF_ULEB1, function + 8));
    CHECK(has_ref(image, EXCEPT_AT + 10, DS_REF_ULEB_SIZE1, function + 11));
    CHECK(has_ref(image, EXCEPT_AT + 11, DS_REF_ULEB2, function + 0x90));
    CHECK(has_ref(image, EXCEPT_AT + 0x10, DS_REF_PREL32, LOADED + DATA_AT + 0x10));
    uint64_t start = TEXT_AT + 0x80;
    CHECK((image->starts[start / 8] >> start % 8 & 1) != 0);
    CHECK(ds_is_sound(image));
}

static void test_unwind_tables(ds_arena *arena) {
    builder b;
    unwind_image(&b);
    b.bytes[TEXT_AT + 0x7f] = 0xe8; /* would swallow the start of the function */
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    check_unwind(&image);
    ds_image_free(&image);
}

static void test_unwind_without_sections(ds_arena *arena) {
    builder b;
    unwind_image(&b);
    segment(&b, 1, 4, 0xc00, 0x300, 0x300);
    put64(&b, SEGMENTS_AT + 56 + 40, 0x300); /* no .bss there */
    without_sections(&b);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    check_unwind(&image);
    ds_image_free(&image);
}

/* One FDE of a CIE without augmentation, with the program from byte 16 of the FDE on. */
static ds_image parse_program(ds_arena *arena, builder *b, unsigned machine, uint8_t unit, const char *augmentation,
                              const uint8_t *program, uint64_t size) {
    uint64_t fde = FRAMES_AT + 0x14;
    begin(b, machine);
    section(b, ".text", PROGBITS, CODE, 0x400, 0x200, 0);
    section(b, ".eh_frame", PROGBITS, ALLOC, FRAMES_AT, 0x80, 0);
    put32(b, FRAMES_AT, 0x10);
    b->bytes[FRAMES_AT + 8] = 1; /* version */
    memcpy(b->bytes + FRAMES_AT + 9, augmentation, strlen(augmentation) + 1);
    b->bytes[FRAMES_AT + 10 + strlen(augmentation)] = unit;
    put32(b, fde, 20 + size);
    put32(b, fde + 4, fde + 4 - FRAMES_AT);
    put64(b, fde + 8, LOADED + 0x400);
    put64(b, fde + 16, 0x200);
    memcpy(b->bytes + fde + 24, program, size);
    return parse(arena, b->bytes, FILE_SIZE);
}

static void test_every_instruction_of_a_frame_program_is_passed(ds_arena *arena) {
    static const uint8_t program[] = {
        0x03, 0x34, 0x12,                         /* advance_loc2 */
        0x85, 0x81, 0x01, 0xc5, 0x0a, 0x0b, 0x2d, /* offset, restore, remember, restore state, negate_ra_state */
        0x0e, 0x90, 0x01, 0x0d, 0x07, 0x06, 0x05, /* def_cfa_offset, def_cfa_register, restore_extended */
        0x0c, 0x07, 0x08, 0x05, 0x01, 0x02, 0x09, 0x01, 0x02, 0x2f, 0x01, 0x02,             /* of two numbers */
        0x0f, 0x03, 0x41, 0x41, 0x41, 0x10, 0x05, 0x02, 0x41, 0x41, 0x16, 0x05, 0x01, 0x41, /* expressions */
        0x04, 0x10, 0,    0,    0,                                                          /* advance_loc4 */
        0x7f, 0x01, 0x42, /* advance_loc, set_loc: not read on */
    };
    builder b;
    uint64_t at = FRAMES_AT + 0x14 + 24;
    ds_address start = LOADED + 0x400;
    ds_image image = parse_program(arena, &b, MACHINE_AARCH64, 4, "", program, sizeof program);
    CHECK(has_ref(&image, at + 1, DS_REF_STEP16, start + 4 * 0x1234 - 1));
    CHECK(has_ref(&image, at + 44, DS_REF_STEP32, start + 4 * 0x1244 - 1));
    CHECK(has_ref(&image, at + 48, DS_REF_STEP6, start + 4 * 0x1283 - 1));
    CHECK(ds_ref_base(&image, ref_at(&image, at + 48)) == start + 4 * 0x1244);
    for (uint64_t i = 2; i < sizeof program; i++)
        CHECK(i == 44 || i == 48 || ref_at(&image, at + i) == NULL);
    ds_image_free(&image);

    image = parse_program(arena, &b, MACHINE_X86_64, 3, "", program, sizeof program); /* no unit of code */
    CHECK(ref_at(&image, at + 1) == NULL && ref_at(&image, at - 16) != NULL);
    ds_image_free(&image);
    image = parse_program(arena, &b, MACHINE_X86_64, 1, "eh", program, sizeof program); /* data that nothing measures */
    CHECK(ref_at(&image, at + 1) == NULL && ref_at(&image, at - 16) == NULL);
    ds_image_free(&image);
}

/* The function of two FDEs that name one table is the lower one; a table ends where the next begins. */
static void test_exception_tables_are_read_once(ds_arena *arena) {
    builder b;
    unwind_image(&b);
    ds_image image = {.file = {b.bytes, FILE_SIZE}, .arena = arena};
    CHECK(ds_image_add_region(&image, (ds_region){EXCEPT_AT, 0x5000, 0x40, DS_REGION_DATA, 0}) == DS_OK);
    ds_unwind_function items[] = {
        {0x9000, 0x20, 0x5000}, {0x8000, 0x20, 0x5000}, {0x7000, 0x20, 0}, {0x7100, 0x20, 0x500c}};
    ds_unwind_functions functions = {.items = items, .count = DS_COUNT(items)};
    CHECK(ds_unwind_exceptions(&image, &functions) == DS_OK);
    CHECK(image.found.count == 0); /* cut at 12 bytes the call sites do not fit */
    functions.count = 3;
    CHECK(ds_unwind_exceptions(&image, &functions) == DS_OK && ds_image_settle(&image) == DS_OK);
    CHECK(image.refs.count == 6 && has_ref(&image, EXCEPT_AT + 5, DS_REF_ULEB1, 0x8002));
    ds_image_free(&image);
}

/* --- helpers and damage ------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void test_sort_pairs(void) {
    ds_pair pairs[200];
    uint64_t state = 1;
    for (unsigned round = 0; round < 50; round++) {
        unsigned count = (unsigned)(next_random(&state) % 200);
        uint64_t sum = 0, sorted_sum = 0;
        for (unsigned i = 0; i < count; i++) {
            pairs[i] = (ds_pair){next_random(&state) % 16, next_random(&state) % 16};
            sum += pairs[i].key * 31 + pairs[i].value;
        }
        ds_sort_pairs(pairs, count);
        bool ascending = true;
        for (unsigned i = 0; i < count; i++) {
            sorted_sum += pairs[i].key * 31 + pairs[i].value;
            if (i > 0 && (pairs[i - 1].key > pairs[i].key ||
                          (pairs[i - 1].key == pairs[i].key && pairs[i - 1].value > pairs[i].value)))
                ascending = false;
        }
        CHECK(ascending && sum == sorted_sum);
    }
}

/* A region of one byte for each section: the first ones by address stay. */
static void test_regions_are_bounded(ds_arena *arena) {
    const uint64_t sections = 6000, at = 64, size = at + 64 * sections;
    uint8_t *file = calloc(1, size);
    CHECK(file != NULL);
    if (file == NULL)
        return;
    builder b;
    begin(&b, MACHINE_X86_64);
    memcpy(file, b.bytes, 64);
    memcpy(file + 40, &at, 8);
    memcpy(file + 60, &(uint16_t){6000}, 2);
    for (uint64_t i = 0; i < sections; i++) {
        uint64_t header[8] = {(uint64_t)PROGBITS << 32, ALLOC, 0x1000 + 2 * i, i, 1, 0, 0, 0};
        memcpy(file + at + 64 * i, header, 64);
    }
    ds_image image = parse(arena, file, size);
    CHECK(image.regions.count == DS_REGION_LIMIT);
    CHECK(image.regions.items[DS_REGION_LIMIT - 1].address == 0x1000 + 2 * (DS_REGION_LIMIT - 1));
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
    free(file);
}

/* Thousands of sections that all are the whole file: the work limit keeps this short. */
static void test_overlapping_tables_are_bounded(ds_arena *arena) {
    const uint64_t size = (uint64_t)1 << 21, sections = 30000;
    uint8_t *file = calloc(1, size);
    CHECK(file != NULL);
    if (file == NULL)
        return;
    builder b;
    begin(&b, MACHINE_X86_64);
    memcpy(file, b.bytes, 64);
    uint64_t at = 64;
    uint16_t count = sections;
    memcpy(file + 40, &at, 8);
    memcpy(file + 60, &count, 2);
    for (uint64_t i = 0; i < sections; i++) {
        uint64_t header[8] = {0, ALLOC, i * 16, 0, size, 0, 0, 0};
        header[0] = (uint64_t)(i % 2 == 0 ? RELA : RELR) << 32;
        memcpy(file + at + 64 * i, header, 64);
    }
    for (uint64_t i = at + 64 * sections; i + 8 <= size; i += 8)
        memcpy(file + i, &(uint64_t){UINT64_MAX}, 8);
    ds_image image = parse(arena, file, size);
    CHECK(image.regions.count == 1);
    CHECK(image.refs.count <= size);
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
    free(file);
}

static void test_damage(ds_arena *arena) {
    builder good, bad;
    uint64_t state = 7;
    for (unsigned round = 0; round < 6000; round++) {
        unwind_image(&good);
        if (round % 3 == 1)
            without_sections(&good);
        bad = good;
        unsigned changes = 1 + (unsigned)(next_random(&state) % 4);
        for (unsigned i = 0; i < changes; i++) {
            uint64_t at = next_random(&state) % FILE_SIZE;
            static const uint64_t values[] = {
                0, 1, 0xff, 0x7f, 0xffff, 0xffffffff, UINT64_MAX, (uint64_t)1 << 63, FILE_SIZE};
            uint64_t value = values[next_random(&state) % DS_COUNT(values)];
            uint64_t width = (uint64_t)1 << next_random(&state) % 4;
            if (at + width <= FILE_SIZE)
                memcpy(bad.bytes + at, &value, width);
        }
        ds_image image = parse(arena, bad.bytes, FILE_SIZE);
        CHECK(ds_is_sound(&image));
        ds_image_free(&image);
    }
    unwind_image(&good);
    for (uint64_t size = 0; size < FILE_SIZE; size += 7) {
        uint8_t *cut = malloc(size + 1); /* its own block, so that a sanitizer sees reads past the end */
        if (cut == NULL)
            break;
        memcpy(cut, good.bytes, size);
        ds_image image = parse(arena, cut, size);
        CHECK(ds_is_sound(&image));
        ds_image_free(&image);
        free(cut);
    }
}

int main(void) {
    ds_arena *arena = ds_arena_open(CEILING);
    CHECK(arena != NULL);
    if (arena == NULL)
        return 1;
    test_regions_and_headers(arena);
    test_regions_do_not_overlap(arena);
    test_a_segment_does_not_wrap(arena);
    test_other_files_are_plain(arena);
    test_tables_by_sections(arena);
    test_tables_by_dynamic_section_alone(arena);
    test_aarch64_relocations(arena);
    test_code_is_decoded_from_function_starts(arena);
    test_unwind_tables(arena);
    test_unwind_without_sections(arena);
    test_every_instruction_of_a_frame_program_is_passed(arena);
    test_exception_tables_are_read_once(arena);
    test_sort_pairs();
    test_regions_are_bounded(arena);
    test_overlapping_tables_are_bounded(arena);
    test_damage(arena);
    ds_arena_close(arena);
    return checks_done();
}
