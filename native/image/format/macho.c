/* Mach-O images: 64 bits, little-endian, x86-64 and arm64, linked files; and universal files of them.
 * Headers, load commands, regions, sections, the order of reading. All else is plain bytes.
 *
 * Sources: mach-o/loader.h, mach-o/fat.h, mach-o/nlist.h (Apple, cctools and dyld).
 *
 * Universal files: slice k of the header becomes space k, up to SLICE_LIMIT; a slice that leaves the
 * file or shares bytes with one before it is left out.
 *
 * Regions of a slice: the Mach header with its load commands, where the first segment with bytes begins
 * with it; each section; each segment without sections (__LINKEDIT). Of two that share bytes or addresses
 * the rule of ds_choose_regions decides.
 *
 * Order of adding references; of equal offsets the first wins:
 *   1. load commands
 *   2. tables of __LINKEDIT, in the order of ds_macho_table
 *   3. per section, in their order: what `section_rows` says, once per row
 *   4. exception tables
 *   5. code, by address
 *
 * Function starts, from which code is decoded: LC_FUNCTION_STARTS, symbols, exports, entry point, stubs,
 * unwind tables, ends of data in code; and each region's start.
 *
 * Invariants
 *  - every offset is checked against the slice before it is used;
 *  - regions do not share bytes of the file, so code is swept at most once;
 *  - tables are read under MACHO_WORK_LIMIT, so time is linear in the file.
 */
#include "image/format/macho.h"

#include "image/format/go.h"

enum { MACHO_MAGIC = 0xfeedfacf, UNIVERSAL_MAGIC = 0xcafebabe, UNIVERSAL_MAGIC_64 = 0xcafebabf };
enum { CPU_X86_64 = 0x01000007, CPU_ARM64 = 0x0100000c };
enum { MH_EXECUTE = 2, MH_DYLIB = 6, MH_DYLINKER = 7, MH_BUNDLE = 8, MH_KEXT = 11 };
enum {
    LC_SYMTAB = 0x2,
    LC_UNIXTHREAD = 0x5,
    LC_DYSYMTAB = 0xb,
    LC_SEGMENT_64 = 0x19,
    LC_UUID = 0x1b,
    LC_CODE_SIGNATURE = 0x1d,
    LC_SEGMENT_SPLIT_INFO = 0x1e,
    LC_DYLD_INFO = 0x22,
    LC_FUNCTION_STARTS = 0x26,
    LC_MAIN = 0x28,
    LC_DATA_IN_CODE = 0x29,
    LC_DYLIB_CODE_SIGN_DRS = 0x2b,
    LC_LINKER_OPTIMIZATION_HINT = 0x2e,
    LC_DYLD_EXPORTS_TRIE = 0x33,
    LC_DYLD_CHAINED_FIXUPS = 0x34,
};
#define LC_REQUIRED 0x80000000u /* "the loader must understand this": not part of the number */

enum { COMMAND_SIZE = 8, SEGMENT_SIZE = 72, SECTION_SIZE = 80 };
enum { SECTION_TYPE_MASK = 0xff };
enum {
    S_ZEROFILL = 1,
    S_NON_LAZY_SYMBOL_POINTERS = 6,
    S_LAZY_SYMBOL_POINTERS = 7,
    S_SYMBOL_STUBS = 8,
    S_GB_ZEROFILL = 12,
    S_THREAD_LOCAL_ZEROFILL = 18,
    S_THREAD_LOCAL_VARIABLE_POINTERS = 20,
    S_INIT_FUNC_OFFSETS = 22,
};
#define S_ATTR_CODE 0x80000400u /* pure instructions, some instructions */

/* Slices of a universal file at most. Less than 45, so that Java class files, which begin alike, are none. */
#define SLICE_LIMIT 32

/* Load commands, and sections, of a slice at most; what follows them is left alone. Real files have less than
 * 300 of each; the limits keep look-ups by offset, which are linear in regions, cheap. */
#define COMMAND_LIMIT 4096
#define SECTION_LIMIT 4096

/* --- shared with the other files --------------------------------------------------------- */

ds_status ds_macho_nonzero(ds_macho *macho, ds_offset offset, ds_ref_kind kind, ds_address base) {
    const uint8_t *field = macho->image->file.data + offset;
    bool zero = ds_ref_length(kind) == 8 ? ds_load64(field) == 0 : ds_load32(field) == 0;
    return zero ? DS_OK : ds_macho_field(macho, offset, kind, base);
}

bool ds_macho_has_place(const ds_macho *macho, ds_offset offset) {
    return (ds_image_address(macho->image, offset) & DS_SPACE_MASK) == macho->space;
}

