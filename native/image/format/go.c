/* The function table of Go programs (Go 1.20 and later) and what it names. See go.h.
 *
 * Sources: Go, src/runtime/symtab.go (pcHeader, moduledata, functab, _func, findfuncbucket, inlinedCall),
 * src/internal/abi/symtab.go (FUNCDATA_*), src/runtime/stack.go (stackObjectRecord).
 *
 * The table: header; names; lists of files per unit (32-bit offsets of names of files); names of files;
 * tables of program counters; then for each function a pair (entry, record), and the records. Entries count
 * from the text, records from the pairs, the rest from the start of its part. A record holds offsets into
 * all of these, one per kind of data; data of functions counts from a base that only the module data tell.
 *
 * Invariants
 *  - every offset is checked against the table before it is used; records are read once per pair, and
 *    charged by the bytes they name;
 *  - data of functions ends where the next begins, so no byte is read for two;
 *  - without module data, only what the header tells is read.
 */
#include "image/format/go.h"

enum { MAGIC = 0xfffffff1 }; /* Go 1.20 */
enum { HEADER = 72, POINTER_SIZE_AT = 7, POINTER_SIZE = 8 };
enum { COUNT_AT = 8, TEXT_AT = 24, NAMES_AT = 32, UNITS_AT = 40, FILES_AT = 48, COUNTERS_AT = 56, PAIRS_AT = 64 };
enum { PAIR = 8, RECORD = 44 };
#define NO_OFFSET UINT32_MAX /* a unit without the file, a function without the data */

/* A part of the table, with the index of its address in image->bases. */
typedef struct part {
    uint64_t at;
    uint32_t base;
} part;

typedef struct go_table {
    ds_go_program *program;
    const uint8_t *data; /* the whole file */
    ds_extent bytes;
    uint64_t count; /* of functions */
    part names, units, files, counters, pairs;
    ds_address text;
    uint32_t text_base;
    bool has_module;
    ds_address function_data;
    uint32_t function_data_base;
    DS_VEC(ds_pair) function_tables; /* start of data of functions, FUNCDATA number */
} go_table;

ds_extent ds_go_rest(const ds_go_program *program, ds_address address) {
    const ds_region *region = ds_image_region(program->image, address);
    if (region == NULL || region->class_ == DS_REGION_NOBITS)
        return (ds_extent){0};
    uint64_t inside = address - region->address;
    return (ds_extent){region->offset + inside, address, region->size - inside};
}

static uint32_t load_at(const go_table *t, uint64_t at) {
    return ds_load32(t->data + t->bytes.offset + at);
}

static ds_status field(go_table *t, uint64_t at, ds_ref_kind kind, uint32_t base) {
    return ds_add_field_at(t->program->image, t->bytes.offset + at, t->program->space, kind, base);
}

static ds_status nonzero(go_table *t, uint64_t at, ds_ref_kind kind, uint32_t base) {
    return load_at(t, at) == 0 ? DS_OK : field(t, at, kind, base);
}

/* --- header ------------------------------------------------------------------------------ */

static ds_status read_header(go_table *t, bool *usable) {
    ds_image *image = t->program->image;
    const uint8_t *header = t->data + t->bytes.offset;
    *usable =
        t->bytes.size >= HEADER && ds_load32(header) == (uint32_t)MAGIC && header[POINTER_SIZE_AT] == POINTER_SIZE;
    if (!*usable)
        return DS_OK;
    const struct {
        unsigned at;
        part *part;
    } parts[] = {{NAMES_AT, &t->names},
                 {UNITS_AT, &t->units},
                 {FILES_AT, &t->files},
                 {COUNTERS_AT, &t->counters},
                 {PAIRS_AT, &t->pairs}};
    uint32_t base;
    DS_TRY(ds_image_add_base(image, t->bytes.address, &base));
    for (unsigned i = 0; i < DS_COUNT(parts); i++) {
        uint64_t at = parts[i].part->at = ds_load64(header + parts[i].at);
        *usable &= at >= HEADER && at <= t->bytes.size;
        DS_TRY(field(t, parts[i].at, DS_REF_BASE64, base));
        DS_TRY(ds_image_add_base(image, t->bytes.address + at, &parts[i].part->base));
    }
    t->count = ds_load64(header + COUNT_AT);
    if (!t->has_module)
        t->text = t->program->space + ds_load64(header + TEXT_AT);
    *usable &= t->count <= (t->bytes.size - t->pairs.at) / PAIR && t->text != t->program->space;
    return ds_image_add_base(image, t->text, &t->text_base);
}

