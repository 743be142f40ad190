/* .eh_frame, .eh_frame_hdr and .gcc_except_table. See unwind.h.
 *
 * Sources: Linux Standard Base Core 5.0, chapter 10 (".eh_frame", ".eh_frame_hdr", pointer
 * encodings DW_EH_PE_*); DWARF 5 section 6.4.1 (CIE, FDE) and 7.6 (LEB128); Itanium C++ ABI,
 * "Exception handling tables" (LSDA).
 *
 * Invariants
 *  - One pass over .eh_frame, record by record; a record that makes no sense gives no
 *    reference, a length that leaves the table ends the pass.
 *  - An exception table ends where the next one begins, so no byte is read for two tables.
 *  - Order of adding is order in the file: of .eh_frame for records, of the exception tables
 *    by address.
 */
#include "image/format/unwind.h"

#include "image/call_frame.h"

/* DW_EH_PE_*: low four bits say how a pointer is written, the next three relative to what. */
enum {
    PE_ULEB128 = 0x01,
    PE_FORM_MASK = 0x0f,
    PE_APPLICATION_MASK = 0x70,
    PE_ABSOLUTE = 0x00,
    PE_PC_RELATIVE = 0x10,
    PE_ALIGNED = 0x50,
    PE_INDIRECT = 0x80,
    PE_OMIT = 0xff,
};

#define LEB_LONGEST 10 /* bytes of the longest LEB128 number that is read: 64 bits */

/* Bytes of a pointer by its form; 0: no fixed length, or no such form. */
static const uint8_t form_bytes[16] = {
    [0x00] = 8, [0x02] = 2, [0x03] = 4, [0x04] = 8, [0x0a] = 2, [0x0b] = 4, [0x0c] = 8,
};

/* Forward reading inside [at, end); `bad` once something did not fit, and then all is zero. */
typedef struct reader {
    const uint8_t *data; /* the whole file */
    uint64_t at, end;
    bool bad;
} reader;

static uint8_t read_byte(reader *r) {
    if (r->bad || r->at >= r->end) {
        r->bad = true;
        return 0;
    }
    return r->data[r->at++];
}

static void skip(reader *r, uint64_t size) {
    if (r->bad || !ds_within(r->at, size, r->end))
        r->bad = true;
    else
        r->at += size;
}

static uint64_t read_leb(reader *r, bool is_signed) {
    uint64_t value = 0;
    for (unsigned i = 0; i < LEB_LONGEST; i++) {
        uint8_t byte = read_byte(r);
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) {
            unsigned bits = 7 * (i + 1);
            if (is_signed && (byte & 0x40) != 0 && bits < 64)
                value |= UINT64_MAX << bits;
            return r->bad ? 0 : value;
        }
    }
    r->bad = true;
    return 0;
}

static uint64_t read_uleb(reader *r) {
    return read_leb(r, false);
}
static int64_t read_sleb(reader *r) {
    return (int64_t)read_leb(r, true);
}

/* Passes over a pointer and returns where it begins; bad for forms that have no length. */
static ds_offset skip_pointer(reader *r, uint8_t encoding) {
    ds_offset at = r->at;
    unsigned size = form_bytes[encoding & PE_FORM_MASK];
    if ((encoding & PE_APPLICATION_MASK) == PE_ALIGNED)
        r->bad = true;
    else if (size != 0)
        skip(r, size);
    else if ((encoding & 0x07) == PE_ULEB128) /* ULEB128 and SLEB128 */
        (void)read_uleb(r);
    else
        r->bad = true;
    return at;
}

/* The kind of reference a pointer of this encoding is; NONE where it is none that we know. */
static ds_ref_kind pointer_kind(uint8_t encoding) {
    unsigned size = form_bytes[encoding & PE_FORM_MASK];
    if (encoding == PE_OMIT || size < 4)
        return DS_REF_NONE;
    switch (encoding & PE_APPLICATION_MASK) {
    case PE_ABSOLUTE:
        return size == 4 ? DS_REF_ABS32 : DS_REF_ABS64;
    case PE_PC_RELATIVE:
        return size == 4 ? DS_REF_PREL32 : DS_REF_PREL64;
    default:
        return DS_REF_NONE;
    }
}

