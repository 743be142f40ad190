/* Mach-O images worked by hand and linked by LLVM: what the parser must find in them, the page digests of
 * their signatures, and the same images damaged in every way that is cheap to try. */
#include <stdio.h>
#include <stdlib.h>

#include "image/format/format.h"
#include "predict/derive.h"
#include "tests/check.h"
#include "tests/find_ref.h"
#include "tests/sound.h"

#define CEILING ((uint64_t)1 << 28)

/* --- reading ----------------------------------------------------------------------------- */

static ds_image parse(ds_arena *arena, const uint8_t *data, uint64_t size) {
    ds_image image;
    CHECK(ds_image_parse((ds_span){data, size}, arena, &image) == DS_OK);
    return image;
}

static const ds_ref *ref_at(const ds_image *image, ds_offset offset) {
    return find_ref(image, offset);
}

static bool has_ref(const ds_image *image, ds_offset offset, ds_ref_kind kind, ds_address target) {
    const ds_ref *ref = ref_at(image, offset);
    return ref != NULL && ds_ref_kind_of(ref) == kind && ref->target == target;
}

/* A file of the seeds that `make-macho` makes. */
static uint8_t *read_seed(const char *name, uint64_t *size) {
    char path[4096];
    const char *here = __FILE__, *end = strrchr(here, '/');
    snprintf(path, sizeof path, "%.*s/../fuzz/seeds/image/%s", (int)(end - here), here, name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    if (file == NULL)
        exit(checks_done());
    fseek(file, 0, SEEK_END);
    *size = (uint64_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + 1);
    CHECK(data != NULL && fread(data, 1, *size, file) == *size);
    fclose(file);
    return data;
}

/* --- a builder --------------------------------------------------------------------------- */

#define FILE_SIZE 0x3000u
#define TEXT_VM 0x100000u
#define DATA_AT 0x1000u
#define LINKEDIT_AT 0x2000u

typedef struct builder {
    uint8_t bytes[FILE_SIZE];
    uint32_t commands, commands_size;
} builder;

static void put16(builder *b, uint64_t at, uint64_t v) {
    memcpy(b->bytes + at, &v, 2);
}
static void put32(builder *b, uint64_t at, uint64_t v) {
    memcpy(b->bytes + at, &v, 4);
}
static void put64(builder *b, uint64_t at, uint64_t v) {
    memcpy(b->bytes + at, &v, 8);
}

static uint64_t command(builder *b, uint32_t number, uint32_t size) {
    uint64_t at = 32 + b->commands_size;
    put32(b, at, number);
    put32(b, at + 4, size);
    b->commands_size += size;
    put32(b, 16, ++b->commands);
    put32(b, 20, b->commands_size);
    return at;
}

static uint64_t segment(builder *b, const char *name, uint64_t address, uint64_t offset, uint64_t size,
                        unsigned sections) {
    uint64_t at = command(b, 0x19, 72 + 80 * sections);
    memcpy(b->bytes + at + 8, name, strlen(name));
    put64(b, at + 24, address);
    put64(b, at + 32, size);
    put64(b, at + 40, offset);
    put64(b, at + 48, size);
    put32(b, at + 64, sections);
    return at + 72;
}

static void section(builder *b, uint64_t at, const char *name, uint64_t address, uint64_t offset, uint64_t size,
                    uint32_t flags) {
    memcpy(b->bytes + at, name, strlen(name));
    memcpy(b->bytes + at + 16, "__TEXT", 6);
    put64(b, at + 32, address);
    put64(b, at + 40, size);
    put32(b, at + 48, offset);
    put32(b, at + 64, flags);
}

static void table(builder *b, uint32_t number, uint64_t offset, uint64_t size) {
    uint64_t at = command(b, number, 16);
    put32(b, at + 8, offset);
    put32(b, at + 12, size);
}

#define CODE_FLAGS 0x80000400u
#define TEXT_AT 0x800u
#define FIXUPS_AT LINKEDIT_AT
#define IMPORTS_IN 0x44u
#define NAMES_IN 0x4cu

/* __TEXT with code, __DATA of two small pages with a chain through both, __LINKEDIT. */
static void begin(builder *b, uint32_t cpu, unsigned format, unsigned page_size) {
    *b = (builder){0};
    put32(b, 0, 0xfeedfacf);
    put32(b, 4, cpu);
    put32(b, 12, 6);
    uint64_t text = segment(b, "__TEXT", TEXT_VM, 0, 0x1000, 1);
    section(b, text, "__text", TEXT_VM + TEXT_AT, TEXT_AT, 0x100, CODE_FLAGS);
    uint64_t data = segment(b, "__DATA", TEXT_VM + DATA_AT, DATA_AT, 0x1000, 1);
    section(b, data, "__data", TEXT_VM + DATA_AT, DATA_AT, 0x1000, 0);
    segment(b, "__LINKEDIT", TEXT_VM + LINKEDIT_AT, LINKEDIT_AT, 0x1000, 0);
    table(b, 0x80000034, FIXUPS_AT, 0x60);
    put32(b, FIXUPS_AT + 4, 0x1c); /* starts */
    put32(b, FIXUPS_AT + 8, IMPORTS_IN);
    put32(b, FIXUPS_AT + 12, NAMES_IN);
    put32(b, FIXUPS_AT + 16, 2);        /* imports */
    put32(b, FIXUPS_AT + 20, 1);        /* of 4 bytes */
    put32(b, FIXUPS_AT + 0x1c, 2);      /* segments */
    put32(b, FIXUPS_AT + 0x1c + 8, 12); /* __DATA */
    put32(b, FIXUPS_AT + 0x28, 26);
    put16(b, FIXUPS_AT + 0x28 + 4, page_size);
    put16(b, FIXUPS_AT + 0x28 + 6, format);
    put64(b, FIXUPS_AT + 0x28 + 8, DATA_AT);
    put16(b, FIXUPS_AT + 0x28 + 20, 2);
    put16(b, FIXUPS_AT + 0x28 + 22, 8); /* first fixups of both pages */
    put16(b, FIXUPS_AT + 0x28 + 24, 0x10);
    put32(b, FIXUPS_AT + IMPORTS_IN, 1u << 9 | 1);
    put32(b, FIXUPS_AT + IMPORTS_IN + 4, 6u << 9 | 1);
}

/* --- chained fixups ---------------------------------------------------------------------- */

enum { X86_64 = 0x01000007, ARM64 = 0x0100000c };

static void test_chain_64(ds_arena *arena) {
    builder b;
    begin(&b, X86_64, 2, 0x400);
    uint64_t bind = (uint64_t)1 << 63;
    put64(&b, DATA_AT + 8, (TEXT_VM + TEXT_AT) | (uint64_t)0x5a << 36 | (uint64_t)2 << 51); /* next: 8 bytes on */
    put64(&b, DATA_AT + 0x10, bind | 1);                                                    /* the last of its page */
    put64(&b, DATA_AT + 0x410, TEXT_VM + TEXT_AT + 16);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(image.arch == DS_ARCH_X86_64 && image.regions.count == 4);
    CHECK(has_ref(&image, DATA_AT + 8, DS_REF_CHAIN36, TEXT_VM + TEXT_AT));
    CHECK(has_ref(&image, DATA_AT + 8 + 6, DS_REF_NEXT12, TEXT_VM + DATA_AT + 0x10));
    CHECK(has_ref(&image, DATA_AT + 0x10, DS_REF_INDEX24_4, DS_FILE_BASE + FIXUPS_AT + IMPORTS_IN + 4));
    CHECK(has_ref(&image, DATA_AT + 0x10 + 6, DS_REF_NEXT12, TEXT_VM + DATA_AT + 0x410)); /* over the page's end */
    CHECK(has_ref(&image, DATA_AT + 0x410, DS_REF_CHAIN36, TEXT_VM + TEXT_AT + 16));
    CHECK(has_ref(&image, DATA_AT + 0x410 + 6, DS_REF_NEXT12, TEXT_VM + DATA_AT + 0x410)); /* the last of all: itself */
    CHECK(has_ref(&image, FIXUPS_AT + IMPORTS_IN, DS_REF_NAME23, DS_FILE_BASE + FIXUPS_AT + NAMES_IN + 1));
    CHECK(has_ref(&image, FIXUPS_AT + IMPORTS_IN + 4, DS_REF_NAME23, DS_FILE_BASE + FIXUPS_AT + NAMES_IN + 6));
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
}

static void test_chain_offsets(ds_arena *arena) {
    builder b;
    begin(&b, ARM64, 6, 0x400);
    put64(&b, DATA_AT + 8, TEXT_AT);          /* from the header */
    put16(&b, FIXUPS_AT + 0x28 + 24, 0xffff); /* no second page */
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, DATA_AT + 8, DS_REF_CHAIN36, TEXT_VM + TEXT_AT));
    CHECK(has_ref(&image, DATA_AT + 8 + 6, DS_REF_NEXT12, TEXT_VM + DATA_AT + 8));
    CHECK(ref_at(&image, DATA_AT + 0x410) == NULL);
    ds_image_free(&image);
}

