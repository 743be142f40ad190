/* The function table of Go programs (Go 1.18 and later) and what it names. See go.h.
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

#define MAGIC_1_18 0xfffffff0u
#define MAGIC_1_20 0xfffffff1u
enum { HEADER = 72, POINTER_SIZE_AT = 7, POINTER_SIZE = 8 };
enum { COUNT_AT = 8, TEXT_AT = 24, NAMES_AT = 32, UNITS_AT = 40, FILES_AT = 48, COUNTERS_AT = 56, PAIRS_AT = 64 };
enum { PAIR = 8 };
#define NO_OFFSET UINT32_MAX /* a unit without the file, a function without the data */

/* By the release that brought each; in the order of the fields. */
enum { FORM_1_18, FORM_1_20, FORM_1_26, FORMS };
static const ds_go_form forms[FORMS] = {
    [FORM_1_18] = {280, 296, 304, 336, 360, 384, 40, 20, 12, 16},
    [FORM_1_20] = {296, 312, 320, 352, 376, 400, 44, 16, 4, 8},
    [FORM_1_26] = {296, 312, 320, 360, 384, 408, 44, 16, 4, 8},
};

/* A part of the table. */
typedef struct part {
    uint64_t at;
    ds_address base; /* its address */
} part;

/* What a record says of data that lie elsewhere. */
typedef struct function_table {
    ds_address address;
    ds_address entry; /* of the function */
    unsigned number;  /* FUNCDATA_* */
} function_table;

