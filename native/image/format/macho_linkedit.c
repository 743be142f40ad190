/* What lies in __LINKEDIT besides fixups: symbols, indirect symbols, function starts, data in code, exports.
 *
 * Sources: mach-o/nlist.h, mach-o/stab.h, mach-o/loader.h; dyld's MachOTrie for the export trie.
 *
 * Invariants
 *  - each table is read once; of the export trie each node is read once, however often it is named;
 *  - tables lie in the slice and have been charged.
 */
#include "image/format/macho.h"

/* --- symbols ----------------------------------------------------------------------------- */

enum { SYMBOL_NAME = 0, SYMBOL_TYPE = 4, SYMBOL_SECTION = 5, SYMBOL_VALUE = 8 };
enum { N_STAB = 0xe0, N_TYPE = 0x0e, N_SECT = 0x0e };

ds_status ds_macho_symbols(ds_macho *macho, ds_extent table) {
    const ds_extent strings = macho->tables[TABLE_STRINGS];
    if (!ds_macho_has_place(macho, table.offset))
        return DS_OK;
    for (uint64_t i = 0; i < table.size / MACHO_SYMBOL_SIZE; i++) {
        ds_offset at = table.offset + i * MACHO_SYMBOL_SIZE;
        const uint8_t *symbol = macho->image->file.data + at;
        ds_address value = macho->space + ds_load64(symbol + SYMBOL_VALUE);
        bool is_stab = (symbol[SYMBOL_TYPE] & N_STAB) != 0;
        if (strings.size != 0)
            DS_TRY(ds_macho_nonzero(macho, at + SYMBOL_NAME, DS_REF_BASE32, strings.address));
        /* Stabs put sizes and times into the value too. */
        if (is_stab ? symbol[SYMBOL_SECTION] == 0 || ds_image_region(macho->image, value) == NULL
                    : (symbol[SYMBOL_TYPE] & N_TYPE) != N_SECT)
            continue;
        DS_TRY(ds_macho_field(macho, at + SYMBOL_VALUE, DS_REF_ABS64, 0));
        if (!is_stab)
            ds_macho_function(macho, value);
    }
    return DS_OK;
}

#define SYMBOL_IS_SPECIAL 0xc0000000u /* local or absolute: no index */

ds_status ds_macho_indirect(ds_macho *macho, ds_extent table) {
    const ds_extent symbols = macho->tables[TABLE_SYMBOLS];
    if (symbols.size == 0)
        return DS_OK;
    for (ds_offset at = table.offset; ds_within(at, MACHO_INDIRECT_SIZE, table.offset + table.size);
         at += MACHO_INDIRECT_SIZE)
        if ((ds_load32(macho->image->file.data + at) & SYMBOL_IS_SPECIAL) == 0)
            DS_TRY(ds_macho_field(macho, at, DS_REF_INDEX32_16, symbols.address));
    return DS_OK;
}

/* --- functions --------------------------------------------------------------------------- */

/* ULEB128 distances, the first from the Mach header; zero ends. */
ds_status ds_macho_function_starts(ds_macho *macho, ds_extent table) {
    ds_address function = macho->header;
    DS_TRY(ds_image_open_list(macho->image, (ds_list){.offset = table.offset, .size = table.size, .base = function}));
    ds_offset at = table.offset, end = table.offset + table.size;
    while (at < end) {
        unsigned bytes;
        uint64_t distance = ds_read_uleb(macho->image->file.data, at, end, &bytes);
        if (bytes == 0 || distance == 0)
            break;
        DS_TRY(ds_macho_uleb(macho, at, bytes, function));
        function += distance;
        DS_TRY(ds_image_add_listed(macho->image, function));
        ds_macho_function(macho, function);
        at += bytes;
    }
    return DS_OK;
}

/* --- data in code ------------------------------------------------------------------------ */

enum { DATA_OFFSET = 0, DATA_LENGTH = 4, DATA_KIND = 6, JUMP_TABLE32 = 4, JUMP_ENTRY = 4 };

/* Entries of a jump table count from its first byte. They are marked like instructions, so that matches
 * may begin with each. */
static ds_status read_jump_table(ds_macho *macho, ds_extent table) {
    ds_image *image = macho->image;
    if (!ds_macho_charge(macho, table.size))
        return DS_OK;
    for (ds_offset at = table.offset; ds_within(at, JUMP_ENTRY, table.offset + table.size); at += JUMP_ENTRY) {
        DS_TRY(ds_macho_field(macho, at, DS_REF_BASE32, table.address));
        image->starts[at / 8] |= (uint8_t)(1u << at % 8);
    }
    return DS_OK;
}