static void test_chain_arm64e(ds_arena *arena) {
    builder b;
    begin(&b, ARM64, 12, 0x400);
    uint64_t bind = (uint64_t)1 << 62, signed_ = (uint64_t)1 << 63;
    put64(&b, DATA_AT + 8, TEXT_AT | (uint64_t)0x7f << 43 | (uint64_t)1 << 51);
    put64(&b, DATA_AT + 0x10, signed_ | (TEXT_AT + 4) | (uint64_t)0xabcd << 32 | (uint64_t)2 << 51);
    put64(&b, DATA_AT + 0x20, bind | 1);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, DATA_AT + 8, DS_REF_CHAIN43, TEXT_VM + TEXT_AT));
    CHECK(has_ref(&image, DATA_AT + 8 + 6, DS_REF_NEXT11, TEXT_VM + DATA_AT + 0x10));
    CHECK(has_ref(&image, DATA_AT + 0x10, DS_REF_CHAIN32, TEXT_VM + TEXT_AT + 4));
    CHECK(has_ref(&image, DATA_AT + 0x20, DS_REF_INDEX24_4, DS_FILE_BASE + FIXUPS_AT + IMPORTS_IN + 4));
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
}

/* The distance to the next pointer is put from where both lie, and 0 over the end of a page. */
static void test_next_kinds(void) {
    uint8_t field[2] = {0x07, 0x80};
    const ds_address word = 0x7f00, place = word + 6;
    ds_ref_put(DS_REF_NEXT12, field, place, 12, 0, word + 0x40);
    CHECK(ds_load16(field) == (0x8007 | 0x10 << 3));
    CHECK(ds_ref_solve(DS_REF_NEXT12, field, place, 12, 0, 0) == word + 0x40);
    ds_ref_put(DS_REF_NEXT12, field, place, 12, 0, 0x8008);
    CHECK(ds_load16(field) == 0x8007);
    CHECK(ds_ref_solve(DS_REF_NEXT12, field, place, 12, 0, 0x8008) == 0x8008);
    CHECK(ds_ref_solve(DS_REF_NEXT12, field, place, 12, 0, 0x7f80) == word);
    ds_ref_put(DS_REF_NEXT11, field, place, 14, 0, 0x8008);
    CHECK(ds_load16(field) == 0x8007);
    ds_ref_put(DS_REF_NEXT11, field, place, 16, 0, 0x8008);
    CHECK(ds_load16(field) == (0x8007 | 0x21 << 3));
}