ds_status ds_macho_uleb(ds_macho *macho, ds_offset offset, unsigned bytes, ds_address base) {
    if (bytes == 0 || bytes > DS_ULEB_FIELD_BYTES)
        return DS_OK;
    return ds_macho_field(macho, offset, (ds_ref_kind)(DS_REF_ULEB1 + bytes - 1), base);
}

#define ARM64_INSTRUCTION 4

void ds_macho_function(ds_macho *macho, ds_address address) {
    const ds_region *region = ds_image_region(macho->image, address);
    if (region == NULL || region->class_ != DS_REGION_CODE || (region->address & DS_SPACE_MASK) != macho->space)
        return;
    if (macho->arch == DS_ARCH_AARCH64 && address % ARM64_INSTRUCTION != 0)
        return;
    uint64_t in_slice = region->offset + (address - region->address) - macho->start;
    macho->functions[in_slice / 8] |= (uint8_t)(1u << in_slice % 8);
}

/* --- load commands ----------------------------------------------------------------------- */

typedef struct command {
    ds_offset at;
    uint32_t number, size; /* number without LC_REQUIRED */
    unsigned index;
} command;

static ds_offset commands_end(const ds_macho *macho) {
    return macho->start + MACHO_HEADER_SIZE + ds_load32(macho->image->file.data + macho->start + 20);
}

/* The command after `c`, or the first for one of zeros; wholly inside the table. False at the end. */
static bool next_command(const ds_macho *macho, command *c) {
    const uint8_t *data = macho->image->file.data;
    ds_offset at = c->at == 0 ? macho->start + MACHO_HEADER_SIZE : c->at + c->size, end = commands_end(macho);
    if (c->index == COMMAND_LIMIT || !ds_within(at, COMMAND_SIZE, end))
        return false;
    *c = (command){at, ds_load32(data + at) & ~LC_REQUIRED, ds_load32(data + at + 4), c->index + 1};
    return c->size >= COMMAND_SIZE && c->size % 4 == 0 && ds_within(at, c->size, end);
}

/* Bytes of the slice as a table: where a region begins with it, at most up to that region's end. */
static ds_extent extent_at(const ds_macho *macho, uint64_t in_slice, uint64_t size) {
    if (size == 0 || !ds_within(in_slice, size, macho->size))
        return (ds_extent){0};
    ds_offset offset = macho->start + in_slice;
    ds_address address = ds_image_address(macho->image, offset);
    const ds_region *region = ds_image_region(macho->image, address);
    if (region != NULL && size > region->size - (address - region->address))
        size = region->size - (address - region->address);
    return (ds_extent){offset, address, size};
}

/* Which tables a command names: offset in the slice, number of entries, size of one. */
typedef struct table_row {
    uint32_t command;
    uint8_t at; /* of the offset; the number follows it */
    uint8_t table;
    uint8_t entry;
} table_row;

static const table_row table_rows[] = {
    {LC_SYMTAB, 8, TABLE_SYMBOLS, MACHO_SYMBOL_SIZE},
    {LC_SYMTAB, 16, TABLE_STRINGS, 1},
    {LC_DYSYMTAB, 56, TABLE_INDIRECT, MACHO_INDIRECT_SIZE},
    {LC_DYLD_INFO, 8, TABLE_REBASE, 1},
    {LC_DYLD_INFO, 16, TABLE_BIND, 1},
    {LC_DYLD_INFO, 24, TABLE_WEAK_BIND, 1},
    {LC_DYLD_INFO, 32, TABLE_LAZY_BIND, 1},
    {LC_DYLD_INFO, 40, TABLE_EXPORTS, 1},
    {LC_DYLD_EXPORTS_TRIE, 8, TABLE_EXPORTS, 1},
    {LC_DYLD_CHAINED_FIXUPS, 8, TABLE_CHAINED_FIXUPS, 1},
    {LC_FUNCTION_STARTS, 8, TABLE_FUNCTION_STARTS, 1},
    {LC_DATA_IN_CODE, 8, TABLE_DATA_IN_CODE, 1},
    {LC_CODE_SIGNATURE, 8, MACHO_TABLES, 1},
    {LC_SEGMENT_SPLIT_INFO, 8, MACHO_TABLES, 1},
    {LC_DYLIB_CODE_SIGN_DRS, 8, MACHO_TABLES, 1},
    {LC_LINKER_OPTIMIZATION_HINT, 8, MACHO_TABLES, 1},
};

/* Addressed as bytes of the file, like the fields of load commands that name tables: what is learnt from
 * those holds for all that counts from the table. */
static ds_extent named_table(const ds_macho *macho, const command *c, const table_row *row) {
    const uint8_t *field = macho->image->file.data + c->at + row->at;
    if (row->command != c->number || c->size < row->at + 8u)
        return (ds_extent){0};
    ds_extent table = extent_at(macho, ds_load32(field), (uint64_t)ds_load32(field + 4) * row->entry);
    table.address = DS_FILE_BASE + table.offset;
    return table;
}

