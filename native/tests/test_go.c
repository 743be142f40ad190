/* A Go function table and type descriptors worked by hand, what the parser must find in them, and the same
 * bytes damaged in every way that is cheap to try. */
#include <stdio.h>
#include <stdlib.h>

#include "image/format/go.h"
#include "tests/check.h"
#include "tests/find_ref.h"
#include "tests/sound.h"

#define CEILING ((uint64_t)1 << 26)
#define FILE_SIZE 0x1000u
#define LOADED 0x10000u /* address of file offset 0 */

/* Offsets in the file. */
enum { TABLE_AT = 0x100, MODULE_AT = 0x600, TYPES_AT = 0x800, LINKS_AT = 0xc00, ITABS_AT = 0xc40, ITAB_AT = 0xc60 };
/* Parts of the table, from its start. */
enum { NAMES = 0x48, UNITS = 0x60, FILES = 0x68, COUNTERS = 0x70, PAIRS = 0x80, RECORD_A = 0x20, RECORD_B = 0x60 };
enum { FUNCTION_DATA = 0x200, FIND_TABLE = 0x300 };
#define TEXT 0x200000u /* needs no bytes */
#define NAME_OF_TYPES 0x300u

/* What differs by release (runtime/symtab.go, runtime2.go): the magic; places of words in the module data; bytes of a
 * function's record; places in an entry of an inline tree. */
typedef struct release {
    const char *name;
    uint32_t magic;
    unsigned types, read_only, function_data, sections, type_links, itab_links;
    unsigned record, inlined_name, inlined_counter;
} release;
static const release releases[] = {
    {"tables-1.18", 0xfffffff0, 280, 296, 304, 312, 336, 360, 40, 12, 16},
    {"tables-1.20", 0xfffffff1, 296, 312, 320, 328, 352, 376, 44, 4, 8},
    {"tables", 0xfffffff1, 296, 312, 320, 336, 360, 384, 44, 4, 8},
};

static uint8_t bytes[FILE_SIZE];

static void put32(uint64_t at, uint64_t v) {
    memcpy(bytes + at, &v, 4);
}
static void put64(uint64_t at, uint64_t v) {
    memcpy(bytes + at, &v, 8);
}

static void make_table(const release *r) {
    put32(TABLE_AT, r->magic);
    bytes[TABLE_AT + 6] = 4;
    bytes[TABLE_AT + 7] = 8;
    put64(TABLE_AT + 8, 2);
    put64(TABLE_AT + 24, TEXT);
    put64(TABLE_AT + 32, NAMES);
    put64(TABLE_AT + 40, UNITS);
    put64(TABLE_AT + 48, FILES);
    put64(TABLE_AT + 56, COUNTERS);
    put64(TABLE_AT + 64, PAIRS);
    put32(TABLE_AT + UNITS, 2);
    put32(TABLE_AT + UNITS + 4, 0xffffffff);
    put32(TABLE_AT + PAIRS, 0);
    put32(TABLE_AT + PAIRS + 4, RECORD_A);
    put32(TABLE_AT + PAIRS + 8, 0x1010);
    put32(TABLE_AT + PAIRS + 12, RECORD_B);
    uint64_t a = TABLE_AT + PAIRS + RECORD_A, b = TABLE_AT + PAIRS + RECORD_B;
    put32(a + 4, 3);              /* name */
    put32(a + 12, 0x20);          /* deferred calls return there */
    put32(a + 16, 1);             /* stack */
    put32(a + 28, 1);             /* one table of counters */
    put32(a + 32, 1);             /* unit */
    bytes[a + r->record - 1] = 4; /* data 0 to 3 */
    put32(a + r->record, 5);
    /* Of 1: one step of 0x10. Of 5: 0x90, then 4. Each pair is a change and a step; a change of 0 ends. */
    static const uint8_t counters[] = {0, 2, 0x10, 0, 0, 0, 0x90, 1, 1, 4, 0};
    memcpy(bytes + TABLE_AT + COUNTERS, counters, sizeof counters);
    for (unsigned i = 0; i < 4; i++)
        put32(a + r->record + 4 + 4 * i, 0xffffffff);
    put32(a + r->record + 4 + 8, 0);     /* stack objects */
    put32(a + r->record + 4 + 12, 0x20); /* inline tree */
    put32(b, 0x1010);
    put32(b + 32, 0xffffffff);
    bytes[b + r->record - 1] = 1;
    put32(b + r->record, 0x40);
    put32(TABLE_AT + FUNCTION_DATA + 8 + 12, 0x44);              /* shape of a stack object, from read-only data */
    put32(TABLE_AT + FUNCTION_DATA + 0x20 + r->inlined_name, 7); /* in the inline tree */
    put32(TABLE_AT + FUNCTION_DATA + 0x20 + r->inlined_counter, 0x18); /* and where */
    put32(TABLE_AT + FIND_TABLE + 20, 1); /* the second bucket begins with the second function */
}