static void test_other_kinds(void) {
    static const struct {
        ds_ref_kind kind;
        uint32_t field, kept;
        ds_address target;
    } rows[] = {
        {DS_REF_BASE24, 0xaa123456, 0xaa000000, 0x10123456},
        {DS_REF_PAGE24, 0xaa000002, 0xaa000000, 0x10000002},
        {DS_REF_INDEX32_4, 5, 0, 0x10000014},
        {DS_REF_INDEX32_16, 5, 0, 0x10000050},
        {DS_REF_COUNT32_4, 5, 0, 0x10000013},
        {DS_REF_COUNT32_16, 5, 0, 0x1000004f},
        {DS_REF_INDEX24_4, 0xcc000007, 0xcc000000, 0x1000001c},
        {DS_REF_NAME23, 7u << 9 | 0x1ff, 0x1ff, 0x10000007},
    };
    for (unsigned i = 0; i < DS_COUNT(rows); i++) {
        uint8_t field[8] = {0};
        ds_store32(field, rows[i].field);
        CHECK(ds_ref_solve(rows[i].kind, field, 0x55, 0, 0x10000000, 0) == rows[i].target);
        ds_store32(field, rows[i].kept);
        ds_ref_put(rows[i].kind, field, 0x55, 0, 0x10000000, rows[i].target);
        CHECK(ds_load32(field) == rows[i].field);
    }
}