/* Notes the tables; of two commands that name one the first counts. */
static void find_tables(ds_macho *macho) {
    command c = {0};
    while (next_command(macho, &c)) {
        for (uint64_t i = 0; i < DS_COUNT(table_rows); i++) {
            ds_extent table = named_table(macho, &c, &table_rows[i]);
            if (table.size == 0 || table_rows[i].table == MACHO_TABLES)
                continue;
            ds_extent *known = &macho->tables[table_rows[i].table];
            if (known->size == 0)
                *known = table;
        }
    }
}

/* --- segments and sections --------------------------------------------------------------- */

typedef struct layout {
    ds_region_list regions;
    bool has_header;
} layout;

static ds_status propose(ds_macho *macho, layout *l, uint64_t in_slice, uint64_t address, uint64_t size,
                         ds_region_class class_) {
    ds_address end;
    if (size == 0 || !ds_add(address, size, &end) || end > DS_FILE_BASE)
        return DS_OK;
    if (class_ != DS_REGION_NOBITS && !ds_within(in_slice, size, macho->size))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(macho->image->arena, &l->regions, l->regions.count + 1));
    l->regions.items[l->regions.count++] = (ds_region){
        .offset = class_ == DS_REGION_NOBITS ? 0 : macho->start + in_slice,
        .address = macho->space + address,
        .size = size,
        .class_ = (uint8_t)class_,
    };
    return DS_OK;
}

static bool has_no_bytes(uint32_t flags) {
    uint32_t type = flags & SECTION_TYPE_MASK;
    return type == S_ZEROFILL || type == S_GB_ZEROFILL || type == S_THREAD_LOCAL_ZEROFILL;
}

static ds_status read_section(ds_macho *macho, layout *l, const uint8_t *p) {
    uint64_t address = ds_load64(p + 32), size = ds_load64(p + 40);
    uint32_t offset = ds_load32(p + 48), flags = ds_load32(p + 64);
    ds_region_class class_ = has_no_bytes(flags)          ? DS_REGION_NOBITS
                             : (flags & S_ATTR_CODE) != 0 ? DS_REGION_CODE
                                                          : DS_REGION_DATA;
    ds_macho_section section = {.flags = flags, .reserved1 = ds_load32(p + 68), .reserved2 = ds_load32(p + 72)};
    memcpy(section.name, p, 16);
    memcpy(section.segment, p + 16, 16);
    if (class_ != DS_REGION_NOBITS && ds_within(offset, size, macho->size))
        section.bytes = (ds_extent){macho->start + offset, 0, size};
    if (macho->sections.count == SECTION_LIMIT)
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(macho->image->arena, &macho->sections, macho->sections.count + 1));
    macho->sections.items[macho->sections.count++] = section;
    return propose(macho, l, offset, address, size, class_);
}

static uint64_t section_count(const ds_macho *macho, const command *c) {
    uint64_t count = ds_load32(macho->image->file.data + c->at + 64);
    return count <= (c->size - SEGMENT_SIZE) / SECTION_SIZE ? count : 0;
}

static ds_status read_segment(ds_macho *macho, layout *l, const command *c) {
    const uint8_t *p = macho->image->file.data + c->at;
    uint64_t address = ds_load64(p + 24), offset = ds_load64(p + 40), size = ds_load64(p + 48);
    uint64_t count = section_count(macho, c);
    if (address >= DS_FILE_BASE || !ds_within(offset, size, macho->size))
        offset = size = 0;
    ds_macho_segment segment = {
        .address = macho->space + (address & (DS_FILE_BASE - 1)), .offset = macho->start + offset, .size = size};
    DS_TRY(DS_VEC_RESERVE(macho->image->arena, &macho->segments, macho->segments.count + 1));
    macho->segments.items[macho->segments.count++] = segment;
    if (offset == 0 && size != 0 && !l->has_header) {
        l->has_header = true;
        macho->header = segment.address;
        DS_TRY(propose(macho, l, 0, address, commands_end(macho) - macho->start, DS_REGION_DATA));
    } else if (count == 0) {
        DS_TRY(propose(macho, l, offset, address, size, DS_REGION_DATA));
    }
    for (uint64_t i = 0; i < count; i++)
        DS_TRY(read_section(macho, l, p + SEGMENT_SIZE + i * SECTION_SIZE));
    return DS_OK;
}

static ds_status propose_regions(ds_macho *macho, layout *l) {
    command c = {0};
    while (next_command(macho, &c))
        if (c.number == LC_SEGMENT_64 && c.size >= SEGMENT_SIZE)
            DS_TRY(read_segment(macho, l, &c));
    return DS_OK;
}