static void put_list(uint64_t at, ds_address first, uint64_t count) {
    put64(at, first);
    put64(at + 8, count);
    put64(at + 16, count);
}

static void make_module(const release *r) {
    put64(MODULE_AT, LOADED + TABLE_AT);
    put64(MODULE_AT + 8, LOADED + TABLE_AT + NAMES);
    put64(MODULE_AT + GO_FIND_TABLE, LOADED + TABLE_AT + FIND_TABLE);
    put64(MODULE_AT + GO_TEXT, TEXT);
    put64(MODULE_AT + r->types, LOADED + TYPES_AT);
    put64(MODULE_AT + r->types + 8, LOADED + TYPES_AT + 0x400);
    put64(MODULE_AT + r->read_only, LOADED);
    put64(MODULE_AT + r->function_data, LOADED + TABLE_AT + FUNCTION_DATA);
    put_list(MODULE_AT + r->sections, LOADED, 1);
    put_list(MODULE_AT + r->type_links, LOADED + LINKS_AT, 3);
    put_list(MODULE_AT + r->itab_links, LOADED + ITABS_AT, 1);
}

static void type(uint64_t at, unsigned kind, unsigned flags) {
    bytes[TYPES_AT + at + 23] = (uint8_t)kind;
    bytes[TYPES_AT + at + 20] = (uint8_t)flags;
    put32(TYPES_AT + at + 40, NAME_OF_TYPES + at / 8);
}

/* A pointer (linked) to a struct with a method and a field; an interface (from an itab) with a method of
 * function type; the function takes a basic type. Linked, too: maps with methods of their own, as they are since Go 1.24
 * and as they were before. */
enum { TO_STRUCT = 0x08, THE_STRUCT = 0x40, METHODS = 0xa0, FIELDS = 0xb0, THE_INTERFACE = 0xd0, THE_METHODS = 0x120 };
enum { THE_FUNCTION = 0x128, BASIC = 0x170, A_MAP = 0x1a0, OLD_MAP = 0x240 };

static void make_types(void) {
    put32(LINKS_AT, TO_STRUCT);
    put32(LINKS_AT + 4, A_MAP);
    put32(LINKS_AT + 8, OLD_MAP);
    put64(ITABS_AT, LOADED + ITAB_AT);
    put64(ITAB_AT, LOADED + TYPES_AT + THE_INTERFACE);
    put64(ITAB_AT + 8, LOADED + TYPES_AT + THE_STRUCT);
    type(TO_STRUCT, 22, 0);
    put64(TYPES_AT + TO_STRUCT + 48, LOADED + TYPES_AT + THE_STRUCT);
    type(THE_STRUCT, 25, 1);
    put32(TYPES_AT + THE_STRUCT + 44, TO_STRUCT);
    put64(TYPES_AT + THE_STRUCT + 56, LOADED + TYPES_AT + FIELDS);
    put64(TYPES_AT + THE_STRUCT + 64, 1);
    put32(TYPES_AT + THE_STRUCT + 80 + 4, 1); /* methods */
    put32(TYPES_AT + THE_STRUCT + 80 + 8, METHODS - THE_STRUCT - 80);
    put32(TYPES_AT + METHODS, NAME_OF_TYPES);
    put32(TYPES_AT + METHODS + 4, THE_FUNCTION);
    put32(TYPES_AT + METHODS + 8, 0x1010);
    put32(TYPES_AT + METHODS + 12, 0xffffffff);
    put64(TYPES_AT + FIELDS + 8, LOADED + TYPES_AT + BASIC);
    type(THE_INTERFACE, 20, 0);
    put64(TYPES_AT + THE_INTERFACE + 56, LOADED + TYPES_AT + THE_METHODS);
    put64(TYPES_AT + THE_INTERFACE + 64, 1);
    put32(TYPES_AT + THE_METHODS, NAME_OF_TYPES + 1);
    put32(TYPES_AT + THE_METHODS + 4, THE_FUNCTION);
    type(THE_FUNCTION, 19, 0);
    put32(TYPES_AT + THE_FUNCTION + 48, 1);
    put64(TYPES_AT + THE_FUNCTION + 56, LOADED + TYPES_AT + BASIC);
    type(BASIC, 2, 0);
    type(A_MAP, 21, 1);
    put64(TYPES_AT + A_MAP + 80, 136);
    put32(TYPES_AT + A_MAP + 112, NAME_OF_TYPES + 2);
    type(OLD_MAP, 21, 1);
    put64(TYPES_AT + OLD_MAP + 80, UINT64_C(0xc00d00808));
    put32(TYPES_AT + OLD_MAP + 88, NAME_OF_TYPES + 3);
}