/* --- other tables ------------------------------------------------------------------------ */

#define SYMBOLS_AT (LINKEDIT_AT + 0x100)
#define STRINGS_AT (LINKEDIT_AT + 0x140)
#define STARTS_AT (LINKEDIT_AT + 0x180)
#define DICE_AT (LINKEDIT_AT + 0x1a0)
#define TRIE_AT (LINKEDIT_AT + 0x1c0)

static void test_linkedit(ds_arena *arena) {
    builder b;
    begin(&b, ARM64, 2, 0x400);
    uint64_t at = command(&b, 2, 24);
    put32(&b, at + 8, SYMBOLS_AT);
    put32(&b, at + 12, 2);
    put32(&b, at + 16, STRINGS_AT);
    put32(&b, at + 20, 0x10);
    table(&b, 0x26, STARTS_AT, 8);
    table(&b, 0x29, DICE_AT, 8);
    table(&b, 0x80000033, TRIE_AT, 16);
    put32(&b, SYMBOLS_AT, 2);
    b.bytes[SYMBOLS_AT + 4] = 0x0f; /* defined in a section */
    put64(&b, SYMBOLS_AT + 8, TEXT_VM + TEXT_AT + 0x20);
    put32(&b, SYMBOLS_AT + 16, 5);
    b.bytes[SYMBOLS_AT + 20] = 0x01; /* undefined */
    memcpy(b.bytes + STARTS_AT, "\x80\x10\x20\x00", 4);
    put32(&b, DICE_AT, TEXT_AT + 0x80);
    put16(&b, DICE_AT + 4, 8);
    put16(&b, DICE_AT + 6, 4);
    put32(&b, TEXT_AT + 0x84, 0xffffff90); /* an entry of the jump table: 0x70 back */
    memcpy(b.bytes + TRIE_AT, "\x00\x01_f\x00\x06\x03\x00\xa0\x10\x00", 11);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, at + 8, DS_REF_BASE32, DS_FILE_BASE + SYMBOLS_AT));
    CHECK(has_ref(&image, at + 12, DS_REF_COUNT32_16, DS_FILE_BASE + SYMBOLS_AT + 31));
    CHECK(has_ref(&image, at + 20, DS_REF_SIZE32, DS_FILE_BASE + STRINGS_AT + 15));
    CHECK(has_ref(&image, SYMBOLS_AT, DS_REF_BASE32, DS_FILE_BASE + STRINGS_AT + 2));
    CHECK(has_ref(&image, SYMBOLS_AT + 8, DS_REF_ABS64, TEXT_VM + TEXT_AT + 0x20));
    CHECK(has_ref(&image, SYMBOLS_AT + 16, DS_REF_BASE32, DS_FILE_BASE + STRINGS_AT + 5));
    CHECK(ref_at(&image, SYMBOLS_AT + 24) == NULL);
    CHECK(has_ref(&image, STARTS_AT, DS_REF_ULEB2, TEXT_VM + TEXT_AT));
    CHECK(has_ref(&image, STARTS_AT + 2, DS_REF_ULEB1, TEXT_VM + TEXT_AT + 0x20));
    CHECK(ref_at(&image, STARTS_AT + 3) == NULL);
    CHECK(has_ref(&image, DICE_AT, DS_REF_BASE32, TEXT_VM + TEXT_AT + 0x80));
    CHECK(has_ref(&image, TEXT_AT + 0x84, DS_REF_BASE32, TEXT_VM + TEXT_AT + 0x10));
    CHECK(has_ref(&image, TRIE_AT + 5, DS_REF_ULEB1, DS_FILE_BASE + TRIE_AT + 6));
    CHECK(has_ref(&image, TRIE_AT + 8, DS_REF_ULEB2, TEXT_VM + 0x820));
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
}