static ds_status add_regions(ds_macho *macho) {
    layout l = {0};
    ds_status status = propose_regions(macho, &l);
    if (status == DS_OK)
        status = ds_choose_regions(macho->image, &l.regions);
    DS_VEC_FREE(macho->image->arena, &l.regions);
    for (uint64_t i = 0; i < macho->sections.count; i++) {
        ds_extent *bytes = &macho->sections.items[i].bytes;
        *bytes = extent_at(macho, bytes->offset - macho->start, bytes->size);
    }
    return status;
}

/* --- references of load commands --------------------------------------------------------- */

/* The slice's first byte as a place in the file. */
static ds_address file_address(const ds_macho *macho) {
    return DS_FILE_BASE + macho->start;
}

static ds_status section_refs(ds_macho *macho, ds_offset at) {
    const uint8_t *p = macho->image->file.data + at;
    uint32_t flags = ds_load32(p + 64), type = flags & SECTION_TYPE_MASK;
    const ds_extent indirect = macho->tables[TABLE_INDIRECT];
    DS_TRY(ds_macho_field(macho, at + 32, DS_REF_ABS64, 0));
    DS_TRY(ds_macho_nonzero(macho, at + 40, DS_REF_SIZE64, macho->space + ds_load64(p + 32)));
    DS_TRY(ds_macho_nonzero(macho, at + 48, DS_REF_BASE32, file_address(macho)));
    bool counts_indirect = type == S_NON_LAZY_SYMBOL_POINTERS || type == S_LAZY_SYMBOL_POINTERS ||
                           type == S_SYMBOL_STUBS || type == S_THREAD_LOCAL_VARIABLE_POINTERS;
    if (counts_indirect && indirect.size != 0)
        return ds_macho_nonzero(macho, at + 68, DS_REF_INDEX32_4, indirect.address);
    return DS_OK;
}

static ds_status segment_refs(ds_macho *macho, const command *c) {
    const uint8_t *p = macho->image->file.data + c->at;
    uint64_t count = section_count(macho, c);
    DS_TRY(ds_macho_nonzero(macho, c->at + 24, DS_REF_ABS64, 0));
    DS_TRY(ds_macho_nonzero(macho, c->at + 40, DS_REF_BASE64, file_address(macho)));
    if (count == 0) /* others are rounded up to pages: no byte marks their end */
        DS_TRY(ds_macho_nonzero(macho, c->at + 48, DS_REF_SIZE64, macho->space + ds_load64(p + 24)));
    for (uint64_t i = 0; i < count; i++)
        DS_TRY(section_refs(macho, c->at + SEGMENT_SIZE + i * SECTION_SIZE));
    return DS_OK;
}

/* An index or a number of entries of a table, from byte `first` of it. */
static ds_status count_field(ds_macho *macho, ds_offset offset, ds_ref_kind kind, ds_macho_table table,
                             uint64_t first) {
    const ds_extent origin = macho->tables[table];
    return origin.size == 0 ? DS_OK : ds_macho_nonzero(macho, offset, kind, origin.address + first);
}

static ds_status symbol_counts(ds_macho *macho, const command *c) {
    const uint8_t *p = macho->image->file.data + c->at;
    for (unsigned at = 8; at < 32; at += 8) { /* local, defined, undefined: first and number */
        uint64_t first = (uint64_t)ds_load32(p + at) * MACHO_SYMBOL_SIZE;
        DS_TRY(count_field(macho, c->at + at, DS_REF_INDEX32_16, TABLE_SYMBOLS, 0));
        DS_TRY(count_field(macho, c->at + at + 4, DS_REF_COUNT32_16, TABLE_SYMBOLS, first));
    }
    return count_field(macho, c->at + 60, DS_REF_COUNT32_4, TABLE_INDIRECT, 0);
}

/* Offset of the program counter in LC_UNIXTHREAD of each architecture. */
enum { THREAD_PC_X86_64 = 16 + 16 * 8, THREAD_PC_ARM64 = 16 + 32 * 8 };

static ds_status command_refs(ds_macho *macho, const command *c) {
    const uint8_t *p = macho->image->file.data + c->at;
    for (uint64_t i = 0; i < DS_COUNT(table_rows); i++) {
        const table_row *row = &table_rows[i];
        ds_extent table = named_table(macho, c, row);
        if (table.size == 0)
            continue;
        DS_TRY(ds_macho_field(macho, c->at + row->at, DS_REF_BASE32, file_address(macho)));
        if (row->entry == 1)
            DS_TRY(ds_macho_nonzero(macho, c->at + row->at + 4, DS_REF_SIZE32, table.address));
    }
    uint32_t pc = macho->arch == DS_ARCH_X86_64 ? THREAD_PC_X86_64 : THREAD_PC_ARM64;
    switch (c->number) {
    case LC_SEGMENT_64:
        return c->size >= SEGMENT_SIZE ? segment_refs(macho, c) : DS_OK;
    case LC_SYMTAB:
        return c->size >= 24 ? count_field(macho, c->at + 12, DS_REF_COUNT32_16, TABLE_SYMBOLS, 0) : DS_OK;
    case LC_DYSYMTAB:
        return c->size >= 80 ? symbol_counts(macho, c) : DS_OK;
    case LC_MAIN:
        if (c->size < 24)
            return DS_OK;
        ds_macho_function(macho, macho->header + ds_load64(p + 8));
        return ds_macho_field(macho, c->at + 8, DS_REF_BASE64, macho->header);
    case LC_UNIXTHREAD:
        if (c->size < pc + 8)
            return DS_OK;
        ds_macho_function(macho, macho->space + ds_load64(p + pc));
        return ds_macho_field(macho, c->at + pc, DS_REF_ABS64, 0);
    default:
        return DS_OK;
    }
}

