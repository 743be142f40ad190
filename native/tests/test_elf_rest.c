/* What an ELF image may hold beside the tables of the loader: Go's tables, pointers without relocations, probes,
 * debug links. Worked by hand. */
#include "predict/derive.h"
#include "tests/elf_builder.h"

#define CEILING ((uint64_t)1 << 26)

static void test_fixed_programs_have_words_that_are_addresses(ds_arena *arena) {
    builder b;
    for (unsigned type = 2; type <= 3; type++) {
        begin(&b, MACHINE_X86_64);
        put16(&b, 16, type);
        section(&b, ".text", PROGBITS, CODE, 0x400, 0x40, 0);
        section(&b, ".rodata", PROGBITS, ALLOC, 0x500, 0x20, 0);
        section(&b, ".other", PROGBITS, ALLOC, 0x540, 0x20, 0);
        put64(&b, 0x508, LOADED + 0x410);
        put64(&b, 0x510, LOADED + 0x440); /* behind the code */
        put64(&b, 0x548, LOADED + 0x410);
        ds_image image = parse(arena, b.bytes, FILE_SIZE);
        CHECK(has_ref(&image, 0x508, DS_REF_ABS64, LOADED + 0x410) == (type == 2));
        CHECK(ref_at(&image, 0x510) == NULL && ref_at(&image, 0x548) == NULL);
        ds_image_free(&image);
    }
}

static void test_go_programs(ds_arena *arena) {
    enum { TABLE = 0x500, PARTS = 0x48 };
    builder b;
    begin(&b, MACHINE_AARCH64);
    section(&b, ".text", PROGBITS, CODE, 0x400, 0x40, 0);
    section(&b, ".gopclntab", PROGBITS, ALLOC, TABLE, 0x200, 0);
    put32(&b, TABLE, 0xfffffff1);
    b.bytes[TABLE + 7] = 8;
    put64(&b, TABLE + 8, 1);
    put64(&b, TABLE + 24, LOADED + 0x400);
    for (unsigned at = 32; at < 64; at += 8)
        put64(&b, TABLE + at, PARTS);
    put64(&b, TABLE + 64, PARTS + 0x10);
    put32(&b, TABLE + PARTS + 0x10 + 4, 0x10);
    put32(&b, TABLE + PARTS + 0x20 + 16, 1);                  /* stack */
    memcpy(b.bytes + TABLE + PARTS + 1, "\2\3\0\x90\1\0", 6); /* a change of 0 ends it */
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, TABLE + 64, DS_REF_BASE64, LOADED + TABLE + PARTS + 0x10));
    CHECK(has_ref(&image, TABLE + PARTS + 2, DS_REF_STEP_ULEB1, LOADED + 0x400 + 4 * 3 - 1));
    CHECK(ref_at(&image, TABLE + PARTS + 4) == NULL);
    ds_image_free(&image);
}

static void test_probes(ds_arena *arena) {
    builder b;
    begin(&b, MACHINE_X86_64);
    section(&b, ".text", PROGBITS, CODE, 0x400, 0x40, 0);
    section(&b, ".note.stapsdt", NOTE, 0, 0x500, 0x60, 0);
    for (uint64_t at = 0x500; at < 0x560; at += 0x30) {
        put32(&b, at, 8);
        put32(&b, at + 4, 0x1a); /* and two bytes of padding */
        put32(&b, at + 8, 3);
        memcpy(b.bytes + at + 12, "stapsdt", 8);
        put64(&b, at + 20, LOADED + 0x410);
        put64(&b, at + 28, LOADED + 0x420);
    }
    put32(&b, 0x538, 4); /* of another type */
    ds_image image = parse(arena, b.bytes, FILE_SIZE);
    CHECK(has_ref(&image, 0x514, DS_REF_ABS64, LOADED + 0x410));
    CHECK(has_ref(&image, 0x51c, DS_REF_ABS64, LOADED + 0x420));
    CHECK(ref_at(&image, 0x524) == NULL && ref_at(&image, 0x544) == NULL);
    ds_image_free(&image);
}

/* A debug link that spells the build id is derived from it; one that does not is none. */
static void test_debug_links(ds_arena *arena) {
    static const char name[] = "23456789abcdef0123456789abcdef01234567.debug";
    builder b;
    for (unsigned changed = 0; changed < 2; changed++) {
        begin(&b, MACHINE_X86_64);
        section(&b, ".note.gnu.build-id", NOTE, ALLOC, 0x400, 0x24, 0);
        section(&b, ".gnu_debuglink", PROGBITS, 0, 0x500, 0x34, 0);
        for (unsigned i = 0; i < 20; i++)
            b.bytes[0x410 + i] = (uint8_t)((2 * i % 16) << 4 | (2 * i + 1) % 16);
        memcpy(b.bytes + 0x500, name, sizeof name);
        b.bytes[0x503] = (uint8_t)(b.bytes[0x503] + changed);
        ds_image image = parse(arena, b.bytes, FILE_SIZE);
        ds_derivations found = {0};
        CHECK(ds_derive_find(&image, arena, &found) == DS_OK);
        CHECK(found.list.count == 1 - changed);
        if (!changed) {
            const ds_derivation *d = &found.list.items[0];
            CHECK(d->digests == 0x500 && d->covered == 0x411 && d->limit == 19 && ds_derivation_size(d) == 38);
            ds_deriver *deriver;
            CHECK(ds_deriver_open(&deriver, &found, arena) == DS_OK);
            memset(b.bytes + 0x500, 0, 38);
            for (unsigned at = 0; at < FILE_SIZE; at += 0x101) /* pieces cut both in two */
                ds_deriver_pass(deriver, b.bytes + at, FILE_SIZE - at < 0x101 ? FILE_SIZE - at : 0x101);
            ds_deriver_close(deriver);
            CHECK(memcmp(b.bytes + 0x500, name, sizeof name) == 0);
        }
        DS_VEC_FREE(arena, &found.list);
        ds_image_free(&image);
    }
}

int main(void) {
    ds_arena *arena = ds_arena_open(CEILING);
    CHECK(arena != NULL);
    test_fixed_programs_have_words_that_are_addresses(arena);
    test_go_programs(arena);
    test_probes(arena);
    test_debug_links(arena);
    ds_arena_close(arena);
    return checks_done();
}