static uint64_t load(const ds_image *image, ds_offset offset, unsigned size) {
    const uint8_t *p = image->file.data + offset;
    return size == 8 ? ds_load64(p) : ds_load32(p);
}

/* A pointer field at `offset`, `place`, wholly inside the file. Adds the reference unless the
 * field is zero, which stands for "none"; then *target is 0 too. */
static ds_status add_pointer(ds_image *image, ds_offset offset, ds_address place, uint8_t encoding,
                             ds_address *target) {
    ds_ref_kind kind = pointer_kind(encoding);
    *target = 0;
    if (kind == DS_REF_NONE || load(image, offset, ds_ref_length(kind)) == 0)
        return DS_OK;
    *target = ds_ref_solve(kind, image->file.data + offset, place, 0, 0, 0);
    return ds_image_add_ref(image, offset, kind, 0, *target);
}

/* --- .eh_frame --------------------------------------------------------------------------- */

typedef struct cie {
    ds_offset offset;
    uint8_t function_encoding;
    uint8_t lsda_encoding;
    bool has_augmentation; /* FDEs carry the length of their augmentation data */
    uint64_t unit;         /* bytes of code that a step of 1 passes over */
} cie;
typedef DS_VEC(cie) cies;

/* The part of a CIE after its id. Adds the personality pointer; false in *usable when the
 * augmentation is not understood: then FDEs of this CIE are left alone. */
static ds_status read_cie(ds_image *image, ds_extent table, reader *r, cie *out, bool *usable) {
    *usable = false;
    out->function_encoding = 0;
    out->lsda_encoding = PE_OMIT;
    uint8_t version = read_byte(r);
    if (version != 1 && version != 3 && version != 4)
        return DS_OK;
    const uint8_t *augmentation = image->file.data + r->at;
    while (read_byte(r) != 0)
        ;
    if (r->bad)
        return DS_OK;
    out->has_augmentation = augmentation[0] == 'z';
    if (augmentation[0] != 0 && !out->has_augmentation)
        return DS_OK; /* "eh" of GCC 2 and the like: data without a length may follow */
    if (version == 4)
        skip(r, 2); /* sizes of address and segment */
    out->unit = read_uleb(r);
    (void)read_sleb(r); /* data alignment */
    if (version == 1)
        (void)read_byte(r); /* return address register */
    else
        (void)read_uleb(r);
    if (out->has_augmentation) {
        uint64_t length = read_uleb(r);
        if (r->bad || !ds_within(r->at, length, r->end))
            return DS_OK;
        r->end = r->at + length;
        for (const uint8_t *letter = augmentation + 1; *letter != 0; letter++) {
            if (*letter == 'R') {
                out->function_encoding = read_byte(r);
            } else if (*letter == 'L') {
                out->lsda_encoding = read_byte(r);
            } else if (*letter == 'P') {
                uint8_t encoding = read_byte(r);
                ds_offset at = skip_pointer(r, encoding);
                if (r->bad)
                    return DS_OK;
                ds_address personality;
                DS_TRY(add_pointer(image, at, table.address + (at - table.offset), encoding, &personality));
            } else if (*letter != 'S' && *letter != 'B' && *letter != 'G') {
                return DS_OK; /* unknown data may follow */
            }
        }
    }
    *usable = !r->bad;
    return DS_OK;
}

