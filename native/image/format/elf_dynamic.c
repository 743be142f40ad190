/* .dynamic: its own references, and the way to all other tables where section headers lack.
 *
 * Sources: System V gABI 4.1 chapter 5 ("Dynamic Section"); LSB Core 5.0 chapter 10 (GNU tags);
 * RELR proposal of the generic ABI (tags 35 to 37).
 *
 * Invariant: of a tag that occurs twice the first value other than 0 counts.
 */
#include "image/format/elf.h"

#define DT_NULL 0

typedef enum tag_meaning { IS_ADDRESS, IS_SIZE, IS_STRING } tag_meaning;

static const struct {
    uint64_t number;
    uint8_t meaning; /* tag_meaning */
    uint8_t of;      /* IS_SIZE: the tag of the address where it starts */
} tags[ELF_TAGS] = {
    [TAG_NEEDED] = {1, IS_STRING, 0},
    [TAG_SONAME] = {14, IS_STRING, 0},
    [TAG_RPATH] = {15, IS_STRING, 0},
    [TAG_RUNPATH] = {29, IS_STRING, 0},
    [TAG_AUXILIARY] = {0x7ffffffd, IS_STRING, 0},
    [TAG_FILTER] = {0x7fffffff, IS_STRING, 0},
    [TAG_PLTGOT] = {3, IS_ADDRESS, 0},
    [TAG_HASH] = {4, IS_ADDRESS, 0},
    [TAG_GNU_HASH] = {0x6ffffef5, IS_ADDRESS, 0},
    [TAG_STRTAB] = {5, IS_ADDRESS, 0},
    [TAG_STRSZ] = {10, IS_SIZE, TAG_STRTAB},
    [TAG_SYMTAB] = {6, IS_ADDRESS, 0},
    [TAG_RELA] = {7, IS_ADDRESS, 0},
    [TAG_RELASZ] = {8, IS_SIZE, TAG_RELA},
    [TAG_REL] = {17, IS_ADDRESS, 0},
    [TAG_RELSZ] = {18, IS_SIZE, TAG_REL},
    [TAG_RELR] = {36, IS_ADDRESS, 0},
    [TAG_RELRSZ] = {35, IS_SIZE, TAG_RELR},
    [TAG_JMPREL] = {23, IS_ADDRESS, 0},
    [TAG_PLTRELSZ] = {2, IS_SIZE, TAG_JMPREL},
    [TAG_INIT] = {12, IS_ADDRESS, 0},
    [TAG_FINI] = {13, IS_ADDRESS, 0},
    [TAG_PREINIT_ARRAY] = {32, IS_ADDRESS, 0},
    [TAG_PREINIT_ARRAYSZ] = {33, IS_SIZE, TAG_PREINIT_ARRAY},
    [TAG_INIT_ARRAY] = {25, IS_ADDRESS, 0},
    [TAG_INIT_ARRAYSZ] = {27, IS_SIZE, TAG_INIT_ARRAY},
    [TAG_FINI_ARRAY] = {26, IS_ADDRESS, 0},
    [TAG_FINI_ARRAYSZ] = {28, IS_SIZE, TAG_FINI_ARRAY},
    [TAG_VERSYM] = {0x6ffffff0, IS_ADDRESS, 0},
    [TAG_VERDEF] = {0x6ffffffc, IS_ADDRESS, 0},
    [TAG_VERNEED] = {0x6ffffffe, IS_ADDRESS, 0},
    [TAG_TLSDESC_PLT] = {0x6ffffef6, IS_ADDRESS, 0},
    [TAG_TLSDESC_GOT] = {0x6ffffef7, IS_ADDRESS, 0},
};

/* ELF_TAGS for a tag that does not matter. */
static ds_elf_tag find_tag(uint64_t number) {
    unsigned tag = 0;
    while (tag < ELF_TAGS && tags[tag].number != number)
        tag++;
    return (ds_elf_tag)tag;
}

void ds_elf_dynamic_read(const ds_elf *elf, ds_extent table, ds_elf_dynamic *out) {
    const uint8_t *data = elf->image->file.data;
    *out = (ds_elf_dynamic){.table = table};
    out->table.size = 0;
    for (uint64_t i = 0; i < table.size / ELF_DYNAMIC_SIZE; i++) {
        const uint8_t *entry = data + table.offset + i * ELF_DYNAMIC_SIZE;
        uint64_t number = ds_load64(entry);
        if (number == DT_NULL)
            break;
        ds_elf_tag tag = find_tag(number);
        if (tag < ELF_TAGS && out->values[tag] == 0)
            out->values[tag] = ds_load64(entry + 8);
        out->table.size += ELF_DYNAMIC_SIZE;
    }
}