static void test_opcodes(ds_arena *arena) {
    builder b;
    begin(&b, X86_64, 2, 0x400);
    uint64_t at = command(&b, 0x80000022, 48);
    put32(&b, at + 8, LINKEDIT_AT + 0x100);
    put32(&b, at + 12, 16);
    put32(&b, at + 16, LINKEDIT_AT + 0x110);
    put32(&b, at + 20, 16);
    /* type, place 0x800 of segment 1, twice, skip 8 after one, one */
    memcpy(b.bytes + LINKEDIT_AT + 0x100, "\x11\x21\x80\x10\x52\x70\x08\x51\x00", 9);
    memcpy(b.bytes + LINKEDIT_AT + 0x110, "\x11\x40_g\x00\x51\x71\x80\x12\x90\x00", 11);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, LINKEDIT_AT + 0x102, DS_REF_ULEB2, TEXT_VM + DATA_AT + 0x800));
    CHECK(has_ref(&image, LINKEDIT_AT + 0x117, DS_REF_ULEB2, TEXT_VM + DATA_AT + 0x900));
    static const unsigned words[] = {0x800, 0x808, 0x810, 0x820};
    for (unsigned i = 0; i < DS_COUNT(words); i++)
        CHECK(has_ref(&image, DATA_AT + words[i], DS_REF_ABS64, 0));
    CHECK(ref_at(&image, DATA_AT + 0x818) == NULL);
    ds_image_free(&image);
}

/* --- whole files ------------------------------------------------------------------------- */

static void test_seeds(ds_arena *arena) {
    uint64_t size;
    uint8_t *data = read_seed("chained.dylib", &size);
    ds_image image = parse(arena, data, size);
    CHECK(image.arch == DS_ARCH_AARCH64 && image.starts != NULL && ds_is_sound(&image));
    ds_image_free(&image);
    free(data);
    data = read_seed("universal.dylib", &size);
    image = parse(arena, data, size);
    uint64_t spaces[2] = {0, 0};
    for (uint64_t i = 0; i < image.regions.count; i++)
        spaces[image.regions.items[i].address >> DS_SPACE_SHIFT & 1]++;
    CHECK(spaces[0] > 5 && spaces[1] > 5 && ds_is_sound(&image));
    CHECK(image.signatures.count == 2);
    ds_image_free(&image);
    /* A segment that does not lie in the slice, and a section of it that loads half of the header: what stands in the
     * commands behind it has no place, and refers to nothing. */
    enum { SLICE = 0x6000, SEGMENT = SLICE + 32, SECTION = SEGMENT + 72, LOADED = 16 };
    uint8_t before[SECTION + 80 - SEGMENT];
    memcpy(before, data + SEGMENT, sizeof before);
    ds_store64(data + SEGMENT + 40, UINT64_C(1) << 40); /* in the file */
    ds_store64(data + SECTION + 40, LOADED);            /* its size */
    ds_store32(data + SECTION + 48, 0);                 /* in the slice */
    image = parse(arena, data, size);
    CHECK(ds_image_address(&image, SLICE + LOADED) == DS_FILE_BASE + SLICE + LOADED);
    CHECK(ds_image_address(&image, SLICE) >> DS_SPACE_SHIFT == 1 && ds_is_sound(&image));
    ds_image_free(&image);
    memcpy(data + SEGMENT, before, sizeof before);
    /* A second slice that shares bytes with the first is left out. */
    memcpy(data + 8 + 20 + 8, data + 8 + 8, 8);
    image = parse(arena, data, size);
    CHECK(image.signatures.count == 1);
    ds_image_free(&image);
    free(data);
}