static const cie *find_cie(const cies *known, ds_offset offset) {
    uint64_t low = 0, high = known->count;
    if (high > 0 && known->items[high - 1].offset == offset)
        return &known->items[high - 1];
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (known->items[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < known->count && known->items[low].offset == offset ? &known->items[low] : NULL;
}

enum { STEP_IN_OPCODE = 1, REGISTER_IN_OPCODE = 2 }; /* its upper two bits; 3: restores a register */

/* Passes over the operands of an instruction. *step_bytes of them are a step, and begin at *at. */
static void skip_operands(reader *r, uint8_t opcode, ds_offset *at, unsigned *step_bytes) {
    *at = r->at;
    *step_bytes = 0;
    if (opcode >> 6 == STEP_IN_OPCODE) {
        *at = r->at - 1;
        *step_bytes = 1;
    } else if (opcode >> 6 == REGISTER_IN_OPCODE) {
        (void)read_uleb(r);
    } else if (opcode >> 6 == 0) {
        uint8_t operands = opcode < DS_CALL_FRAME_OPCODES ? ds_call_frame_operands[opcode] : DS_OPERANDS_UNKNOWN;
        uint64_t number = 0;
        if (operands == DS_OPERANDS_UNKNOWN) {
            r->bad = true;
        } else if (operands >= DS_OPERANDS_STEP) {
            *step_bytes = operands - DS_OPERANDS_STEP;
            skip(r, *step_bytes);
        } else {
            for (unsigned i = 0; i < operands % DS_OPERANDS_BLOCK; i++)
                number = read_uleb(r);
            if (operands >= DS_OPERANDS_BLOCK)
                skip(r, number);
        }
    }
}

/* The frame program of an FDE, up to r->end: each step leads to a place in the function. */
static ds_status read_program(ds_image *image, reader *r, const cie *owner, ds_address location) {
    static const uint8_t kinds[5] = {[1] = DS_REF_STEP8, [2] = DS_REF_STEP16, [4] = DS_REF_STEP32};
    if (owner->unit != 1 && owner->unit != 2 && owner->unit != 4)
        return DS_OK;
    unsigned unit = (unsigned)owner->unit >> 1; /* its logarithm */
    while (!r->bad && r->at < r->end) {
        ds_offset at;
        unsigned bytes;
        uint8_t opcode = read_byte(r);
        skip_operands(r, opcode, &at, &bytes);
        if (r->bad || bytes == 0)
            continue;
        ds_ref_kind kind = opcode >> 6 == STEP_IN_OPCODE ? DS_REF_STEP6 : (ds_ref_kind)kinds[bytes];
        /* Solved from "place 1": how far the step leads. */
        ds_address distance = ds_ref_solve(kind, r->data + at, 0, unit, 1, 0);
        if (distance == 0)
            continue;
        location += distance;
        DS_TRY(ds_image_add_ref(image, at, kind, unit, location - 1));
    }
    return DS_OK;
}

/* The augmentation data of an FDE. */
static ds_status read_lsda_pointer(ds_image *image, ds_extent table, reader r, uint8_t encoding, ds_address *lsda) {
    if (encoding == PE_OMIT)
        return DS_OK;
    ds_offset at = skip_pointer(&r, encoding);
    if (r.bad)
        return DS_OK;
    DS_TRY(add_pointer(image, at, table.address + (at - table.offset), encoding, lsda));
    if ((encoding & PE_INDIRECT) != 0)
        *lsda = 0;
    return DS_OK;
}

/* The part of an FDE after the CIE pointer: function, its size, its exception table, its program. */
static ds_status read_fde(ds_image *image, ds_extent table, reader *r, const cie *owner,
                          ds_unwind_functions *functions) {
    uint8_t encoding = owner->function_encoding;
    ds_ref_kind kind = pointer_kind(encoding);
    if (kind == DS_REF_NONE || (encoding & PE_INDIRECT) != 0)
        return DS_OK;
    unsigned size = ds_ref_length(kind);
    uint64_t record_end = r->end;
    ds_offset start_at = skip_pointer(r, encoding);
    ds_offset size_at = skip_pointer(r, encoding);
    if (r->bad)
        return DS_OK;

    const uint8_t *data = image->file.data;
    ds_address place = table.address + (start_at - table.offset);
    ds_unwind_function function = {.start = ds_ref_solve(kind, data + start_at, place, 0, 0, 0),
                                   .size = load(image, size_at, size)};
    DS_TRY(ds_image_add_ref(image, start_at, kind, 0, function.start));
    if (function.size != 0)
        DS_TRY(ds_image_add_ref(image, size_at, size == 4 ? DS_REF_SIZE32 : DS_REF_SIZE64, 0,
                                function.start + function.size - 1));
    if (owner->has_augmentation) {
        uint64_t length = read_uleb(r);
        if (r->bad || !ds_within(r->at, length, r->end)) {
            r->bad = true;
        } else {
            r->end = r->at + length;
            DS_TRY(read_lsda_pointer(image, table, *r, owner->lsda_encoding, &function.lsda));
            r->at = r->end;
            r->end = record_end;
        }
    }
    DS_TRY(DS_VEC_RESERVE(image->arena, functions, functions->count + 1));
    functions->items[functions->count++] = function;
    return read_program(image, r, owner, function.start);
}

static ds_status read_records(ds_image *image, ds_extent table, bool ends_at_zero, cies *known,
                              ds_unwind_functions *functions) {
    const uint8_t *data = image->file.data;
    uint64_t end = table.offset + table.size;
    uint64_t at = table.offset;
    while (ds_within(at, 8, end)) {
        uint32_t length = ds_load32(data + at);
        ds_offset id_at = at + 4;
        if (length == 0) {
            if (ends_at_zero)
                break;
            at = id_at;
            continue;
        }
        /* 0xffffffff announces the 64-bit form, which no toolchain writes here: too long, ends. */
        if (length < 4 || !ds_within(id_at, length, end))
            break;
        uint32_t id = ds_load32(data + id_at);
        reader r = {.data = data, .at = id_at + 4, .end = id_at + length};
        if (id == 0) {
            cie found = {.offset = at};
            bool usable;
            DS_TRY(read_cie(image, table, &r, &found, &usable));
            if (usable) {
                DS_TRY(DS_VEC_RESERVE(image->arena, known, known->count + 1));
                known->items[known->count++] = found;
            }
        } else if (id <= id_at - table.offset) {
            const cie *owner = find_cie(known, id_at - id);
            DS_TRY(ds_image_add_field(image, id_at, table.address + (id_at - table.offset), DS_REF_BACK32, 0));
            if (owner != NULL)
                DS_TRY(read_fde(image, table, &r, owner, functions));
        }
        at = id_at + length;
    }
    return DS_OK;
}

ds_status ds_unwind_frames(ds_image *image, ds_extent table, bool ends_at_zero, ds_unwind_functions *functions) {
    if (!ds_within(table.offset, table.size, image->file.size))
        return DS_OK;
    cies known = {0};
    ds_status status = read_records(image, table, ends_at_zero, &known, functions);
    DS_VEC_FREE(image->arena, &known);
    return status;
}

/* --- .eh_frame_hdr ----------------------------------------------------------------------- */

#define HEADER_SIZE 12 /* version, three encodings, pointer, count */
#define HEADER_ROW 8   /* function, record; both relative to the header */
#define HEADER_VERSION 1
#define HEADER_POINTER 0x1b /* pc-relative, signed, 4 bytes */
#define HEADER_COUNT 0x03   /* absolute, 4 bytes */
#define HEADER_TABLE 0x3b   /* relative to the header, signed, 4 bytes */

ds_status ds_unwind_frame_header(ds_image *image, ds_extent table, ds_address *frames) {
    *frames = 0;
    if (!ds_within(table.offset, table.size, image->file.size) || table.size < HEADER_SIZE)
        return DS_OK;
    const uint8_t *header = image->file.data + table.offset;
    if (header[0] != HEADER_VERSION || header[1] != HEADER_POINTER)
        return DS_OK;
    DS_TRY(add_pointer(image, table.offset + 4, table.address + 4, header[1], frames));
    if (header[2] != HEADER_COUNT || header[3] != HEADER_TABLE)
        return DS_OK;

    uint64_t rows = ds_load32(header + 8);
    if (rows > (table.size - HEADER_SIZE) / HEADER_ROW)
        rows = (table.size - HEADER_SIZE) / HEADER_ROW;
    for (uint64_t field = 0; field < 2 * rows; field++)
        DS_TRY(ds_image_add_field(image, table.offset + HEADER_SIZE + 4 * field, 0, DS_REF_BASE32, table.address));
    return DS_OK;
}

/* --- .gcc_except_table ------------------------------------------------------------------- */

/* How the three numbers of a call site are written. */
typedef struct site_form {
    ds_ref_kind offset_kind, size_kind; /* for ULEB128: of one byte */
    unsigned bytes;                     /* 0: ULEB128 */
} site_form;

static bool site_form_of(uint8_t encoding, site_form *out) {
    if (encoding == PE_ULEB128) {
        *out = (site_form){DS_REF_ULEB1, DS_REF_ULEB_SIZE1, 0};
        return true;
    }
    if ((encoding & ~PE_FORM_MASK) != PE_ABSOLUTE)
        return false;
    unsigned bytes = form_bytes[encoding];
    *out = bytes == 8 ? (site_form){DS_REF_BASE64, DS_REF_SIZE64, 8} : (site_form){DS_REF_BASE32, DS_REF_SIZE32, 4};
    return bytes >= 4;
}

/* A number of a call site: its value, where it stands and how many bytes it has. */
typedef struct site_number {
    uint64_t value;
    ds_offset at;
    unsigned bytes;
} site_number;

static site_number read_site_number(reader *r, site_form form) {
    site_number number = {.at = r->at};
    if (form.bytes == 0) {
        number.value = read_uleb(r);
    } else {
        skip(r, form.bytes);
        if (!r->bad)
            number.value = form.bytes == 8 ? ds_load64(r->data + number.at) : ds_load32(r->data + number.at);
    }
    number.bytes = (unsigned)(r->at - number.at);
    return number;
}

static ds_status add_site_number(ds_image *image, site_form form, site_number number, ds_ref_kind kind,
                                 ds_address base) {
    if (form.bytes == 0) {
        if (number.bytes == 0 || number.bytes > DS_ULEB_FIELD_BYTES)
            return DS_OK;
        kind = (ds_ref_kind)((unsigned)kind + number.bytes - 1);
    }
    return ds_image_add_field(image, number.at, 0, kind, base);
}
_Static_assert(DS_REF_ULEB4 == DS_REF_ULEB1 + 3 && DS_REF_ULEB_SIZE4 == DS_REF_ULEB_SIZE1 + 3,
               "kinds of ULEB128 fields follow each other by length");

/* Call sites up to r->end; *has_actions tells whether any of them names an action. */
static ds_status read_call_sites(ds_image *image, reader *r, site_form form, ds_address function, ds_address landing,
                                 bool *has_actions) {
    while (r->at < r->end) {
        site_number start = read_site_number(r, form);
        site_number size = read_site_number(r, form);
        site_number pad = read_site_number(r, form);
        uint64_t action = read_uleb(r);
        if (r->bad)
            return DS_OK;
        *has_actions |= action != 0;
        DS_TRY(add_site_number(image, form, start, form.offset_kind, function));
        if (size.value != 0)
            DS_TRY(add_site_number(image, form, size, form.size_kind, function + start.value));
        if (pad.value != 0)
            DS_TRY(add_site_number(image, form, pad, form.offset_kind, landing));
    }
    return DS_OK;
}

/* The type table grows down from `types_end`; how far, only the action records before it tell:
 * their greatest filter is the number of entries. */
static ds_status read_types(ds_image *image, reader *r, ds_address place_of_zero, uint8_t encoding,
                            ds_offset types_end) {
    ds_ref_kind kind = pointer_kind(encoding);
    if (kind == DS_REF_NONE || types_end < r->at || types_end > r->end)
        return DS_OK;
    unsigned size = ds_ref_length(kind);
    uint64_t room = (types_end - r->at) / size, entries = 0;
    while (!r->bad && r->at < types_end - entries * size) {
        int64_t filter = read_sleb(r);
        (void)read_sleb(r); /* distance to the next record of the chain */
        if (filter > 0 && (uint64_t)filter > entries) {
            if ((uint64_t)filter > room)
                return DS_OK;
            entries = (uint64_t)filter;
        }
    }
    for (uint64_t i = 1; i <= entries; i++) {
        ds_offset at = types_end - i * size;
        ds_address type;
        DS_TRY(add_pointer(image, at, place_of_zero + at, encoding, &type));
    }
    return DS_OK;
}

/* One exception table, of `function`, inside `table`. */
static ds_status read_exceptions(ds_image *image, ds_extent table, ds_address function) {
    reader r = {.data = image->file.data, .at = table.offset, .end = table.offset + table.size};
    ds_address place_of_zero = table.address - table.offset;
    ds_address landing = function;
    uint8_t encoding = read_byte(&r);
    if (encoding != PE_OMIT) {
        ds_offset at = skip_pointer(&r, encoding);
        if (r.bad || pointer_kind(encoding) == DS_REF_NONE)
            return DS_OK;
        DS_TRY(add_pointer(image, at, place_of_zero + at, encoding, &landing));
    }
    uint8_t type_encoding = read_byte(&r);
    uint64_t types_end = 0;
    if (type_encoding != PE_OMIT) {
        uint64_t distance = read_uleb(&r);
        if (!ds_add(r.at, distance, &types_end))
            return DS_OK;
    }
    site_form form;
    if (!site_form_of(read_byte(&r), &form))
        return DS_OK;
    uint64_t sites_size = read_uleb(&r);
    if (r.bad || !ds_within(r.at, sites_size, r.end))
        return DS_OK;

    reader sites = {.data = r.data, .at = r.at, .end = r.at + sites_size};
    bool has_actions = false;
    DS_TRY(read_call_sites(image, &sites, form, function, landing, &has_actions));
    if (sites.bad || !has_actions || type_encoding == PE_OMIT)
        return DS_OK;
    r.at = sites.end;
    return read_types(image, &r, place_of_zero, type_encoding, types_end);
}

ds_status ds_unwind_exceptions(ds_image *image, const ds_unwind_functions *functions) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < functions->count; i++)
        count += functions->items[i].lsda != 0;
    if (count == 0)
        return DS_OK;
    ds_pair *tables = ds_arena_alloc(image->arena, count * sizeof *tables);
    if (tables == NULL)
        return DS_E_MEMORY;
    count = 0;
    for (uint64_t i = 0; i < functions->count; i++)
        if (functions->items[i].lsda != 0)
            tables[count++] = (ds_pair){functions->items[i].lsda, functions->items[i].start};
    ds_sort_pairs(tables, count);

    ds_status status = DS_OK;
    for (uint64_t i = 0, next; i < count && status == DS_OK; i = next) {
        for (next = i + 1; next < count && tables[next].key == tables[i].key; next++)
            ;
        const ds_region *region = ds_image_region(image, tables[i].key);
        if (region == NULL || region->class_ == DS_REGION_NOBITS)
            continue;
        uint64_t inside = tables[i].key - region->address;
        ds_extent table = {region->offset + inside, tables[i].key, region->size - inside};
        if (next < count && tables[next].key - tables[i].key < table.size)
            table.size = tables[next].key - tables[i].key;
        status = read_exceptions(image, table, tables[i].value);
    }
    ds_arena_free(image->arena, tables);
    return status;
}