static void find_uuid(ds_macho *macho) {
    enum { UUID_SIZE = 16 };
    command c = {0};
    while (next_command(macho, &c))
        if (c.number == LC_UUID && c.size >= COMMAND_SIZE + UUID_SIZE)
            ds_image_add_fresh(macho->image, c.at + COMMAND_SIZE, UUID_SIZE);
}

/* Only the first of a slice signs it. */
static ds_status find_signature(ds_macho *macho) {
    ds_image *image = macho->image;
    command c = {0};
    while (next_command(macho, &c)) {
        if (c.number != LC_CODE_SIGNATURE || c.size < 16)
            continue;
        uint64_t offset = ds_load32(image->file.data + c.at + 8), size = ds_load32(image->file.data + c.at + 12);
        if (!ds_within(offset, size, macho->size))
            return DS_OK;
        DS_TRY(DS_VEC_RESERVE(image->arena, &image->signatures, image->signatures.count + 1));
        image->signatures.items[image->signatures.count++] =
            (ds_signature){.offset = macho->start + offset, .size = size, .covered = macho->start};
        return DS_OK;
    }
    return DS_OK;
}

/* Whether header and commands are loaded as one: their fields count from where they lie. */
static bool has_loaded_commands(const ds_macho *macho) {
    uint64_t size = commands_end(macho) - macho->start;
    return ds_macho_has_place(macho, macho->start) && extent_at(macho, 0, size).size == size;
}

static ds_status commands_refs(ds_macho *macho) {
    command c = {0};
    if (!has_loaded_commands(macho))
        return DS_OK;
    while (next_command(macho, &c))
        DS_TRY(command_refs(macho, &c));
    return DS_OK;
}

/* --- sections ---------------------------------------------------------------------------- */

/* Stubs of one size each are functions. */
static ds_status read_stubs(ds_macho *macho, const ds_macho_section *section) {
    if (section->reserved2 == 0 || !ds_macho_charge(macho, section->bytes.size))
        return DS_OK;
    for (uint64_t at = 0; at < section->bytes.size; at += section->reserved2)
        ds_macho_function(macho, section->bytes.address + at);
    return DS_OK;
}

#define SYMBOL_IS_LOCAL 0x80000000u
#define SYMBOL_IS_ABSOLUTE 0x40000000u

/* Pointers that the loader binds to symbols of the indirect table. Those to local symbols are known already. */
static ds_status read_symbol_pointers(ds_macho *macho, const ds_macho_section *section) {
    const ds_extent indirect = macho->tables[TABLE_INDIRECT], symbols = macho->tables[TABLE_SYMBOLS];
    const uint8_t *data = macho->image->file.data;
    if (macho->tables[TABLE_CHAINED_FIXUPS].size != 0 || !ds_macho_charge(macho, section->bytes.size))
        return DS_OK;
    for (uint64_t i = 0; i < section->bytes.size / MACHO_POINTER_SIZE; i++) {
        uint64_t at = (section->reserved1 + i) * MACHO_INDIRECT_SIZE;
        if (!ds_within(at, MACHO_INDIRECT_SIZE, indirect.size))
            break;
        uint32_t index = ds_load32(data + indirect.offset + at);
        uint64_t symbol = (uint64_t)index * MACHO_SYMBOL_SIZE;
        if ((index & (SYMBOL_IS_LOCAL | SYMBOL_IS_ABSOLUTE)) == 0 && ds_within(symbol, MACHO_SYMBOL_SIZE, symbols.size))
            DS_TRY(ds_image_add_slot(macho->image, section->bytes.offset + i * MACHO_POINTER_SIZE,
                                     symbols.address + symbol));
    }
    return DS_OK;
}

