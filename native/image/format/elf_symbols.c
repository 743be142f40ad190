/* Symbol tables, their hash tables, symbol versions, probes.
 *
 * Sources: System V gABI 4.1 chapter 4 ("Symbol Table") and 5 ("Hash Table"); LSB Core 5.0
 * chapter 10 ("Symbol Versioning"); GNU binutils, elflink.c (layout of .gnu.hash).
 *
 * Invariant: each table is read once, front to back or along a chain that only goes forward.
 */
#include "image/format/elf.h"

enum { SYMBOL_NAME = 0, SYMBOL_INFO = 4, SYMBOL_SECTION = 6, SYMBOL_VALUE = 8, SYMBOL_SIZE = 16 };
enum { STT_FUNC = 2, STT_TLS = 6, STT_GNU_IFUNC = 10 };
enum { SHN_UNDEF = 0, SHN_ABS = 0xfff1, SHN_COMMON = 0xfff2 };

static ds_status read_symbol(ds_elf *elf, ds_offset at, ds_extent strings) {
    const uint8_t *symbol = elf->image->file.data + at;
    if (strings.size != 0)
        DS_TRY(ds_elf_nonzero(elf, at + SYMBOL_NAME, DS_REF_BASE32, strings.address));
    unsigned type = symbol[SYMBOL_INFO] & 0x0f;
    unsigned section = ds_load16(symbol + SYMBOL_SECTION);
    uint64_t value = ds_load64(symbol + SYMBOL_VALUE);
    /* Values of thread-local symbols count from the TLS block, of absolute ones from nothing. */
    if (value == 0 || type == STT_TLS || section == SHN_ABS || section == SHN_COMMON)
        return DS_OK;
    DS_TRY(ds_elf_field(elf, at + SYMBOL_VALUE, DS_REF_ABS64, 0));
    if (section == SHN_UNDEF)
        return DS_OK; /* the value is that of a PLT entry, the size a guess */
    DS_TRY(ds_elf_size(elf, at + SYMBOL_SIZE, value));
    if (type == STT_FUNC || type == STT_GNU_IFUNC)
        ds_elf_function(elf, value);
    return DS_OK;
}

ds_status ds_elf_symbols(ds_elf *elf, ds_extent table, ds_extent strings) {
    if (!ds_elf_charge(elf, table.size))
        return DS_OK;
    for (uint64_t i = 0; i < table.size / ELF_SYMBOL_SIZE; i++)
        DS_TRY(read_symbol(elf, table.offset + i * ELF_SYMBOL_SIZE, strings));
    return DS_OK;
}

/* --- hash tables ------------------------------------------------------------------------- */

/* `count` symbol indices at `at`. 0 ends a chain or marks an empty bucket. */
static ds_status read_indices(ds_elf *elf, ds_offset at, uint64_t count) {
    if (elf->symbols.size == 0 || !ds_elf_charge(elf, 4 * count))
        return DS_OK;
    for (uint64_t i = 0; i < count; i++)
        DS_TRY(ds_elf_nonzero(elf, at + 4 * i, DS_REF_INDEX32, elf->symbols.address));
    return DS_OK;
}

#define HASH_HEADER 8 /* nbucket, nchain; then the buckets, then the chains */

/* Buckets and chains together; 0 when the table does not fit its extent. */
static uint64_t hash_indices(const ds_elf *elf, ds_extent table, uint64_t *chains) {
    if (table.size < HASH_HEADER)
        return 0;
    const uint8_t *p = elf->image->file.data + table.offset;
    uint64_t count = (uint64_t)ds_load32(p) + ds_load32(p + 4);
    *chains = ds_load32(p + 4);
    return count <= (table.size - HASH_HEADER) / 4 ? count : 0;
}

ds_status ds_elf_hash(ds_elf *elf, ds_extent table) {
    uint64_t chains, count = hash_indices(elf, table, &chains);
    return read_indices(elf, table.offset + HASH_HEADER, count);
}

#define GNU_HASH_HEADER 16 /* nbuckets, first hashed symbol, words of the filter, shift */

typedef struct gnu_hash {
    uint64_t buckets, first_symbol;
    ds_offset buckets_at, chains_at, end;
} gnu_hash;

static bool gnu_hash_layout(const ds_elf *elf, ds_extent table, gnu_hash *out) {
    if (table.size < GNU_HASH_HEADER)
        return false;
    const uint8_t *p = elf->image->file.data + table.offset;
    uint64_t filter = (uint64_t)ds_load32(p + 8) * 8; /* cannot overflow: 32 bits times 8 */
    out->buckets = ds_load32(p);
    out->first_symbol = ds_load32(p + 4);
    if (!ds_within(GNU_HASH_HEADER + filter, 4 * out->buckets, table.size))
        return false;
    out->buckets_at = table.offset + GNU_HASH_HEADER + filter;
    out->chains_at = out->buckets_at + 4 * out->buckets;
    out->end = table.offset + table.size;
    return true;
}

ds_status ds_elf_gnu_hash(ds_elf *elf, ds_extent table) {
    gnu_hash hash;
    if (!gnu_hash_layout(elf, table, &hash))
        return DS_OK;
    DS_TRY(read_indices(elf, table.offset + 4, 1));
    return read_indices(elf, hash.buckets_at, hash.buckets);
}

