/* Pointers that the loader rewrites: chained fixups, rebase and bind opcodes.
 *
 * Sources: mach-o/fixup-chains.h, mach-o/loader.h (opcodes), dyld's MachOLayout and Fixups.
 *
 * Invariants
 *  - a chain only goes forward and stays in its page, so each page is read once; a page that two
 *    segments of a hostile file share is charged twice;
 *  - opcodes are read once, front to back; locations that they repeat are charged one by one.
 */
#include "image/format/macho.h"

/* --- chained fixups ---------------------------------------------------------------------- */

enum { FIXUPS_HEADER = 28, STARTS_IN_SEGMENT = 22, MAX_POINTER_FORMAT = 12 };
enum { PAGE_HAS_NONE = 0xffff, PAGE_HAS_MANY = 0x8000 };

/* How the words of a pointer format are taken apart. */
typedef struct pointer_form {
    uint8_t stride;    /* 0: not read */
    uint8_t next_bits; /* of the distance to the next, at bit 51 */
    uint8_t bind_bit;
    uint8_t ordinal_bits;
    bool authenticated; /* bit 63 says so, and then the target is 32 bits of image offset */
    bool from_header;   /* targets count from the Mach header, else they are addresses */
} pointer_form;

static const pointer_form pointer_forms[MAX_POINTER_FORMAT + 1] = {
    [1] = {8, 11, 62, 16, true, false},  /* ARM64E */
    [2] = {4, 12, 63, 24, false, false}, /* 64 */
    [6] = {4, 12, 63, 24, false, true},  /* 64_OFFSET */
    [7] = {4, 11, 62, 16, true, true},   /* ARM64E_KERNEL */
    [9] = {8, 11, 62, 16, true, true},   /* ARM64E_USERLAND */
    [10] = {4, 11, 62, 16, true, false}, /* ARM64E_FIRMWARE */
    [12] = {8, 11, 62, 24, true, true},  /* ARM64E_USERLAND24 */
};

typedef struct chains {
    ds_macho *macho;
    const pointer_form *form;
    ds_extent imports; /* of format 1 (4 bytes each); size 0: absent */
    ds_ref_kind next_kind;
    uint32_t page_bits;
    ds_offset word; /* the fixup read last, in the file; 0: none */
    ds_address word_address;
} chains;

static bool bit(uint64_t word, unsigned at) {
    return (word >> at & 1) != 0;
}

/* The distance field of the fixup read last, now that the one after it is known. */
static ds_status link(chains *c, ds_address next) {
    if (c->word == 0 || c->next_kind == DS_REF_NONE)
        return DS_OK;
    return ds_image_add_ref(c->macho->image, c->word + 6, c->next_kind, c->page_bits, next);
}

static ds_status read_fixup(chains *c, ds_offset at, ds_address address, uint64_t word) {
    ds_macho *macho = c->macho;
    DS_TRY(link(c, address));
    c->word = at;
    c->word_address = address;
    if (bit(word, c->form->bind_bit))
        return c->imports.size != 0 && c->form->ordinal_bits == 24
                   ? ds_macho_field(macho, at, DS_REF_INDEX24_4, c->imports.address)
                   : DS_OK;
    if (c->form->authenticated && bit(word, 63))
        return ds_macho_field(macho, at, DS_REF_CHAIN32, macho->header);
    return ds_macho_field(macho, at, c->form->authenticated ? DS_REF_CHAIN43 : DS_REF_CHAIN36,
                          c->form->from_header ? macho->header : macho->space);
}

static ds_status read_page(chains *c, ds_offset page, ds_address address, uint64_t first, uint64_t size) {
    const pointer_form *form = c->form;
    for (uint64_t at = first, next; ds_within(at, MACHO_POINTER_SIZE, size); at += next) {
        if (!ds_macho_charge(c->macho, MACHO_POINTER_SIZE))
            return DS_OK;
        uint64_t word = ds_load64(c->macho->image->file.data + page + at);
        DS_TRY(read_fixup(c, page + at, address + at, word));
        next = (word >> 51 & ((1u << form->next_bits) - 1)) * form->stride;
        if (next == 0)
            break;
    }
    return DS_OK;
}