/* Lists that the runtimes of Objective-C and Swift go through: pointers that count from their own places. */
static void test_relative_pointers(ds_arena *arena) {
    enum { METHODS = 0x900, TYPES = 0x980, FIELDS = 0x9c0 };
    builder b = {0};
    put32(&b, 0, 0xfeedfacf);
    put32(&b, 4, ARM64);
    put32(&b, 12, 6);
    uint64_t text = segment(&b, "__TEXT", TEXT_VM, 0, 0x1000, 3);
    section(&b, text, "__objc_methlist", TEXT_VM + METHODS, METHODS, 0x40, 0);
    section(&b, text + 80, "__swift5_types", TEXT_VM + TYPES, TYPES, 0x10, 0);
    section(&b, text + 160, "__swift5_fieldmd", TEXT_VM + FIELDS, FIELDS, 0x30, 0);
    put32(&b, METHODS, 0x8000000f); /* relative, of 12 bytes, two flags */
    put32(&b, METHODS + 4, 1);
    put32(&b, METHODS + 8, 0x100);
    put32(&b, METHODS + 16, (uint64_t)-0x80);
    put32(&b, METHODS + 0x18, 0x8000000c); /* behind padding to 8 */
    put32(&b, METHODS + 0x1c, 1);
    put32(&b, METHODS + 0x20, 0x200);
    put32(&b, METHODS + 0x30, 0x18); /* pointers of 8 bytes */
    put32(&b, METHODS + 0x34, 1);
    put32(&b, METHODS + 0x38, 0x300);
    put32(&b, TYPES, 0x40);
    put32(&b, TYPES + 8, 0x41); /* an indirect one */
    put32(&b, FIELDS, 0x10);
    put16(&b, FIELDS + 10, 12);
    put32(&b, FIELDS + 12, 1);
    put32(&b, FIELDS + 16, 2); /* flags */
    put32(&b, FIELDS + 20, 0x30);
    put32(&b, FIELDS + 24, 0x20);
    put32(&b, FIELDS + 28, 0x50); /* the next one, whose records are of no known size */
    put32(&b, FIELDS + 44, 0x60);
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    static const struct {
        ds_offset at;
        uint32_t distance; /* 0: none */
    } pointers[] = {{METHODS + 8, 0x100}, {METHODS + 12, 0},       {METHODS + 16, (uint32_t)-0x80},
                    {METHODS + 20, 0},    {METHODS + 0x20, 0x200}, {METHODS + 0x38, 0},
                    {TYPES, 0x40},        {TYPES + 4, 0},          {TYPES + 8, 0x41},
                    {FIELDS, 0x10},       {FIELDS + 16, 0},        {FIELDS + 20, 0x30},
                    {FIELDS + 24, 0x20},  {FIELDS + 28, 0x50},     {FIELDS + 44, 0}};
    for (unsigned i = 0; i < DS_COUNT(pointers); i++) {
        ds_address target = TEXT_VM + pointers[i].at + (ds_address)(int64_t)(int32_t)pointers[i].distance;
        if (pointers[i].distance == 0)
            CHECK(ref_at(&image, pointers[i].at) == NULL);
        else
            CHECK(has_ref(&image, pointers[i].at, DS_REF_PREL32, target));
    }
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
}