/* .gnu.hash has no count: the chain of the greatest bucket holds the last symbol, and the last
 * entry of a chain has bit 0 set. */
static uint64_t gnu_hash_symbols(const ds_elf *elf, const gnu_hash *hash) {
    const uint8_t *data = elf->image->file.data;
    uint64_t last = 0;
    for (uint64_t i = 0; i < hash->buckets; i++) {
        uint64_t symbol = ds_load32(data + hash->buckets_at + 4 * i);
        if (symbol > last)
            last = symbol;
    }
    if (last < hash->first_symbol)
        return hash->first_symbol;
    while (ds_within(hash->chains_at + 4 * (last - hash->first_symbol), 4, hash->end)) {
        if ((ds_load32(data + hash->chains_at + 4 * (last - hash->first_symbol)) & 1) != 0)
            return last + 1;
        last++;
    }
    return 0;
}

uint64_t ds_elf_symbol_count(const ds_elf *elf, ds_extent hash, ds_extent gnu) {
    uint64_t chains;
    if (hash_indices(elf, hash, &chains) != 0)
        return chains; /* one chain entry a symbol */
    gnu_hash layout;
    return gnu_hash_layout(elf, gnu, &layout) ? gnu_hash_symbols(elf, &layout) : 0;
}

/* --- versions ---------------------------------------------------------------------------- */

/* .gnu.version_d and .gnu.version_r are lists of records, each with a list of parts; both lists
 * are linked by distances in bytes. Names are offsets into .dynstr. */
typedef struct version_form {
    unsigned size, parts_at, next_at; /* of a record: its length, fields */
    unsigned name_at;                 /* 0: records have no name */
    unsigned part_size, part_name_at, part_next_at;
} version_form;

static const version_form definitions = {20, 12, 16, 0, 8, 0, 4}; /* Elf64_Verdef, Elf64_Verdaux */
static const version_form needs = {16, 8, 12, 4, 16, 8, 12};      /* Elf64_Verneed, Elf64_Vernaux */

/* Parts may be shared by hostile records: `*left` bounds how many are read in all. */
static ds_status read_version_parts(ds_elf *elf, ds_offset at, ds_offset end, const version_form *form,
                                    uint64_t *left) {
    const uint8_t *data = elf->image->file.data;
    while (*left > 0 && ds_within(at, form->part_size, end)) {
        --*left;
        DS_TRY(ds_elf_nonzero(elf, at + form->part_name_at, DS_REF_BASE32, elf->strings.address));
        uint32_t next = ds_load32(data + at + form->part_next_at);
        if (next == 0)
            break;
        at += next;
    }
    return DS_OK;
}

static ds_status read_versions(ds_elf *elf, ds_extent table, const version_form *form) {
    const uint8_t *data = elf->image->file.data;
    if (elf->strings.size == 0)
        return DS_OK;
    uint64_t end = table.offset + table.size;
    uint64_t records = table.size / form->size, parts = table.size / form->part_size;
    for (ds_offset at = table.offset; records > 0 && ds_within(at, form->size, end); records--) {
        if (!ds_elf_charge(elf, form->size))
            return DS_OK;
        if (form->name_at != 0)
            DS_TRY(ds_elf_nonzero(elf, at + form->name_at, DS_REF_BASE32, elf->strings.address));
        uint32_t first_part = ds_load32(data + at + form->parts_at);
        if (first_part != 0)
            DS_TRY(read_version_parts(elf, at + first_part, end, form, &parts));
        uint32_t next = ds_load32(data + at + form->next_at);
        if (next == 0)
            break;
        at += next;
    }
    return DS_OK;
}

ds_status ds_elf_version_definitions(ds_elf *elf, ds_extent table) {
    return read_versions(elf, table, &definitions);
}
ds_status ds_elf_version_needs(ds_elf *elf, ds_extent table) {
    return read_versions(elf, table, &needs);
}

/* --- probes ------------------------------------------------------------------------------ */

/* Notes of SystemTap (<sys/sdt.h>): name and type as below, then three addresses: the probe, the section
 * .stapsdt.base as linked, a counter. */
ds_status ds_elf_probes(ds_elf *elf, ds_extent table) {
    enum { HEADER = 12, TYPE = 3, ADDRESSES = 24 };
    static const uint8_t name[8] = "stapsdt";
    const uint8_t *data = elf->image->file.data;
    ds_offset end = table.offset + table.size;
    if (!ds_elf_charge(elf, table.size))
        return DS_OK;
    for (ds_offset at = table.offset; ds_within(at, HEADER, end);) {
        uint64_t name_size = ((uint64_t)ds_load32(data + at) + 3) & ~UINT64_C(3);
        uint64_t size = ((uint64_t)ds_load32(data + at + 4) + 3) & ~UINT64_C(3);
        uint32_t type = ds_load32(data + at + 8);
        ds_offset content = at + HEADER + name_size;
        if (!ds_within(at + HEADER, name_size + size, end))
            break;
        if (type == TYPE && name_size == sizeof name && memcmp(data + at + HEADER, name, sizeof name) == 0 &&
            size >= ADDRESSES)
            for (unsigned i = 0; i < ADDRESSES; i += ELF_WORD_SIZE)
                DS_TRY(ds_elf_nonzero(elf, content + i, DS_REF_ABS64, 0));
        at = content + size;
    }
    return DS_OK;
}
