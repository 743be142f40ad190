/* Type descriptors of Go programs: offsets of names, types and methods. Pointers among them are known from
 * relocations already. See go.h.
 *
 * Source: Go, src/internal/abi/type.go (Type, UncommonType, Method, Imethod and the types of each kind),
 * src/runtime/symtab.go (typelinks, itablinks), as of Go 1.26; types have looked so since 1.7, but maps.
 *
 * Types are found along what names them: type links, tables of interface methods, and every type's own
 * pointers and offsets. Invariant: each type is read once, and what it holds is charged.
 */
#include "image/format/go.h"

enum { TYPE = 48, FLAGS_AT = 20, KIND_AT = 23, NAME_AT = 40, POINTER_TO_AT = 44, KIND_MASK = 31, FLAG_UNCOMMON = 1 };
enum { ARRAY = 17, CHANNEL, FUNCTION, INTERFACE, MAP, POINTER, SLICE, STRING, STRUCT, UNSAFE_POINTER };
enum { TYPE_ALIGN = 8, WORD = 8, OLD_MAP = 88 };

/* What stands behind a type's first 48 bytes, by kind. */
typedef struct type_form {
    uint8_t size;     /* of the whole */
    uint8_t pointers; /* so many pointers to types follow each other there */
} type_form;

static const type_form type_forms[KIND_MASK + 1] = {
    [ARRAY] = {72, 2}, [CHANNEL] = {64, 1}, [FUNCTION] = {56, 0}, [INTERFACE] = {80, 0},
    [MAP] = {112, 3},  [POINTER] = {56, 1}, [SLICE] = {56, 1},    [STRUCT] = {80, 0},
};

typedef struct types {
    ds_go_program *program;
    const uint8_t *data; /* the whole file */
    ds_extent bytes;     /* from the first to the last type */
    ds_address text;
    uint8_t *seen;         /* one bit per byte: a type begins here */
    DS_VEC(uint64_t) open; /* types that are still to be read, as distances from the first */
} types;

static uint32_t load32_at(const types *t, uint64_t at) {
    return ds_load32(t->data + t->bytes.offset + at);
}

static uint64_t load64_at(const types *t, uint64_t at) {
    return ds_load64(t->data + t->bytes.offset + at);
}

static ds_status field(types *t, uint64_t at, ds_ref_kind kind, ds_address base) {
    return ds_image_add_field(t->program->image, t->bytes.offset + at, t->program->space, kind, base);
}

static ds_status open_type(types *t, uint64_t at) {
    if (!ds_within(at, TYPE, t->bytes.size) || at % TYPE_ALIGN != 0 || (t->seen[at / 8] >> at % 8 & 1) != 0)
        return DS_OK;
    t->seen[at / 8] |= (uint8_t)(1u << at % 8);
    DS_TRY(DS_VEC_RESERVE(t->program->image->arena, &t->open, t->open.count + 1));
    t->open.items[t->open.count++] = at;
    return DS_OK;
}

/* A pointer to a type, inside the types. */
static ds_status follow(types *t, uint64_t at) {
    if (!ds_within(at, WORD, t->bytes.size))
        return DS_OK;
    return open_type(t, t->program->space + load64_at(t, at) - t->bytes.address);
}

/* An offset of a type or a name; 0 stands for none. */
static ds_status offset_field(types *t, uint64_t at, bool is_type) {
    if (load32_at(t, at) == 0)
        return DS_OK;
    DS_TRY(field(t, at, DS_REF_BASE32, t->bytes.address));
    return is_type ? open_type(t, load32_at(t, at)) : DS_OK;
}

/* `count` entries of `size` bytes at a pointer; 0 in *count when they do not lie among the types. */
static uint64_t entries_at(types *t, uint64_t pointer_at, uint64_t size, uint64_t *count) {
    uint64_t at = t->program->space + load64_at(t, pointer_at) - t->bytes.address;
    *count = load64_at(t, pointer_at + WORD);
    if (at > t->bytes.size || *count > (t->bytes.size - at) / size || !ds_go_charge(t->program, *count * size))
        *count = 0;
    return at;
}

static ds_status read_interface(types *t, uint64_t type) {
    enum { METHODS = 56, METHOD = 8 };
    uint64_t count, at = entries_at(t, type + METHODS, METHOD, &count);
    for (; count > 0; count--, at += METHOD) {
        DS_TRY(offset_field(t, at, false));
        DS_TRY(offset_field(t, at + 4, true));
    }
    return DS_OK;
}

static ds_status read_struct(types *t, uint64_t type) {
    enum { FIELDS = 56, FIELD = 24, FIELD_TYPE = 8 };
    uint64_t count, at = entries_at(t, type + FIELDS, FIELD, &count);
    for (; count > 0; count--, at += FIELD)
        DS_TRY(follow(t, at + FIELD_TYPE));
    return DS_OK;
}

/* Arguments and results stand behind everything else. */
static ds_status read_function(types *t, uint64_t type, uint64_t behind) {
    uint64_t counts = load32_at(t, type + TYPE), count = (counts & 0xffff) + (counts >> 16 & 0x7fff);
    if (!ds_within(behind, count * WORD, t->bytes.size) || !ds_go_charge(t->program, count * WORD))
        return DS_OK;
    for (; count > 0; count--, behind += WORD)
        DS_TRY(follow(t, behind));
    return DS_OK;
}