static void test_not_claimed(ds_arena *arena) {
    builder b;
    begin(&b, 7, 2, 0x400); /* 32-bit */
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(image.refs.count == 0 && image.starts == NULL);
    ds_image_free(&image);
    uint8_t java[64] = {0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 52};
    image = parse(arena, java, sizeof java);
    CHECK(image.refs.count == 0 && image.starts == NULL);
    ds_image_free(&image);
}

/* --- signatures -------------------------------------------------------------------------- */

/* Hands the file out with its derived bytes wiped, in pieces of `step` bytes; true when all come back. */
static bool derives(ds_arena *arena, const ds_derivations *derivations, const uint8_t *data, uint64_t size,
                    uint64_t step) {
    ds_deriver *deriver;
    uint8_t *copy = malloc(size);
    CHECK(copy != NULL && ds_deriver_open(&deriver, derivations, arena) == DS_OK);
    memcpy(copy, data, size);
    for (uint64_t i = 0; i < derivations->list.count; i++)
        memset(copy + derivations->list.items[i].digests, 0, ds_derivation_size(&derivations->list.items[i]));
    for (uint64_t at = 0; at < size; at += step)
        ds_deriver_pass(deriver, copy + at, size - at < step ? size - at : step);
    bool same = memcmp(copy, data, size) == 0;
    ds_deriver_close(deriver);
    free(copy);
    return same;
}

static uint64_t find(ds_arena *arena, const uint8_t *data, uint64_t size, ds_derivations *out) {
    ds_image image = parse(arena, data, size);
    CHECK(ds_derive_find(&image, arena, out) == DS_OK);
    ds_image_free(&image);
    return out->list.count;
}

static void test_signatures(ds_arena *arena) {
    uint64_t size;
    ds_derivations found;
    uint8_t *data = read_seed("universal.dylib", &size);
    CHECK(find(arena, data, size, &found) == 2);
    CHECK(found.list.items[0].covered == 0x1000 && found.list.items[0].page_bits == 12);
    CHECK(found.list.items[1].covered == found.list.items[0].covered + 0x5000);
    static const uint64_t steps[] = {1, 31, 4096, 5000, 1 << 20};
    for (unsigned i = 0; i < DS_COUNT(steps); i++)
        CHECK(derives(arena, &found, data, size, steps[i]));
    bool derived;
    ds_offset first = found.list.items[0].digests;
    CHECK(ds_derived_run(&found, 0, size, &derived) == first && !derived);
    CHECK(ds_derived_run(&found, first + 1, size, &derived) == first + ds_derivation_size(&found.list.items[0]) &&
          derived);
    DS_VEC_FREE(arena, &found.list);
    data[0x1800] ^= 1; /* the first slice is no longer what was signed */
    CHECK(find(arena, data, size, &found) == 1);
    DS_VEC_FREE(arena, &found.list);
    free(data);
}

/* Digests of single pages behind the signature, as a longer one left them. */
static void test_stale_tail(ds_arena *arena) {
    uint64_t size;
    ds_derivations found;
    uint8_t *seed = read_seed("classic.dylib", &size), *data = calloc(1, size + 200);
    CHECK(data != NULL);
    memcpy(data, seed, size);
    ds_image image = parse(arena, data, size);
    ds_signature signature = image.signatures.items[0];
    ds_image_free(&image);
    uint64_t blob = __builtin_bswap32(ds_load32(data + signature.offset + 4));
    for (uint64_t at = 32 + 16, size_field; at < 0x1000; at += 4) { /* grow the signature's command by the tail */
        memcpy(&size_field, data + at, 8);
        if (size_field == (signature.offset | signature.size << 32))
            ds_store32(data + at + 4, (uint32_t)(signature.size + 200));
    }
    for (unsigned page = 1; page < 4; page++)
        ds_sha256(data + 4096 * page, 4096, data + signature.offset + blob + 7 + 32 * (page - 1));
    CHECK(find(arena, data, size + 200, &found) == 1); /* the header was changed, so only the tail is right */
    CHECK(found.list.items[0].digests == signature.offset + blob + 7 && found.list.items[0].limit == 3 * 4096);
    CHECK(derives(arena, &found, data, size + 200, 999));
    DS_VEC_FREE(arena, &found.list);
    free(seed);
    free(data);
}