static void note(void *context, ds_address function) {
    (void)function;
    ++*(unsigned *)context;
}

/* Reads the table, with module data where there are to be some. */
static ds_image read_go(ds_arena *arena, const uint8_t *file, bool with_module, uint64_t work, unsigned *functions) {
    ds_image image = {.file = {file, FILE_SIZE}, .arena = arena};
    *functions = 0;
    CHECK(ds_image_add_region(
              &image, (ds_region){.offset = 0x40, .address = LOADED + 0x40, .size = FILE_SIZE - 0x40}) == DS_OK);
    ds_go_program program = {.image = &image,
                             .functions = {TABLE_AT, LOADED + TABLE_AT, 0x500},
                             .work_left = &work,
                             .sink = note,
                             .context = functions};
    if (with_module)
        program.module = (ds_extent){MODULE_AT, LOADED + MODULE_AT, 0x200};
    CHECK(ds_go_read(&program) == DS_OK);
    CHECK(ds_image_settle(&image) == DS_OK);
    return image;
}

static const ds_ref *ref_at(const ds_image *image, ds_offset offset) {
    return find_ref(image, offset);
}

static bool has_ref(const ds_image *image, ds_offset offset, ds_ref_kind kind, ds_address target) {
    const ds_ref *ref = ref_at(image, offset);
    return ref != NULL && ds_ref_kind_of(ref) == kind && ref->target == target;
}

static void check_functions(const ds_image *image, const release *r) {
    const ds_address table = LOADED + TABLE_AT;
    uint64_t a = TABLE_AT + PAIRS + RECORD_A, b = TABLE_AT + PAIRS + RECORD_B;
    CHECK(has_ref(image, TABLE_AT + 64, DS_REF_BASE64, table + PAIRS));
    CHECK(has_ref(image, TABLE_AT + UNITS, DS_REF_BASE32, table + FILES + 2));
    CHECK(ref_at(image, TABLE_AT + UNITS + 4) == NULL);
    CHECK(has_ref(image, TABLE_AT + PAIRS + 8, DS_REF_BASE32, TEXT + 0x1010));
    CHECK(has_ref(image, TABLE_AT + PAIRS + 12, DS_REF_BASE32, table + PAIRS + RECORD_B));
    CHECK(has_ref(image, a, DS_REF_BASE32, TEXT));
    CHECK(has_ref(image, a + 4, DS_REF_BASE32, table + NAMES + 3));
    CHECK(ref_at(image, a + 8) == NULL);
    CHECK(has_ref(image, a + 12, DS_REF_BASE32, TEXT + 0x20));
    CHECK(has_ref(image, a + 16, DS_REF_BASE32, table + COUNTERS + 1));
    CHECK(ref_at(image, a + 20) == NULL);
    CHECK(has_ref(image, a + 32, DS_REF_INDEX32_4, table + UNITS + 4));
    CHECK(has_ref(image, a + r->record, DS_REF_BASE32, table + COUNTERS + 5));
    CHECK(has_ref(image, TABLE_AT + COUNTERS + 2, DS_REF_STEP_ULEB1, TEXT + 0x10 - 1));
    CHECK(has_ref(image, TABLE_AT + COUNTERS + 6, DS_REF_STEP_ULEB2, TEXT + 0x90 - 1));
    CHECK(has_ref(image, TABLE_AT + COUNTERS + 9, DS_REF_STEP_ULEB1, TEXT + 0x94 - 1));
    CHECK(ref_at(image, TABLE_AT + COUNTERS + 4) == NULL);
    CHECK(has_ref(image, b, DS_REF_BASE32, TEXT + 0x1010));
    CHECK(ref_at(image, b + 32) == NULL);
}