ds_status ds_macho_data_in_code(ds_macho *macho, ds_extent table) {
    for (uint64_t i = 0; i < table.size / MACHO_DATA_IN_CODE_SIZE; i++) {
        ds_offset at = table.offset + i * MACHO_DATA_IN_CODE_SIZE;
        const uint8_t *entry = macho->image->file.data + at;
        ds_address start = macho->header + ds_load32(entry + DATA_OFFSET);
        uint64_t length = ds_load16(entry + DATA_LENGTH);
        DS_TRY(ds_macho_field(macho, at + DATA_OFFSET, DS_REF_BASE32, macho->header));
        const ds_region *region = ds_image_region(macho->image, start);
        if (region == NULL || region->class_ != DS_REGION_CODE ||
            !ds_within(start - region->address, length, region->size))
            continue;
        ds_macho_function(macho, start);
        ds_macho_function(macho, start + length);
        if (ds_load16(entry + DATA_KIND) == JUMP_TABLE32)
            DS_TRY(read_jump_table(macho, (ds_extent){region->offset + (start - region->address), start, length}));
    }
    return DS_OK;
}

/* --- exports ----------------------------------------------------------------------------- */

enum { EXPORT_REEXPORT = 0x08, EXPORT_KIND_MASK = 0x03, EXPORT_ABSOLUTE = 0x02, EXPORT_STUB_AND_RESOLVER = 0x10 };

typedef struct trie {
    ds_macho *macho;
    const uint8_t *data; /* the whole file */
    ds_extent table;
    uint8_t *seen;         /* one bit per byte: a node begins here */
    DS_VEC(uint32_t) open; /* nodes that are still to be read */
} trie;

static ds_status open_node(trie *t, uint64_t node) {
    if (node >= t->table.size || (t->seen[node / 8] >> node % 8 & 1) != 0)
        return DS_OK;
    t->seen[node / 8] |= (uint8_t)(1u << node % 8);
    DS_TRY(DS_VEC_RESERVE(t->macho->image->arena, &t->open, t->open.count + 1));
    t->open.items[t->open.count++] = (uint32_t)node;
    return DS_OK;
}

/* What a name stands for: flags, then addresses counted from the Mach header. */
static ds_status read_terminal(trie *t, ds_offset at, ds_offset end) {
    ds_macho *macho = t->macho;
    unsigned bytes;
    uint64_t flags = ds_read_uleb(t->data, at, end, &bytes);
    at += bytes;
    if (bytes == 0 || (flags & EXPORT_REEXPORT) != 0 || (flags & EXPORT_KIND_MASK) == EXPORT_ABSOLUTE)
        return DS_OK;
    for (unsigned i = 0; i < ((flags & EXPORT_STUB_AND_RESOLVER) != 0 ? 2u : 1u); i++) {
        uint64_t distance = ds_read_uleb(t->data, at, end, &bytes);
        DS_TRY(ds_macho_uleb(macho, at, bytes, macho->header));
        if (bytes != 0)
            ds_macho_function(macho, macho->header + distance);
        at += bytes;
    }
    return DS_OK;
}

static ds_status read_node(trie *t, uint64_t node) {
    ds_offset at = t->table.offset + node, end = t->table.offset + t->table.size;
    unsigned bytes;
    uint64_t terminal = ds_read_uleb(t->data, at, end, &bytes);
    at += bytes;
    if (bytes == 0 || !ds_within(at, terminal, end))
        return DS_OK;
    if (terminal != 0)
        DS_TRY(read_terminal(t, at, at + terminal));
    at += terminal;
    if (at == end)
        return DS_OK;
    for (unsigned children = t->data[at++]; children > 0; children--) {
        ds_offset name = at;
        while (at < end && t->data[at] != 0)
            at++;
        if (at == end || !ds_macho_charge(t->macho, at + 1 - name))
            return DS_OK;
        at++;
        uint64_t child = ds_read_uleb(t->data, at, end, &bytes);
        if (bytes == 0)
            return DS_OK;
        DS_TRY(ds_macho_uleb(t->macho, at, bytes, t->table.address));
        DS_TRY(open_node(t, child));
        at += bytes;
    }
    return DS_OK;
}

ds_status ds_macho_exports(ds_macho *macho, ds_extent table) {
    trie t = {.macho = macho, .data = macho->image->file.data, .table = table};
    t.seen = ds_arena_alloc(macho->image->arena, table.size / 8 + 1);
    if (t.seen == NULL)
        return DS_E_MEMORY;
    ds_status status = open_node(&t, 0);
    while (status == DS_OK && t.open.count > 0)
        status = read_node(&t, t.open.items[--t.open.count]);
    DS_VEC_FREE(macho->image->arena, &t.open);
    ds_arena_free(macho->image->arena, t.seen);
    return status;
}
