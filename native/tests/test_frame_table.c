/* Records of unwind tables, programs as steps, the sorted table: what is read, what is not, and what comes back. */
#include "predict/frame_table.h"
#include "tests/check.h"

#define ADDRESS 0x1000

static ds_arena *arena;

/* A CIE of 20 bytes, two FDEs of 24 and 20 for functions at 0x5000 and 0x4000, an end. */
static const uint8_t table_bytes[] = {
    0x10, 0,    0,    0, 0, 0,    0,    0,    1, 'z',  'R',  0, 4, 0x78, 30,   1,    0x1b, 0x0c, 0x1f, 0, 0x14, 0,    0,
    0,    0x18, 0,    0, 0, 0xe4, 0x3f, 0,    0, 0x40, 0,    0, 0, 0,    0x41, 0x0e, 0x20, 0x9d, 4,    0, 0,    0x10, 0,
    0,    0,    0x30, 0, 0, 0,    0xcc, 0x2f, 0, 0,    0x10, 0, 0, 0,    0,    0,    0,    0,    0,    0, 0,    0,
};

static ds_frame_table table_of(const uint8_t *bytes, uint32_t size) {
    ds_frame_table table = {.bytes = bytes, .address = ADDRESS, .size = size};
    CHECK(ds_frame_table_read(&table, arena) == DS_OK);
    return table;
}

static void test_records(void) {
    ds_frame_table table = table_of(table_bytes, sizeof table_bytes);
    const ds_frame_record *r = table.records.items;
    CHECK(table.records.count == 4);
    CHECK(r[0].kind == DS_FRAME_CIE && r[0].size == 20 && r[0].unit_bits == 2 && r[0].lsda_bytes == 0 &&
          r[0].personality == 0);
    CHECK(r[1].kind == DS_FRAME_FDE && r[1].at == 20 && r[1].size == 24 && r[1].cie == 0);
    CHECK(r[1].start == 0x5000 && r[1].code_size == 0x40 && r[1].program == 37 && r[1].lsda == 0);
    CHECK(r[2].kind == DS_FRAME_FDE && r[2].at == 44 && r[2].size == 20 && r[2].start == 0x4000);
    CHECK(r[3].kind == DS_FRAME_END && r[3].at == 64 && r[3].size == 4);
    CHECK(ds_frame_alignment(&table) == 4);
    ds_frame_table_free(&table, arena);
}

/* Whatever the bytes are: records one behind the other, up to the end. */
static void check_apart(const uint8_t *bytes, uint32_t size) {
    ds_frame_table table = table_of(bytes, size);
    uint32_t at = 0;
    for (uint64_t i = 0; i < table.records.count; i++) {
        const ds_frame_record *record = &table.records.items[i];
        CHECK(record->at == at && record->size > 0 && record->size <= size - at);
        at += record->size;
        if (record->kind == DS_FRAME_FDE)
            CHECK(record->program <= at && record->cie < i && table.records.items[record->cie].kind == DS_FRAME_CIE);
    }
    CHECK(at == size);
    ds_frame_table_free(&table, arena);
}

static void test_damaged_records(void) {
    uint8_t bytes[sizeof table_bytes];
    for (uint32_t size = 0; size <= sizeof bytes; size++)
        check_apart(table_bytes, size);
    for (unsigned i = 0; i < 8 * sizeof bytes; i++) {
        memcpy(bytes, table_bytes, sizeof bytes);
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        check_apart(bytes, sizeof bytes);
    }
}

/* A program comes back from its steps, or is said to be none of them. */
static void check_program(const char *program, uint32_t size, uint64_t count, uint32_t last_place, uint64_t bytes) {
    ds_frame_steps steps = {0};
    bool exact;
    CHECK(ds_frame_steps_read((const uint8_t *)program, size, 2, arena, &steps, &exact) == DS_OK);
    CHECK(exact == (count > 0));
    if (exact) {
        CHECK(steps.list.count == count && steps.list.items[count - 1].place == last_place);
        CHECK(ds_frame_steps_size(&steps, 2) == bytes);
    }
    DS_VEC_FREE(arena, &steps.list);
}

#define PROGRAM(text) text, sizeof(text) - 1

static void test_programs(void) {
    check_program(PROGRAM("\x41\x0e\x20\x9d\x04\0\0"), 2, 4, 5);
    check_program(PROGRAM("\x41\x0e\0\0\0\0"), 1, 4, 3);         /* the zero is an operand */
    check_program(PROGRAM("\x02\x40\x0b"), 1, 0x100, 3);         /* 64 units take a byte of their own */
    check_program(PROGRAM("\x03\0\x01\x2d\x0a"), 2, 0x400, 5);   /* 256 take two */
    check_program(PROGRAM("\x04\0\0\x01\0\x2d"), 1, 0x40000, 6); /* 65,536 take four */
    check_program(PROGRAM("\x0e\x80\x80\x04"), 1, 0, 4);
    check_program(PROGRAM("\x02\x3f\x0b"), 0, 0, 0); /* a shorter form would do */
    check_program(PROGRAM("\x41\x41\x0b"), 0, 0, 0); /* two advances */
    check_program(PROGRAM("\x40\x0b"), 0, 0, 0);     /* by nothing */
    check_program(PROGRAM("\x0b\x41\0\0"), 0, 0, 0); /* an advance to nothing */
    check_program(PROGRAM("\x0b\0\x0b"), 0, 0, 0);   /* padding inside */
    check_program(PROGRAM("\x0f\x01\x70"), 0, 0, 0); /* an expression */
    check_program(PROGRAM("\x9d"), 0, 0, 0);         /* cut off */
    check_program(PROGRAM("\x0e\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), 0, 0, 0); /* too long */
    check_program(PROGRAM("\x04\xff\xff\xff\xff\x0b"), 0, 0, 0); /* a place past 32 bits */
}

static void test_header(void) {
    static const uint8_t expected[28] = {1, 0x1b, 3,    0x3b, 0xfc, 1, 0, 0,    2, 0, 0,    0, 0, 0x32,
                                         0, 0,    0x2c, 2,    0,    0, 0, 0x42, 0, 0, 0x14, 2, 0, 0};
    uint8_t bytes[36];
    ds_frame_table table = table_of(table_bytes, sizeof table_bytes);
    CHECK(ds_frame_header_make(&table, ADDRESS - 0x200, bytes, 28, arena) == DS_OK);
    CHECK(memcmp(bytes, expected, sizeof expected) == 0);
    CHECK(ds_frame_header_make(&table, ADDRESS, bytes, 36, arena) == DS_E_DELTA);
    CHECK(ds_frame_header_make(&table, ADDRESS, bytes, 0, arena) == DS_E_DELTA);
    ds_frame_table_free(&table, arena);
}

int main(void) {
    arena = ds_arena_open((uint64_t)1 << 24);
    test_records();
    test_damaged_records();
    test_programs();
    test_header();
    ds_arena_close(arena);
    return checks_done();
}