/* `table`: the starts of one segment. */
static ds_status read_segment_chains(chains *c, const ds_macho_segment *segment, ds_extent table) {
    const uint8_t *p = c->macho->image->file.data + table.offset;
    uint32_t page_size = ds_load16(p + 4), format = ds_load16(p + 6);
    uint64_t pages = ds_load16(p + 20);
    if (format > MAX_POINTER_FORMAT || pointer_forms[format].stride == 0 ||
        pages > (table.size - STARTS_IN_SEGMENT) / 2)
        return DS_OK;
    if (page_size < MACHO_POINTER_SIZE || (page_size & (page_size - 1)) != 0)
        return DS_OK;
    if (!ds_macho_charge(c->macho, 2 * pages))
        return DS_OK;
    c->form = &pointer_forms[format];
    c->page_bits = (uint32_t)__builtin_ctz(page_size);
    c->next_kind = c->form->stride == 4 && c->form->next_bits == 12   ? DS_REF_NEXT12
                   : c->form->stride == 8 && c->form->next_bits == 11 ? DS_REF_NEXT11
                                                                      : DS_REF_NONE;
    c->word = 0;
    DS_TRY(ds_macho_field(c->macho, table.offset + 8, DS_REF_BASE64, c->macho->header));
    for (uint64_t i = 0; i < pages && i * page_size < segment->size; i++) {
        uint64_t first = ds_load16(p + STARTS_IN_SEGMENT + 2 * i);
        uint64_t size = segment->size - i * page_size;
        if (first == PAGE_HAS_NONE || (first & PAGE_HAS_MANY) != 0)
            continue;
        DS_TRY(read_page(c, segment->offset + i * page_size, segment->address + i * page_size, first,
                         size < page_size ? size : page_size));
    }
    return c->word == 0 ? DS_OK : link(c, c->word_address);
}

static ds_status read_imports(ds_macho *macho, ds_extent table, ds_address names, uint64_t count, ds_extent *out) {
    enum { ENTRY = 4 };
    *out = (ds_extent){0};
    if (count == 0 || count > table.size / ENTRY)
        return DS_OK;
    *out = (ds_extent){table.offset, table.address, count * ENTRY};
    for (uint64_t i = 0; i < count; i++)
        DS_TRY(ds_macho_field(macho, table.offset + i * ENTRY, DS_REF_NAME23, names));
    return DS_OK;
}

ds_status ds_macho_chained_fixups(ds_macho *macho, ds_extent table) {
    enum { IMPORTS_PLAIN = 1 };
    const uint8_t *data = macho->image->file.data, *p = data + table.offset;
    if (table.size < FIXUPS_HEADER)
        return DS_OK;
    uint64_t starts = ds_load32(p + 4), imports = ds_load32(p + 8), symbols = ds_load32(p + 12);
    for (unsigned at = 4; at <= 12; at += 4)
        DS_TRY(ds_macho_field(macho, table.offset + at, DS_REF_BASE32, table.address));
    chains c = {.macho = macho};
    if (ds_load32(p + 20) == IMPORTS_PLAIN && imports <= table.size)
        DS_TRY(read_imports(macho, (ds_extent){table.offset + imports, table.address + imports, table.size - imports},
                            table.address + symbols, ds_load32(p + 16), &c.imports));
    if (!ds_within(starts, 4, table.size))
        return DS_OK;
    uint64_t count = ds_load32(p + starts);
    if (count > macho->segments.count || !ds_within(starts + 4, 4 * count, table.size))
        return DS_OK;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = ds_load32(p + starts + 4 + 4 * i);
        if (at == 0 || !ds_within(starts + at, STARTS_IN_SEGMENT, table.size))
            continue;
        DS_TRY(ds_macho_field(macho, table.offset + starts + 4 + 4 * i, DS_REF_BASE32, table.address + starts));
        ds_extent rest = {table.offset + starts + at, table.address + starts + at, table.size - starts - at};
        DS_TRY(read_segment_chains(&c, &macho->segments.items[i], rest));
    }
    return DS_OK;
}

/* --- opcodes ----------------------------------------------------------------------------- */

enum { OPCODE_MASK = 0xf0, IMMEDIATE_MASK = 0x0f };

typedef struct opcodes {
    ds_macho *macho;
    ds_offset at, end;
    const ds_macho_segment *segment; /* NULL: none yet */
    uint64_t in_segment;
    bool bad;
} opcodes;

static uint64_t operand(opcodes *o) {
    unsigned bytes;
    uint64_t value = ds_read_uleb(o->macho->image->file.data, o->at, o->end, &bytes);
    o->at += bytes;
    o->bad |= bytes == 0;
    return value;
}

/* SET_SEGMENT_AND_OFFSET_ULEB of both languages: its operand is a place. */
static ds_status set_place(opcodes *o, unsigned segment) {
    ds_offset at = o->at;
    o->in_segment = operand(o);
    o->bad |= segment >= o->macho->segments.count;
    if (o->bad)
        return DS_OK;
    o->segment = &o->macho->segments.items[segment];
    return ds_macho_uleb(o->macho, at, (unsigned)(o->at - at), o->segment->address);
}