/* Methods: name, type, and code as called through an interface and directly. */
static ds_status read_methods(types *t, uint64_t uncommon) {
    enum { COUNT = 4, OFFSET = 8, METHOD = 16, METHOD_TYPE = 4, METHOD_CODE = 8 };
    DS_TRY(offset_field(t, uncommon, false)); /* package */
    uint64_t count = load32_at(t, uncommon + COUNT) & 0xffff, at = uncommon + load32_at(t, uncommon + OFFSET);
    if (!ds_within(at, count * METHOD, t->bytes.size) || !ds_go_charge(t->program, count * METHOD))
        return DS_OK;
    for (; count > 0; count--, at += METHOD) {
        DS_TRY(offset_field(t, at, false));
        DS_TRY(offset_field(t, at + METHOD_TYPE, true));
        for (unsigned code = METHOD_CODE; code < METHOD; code += 4)
            if (load32_at(t, at + code) != 0 && load32_at(t, at + code) != UINT32_MAX)
                DS_TRY(field(t, at + code, DS_REF_BASE32, t->text));
    }
    return DS_OK;
}

/* A map of Go before 1.24 has four sizes and flags where one size stands since, which is small. */
static bool is_old_map(const types *t, uint64_t type) {
    enum { SIZES = 80, SMALL = 1 << 16 };
    return ds_within(type, OLD_MAP, t->bytes.size) && load64_at(t, type + SIZES) >= SMALL;
}

static uint64_t size_of(const types *t, uint64_t type, unsigned kind) {
    if (kind == MAP && is_old_map(t, type))
        return OLD_MAP;
    return type_forms[kind].size == 0 ? (uint64_t)TYPE : type_forms[kind].size;
}

static ds_status read_type(types *t, uint64_t type) {
    enum { UNCOMMON = 16 };
    const uint8_t *p = t->data + t->bytes.offset + type;
    unsigned kind = p[KIND_AT] & KIND_MASK;
    uint64_t size = size_of(t, type, kind);
    bool uncommon = (p[FLAGS_AT] & FLAG_UNCOMMON) != 0;
    if (kind == 0 || kind > UNSAFE_POINTER || !ds_within(type, size + (uncommon ? UNCOMMON : 0), t->bytes.size) ||
        !ds_go_charge(t->program, size))
        return DS_OK;
    DS_TRY(offset_field(t, type + NAME_AT, false));
    DS_TRY(offset_field(t, type + POINTER_TO_AT, true));
    for (unsigned i = 0; i < type_forms[kind].pointers; i++)
        DS_TRY(follow(t, type + TYPE + i * WORD));
    if (uncommon)
        DS_TRY(read_methods(t, type + size));
    switch (kind) {
    case FUNCTION:
        return read_function(t, type, type + size + (uncommon ? UNCOMMON : 0));
    case INTERFACE:
        return read_interface(t, type);
    case STRUCT:
        return read_struct(t, type);
    default:
        return DS_OK;
    }
}

/* Links: offsets of types that programs may look up by name. */
static ds_status read_links(types *t) {
    ds_image *image = t->program->image;
    ds_extent links = ds_go_rest(t->program, ds_go_address_at(t->program, t->program->form->type_links));
    uint64_t count = ds_go_word_at(t->program, t->program->form->type_links + WORD);
    if (count > links.size / 4 || !ds_go_charge(t->program, count * 4))
        return DS_OK;
    for (uint64_t i = 0; i < count; i++) {
        DS_TRY(ds_image_add_field(image, links.offset + 4 * i, t->program->space, DS_REF_BASE32, t->bytes.address));
        DS_TRY(open_type(t, ds_load32(t->data + links.offset + 4 * i)));
    }
    return DS_OK;
}

/* Tables of interface methods: their first two words point to an interface and a type. */
static ds_status read_itabs(types *t) {
    ds_go_program *program = t->program;
    ds_extent links = ds_go_rest(program, ds_go_address_at(program, program->form->itab_links));
    uint64_t count = ds_go_word_at(program, program->form->itab_links + WORD);
    if (count > links.size / WORD || !ds_go_charge(program, count * WORD))
        return DS_OK;
    for (uint64_t i = 0; i < count; i++) {
        ds_extent table = ds_go_rest(program, program->space + ds_load64(t->data + links.offset + i * WORD));
        for (unsigned word = 0; word < 2 && table.size >= 2 * WORD; word++)
            DS_TRY(open_type(t, program->space + ds_load64(t->data + table.offset + word * WORD) - t->bytes.address));
    }
    return DS_OK;
}

static ds_status read_all(types *t) {
    DS_TRY(read_links(t));
    DS_TRY(read_itabs(t));
    while (t->open.count > 0)
        DS_TRY(read_type(t, t->open.items[--t->open.count]));
    return DS_OK;
}

ds_status ds_go_types(ds_go_program *program) {
    ds_arena *arena = program->image->arena;
    types t = {.program = program, .data = program->image->file.data, .text = ds_go_address_at(program, GO_TEXT)};
    t.bytes = ds_go_rest(program, ds_go_address_at(program, program->form->types));
    uint64_t size = ds_go_address_at(program, program->form->types + WORD) - t.bytes.address;
    if (size < t.bytes.size)
        t.bytes.size = size;
    t.seen = ds_arena_alloc(arena, t.bytes.size / 8 + 1);
    if (t.seen == NULL)
        return DS_E_MEMORY;
    ds_status status = read_all(&t);
    DS_VEC_FREE(arena, &t.open);
    ds_arena_free(arena, t.seen);
    return status;
}