static ds_status read_units(go_table *t) {
    if (t->files.at < t->units.at || !ds_go_charge(t->program, t->files.at - t->units.at))
        return DS_OK;
    for (uint64_t at = t->units.at; ds_within(at, 4, t->files.at); at += 4)
        if (load_at(t, at) != NO_OFFSET)
            DS_TRY(field(t, at, DS_REF_BASE32, t->files.base));
    return DS_OK;
}

/* --- functions --------------------------------------------------------------------------- */

enum {
    RECORD_ENTRY = 0,
    RECORD_NAME = 4,
    RECORD_DEFER = 12,
    RECORD_COUNTERS = 16, /* of stack, file, line */
    RECORD_COUNTER_TABLES = 28,
    RECORD_UNIT = 32,
    RECORD_DATA = 43,
};

static ds_status read_function_data(go_table *t, uint64_t at, unsigned number) {
    if (load_at(t, at) == NO_OFFSET)
        return DS_OK;
    ds_image *image = t->program->image;
    DS_TRY(field(t, at, DS_REF_BASE32, t->function_data_base));
    DS_TRY(DS_VEC_RESERVE(image->arena, &t->function_tables, t->function_tables.count + 1));
    t->function_tables.items[t->function_tables.count++] = (ds_pair){t->function_data + load_at(t, at), number};
    return DS_OK;
}

static ds_status read_record(go_table *t, uint64_t at) {
    if (!ds_within(at, RECORD, t->bytes.size))
        return DS_OK;
    uint64_t tables = load_at(t, at + RECORD_COUNTER_TABLES);
    unsigned data = t->data[t->bytes.offset + at + RECORD_DATA];
    uint64_t after = 4 * (tables + data);
    if (!ds_within(at + RECORD, after, t->bytes.size) || !ds_go_charge(t->program, RECORD + after))
        return DS_OK;
    DS_TRY(field(t, at + RECORD_ENTRY, DS_REF_BASE32, t->text_base));
    DS_TRY(field(t, at + RECORD_NAME, DS_REF_BASE32, t->names.base));
    if (load_at(t, at + RECORD_DEFER) != 0) {
        uint32_t entry;
        DS_TRY(ds_image_add_base(t->program->image, t->text + load_at(t, at + RECORD_ENTRY), &entry));
        DS_TRY(field(t, at + RECORD_DEFER, DS_REF_BASE32, entry));
    }
    for (unsigned i = 0; i < 12; i += 4)
        DS_TRY(nonzero(t, at + RECORD_COUNTERS + i, DS_REF_BASE32, t->counters.base));
    if (load_at(t, at + RECORD_UNIT) != NO_OFFSET)
        DS_TRY(field(t, at + RECORD_UNIT, DS_REF_INDEX32_4, t->units.base));
    at += RECORD;
    for (uint64_t i = 0; i < tables; i++, at += 4)
        DS_TRY(nonzero(t, at, DS_REF_BASE32, t->counters.base));
    for (unsigned i = 0; i < data && t->has_module; i++, at += 4)
        DS_TRY(read_function_data(t, at, i));
    return DS_OK;
}

static ds_status read_functions(go_table *t) {
    for (uint64_t i = 0; i < t->count; i++) {
        uint64_t at = t->pairs.at + i * PAIR;
        if (!ds_go_charge(t->program, PAIR))
            return DS_OK;
        DS_TRY(field(t, at, DS_REF_BASE32, t->text_base));
        DS_TRY(field(t, at + 4, DS_REF_BASE32, t->pairs.base));
        t->program->sink(t->program->context, t->text + load_at(t, at));
        DS_TRY(read_record(t, t->pairs.at + load_at(t, at + 4)));
    }
    return DS_OK;
}