/* `count` pointers, `skip` bytes between them. */
static ds_status rebase_words(opcodes *o, uint64_t count, uint64_t skip) {
    for (; count > 0 && !o->bad; count--) {
        if (o->segment == NULL || !ds_within(o->in_segment, MACHO_POINTER_SIZE, o->segment->size) ||
            !ds_macho_charge(o->macho, MACHO_POINTER_SIZE)) {
            o->bad = true;
            return DS_OK;
        }
        ds_offset at = o->segment->offset + o->in_segment;
        const ds_region *region = ds_image_region(o->macho->image, o->segment->address + o->in_segment);
        if (region != NULL && region->class_ != DS_REGION_NOBITS &&
            at - region->offset == o->segment->address + o->in_segment - region->address)
            DS_TRY(ds_macho_field(o->macho, at, DS_REF_ABS64, 0));
        o->in_segment += MACHO_POINTER_SIZE + skip;
    }
    return DS_OK;
}

static ds_status rebase_opcode(opcodes *o, unsigned opcode, unsigned immediate) {
    enum {
        DONE = 0x00,
        SET_TYPE = 0x10,
        SET_PLACE = 0x20,
        ADD_ULEB = 0x30,
        ADD_SCALED = 0x40,
        DO_TIMES = 0x50,
        DO_ULEB_TIMES = 0x60,
        DO_ADD_ULEB = 0x70,
        DO_ULEB_TIMES_SKIPPING_ULEB = 0x80,
    };
    uint64_t count, skip;
    switch (opcode) {
    case DONE: /* padding may follow, but nothing else */
    case SET_TYPE:
        return DS_OK;
    case SET_PLACE:
        return set_place(o, immediate);
    case ADD_ULEB:
        o->in_segment += operand(o);
        return DS_OK;
    case ADD_SCALED:
        o->in_segment += immediate * MACHO_POINTER_SIZE;
        return DS_OK;
    case DO_TIMES:
        return rebase_words(o, immediate, 0);
    case DO_ULEB_TIMES:
        count = operand(o);
        return rebase_words(o, count, 0);
    case DO_ADD_ULEB:
        skip = operand(o);
        return rebase_words(o, 1, skip);
    case DO_ULEB_TIMES_SKIPPING_ULEB:
        count = operand(o);
        skip = operand(o);
        return rebase_words(o, count, skip);
    default:
        o->bad = true;
        return DS_OK;
    }
}

ds_status ds_macho_rebase(ds_macho *macho, ds_extent table) {
    opcodes o = {.macho = macho, .at = table.offset, .end = table.offset + table.size};
    while (o.at < o.end && !o.bad) {
        uint8_t byte = macho->image->file.data[o.at++];
        DS_TRY(rebase_opcode(&o, byte & OPCODE_MASK, byte & IMMEDIATE_MASK));
    }
    return DS_OK;
}

static ds_status bind_opcode(opcodes *o, unsigned opcode, unsigned immediate) {
    enum {
        DONE = 0x00,
        SET_ORDINAL_IMMEDIATE = 0x10,
        SET_ORDINAL_ULEB = 0x20,
        SET_ORDINAL_SPECIAL = 0x30,
        SET_SYMBOL = 0x40,
        SET_TYPE = 0x50,
        SET_ADDEND_SLEB = 0x60,
        SET_PLACE = 0x70,
        ADD_ULEB = 0x80,
        DO_BIND = 0x90,
        DO_ADD_ULEB = 0xa0,
        DO_ADD_SCALED = 0xb0,
        DO_ULEB_TIMES_SKIPPING_ULEB = 0xc0,
    };
    const uint8_t *data = o->macho->image->file.data;
    switch (opcode) {
    case DONE: /* of one symbol, in the lazy table */
    case SET_ORDINAL_IMMEDIATE:
    case SET_ORDINAL_SPECIAL:
    case SET_TYPE:
    case DO_BIND:
    case DO_ADD_SCALED:
        return DS_OK;
    case SET_SYMBOL:
        while (o->at < o->end && data[o->at] != 0)
            o->at++;
        o->bad |= o->at == o->end;
        o->at++;
        return DS_OK;
    case SET_PLACE:
        return set_place(o, immediate);
    case DO_ULEB_TIMES_SKIPPING_ULEB:
        (void)operand(o);
        (void)operand(o);
        return DS_OK;
    case SET_ORDINAL_ULEB:
    case SET_ADDEND_SLEB:
    case ADD_ULEB:
    case DO_ADD_ULEB:
        (void)operand(o);
        return DS_OK;
    default:
        o->bad = true;
        return DS_OK;
    }
}

ds_status ds_macho_bind(ds_macho *macho, ds_extent table) {
    opcodes o = {.macho = macho, .at = table.offset, .end = table.offset + table.size};
    while (o.at < o.end && !o.bad) {
        uint8_t byte = macho->image->file.data[o.at++];
        DS_TRY(bind_opcode(&o, byte & OPCODE_MASK, byte & IMMEDIATE_MASK));
    }
    return DS_OK;
}