ds_status ds_elf_dynamic_refs(ds_elf *elf, const ds_elf_dynamic *dynamic) {
    const uint8_t *data = elf->image->file.data;
    uint64_t end = dynamic->table.offset + dynamic->table.size;
    for (ds_offset at = dynamic->table.offset; at < end; at += ELF_DYNAMIC_SIZE) {
        ds_elf_tag tag = find_tag(ds_load64(data + at));
        if (tag == ELF_TAGS)
            continue;
        if (tags[tag].meaning == IS_ADDRESS)
            DS_TRY(ds_elf_nonzero(elf, at + 8, DS_REF_ABS64, 0));
        else if (tags[tag].meaning == IS_SIZE && dynamic->values[tags[tag].of] != 0)
            DS_TRY(ds_elf_size(elf, at + 8, dynamic->values[tags[tag].of]));
        else if (tags[tag].meaning == IS_STRING && elf->strings.size != 0)
            DS_TRY(ds_elf_nonzero(elf, at + 8, DS_REF_BASE64, elf->strings.address));
    }
    return DS_OK;
}

ds_extent ds_elf_dynamic_extent(const ds_elf *elf, const ds_elf_dynamic *dynamic, ds_elf_tag address, ds_elf_tag size) {
    if (dynamic->values[address] == 0)
        return (ds_extent){0};
    ds_extent rest = ds_elf_rest(elf, dynamic->values[address]);
    if (size < ELF_TAGS && dynamic->values[size] < rest.size)
        rest.size = dynamic->values[size];
    return rest;
}

ds_extent ds_elf_dynamic_symbols(const ds_elf *elf, const ds_elf_dynamic *dynamic) {
    ds_extent symbols = ds_elf_dynamic_extent(elf, dynamic, TAG_SYMTAB, ELF_TAGS);
    ds_extent strings = ds_elf_dynamic_extent(elf, dynamic, TAG_STRTAB, ELF_TAGS);
    uint64_t count = ds_elf_symbol_count(elf, ds_elf_dynamic_extent(elf, dynamic, TAG_HASH, ELF_TAGS),
                                         ds_elf_dynamic_extent(elf, dynamic, TAG_GNU_HASH, ELF_TAGS));
    /* Linkers put the strings right behind the symbols. */
    if (count == 0 && strings.address > symbols.address)
        count = (strings.address - symbols.address) / ELF_SYMBOL_SIZE;
    if (count > symbols.size / ELF_SYMBOL_SIZE)
        count = symbols.size / ELF_SYMBOL_SIZE;
    symbols.size = count * ELF_SYMBOL_SIZE;
    return symbols;
}

ds_status ds_elf_dynamic_tables(ds_elf *elf, const ds_elf_dynamic *dynamic) {
    static const struct {
        uint8_t address, size; /* ds_elf_tag; ELF_TAGS: the table tells its own end */
        ds_elf_reader read;
    } tables[] = {
        {TAG_HASH, ELF_TAGS, ds_elf_hash},
        {TAG_GNU_HASH, ELF_TAGS, ds_elf_gnu_hash},
        {TAG_VERDEF, ELF_TAGS, ds_elf_version_definitions},
        {TAG_VERNEED, ELF_TAGS, ds_elf_version_needs},
        {TAG_RELA, TAG_RELASZ, ds_elf_rela},
        {TAG_JMPREL, TAG_PLTRELSZ, ds_elf_rela},
        {TAG_RELR, TAG_RELRSZ, ds_elf_relr},
        {TAG_PREINIT_ARRAY, TAG_PREINIT_ARRAYSZ, ds_elf_words},
        {TAG_INIT_ARRAY, TAG_INIT_ARRAYSZ, ds_elf_words},
        {TAG_FINI_ARRAY, TAG_FINI_ARRAYSZ, ds_elf_words},
    };
    for (uint64_t i = 0; i < DS_COUNT(tables); i++) {
        ds_elf_tag size = (ds_elf_tag)tables[i].size;
        ds_extent table = ds_elf_dynamic_extent(elf, dynamic, (ds_elf_tag)tables[i].address, size);
        if (table.size != 0 && (size == ELF_TAGS || dynamic->values[size] != 0))
            DS_TRY(tables[i].read(elf, table));
    }
    return DS_OK;
}