/* --- data of functions ------------------------------------------------------------------- */

/* Data that holds references: from `first`, every `stride` bytes, at `at` an offset from names or rodata. */
enum {
    STACK_OBJECTS = 2,
    STACK_OBJECT_FIRST = 8,
    STACK_OBJECT_SHAPE = 12,
    INLINE_TREE = 3,
    INLINE_NAME = 4,
    ENTRY = 16
};

static ds_status read_function_table(go_table *t, ds_extent table, uint64_t number, uint32_t shapes) {
    ds_image *image = t->program->image;
    bool objects = number == STACK_OBJECTS;
    if ((!objects && number != INLINE_TREE) || !ds_go_charge(t->program, table.size))
        return DS_OK;
    uint64_t at = objects ? STACK_OBJECT_FIRST : 0, in_entry = objects ? STACK_OBJECT_SHAPE : INLINE_NAME;
    for (; ds_within(at, ENTRY, table.size); at += ENTRY)
        DS_TRY(ds_add_field_at(image, table.offset + at + in_entry, t->program->space, DS_REF_BASE32,
                               objects ? shapes : t->names.base));
    return DS_OK;
}

static ds_status read_function_tables(go_table *t) {
    ds_pair *tables = t->function_tables.items;
    uint64_t count = t->function_tables.count;
    uint32_t shapes;
    DS_TRY(ds_image_add_base(t->program->image, ds_go_address_at(t->program, GO_READ_ONLY), &shapes));
    ds_sort_pairs(tables, count);
    for (uint64_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && tables[next].key == tables[i].key; next++)
            ;
        ds_extent table = ds_go_rest(t->program, tables[i].key);
        if (next < count && tables[next].key - tables[i].key < table.size)
            table.size = tables[next].key - tables[i].key;
        else if (next == count)
            table.size = 0; /* nothing tells where the last one ends */
        DS_TRY(read_function_table(t, table, tables[i].value, shapes));
    }
    return DS_OK;
}

/* Buckets of a fixed stretch of text each: the first function, then 16 bytes of distances. */
static ds_status read_find_table(go_table *t) {
    enum { BUCKET = 20, BUCKET_TEXT = 4096 };
    ds_extent table = ds_go_rest(t->program, ds_go_address_at(t->program, GO_FIND_TABLE));
    if (t->count == 0)
        return DS_OK;
    uint64_t text = load_at(t, t->pairs.at + t->count * PAIR - PAIR); /* entry of the last function */
    uint64_t buckets = text / BUCKET_TEXT + 1;
    if (buckets > table.size / BUCKET || !ds_go_charge(t->program, buckets * BUCKET))
        return DS_OK;
    for (uint64_t i = 0; i < buckets; i++)
        DS_TRY(ds_add_field_at(t->program->image, table.offset + i * BUCKET, t->program->space, DS_REF_INDEX32_8,
                               t->pairs.base));
    return DS_OK;
}

/* --- the whole --------------------------------------------------------------------------- */

static ds_status read_all(go_table *t) {
    bool usable;
    DS_TRY(read_header(t, &usable));
    if (!usable)
        return DS_OK;
    DS_TRY(read_units(t));
    DS_TRY(read_functions(t));
    if (!t->has_module)
        return DS_OK;
    DS_TRY(read_function_tables(t));
    DS_TRY(read_find_table(t));
    return ds_go_types(t->program);
}

ds_status ds_go_read(ds_go_program *program) {
    ds_image *image = program->image;
    go_table t = {.program = program, .data = image->file.data, .bytes = program->functions};
    if (program->module.size >= GO_MODULE_SIZE && ds_go_address_at(program, GO_HEADER) == program->functions.address) {
        t.has_module = true;
        t.text = ds_go_address_at(program, GO_TEXT);
        t.function_data = ds_go_address_at(program, GO_FUNCTION_DATA);
        DS_TRY(ds_image_add_base(image, t.function_data, &t.function_data_base));
    }
    ds_status status = read_all(&t);
    DS_VEC_FREE(image->arena, &t.function_tables);
    return status;
}