/* Entries of __stub_helper name their place among the lazy bindings. */
static ds_status read_stub_helpers(ds_macho *macho, const ds_macho_section *section) {
    enum { PUSH = 0x68, JUMP = 0xe9, ENTRY_X86_64 = 10, HEADER_X86_64 = 16 };
    enum { LOAD_W16 = 0x18000050, ENTRY_ARM64 = 12, HEADER_ARM64 = 24 };
    const ds_extent lazy = macho->tables[TABLE_LAZY_BIND];
    const uint8_t *data = macho->image->file.data;
    const ds_extent bytes = section->bytes;
    bool intel = macho->arch == DS_ARCH_X86_64;
    if (lazy.size == 0 || !ds_macho_charge(macho, bytes.size))
        return DS_OK;
    uint64_t entry = intel ? ENTRY_X86_64 : ENTRY_ARM64;
    for (uint64_t at = intel ? HEADER_X86_64 : HEADER_ARM64; ds_within(at, entry, bytes.size); at += entry) {
        const uint8_t *p = data + bytes.offset + at;
        if (intel ? p[0] != PUSH || p[5] != JUMP : ds_load32(p) != LOAD_W16)
            break;
        ds_macho_function(macho, bytes.address + at);
        DS_TRY(ds_macho_field(macho, bytes.offset + at + (intel ? 1 : 8), DS_REF_BASE32, lazy.address));
    }
    return DS_OK;
}

/* Four bytes that count from their own place; 0 points at nothing. */
static ds_status relative_pointer(ds_macho *macho, const ds_macho_section *section, uint64_t at) {
    ds_offset offset = section->bytes.offset + at;
    if (ds_load32(macho->image->file.data + offset) == 0)
        return DS_OK;
    return ds_image_add_field(macho->image, offset, section->bytes.address + at, DS_REF_PREL32, 0);
}

static ds_status read_init_offsets(ds_macho *macho, const ds_macho_section *section) {
    if (!ds_macho_charge(macho, section->bytes.size))
        return DS_OK;
    for (uint64_t at = 0; ds_within(at, 4, section->bytes.size); at += 4)
        DS_TRY(ds_macho_field(macho, section->bytes.offset + at, DS_REF_BASE32, macho->header));
    return DS_OK;
}

/* Pointers of four bytes, each relative to its own place: the lists of types, protocols and conformances that
 * Swift's runtime goes through. (Low bits of a pointer say more; they move with it.) */
static ds_status read_relative_pointers(ds_macho *macho, const ds_macho_section *section) {
    if (!ds_macho_charge(macho, section->bytes.size))
        return DS_OK;
    for (uint64_t at = 0; ds_within(at, 4, section->bytes.size); at += 4)
        DS_TRY(relative_pointer(macho, section, at));
    return DS_OK;
}

/* Swift's fields of types: a header (type, superclass, kind, size of a record, number), then the records
 * (flags, type, name). Source: swift/RemoteInspection/Records.h. */
static ds_status read_swift_fields(ds_macho *macho, const ds_macho_section *section) {
    enum { HEADER = 16, RECORD = 12 };
    const uint8_t *data = macho->image->file.data + section->bytes.offset;
    if (!ds_macho_charge(macho, section->bytes.size))
        return DS_OK;
    for (uint64_t at = 0; ds_within(at, HEADER, section->bytes.size);) {
        uint64_t records = ds_load32(data + at + 12);
        DS_TRY(relative_pointer(macho, section, at));
        DS_TRY(relative_pointer(macho, section, at + 4));
        if (ds_load16(data + at + 10) != RECORD)
            break;
        for (at += HEADER; records > 0 && ds_within(at, RECORD, section->bytes.size); records--, at += RECORD) {
            DS_TRY(relative_pointer(macho, section, at + 4));
            DS_TRY(relative_pointer(macho, section, at + 8));
        }
    }
    return DS_OK;
}

/* Objective-C method lists whose entries are three relative pointers (selector, types, code).
 * Source: objc4, objc-runtime-new.h (method_list_t, entsize_list_tt). */