static void test_functions(ds_arena *arena, const release *r) {
    unsigned functions;
    ds_image image = read_go(arena, bytes, false, UINT64_MAX, &functions);
    check_functions(&image, r);
    CHECK(functions == 2);
    CHECK(ref_at(&image, TABLE_AT + PAIRS + RECORD_B + r->record) == NULL); /* its base is not known */
    ds_image_free(&image);
}

static void test_module(ds_arena *arena, const release *r) {
    unsigned functions;
    ds_image image = read_go(arena, bytes, true, UINT64_MAX, &functions);
    const ds_address data = LOADED + TABLE_AT + FUNCTION_DATA;
    uint64_t a = TABLE_AT + PAIRS + RECORD_A + r->record + 4, tree = TABLE_AT + FUNCTION_DATA + 0x20;
    check_functions(&image, r);
    CHECK(has_ref(&image, a + 8, DS_REF_BASE32, data));
    CHECK(has_ref(&image, a + 12, DS_REF_BASE32, data + 0x20));
    CHECK(ref_at(&image, a) == NULL);
    CHECK(has_ref(&image, TABLE_AT + FUNCTION_DATA + 20, DS_REF_BASE32, LOADED + 0x44));
    CHECK(has_ref(&image, tree + r->inlined_name, DS_REF_BASE32, LOADED + TABLE_AT + NAMES + 7));
    CHECK(has_ref(&image, tree + r->inlined_counter, DS_REF_BASE32, TEXT + 0x18));
    CHECK(has_ref(&image, TABLE_AT + FIND_TABLE, DS_REF_INDEX32_8, LOADED + TABLE_AT + PAIRS));
    CHECK(has_ref(&image, TABLE_AT + FIND_TABLE + 20, DS_REF_INDEX32_8, LOADED + TABLE_AT + PAIRS + 8));
    CHECK(ref_at(&image, TABLE_AT + FIND_TABLE + 40) == NULL);
    CHECK(ds_is_sound(&image));
    ds_image_free(&image);
}