typedef struct go_table {
    ds_go_program *program;
    const uint8_t *data; /* the whole file */
    ds_extent bytes;
    uint64_t count; /* of functions */
    part names, units, files, counters, pairs;
    ds_address text;
    bool has_module;
    ds_address function_data;
    DS_VEC(ds_pair) counter_tables;  /* start of a table of program counters, entry of its function */
    DS_VEC(ds_pair) tables_by_start; /* start of data of functions, index in function_tables */
    DS_VEC(function_table) function_tables;
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

static ds_status field(go_table *t, uint64_t at, ds_ref_kind kind, ds_address base) {
    return ds_image_add_field(t->program->image, t->bytes.offset + at, t->program->space, kind, base);
}

static ds_status nonzero(go_table *t, uint64_t at, ds_ref_kind kind, ds_address base) {
    return load_at(t, at) == 0 ? DS_OK : field(t, at, kind, base);
}

/* --- header ------------------------------------------------------------------------------ */

static ds_status read_header(go_table *t, bool *usable) {
    const uint8_t *header = t->data + t->bytes.offset;
    *usable = t->program->form != NULL && header[POINTER_SIZE_AT] == POINTER_SIZE;
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
    for (unsigned i = 0; i < DS_COUNT(parts); i++) {
        uint64_t at = parts[i].part->at = ds_load64(header + parts[i].at);
        *usable &= at >= HEADER && at <= t->bytes.size;
        parts[i].part->base = t->bytes.address + at;
        DS_TRY(field(t, parts[i].at, DS_REF_BASE64, t->bytes.address));
    }
    t->count = ds_load64(header + COUNT_AT);
    if (!t->has_module)
        t->text = t->program->space + ds_load64(header + TEXT_AT);
    *usable &= t->count <= (t->bytes.size - t->pairs.at) / PAIR && t->text != t->program->space;
    return DS_OK;
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
};

static ds_status note_function_data(go_table *t, uint64_t at, unsigned number, ds_address entry) {
    if (load_at(t, at) == NO_OFFSET)
        return DS_OK;
    ds_arena *arena = t->program->image->arena;
    uint64_t count = t->function_tables.count;
    ds_address address = t->function_data + load_at(t, at);
    DS_TRY(field(t, at, DS_REF_BASE32, t->function_data));
    DS_TRY(DS_VEC_RESERVE(arena, &t->function_tables, count + 1));
    DS_TRY(DS_VEC_RESERVE(arena, &t->tables_by_start, count + 1));
    t->function_tables.items[t->function_tables.count++] = (function_table){address, entry, number};
    t->tables_by_start.items[t->tables_by_start.count++] = (ds_pair){address, count};
    return DS_OK;
}

static ds_status note_counters(go_table *t, uint64_t at, ds_address entry) {
    if (load_at(t, at) == 0)
        return DS_OK;
    DS_TRY(field(t, at, DS_REF_BASE32, t->counters.base));
    DS_TRY(DS_VEC_RESERVE(t->program->image->arena, &t->counter_tables, t->counter_tables.count + 1));
    t->counter_tables.items[t->counter_tables.count++] = (ds_pair){load_at(t, at), entry};
    return DS_OK;
}

static ds_status read_record(go_table *t, uint64_t at) {
    const unsigned size = t->program->form->record;
    if (!ds_within(at, size, t->bytes.size))
        return DS_OK;
    uint64_t tables = load_at(t, at + RECORD_COUNTER_TABLES);
    unsigned data = t->data[t->bytes.offset + at + size - 1];
    uint64_t after = 4 * (tables + data);
    if (!ds_within(at + size, after, t->bytes.size) || !ds_go_charge(t->program, size + after))
        return DS_OK;
    ds_address entry = t->text + load_at(t, at + RECORD_ENTRY);
    DS_TRY(field(t, at + RECORD_ENTRY, DS_REF_BASE32, t->text));
    DS_TRY(field(t, at + RECORD_NAME, DS_REF_BASE32, t->names.base));
    DS_TRY(nonzero(t, at + RECORD_DEFER, DS_REF_BASE32, entry));
    for (unsigned i = 0; i < 12; i += 4)
        DS_TRY(note_counters(t, at + RECORD_COUNTERS + i, entry));
    if (load_at(t, at + RECORD_UNIT) != NO_OFFSET)
        DS_TRY(field(t, at + RECORD_UNIT, DS_REF_INDEX32_4, t->units.base));
    at += size;
    for (uint64_t i = 0; i < tables; i++, at += 4)
        DS_TRY(note_counters(t, at, entry));
    for (unsigned i = 0; i < data && t->has_module; i++, at += 4)
        DS_TRY(note_function_data(t, at, i, entry));
    return DS_OK;
}

static ds_status read_functions(go_table *t) {
    for (uint64_t i = 0; i < t->count; i++) {
        uint64_t at = t->pairs.at + i * PAIR;
        if (!ds_go_charge(t->program, PAIR))
            return DS_OK;
        DS_TRY(field(t, at, DS_REF_BASE32, t->text));
        DS_TRY(field(t, at + 4, DS_REF_BASE32, t->pairs.base));
        t->program->sink(t->program->context, t->text + load_at(t, at));
        DS_TRY(read_record(t, t->pairs.at + load_at(t, at + 4)));
    }
    return DS_OK;
}

/* --- program counters ------------------------------------------------------------------------ */

/* Steps in pairs: by how much a value changes, then how far it holds (in units of the architecture). A change
 * of 0 ends the table, but as its first. */
static ds_status read_counter_table(go_table *t, ds_pair table, uint64_t *end) {
    unsigned unit = t->program->image->arch == DS_ARCH_AARCH64 ? 2 : 0;
    uint64_t at = t->bytes.offset + t->counters.at + table.key, limit = t->bytes.offset + t->pairs.at;
    ds_address counter = table.value;
    if (table.key < *end)
        return DS_OK;
    for (bool first = true;; first = false) {
        unsigned bytes;
        uint64_t change = ds_read_uleb(t->data, at, limit, &bytes);
        if (bytes == 0 || (change == 0 && !first))
            break;
        at += bytes;
        uint64_t step = ds_read_uleb(t->data, at, limit, &bytes);
        if (bytes == 0)
            break;
        counter += step << unit;
        if (bytes <= DS_ULEB_FIELD_BYTES)
            DS_TRY(ds_image_add_ref(t->program->image, at, (ds_ref_kind)(DS_REF_STEP_ULEB1 + bytes - 1), unit,
                                    counter - 1));
        at += bytes;
    }
    *end = at - t->bytes.offset - t->counters.at;
    return DS_OK;
}

/* Functions share tables: each is read for the function with the lowest entry. One that begins inside another
 * is left alone, so that no byte is read twice. */
static ds_status read_counters(go_table *t) {
    uint64_t end = 0;
    if (t->pairs.at < t->counters.at || !ds_go_charge(t->program, t->pairs.at - t->counters.at))
        return DS_OK;
    ds_sort_pairs(t->counter_tables.items, t->counter_tables.count);
    for (uint64_t i = 0; i < t->counter_tables.count; i++)
        DS_TRY(read_counter_table(t, t->counter_tables.items[i], &end));
    return DS_OK;
}

/* --- data of functions ------------------------------------------------------------------- */

/* Kinds of data that hold references (FUNCDATA_*), in entries. */
enum { STACK_OBJECTS = 2, INLINE_TREE = 3 };
/* Stack objects: the first entry stands behind their number. */
enum { OBJECT_FIRST = 8, OBJECT = 16, OBJECT_SHAPE = 12 };

static ds_status entry_field(go_table *t, ds_offset offset, ds_address base) {
    return ds_image_add_field(t->program->image, offset, t->program->space, DS_REF_BASE32, base);
}

static ds_status read_objects(go_table *t, ds_extent table) {
    ds_address shapes = ds_go_address_at(t->program, t->program->form->read_only);
    for (uint64_t at = OBJECT_FIRST; ds_within(at, OBJECT, table.size); at += OBJECT)
        DS_TRY(entry_field(t, table.offset + at + OBJECT_SHAPE, shapes));
    return DS_OK;
}

/* Functions inlined into the one at `entry`, each with where in it. */
static ds_status read_inline_tree(go_table *t, ds_extent table, ds_address entry) {
    const ds_go_form *form = t->program->form;
    for (uint64_t at = 0; ds_within(at, form->inlined, table.size); at += form->inlined) {
        DS_TRY(entry_field(t, table.offset + at + form->inlined_name, t->names.base));
        DS_TRY(entry_field(t, table.offset + at + form->inlined_counter, entry));
    }
    return DS_OK;
}

static ds_status read_function_table(go_table *t, ds_extent table, const function_table *function) {
    bool objects = function->number == STACK_OBJECTS;
    if ((!objects && function->number != INLINE_TREE) || !ds_go_charge(t->program, table.size))
        return DS_OK;
    return objects ? read_objects(t, table) : read_inline_tree(t, table, function->entry);
}

static ds_status read_function_tables(go_table *t) {
    ds_pair *tables = t->tables_by_start.items;
    uint64_t count = t->tables_by_start.count;
    ds_sort_pairs(tables, count);
    for (uint64_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && tables[next].key == tables[i].key; next++)
            ;
        ds_extent table = ds_go_rest(t->program, tables[i].key);
        if (next < count && tables[next].key - tables[i].key < table.size)
            table.size = tables[next].key - tables[i].key;
        else if (next == count)
            table.size = 0; /* nothing tells where the last one ends */
        DS_TRY(read_function_table(t, table, &t->function_tables.items[tables[i].value]));
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
        DS_TRY(ds_image_add_field(t->program->image, table.offset + i * BUCKET, t->program->space, DS_REF_INDEX32_8,
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
    DS_TRY(read_counters(t));
    if (!t->has_module)
        return DS_OK;
    DS_TRY(read_function_tables(t));
    DS_TRY(read_find_table(t));
    return ds_go_types(t->program);
}

static bool is_table(const ds_go_program *program, ds_extent table) {
    const uint8_t *header = program->image->file.data + table.offset;
    return table.size >= HEADER && header[POINTER_SIZE_AT] == POINTER_SIZE &&
           (ds_load32(header) == MAGIC_1_18 || ds_load32(header) == MAGIC_1_20);
}

/* Whether the module data begin as those of the table: its address, and behind it that of the names. */
static bool is_module_of(const ds_go_program *program, ds_extent table) {
    return ds_go_address_at(program, GO_HEADER) == table.address &&
           ds_go_address_at(program, GO_NAMES) ==
               table.address + ds_load64(program->image->file.data + table.offset + NAMES_AT);
}

/* Where the module data begin; what is in front of it goes from the extent. Linkers of the system may have put the table
 * into a section with other things: then it is what the module data point to. False where there are none. */
static bool find_module(ds_go_program *program) {
    ds_extent *module = &program->module, known = program->functions;
    if (!ds_go_charge(program, module->size))
        return false;
    for (; module->size >= 2 * POINTER_SIZE;
         module->offset += POINTER_SIZE, module->address += POINTER_SIZE, module->size -= POINTER_SIZE) {
        ds_extent table = known.size != 0 ? known : ds_go_rest(program, ds_go_address_at(program, GO_HEADER));
        if ((known.size != 0 || is_table(program, table)) && is_module_of(program, table)) {
            program->functions = table;
            return true;
        }
    }
    return false;
}

/* Since Go 1.26 one word more stands in front of a list of one or more entries, as many as there is room for; the
 * releases before have its number and its room where that has a pointer and a number. */
static const ds_go_form *find_form(const ds_go_program *program, bool has_module) {
    enum { NUMBER = 336, ROOM = 344 };
    uint32_t magic = ds_load32(program->image->file.data + program->functions.offset);
    if (magic == MAGIC_1_18)
        return &forms[FORM_1_18];
    if (magic != MAGIC_1_20)
        return NULL;
    bool is_old = has_module && program->module.size >= ROOM + POINTER_SIZE &&
                  ds_go_word_at(program, NUMBER) == ds_go_word_at(program, ROOM);
    return &forms[is_old ? FORM_1_20 : FORM_1_26];
}

ds_status ds_go_read(ds_go_program *program) {
    ds_image *image = program->image;
    go_table t = {.program = program, .data = image->file.data};
    if (program->functions.size != 0 && program->functions.size < HEADER)
        return DS_OK;
    t.has_module = find_module(program);
    t.bytes = program->functions;
    if (t.bytes.size == 0)
        return DS_OK;
    program->form = find_form(program, t.has_module);
    t.has_module = t.has_module && program->form != NULL && program->module.size >= program->form->module;
    if (t.has_module) {
        t.text = ds_go_address_at(program, GO_TEXT);
        t.function_data = ds_go_address_at(program, program->form->function_data);
    }
    ds_status status = read_all(&t);
    DS_VEC_FREE(image->arena, &t.counter_tables);
    DS_VEC_FREE(image->arena, &t.tables_by_start);
    DS_VEC_FREE(image->arena, &t.function_tables);
    return status;
}