static ds_status read_method_lists(ds_macho *macho, const ds_macho_section *section) {
    enum { HEADER = 8, METHOD = 12, ALIGNMENT = 8 };
    const uint32_t relative = 0x80000000u | METHOD, form = 0x8000fffcu; /* the low two bits are flags */
    const uint8_t *data = macho->image->file.data + section->bytes.offset;
    if (!ds_macho_charge(macho, section->bytes.size))
        return DS_OK;
    for (uint64_t at = 0; ds_within(at, HEADER, section->bytes.size);) {
        uint64_t words = 3 * (uint64_t)ds_load32(data + at + 4);
        if ((ds_load32(data + at) & form) != relative || !ds_within(at + HEADER, 4 * words, section->bytes.size))
            break;
        for (at += HEADER; words > 0; words--, at += 4)
            DS_TRY(relative_pointer(macho, section, at));
        at = (at + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
    }
    return DS_OK;
}

static ds_status read_frames(ds_macho *macho, const ds_macho_section *section) {
    if (!ds_macho_charge(macho, section->bytes.size))
        return DS_OK;
    return ds_unwind_frames(macho->image, section->bytes, false, &macho->unwind);
}

static ds_status read_unwind_info(ds_macho *macho, const ds_macho_section *section) {
    return ds_macho_unwind_info(macho, section->bytes);
}

static void note_go_function(void *context, ds_address function) {
    ds_macho_function(context, function);
}

/* The bytes of the first section that has some, of those of a name; none where there is none. */
static ds_extent first_named(const ds_macho *macho, const char *name) {
    for (uint64_t i = 0; i < macho->sections.count; i++)
        if (macho->sections.items[i].bytes.size != 0 && strcmp(macho->sections.items[i].name, name) == 0)
            return macho->sections.items[i].bytes;
    return (ds_extent){0};
}

static ds_status read_go(ds_macho *macho, const ds_macho_section *section) {
    ds_go_program program = {.image = macho->image,
                             .functions = section->bytes,
                             .module = first_named(macho, "__go_module"),
                             .space = macho->space,
                             .work_left = &macho->work_left,
                             .sink = note_go_function,
                             .context = macho};
    if (program.module.size == 0)
        program.module = first_named(macho, "__noptrdata"); /* before Go 1.26 */
    return ds_go_read(&program);
}

/* Which sections are read by what: by name, where there is one, else by type. */
static const struct {
    const char *segment, *name;
    uint32_t type;
    ds_status (*read)(ds_macho *macho, const ds_macho_section *section);
} section_rows[] = {
    {NULL, NULL, S_SYMBOL_STUBS, read_stubs},
    {NULL, NULL, S_NON_LAZY_SYMBOL_POINTERS, read_symbol_pointers},
    {NULL, NULL, S_LAZY_SYMBOL_POINTERS, read_symbol_pointers},
    {NULL, NULL, S_THREAD_LOCAL_VARIABLE_POINTERS, read_symbol_pointers},
    {NULL, NULL, S_INIT_FUNC_OFFSETS, read_init_offsets},
    {"__TEXT", "__stub_helper", 0, read_stub_helpers},
    {"__TEXT", "__eh_frame", 0, read_frames},
    {"__TEXT", "__unwind_info", 0, read_unwind_info},
    {"__TEXT", "__gopclntab", 0, read_go}, /* Go 1.26 */
    {"__DATA_CONST", "__gopclntab", 0, read_go},
    {"__TEXT", "__objc_methlist", 0, read_method_lists},
    {"__TEXT", "__swift5_protos", 0, read_relative_pointers},
    {"__TEXT", "__swift5_proto", 0, read_relative_pointers},
    {"__TEXT", "__swift5_types", 0, read_relative_pointers},
    {"__TEXT", "__swift5_types2", 0, read_relative_pointers},
    {"__TEXT", "__swift5_fieldmd", 0, read_swift_fields},
};

static ds_status read_sections(ds_macho *macho) {
    for (uint64_t row = 0; row < DS_COUNT(section_rows); row++) {
        for (uint64_t i = 0; i < macho->sections.count; i++) {
            const ds_macho_section *section = &macho->sections.items[i];
            bool wanted = section_rows[row].name == NULL
                              ? (section->flags & SECTION_TYPE_MASK) == section_rows[row].type
                              : strcmp(section->name, section_rows[row].name) == 0 &&
                                    strcmp(section->segment, section_rows[row].segment) == 0;
            /* All fields are found by address, so the section has to have one. */
            if (wanted && section->bytes.size != 0 && (section->bytes.address & DS_SPACE_MASK) == macho->space &&
                section->bytes.address - macho->space < DS_FILE_BASE)
                DS_TRY(section_rows[row].read(macho, section));
        }
    }
    return DS_OK;
}

/* --- the whole --------------------------------------------------------------------------- */

static ds_status read_tables(ds_macho *macho) {
    static ds_status (*const readers[MACHO_TABLES])(ds_macho *, ds_extent) = {
        [TABLE_CHAINED_FIXUPS] = ds_macho_chained_fixups,
        [TABLE_REBASE] = ds_macho_rebase,
        [TABLE_BIND] = ds_macho_bind,
        [TABLE_WEAK_BIND] = ds_macho_bind,
        [TABLE_LAZY_BIND] = ds_macho_bind,
        [TABLE_SYMBOLS] = ds_macho_symbols,
        [TABLE_INDIRECT] = ds_macho_indirect,
        [TABLE_FUNCTION_STARTS] = ds_macho_function_starts,
        [TABLE_DATA_IN_CODE] = ds_macho_data_in_code,
        [TABLE_EXPORTS] = ds_macho_exports,
    };
    for (unsigned i = 0; i < MACHO_TABLES; i++) {
        ds_extent table = macho->tables[i];
        if (readers[i] != NULL && table.size != 0 && ds_macho_charge(macho, table.size))
            DS_TRY(readers[i](macho, table));
    }
    return DS_OK;
}

static ds_status read_slice(ds_macho *macho) {
    ds_image *image = macho->image;
    macho->header = macho->space;
    DS_TRY(add_regions(macho));
    find_tables(macho);
    DS_TRY(find_signature(macho));
    find_uuid(macho);
    DS_TRY(commands_refs(macho));
    DS_TRY(read_tables(macho));
    DS_TRY(read_sections(macho));
    for (uint64_t i = 0; i < macho->unwind.count; i++)
        ds_macho_function(macho, macho->unwind.items[i].start);
    DS_TRY(ds_unwind_exceptions(image, &macho->unwind));
    DS_TRY(ds_sweep_code(image, macho->arch, macho->space, macho->functions, macho->start));
    return ds_keep_names(image, macho->tables[TABLE_STRINGS]);
}

static bool read_header(ds_span file, ds_offset start, uint64_t size, ds_arch *arch) {
    const uint8_t *p = file.data + start;
    if (size < MACHO_HEADER_SIZE || ds_load32(p) != MACHO_MAGIC)
        return false;
    uint32_t cpu = ds_load32(p + 4), type = ds_load32(p + 12);
    *arch = cpu == CPU_X86_64 ? DS_ARCH_X86_64 : cpu == CPU_ARM64 ? DS_ARCH_AARCH64 : DS_ARCH_NONE;
    bool linked = type == MH_EXECUTE || type == MH_DYLIB || type == MH_DYLINKER || type == MH_BUNDLE || type == MH_KEXT;
    return *arch != DS_ARCH_NONE && linked && ds_load32(p + 20) <= size - MACHO_HEADER_SIZE;
}

/* `start` and `size` lie in the file. */
static ds_status parse_slice(ds_image *image, ds_offset start, uint64_t size, unsigned space, bool *claimed) {
    ds_arch arch;
    if (!read_header(image->file, start, size, &arch))
        return DS_OK;
    if (!*claimed)
        image->arch = arch;
    *claimed = true;
    ds_macho macho = {.image = image,
                      .start = start,
                      .size = size,
                      .space = (ds_address)space << DS_SPACE_SHIFT,
                      .arch = arch,
                      .work_left = size * MACHO_WORK_LIMIT};
    macho.functions = ds_arena_alloc(image->arena, size / 8 + 1);
    if (macho.functions == NULL)
        return DS_E_MEMORY;
    ds_status status = read_slice(&macho);
    DS_VEC_FREE(image->arena, &macho.segments);
    DS_VEC_FREE(image->arena, &macho.sections);
    DS_VEC_FREE(image->arena, &macho.unwind);
    ds_arena_free(image->arena, macho.functions);
    return status;
}

/* --- universal files --------------------------------------------------------------------- */

static ds_status parse_universal(ds_image *image, bool *claimed) {
    enum { HEADER = 8, ENTRY = 20, ENTRY_64 = 32 };
    ds_span file = image->file;
    uint64_t starts[SLICE_LIMIT], ends[SLICE_LIMIT];
    if (file.size < HEADER)
        return DS_OK;
    uint32_t magic = ds_load32_be(file.data), count = ds_load32_be(file.data + 4);
    bool wide = magic == (uint32_t)UNIVERSAL_MAGIC_64;
    uint64_t entry = wide ? ENTRY_64 : ENTRY;
    if ((!wide && magic != (uint32_t)UNIVERSAL_MAGIC) || count > SLICE_LIMIT ||
        !ds_within(HEADER, count * entry, file.size))
        return DS_OK;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *p = file.data + HEADER + i * entry;
        uint64_t start = wide ? ds_load64_be(p + 8) : ds_load32_be(p + 8);
        uint64_t size = wide ? ds_load64_be(p + 16) : ds_load32_be(p + 12);
        starts[i] = ends[i] = 0;
        if (size == 0 || !ds_within(start, size, file.size))
            continue;
        bool shared = false;
        for (uint32_t before = 0; before < i; before++)
            shared |= start < ends[before] && starts[before] < start + size;
        if (shared)
            continue;
        starts[i] = start;
        ends[i] = start + size;
        DS_TRY(parse_slice(image, start, size, i, claimed));
    }
    return DS_OK;
}

ds_status ds_macho_parse(ds_image *image, ds_offset offset, uint64_t size, unsigned space, bool *claimed) {
    *claimed = false;
    if (!ds_within(offset, size, image->file.size))
        return DS_OK;
    DS_TRY(parse_slice(image, offset, size, space, claimed));
    /* Universal files do not nest. */
    return *claimed || offset != 0 || size != image->file.size ? DS_OK : parse_universal(image, claimed);
}