static void test_types(ds_arena *arena) {
    unsigned functions;
    ds_image image = read_go(arena, bytes, true, UINT64_MAX, &functions);
    const ds_address first = LOADED + TYPES_AT;
    CHECK(has_ref(&image, LINKS_AT, DS_REF_BASE32, first + TO_STRUCT));
    static const unsigned named[] = {TO_STRUCT, THE_STRUCT, THE_INTERFACE, THE_FUNCTION, BASIC};
    for (unsigned i = 0; i < DS_COUNT(named); i++)
        CHECK(has_ref(&image, TYPES_AT + named[i] + 40, DS_REF_BASE32, first + NAME_OF_TYPES + named[i] / 8));
    CHECK(has_ref(&image, TYPES_AT + THE_STRUCT + 44, DS_REF_BASE32, first + TO_STRUCT));
    CHECK(ref_at(&image, TYPES_AT + BASIC + 44) == NULL);
    CHECK(has_ref(&image, TYPES_AT + METHODS, DS_REF_BASE32, first + NAME_OF_TYPES));
    CHECK(has_ref(&image, TYPES_AT + METHODS + 4, DS_REF_BASE32, first + THE_FUNCTION));
    CHECK(has_ref(&image, TYPES_AT + METHODS + 8, DS_REF_BASE32, TEXT + 0x1010));
    CHECK(ref_at(&image, TYPES_AT + METHODS + 12) == NULL);
    CHECK(has_ref(&image, TYPES_AT + THE_METHODS, DS_REF_BASE32, first + NAME_OF_TYPES + 1));
    CHECK(has_ref(&image, TYPES_AT + THE_METHODS + 4, DS_REF_BASE32, first + THE_FUNCTION));
    CHECK(has_ref(&image, TYPES_AT + A_MAP + 112, DS_REF_BASE32, first + NAME_OF_TYPES + 2));
    CHECK(has_ref(&image, TYPES_AT + OLD_MAP + 88, DS_REF_BASE32, first + NAME_OF_TYPES + 3));
    ds_image_free(&image);
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void test_damage(ds_arena *arena) {
    static const uint64_t evil[] = {0, 1, 7, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, 0x7fffffffffffffff};
    uint64_t state = 1;
    uint8_t copy[FILE_SIZE];
    for (unsigned round = 0; round < 20000; round++) {
        memcpy(copy, bytes, FILE_SIZE);
        for (uint64_t hits = 1 + next_random(&state) % 4; hits > 0; hits--) {
            uint64_t at = TABLE_AT + next_random(&state) % (ITAB_AT + 16 - TABLE_AT);
            uint64_t value =
                next_random(&state) % 2 == 0 ? next_random(&state) % 0x400 : evil[next_random(&state) % DS_COUNT(evil)];
            memcpy(copy + (next_random(&state) % 2 == 0 ? at & ~(uint64_t)3 : at), &value,
                   next_random(&state) % 2 == 0 ? 4 : 8);
        }
        unsigned functions;
        ds_image image = read_go(arena, copy, round % 8 != 0,
                                 round % 5 == 0 ? next_random(&state) % 0x400 : 4 * FILE_SIZE, &functions);
        CHECK(ds_is_sound(&image));
        ds_image_free(&image);
    }
}

/* Module data stand behind other data; a pointer to the table alone is not their first word. */
static void test_module_inside(ds_arena *arena) {
    uint8_t copy[FILE_SIZE];
    unsigned functions;
    memcpy(copy, bytes, FILE_SIZE);
    memmove(copy + MODULE_AT + 0x18, copy + MODULE_AT, 0x1a0);
    memset(copy + MODULE_AT + 8, 0, 8);
    ds_image image = read_go(arena, copy, true, UINT64_MAX, &functions);
    CHECK(has_ref(&image, LINKS_AT, DS_REF_BASE32, LOADED + TYPES_AT + TO_STRUCT));
    ds_image_free(&image);
    copy[MODULE_AT + 0x18]++;
    image = read_go(arena, copy, true, UINT64_MAX, &functions);
    CHECK(ref_at(&image, LINKS_AT) == NULL && functions == 2);
    ds_image_free(&image);
}

static void test_no_table(ds_arena *arena) {
    unsigned functions;
    uint8_t copy[FILE_SIZE];
    memcpy(copy, bytes, FILE_SIZE);
    copy[TABLE_AT] = 0xfa; /* Go 1.16 */
    ds_image image = read_go(arena, copy, true, UINT64_MAX, &functions);
    CHECK(image.refs.count == 0 && functions == 0);
    ds_image_free(&image);
}

/* The file behind a front as fuzz_go.c takes it. */
static void write_seed(const char *folder, const release *r) {
    static const uint16_t places[] = {TABLE_AT, 0x500, MODULE_AT, 0x200};
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, r->name);
    FILE *seed = fopen(path, "wb");
    if (seed == NULL || fwrite(places, sizeof places, 1, seed) != 1 || fputc(0xff, seed) == EOF ||
        fwrite(bytes, FILE_SIZE, 1, seed) != 1 || fclose(seed) != 0)
        abort();
}

static void test_release(const release *r) {
    ds_arena *arena = ds_arena_open(CEILING);
    CHECK(arena != NULL);
    test_functions(arena, r);
    test_module(arena, r);
    test_types(arena);
    test_module_inside(arena);
    test_no_table(arena);
    test_damage(arena);
    ds_arena_close(arena);
}

int main(int count, char **arguments) {
    for (unsigned i = 0; i < DS_COUNT(releases); i++) {
        memset(bytes, 0, sizeof bytes);
        make_table(&releases[i]);
        make_module(&releases[i]);
        make_types();
        if (count > 1)
            write_seed(arguments[1], &releases[i]);
        else
            test_release(&releases[i]);
    }
    return checks_done();
}