static void test_foreign_derivations(void) {
    ds_derivation good = {.digests = 0x3000, .covered = 0x1000, .limit = 0x1800, .page_bits = 12};
    ds_derivations none = {0}, one = {.list = {.items = &good, .count = 1}};
    CHECK(ds_derivation_size(&good) == 64);
    CHECK(ds_derivation_fits(&none, &good, 0x3040));
    CHECK(!ds_derivation_fits(&none, &good, 0x303f)); /* digests leave the image */
    CHECK(!ds_derivation_fits(&one, &good, 0x9000));  /* two for the same bytes */
    ds_derivation bad = good;
    bad.limit = 0x2001; /* pages reach into their digests */
    CHECK(!ds_derivation_fits(&none, &bad, 0x9000));
    bad = good;
    bad.limit = 0;
    CHECK(!ds_derivation_fits(&none, &bad, 0x9000));
    bad = good;
    bad.page_bits = 11;
    CHECK(!ds_derivation_fits(&none, &bad, 0x9000));
    bad = good;
    bad.digests = UINT64_MAX;
    CHECK(!ds_derivation_fits(&none, &bad, 0x9000));
}

/* --- damage ------------------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void check_damaged(ds_arena *arena, const uint8_t *data, uint64_t size) {
    ds_derivations found;
    ds_image image = parse(arena, data, size);
    CHECK(ds_is_sound(&image));
    CHECK(ds_derive_find(&image, arena, &found) == DS_OK);
    DS_VEC_FREE(arena, &found.list);
    ds_image_free(&image);
}

/* Words of load commands and of __LINKEDIT overwritten by numbers that mean trouble; files cut short. */
static void test_damage(ds_arena *arena, const char *name, uint64_t seed) {
    static const uint64_t evil[] = {0, 1, 7, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, 0x7fffffffffffffff};
    uint64_t size, state = seed;
    uint8_t *data = read_seed(name, &size), *copy = malloc(size);
    CHECK(copy != NULL);
    for (unsigned round = 0; round < 1500; round++) {
        memcpy(copy, data, size);
        uint64_t reach = round % 3 == 0 ? 0x800 : size;
        for (uint64_t hits = 1 + next_random(&state) % 8; hits > 0; hits--) {
            uint64_t at = next_random(&state) % (reach - 8);
            uint64_t value =
                next_random(&state) % 4 == 0 ? next_random(&state) : evil[next_random(&state) % DS_COUNT(evil)];
            memcpy(copy + at, &value, next_random(&state) % 2 == 0 ? 4 : 1 + next_random(&state) % 8);
        }
        check_damaged(arena, copy, round % 5 == 0 ? next_random(&state) % size : size);
    }
    free(copy);
    free(data);
}

int main(void) {
    ds_arena *arena = ds_arena_open(CEILING);
    CHECK(arena != NULL);
    test_chain_64(arena);
    test_chain_offsets(arena);
    test_chain_arm64e(arena);
    test_next_kinds();
    test_other_kinds();
    test_linkedit(arena);
    test_opcodes(arena);
    test_seeds(arena);
    test_relative_pointers(arena);
    test_not_claimed(arena);
    test_signatures(arena);
    test_stale_tail(arena);
    test_foreign_derivations();
    test_damage(arena, "chained.dylib", 1);
    test_damage(arena, "classic.dylib", 2);
    test_damage(arena, "universal.dylib", 3);
    ds_arena_close(arena);
    return checks_done();
}
