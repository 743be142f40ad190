/* ELF images: 64 bits, little-endian, x86-64 and AArch64, executables and shared objects.
 * Headers, regions, the order of reading. Everything else with the ELF magic is plain bytes.
 *
 * Source: System V gABI 4.1, chapters 4 (ELF header, sections) and 5 (program headers).
 *
 * Regions: one for each SHF_ALLOC section that has a size, but not thread-local ones without
 * bytes (they overlap what follows them). Where this gives none, one or two for each PT_LOAD.
 * Sections outside the file are left out; of two regions that share bytes of the file the one
 * that starts first in the file stays, of two that share addresses the one at the lower
 * address (ties: the lower section number).
 *
 * Order of adding references; of equal offsets the first wins:
 *   1. ELF header, program headers, section headers
 *   2. .dynamic
 *   3. .dynsym, then per row of `table_rows`, in that order, all its sections by number; .eh_frame is
 *      the last row (without sections: the order of ds_elf_dynamic_tables)
 *   4. .eh_frame_hdr, then .eh_frame if its sections gave no function, exception tables
 *   5. .symtab
 *   6. Go's tables, words of programs at fixed addresses, probes
 *   7. code, by address
 *
 * Function starts, from which code is decoded: entry point, DT_INIT, DT_FINI, defined symbols
 * of type FUNC and GNU_IFUNC, FDEs, 16-byte entries of .plt (x86-64); and each region's start.
 *
 * Invariants
 *  - every offset is checked against the file before it is used;
 *  - regions do not share bytes of the file, so code is swept at most once;
 *  - tables are read under ELF_WORK_LIMIT, so time is linear in the file.
 */
#include "image/format/elf.h"

#include "image/format/go.h"

enum { ELFCLASS64 = 2, ELFDATA2LSB = 1, ET_EXEC = 2, ET_DYN = 3, EM_X86_64 = 62, EM_AARCH64 = 183 };
enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_TLS = 7, PT_GNU_EH_FRAME = 0x6474e550, PF_X = 1 };
enum {
    SHT_NULL = 0,
    SHT_PROGBITS = 1,
    SHT_SYMTAB = 2,
    SHT_RELA = 4,
    SHT_HASH = 5,
    SHT_DYNAMIC = 6,
    SHT_NOTE = 7,
    SHT_NOBITS = 8,
    SHT_DYNSYM = 11,
    SHT_INIT_ARRAY = 14,
    SHT_FINI_ARRAY = 15,
    SHT_PREINIT_ARRAY = 16,
    SHT_RELR = 19,
    SHT_GNU_HASH = 0x6ffffff6,
    SHT_GNU_VERDEF = 0x6ffffffd,
    SHT_GNU_VERNEED = 0x6ffffffe,
    SHT_X86_64_UNWIND = 0x70000001,
};
enum { SHF_ALLOC = 2, SHF_EXECINSTR = 4, SHF_TLS = 0x400 };
enum { SHN_XINDEX = 0xffff };

typedef struct section {
    uint32_t name, type, link;
    uint64_t flags, address, offset, size;
} section;

typedef struct segment {
    uint32_t type, flags;
    uint64_t offset, address, file_size, memory_size;
} segment;

/* Tables of headers; count 0 when absent or not wholly inside the file. */
typedef struct headers {
    ds_offset sections_at, segments_at;
    uint64_t section_count, segment_count;
    ds_extent names; /* of sections */
} headers;

/* --- shared with the other files --------------------------------------------------------- */

ds_status ds_elf_nonzero(ds_elf *elf, ds_offset offset, ds_ref_kind kind, ds_address base) {
    const uint8_t *field = elf->image->file.data + offset;
    bool zero = ds_ref_length(kind) == 8 ? ds_load64(field) == 0 : ds_load32(field) == 0;
    return zero ? DS_OK : ds_elf_field(elf, offset, kind, base);
}

ds_status ds_elf_size(ds_elf *elf, ds_offset offset, ds_address start) {
    return ds_elf_nonzero(elf, offset, DS_REF_SIZE64, start);
}

ds_extent ds_elf_rest(const ds_elf *elf, ds_address address) {
    const ds_region *region = ds_image_region(elf->image, address);
    if (region == NULL || region->class_ == DS_REGION_NOBITS)
        return (ds_extent){0};
    uint64_t inside = address - region->address;
    return (ds_extent){region->offset + inside, address, region->size - inside};
}

bool ds_elf_locate(const ds_elf *elf, ds_address address, uint64_t size, ds_offset *offset) {
    ds_extent rest = ds_elf_rest(elf, address);
    *offset = rest.offset;
    return rest.size >= size;
}

#define AARCH64_INSTRUCTION 4

void ds_elf_function(ds_elf *elf, ds_address address) {
    const ds_region *region = ds_image_region(elf->image, address);
    if (region == NULL || region->class_ != DS_REGION_CODE)
        return;
    if (elf->image->arch == DS_ARCH_AARCH64 && address % AARCH64_INSTRUCTION != 0)
        return;
    ds_offset offset = region->offset + (address - region->address);
    elf->functions[offset / 8] |= (uint8_t)(1u << offset % 8);
}

/* --- headers ----------------------------------------------------------------------------- */

static bool read_ident(ds_span file, ds_arch *arch) {
    static const uint8_t magic[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB};
    if (file.size < ELF_HEADER_SIZE || memcmp(file.data, magic, sizeof magic) != 0)
        return false;
    uint16_t type = ds_load16(file.data + 16), machine = ds_load16(file.data + 18);
    *arch = machine == EM_X86_64 ? DS_ARCH_X86_64 : machine == EM_AARCH64 ? DS_ARCH_AARCH64 : DS_ARCH_NONE;
    return *arch != DS_ARCH_NONE && (type == ET_EXEC || type == ET_DYN);
}

static section section_at(ds_span file, const headers *h, uint64_t index) {
    const uint8_t *p = file.data + h->sections_at + index * ELF_SECTION_HEADER_SIZE;
    return (section){
        .name = ds_load32(p),
        .type = ds_load32(p + 4),
        .flags = ds_load64(p + 8),
        .address = ds_load64(p + 16),
        .offset = ds_load64(p + 24),
        .size = ds_load64(p + 32),
        .link = ds_load32(p + 40),
    };
}

static segment segment_at(ds_span file, const headers *h, uint64_t index) {
    const uint8_t *p = file.data + h->segments_at + index * ELF_PROGRAM_HEADER_SIZE;
    return (segment){
        .type = ds_load32(p),
        .flags = ds_load32(p + 4),
        .offset = ds_load64(p + 8),
        .address = ds_load64(p + 16),
        .file_size = ds_load64(p + 32),
        .memory_size = ds_load64(p + 40),
    };
}

static bool has_bytes(ds_span file, const section *s) {
    return s->type != SHT_NULL && s->type != SHT_NOBITS && s->size != 0 && ds_within(s->offset, s->size, file.size);
}

static headers read_headers(ds_span file) {
    headers h = {.segments_at = ds_load64(file.data + 32), .sections_at = ds_load64(file.data + 40)};
    uint64_t segments = ds_load16(file.data + 56), sections = ds_load16(file.data + 60);
    uint64_t names = ds_load16(file.data + 62);
    if (ds_load16(file.data + 54) == ELF_PROGRAM_HEADER_SIZE &&
        ds_within(h.segments_at, segments * ELF_PROGRAM_HEADER_SIZE, file.size))
        h.segment_count = segments;
    if (ds_load16(file.data + 58) != ELF_SECTION_HEADER_SIZE || h.sections_at == 0 ||
        !ds_within(h.sections_at, ELF_SECTION_HEADER_SIZE, file.size))
        return h;
    /* Numbers too large for the ELF header stand in section 0. */
    section first = section_at(file, &h, 0);
    if (sections == 0)
        sections = first.size;
    if (names == SHN_XINDEX)
        names = first.link;
    if (sections > (file.size - h.sections_at) / ELF_SECTION_HEADER_SIZE)
        return h;
    h.section_count = sections;
    if (names < sections) {
        section s = section_at(file, &h, names);
        if (has_bytes(file, &s))
            h.names = (ds_extent){s.offset, DS_FILE_BASE + s.offset, s.size};
    }
    return h;
}

static bool is_named(ds_span file, const headers *h, const section *s, const char *name) {
    uint64_t size = strlen(name) + 1;
    return ds_within(s->name, size, h->names.size) &&
           memcmp(file.data + h->names.offset + s->name, name, (size_t)size) == 0;
}

/* Bytes inside the file as a table: where a region begins with it, at most up to that region's end. */
static ds_extent extent_at(const ds_elf *elf, ds_offset offset, uint64_t size) {
    ds_address address = ds_image_address(elf->image, offset);
    const ds_region *region = ds_image_region(elf->image, address);
    if (region != NULL && size > region->size - (address - region->address))
        size = region->size - (address - region->address);
    return (ds_extent){offset, address, size};
}

static ds_extent section_extent(const ds_elf *elf, const section *s) {
    return has_bytes(elf->image->file, s) ? extent_at(elf, s->offset, s->size) : (ds_extent){0};
}

/* Fields of unwind tables count from their place, so all of the table has to have addresses. */
static bool is_loaded(ds_extent table) {
    return table.address < DS_FILE_BASE;
}

/* The first section of a type; false when there is none. */
static bool find_section(const ds_elf *elf, const headers *h, uint32_t type, section *out) {
    for (uint64_t i = 0; i < h->section_count; i++) {
        *out = section_at(elf->image->file, h, i);
        if (out->type == type && has_bytes(elf->image->file, out))
            return true;
    }
    return false;
}

static bool find_segment(const ds_elf *elf, const headers *h, uint32_t type, segment *out) {
    for (uint64_t i = 0; i < h->segment_count; i++) {
        *out = segment_at(elf->image->file, h, i);
        if (out->type == type && ds_within(out->offset, out->file_size, elf->image->file.size))
            return true;
    }
    return false;
}

static ds_status header_refs(ds_elf *elf) {
    DS_TRY(ds_elf_nonzero(elf, 24, DS_REF_ABS64, 0));  /* e_entry */
    DS_TRY(ds_elf_nonzero(elf, 32, DS_REF_FILE64, 0)); /* e_phoff */
    return ds_elf_nonzero(elf, 40, DS_REF_FILE64, 0);  /* e_shoff */
}

static ds_status segment_refs(ds_elf *elf, const headers *h) {
    for (uint64_t i = 0; i < h->segment_count; i++) {
        segment s = segment_at(elf->image->file, h, i);
        ds_offset at = h->segments_at + i * ELF_PROGRAM_HEADER_SIZE;
        if (s.memory_size == 0)
            continue; /* PT_GNU_STACK: nothing is somewhere */
        DS_TRY(ds_elf_nonzero(elf, at + 8, DS_REF_FILE64, 0));
        DS_TRY(ds_elf_nonzero(elf, at + 16, DS_REF_ABS64, 0));
        DS_TRY(ds_elf_nonzero(elf, at + 24, DS_REF_ABS64, 0)); /* p_paddr */
        DS_TRY(ds_elf_size(elf, at + 32, s.address));
        if (s.type != PT_TLS) /* its end overlaps what follows */
            DS_TRY(ds_elf_size(elf, at + 40, s.address));
    }
    return DS_OK;
}

static ds_status section_refs(ds_elf *elf, const headers *h) {
    for (uint64_t i = 1; i < h->section_count; i++) {
        section s = section_at(elf->image->file, h, i);
        ds_offset at = h->sections_at + i * ELF_SECTION_HEADER_SIZE;
        if (s.type == SHT_NULL)
            continue;
        if (h->names.size != 0)
            DS_TRY(ds_elf_nonzero(elf, at, DS_REF_BASE32, h->names.address));
        DS_TRY(ds_elf_nonzero(elf, at + 16, DS_REF_ABS64, 0));
        DS_TRY(ds_elf_nonzero(elf, at + 24, DS_REF_FILE64, 0));
        if (s.type == SHT_NOBITS && (s.flags & SHF_TLS) != 0)
            continue;
        bool loaded = (s.flags & SHF_ALLOC) != 0;
        DS_TRY(ds_elf_size(elf, at + 32, loaded ? s.address : DS_FILE_BASE + s.offset));
    }
    return DS_OK;
}

/* --- regions ----------------------------------------------------------------------------- */

static ds_status propose(ds_elf *elf, ds_region_list *proposed, ds_region region) {
    ds_address end;
    bool bytes = region.class_ != DS_REGION_NOBITS;
    if (region.size == 0 || !ds_add(region.address, region.size, &end) || end > DS_FILE_BASE)
        return DS_OK;
    if (bytes && !ds_within(region.offset, region.size, elf->image->file.size))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(elf->image->arena, proposed, proposed->count + 1));
    proposed->items[proposed->count++] = region;
    return DS_OK;
}

static ds_status propose_sections(ds_elf *elf, const headers *h, ds_region_list *proposed) {
    for (uint64_t i = 0; i < h->section_count; i++) {
        section s = section_at(elf->image->file, h, i);
        bool bytes = s.type != SHT_NOBITS;
        if (s.type == SHT_NULL || (s.flags & SHF_ALLOC) == 0 || (!bytes && (s.flags & SHF_TLS) != 0))
            continue;
        bool code = (s.flags & SHF_EXECINSTR) != 0;
        DS_TRY(propose(elf, proposed,
                       (ds_region){
                           .offset = bytes ? s.offset : 0,
                           .address = s.address,
                           .size = s.size,
                           .class_ = !bytes ? DS_REGION_NOBITS
                                     : code ? DS_REGION_CODE
                                            : DS_REGION_DATA,
                       }));
    }
    return DS_OK;
}

static ds_status propose_segments(ds_elf *elf, const headers *h, ds_region_list *proposed) {
    for (uint64_t i = 0; i < h->segment_count; i++) {
        segment s = segment_at(elf->image->file, h, i);
        if (s.type != PT_LOAD)
            continue;
        DS_TRY(propose(elf, proposed,
                       (ds_region){
                           .offset = s.offset,
                           .address = s.address,
                           .size = s.file_size,
                           .class_ = (s.flags & PF_X) != 0 ? DS_REGION_CODE : DS_REGION_DATA,
                       }));
        ds_address behind;
        if (s.memory_size > s.file_size && ds_add(s.address, s.file_size, &behind))
            DS_TRY(propose(elf, proposed,
                           (ds_region){
                               .address = behind,
                               .size = s.memory_size - s.file_size,
                               .class_ = DS_REGION_NOBITS,
                           }));
    }
    return DS_OK;
}

static ds_status add_regions(ds_elf *elf, const headers *h,
                             ds_status (*propose_all)(ds_elf *, const headers *, ds_region_list *)) {
    ds_region_list proposed = {0};
    ds_status status = propose_all(elf, h, &proposed);
    if (status == DS_OK)
        status = ds_choose_regions(elf->image, &proposed);
    DS_VEC_FREE(elf->image->arena, &proposed);
    return status;
}

/* --- tables ------------------------------------------------------------------------------ */

static ds_status read_frames(ds_elf *elf, ds_extent table) {
    if (!is_loaded(table) || !ds_elf_charge(elf, table.size))
        return DS_OK;
    if (elf->image->frames.size == 0)
        elf->image->frames = table;
    return ds_unwind_frames(elf->image, table, false, &elf->unwind);
}

/* Which sections are read by what; a row without a name takes all of its type. */
static const struct {
    uint32_t type;
    const char *name;
    ds_elf_reader read;
} table_rows[] = {
    {SHT_HASH, NULL, ds_elf_hash},
    {SHT_GNU_HASH, NULL, ds_elf_gnu_hash},
    {SHT_GNU_VERDEF, NULL, ds_elf_version_definitions},
    {SHT_GNU_VERNEED, NULL, ds_elf_version_needs},
    {SHT_RELA, NULL, ds_elf_rela},
    {SHT_RELR, NULL, ds_elf_relr},
    {SHT_PROGBITS, ".got", ds_elf_words},
    {SHT_PROGBITS, ".got.plt", ds_elf_words},
    {SHT_PREINIT_ARRAY, NULL, ds_elf_words},
    {SHT_INIT_ARRAY, NULL, ds_elf_words},
    {SHT_FINI_ARRAY, NULL, ds_elf_words},
    {SHT_PROGBITS, ".plt", ds_elf_plt},
    {SHT_PROGBITS, ".eh_frame", read_frames},
    {SHT_X86_64_UNWIND, ".eh_frame", read_frames},
};

static ds_status read_sections(ds_elf *elf, const headers *h) {
    ds_span file = elf->image->file;
    for (uint64_t row = 0; row < DS_COUNT(table_rows); row++) {
        for (uint64_t i = 0; i < h->section_count; i++) {
            section s = section_at(file, h, i);
            if (s.type != table_rows[row].type || (s.flags & SHF_ALLOC) == 0 || !has_bytes(file, &s))
                continue;
            if (table_rows[row].name != NULL && !is_named(file, h, &s, table_rows[row].name))
                continue;
            DS_TRY(table_rows[row].read(elf, section_extent(elf, &s)));
        }
    }
    return DS_OK;
}

/* The first section with bytes of a type and a name. */
static bool find_named(const ds_elf *elf, const headers *h, uint32_t type, const char *name, section *out) {
    for (uint64_t i = 0; i < h->section_count; i++) {
        *out = section_at(elf->image->file, h, i);
        if (out->type == type && has_bytes(elf->image->file, out) && is_named(elf->image->file, h, out, name))
            return true;
    }
    return false;
}

/* Programs of fixed addresses have pointers that no relocation tells of. Sections that hold little else than
 * data: in tables of numbers of four bytes, two of them together would look like a pointer too often. */
static ds_status read_fixed_words(ds_elf *elf, const headers *h) {
    static const char *const names[] = {".data.rel.ro", ".rodata", ".data", ".noptrdata", ".itablink", ".go.module"};
    section s;
    if (ds_load16(elf->image->file.data + 16) != ET_EXEC)
        return DS_OK;
    for (uint64_t i = 0; i < DS_COUNT(names); i++)
        if (find_named(elf, h, SHT_PROGBITS, names[i], &s) && (s.flags & SHF_ALLOC) != 0)
            DS_TRY(ds_elf_words(elf, section_extent(elf, &s)));
    return DS_OK;
}

static void note_go_function(void *context, ds_address function) {
    ds_elf_function(context, function);
}

static ds_status read_go(ds_elf *elf, const headers *h) {
    section functions, module;
    ds_go_program program = {
        .image = elf->image, .work_left = &elf->work_left, .sink = note_go_function, .context = elf};
    if (find_named(elf, h, SHT_PROGBITS, ".gopclntab", &functions)) {
        program.functions = section_extent(elf, &functions);
        if ((functions.flags & SHF_ALLOC) == 0 || !is_loaded(program.functions))
            return DS_OK;
    }
    if (find_named(elf, h, SHT_PROGBITS, ".go.module", &module) ||
        find_named(elf, h, SHT_PROGBITS, ".noptrdata", &module))
        program.module = section_extent(elf, &module);
    return ds_go_read(&program);
}

/* What names the build: its id, and a debug link. Those of distributions are called like the build id, but for its first
 * byte, which names the folder. */
static ds_status find_build(ds_elf *elf, const headers *h) {
    enum { NOTE_HEADER = 16, FOLDER = 1, CHECKSUM = 4 };
    ds_image *image = elf->image;
    section id, link;
    bool has_id = find_named(elf, h, SHT_NOTE, ".note.gnu.build-id", &id) && id.size > NOTE_HEADER;
    bool has_link = find_named(elf, h, SHT_PROGBITS, ".gnu_debuglink", &link);
    if (has_id)
        ds_image_add_fresh(image, id.offset + NOTE_HEADER, id.size - NOTE_HEADER);
    if (has_link && link.size >= CHECKSUM)
        ds_image_add_fresh(image, link.offset + link.size - CHECKSUM, CHECKSUM);
    if (!has_id || !has_link || id.size <= NOTE_HEADER + FOLDER)
        return DS_OK;
    ds_spelling name = {link.offset, id.offset + NOTE_HEADER + FOLDER, id.size - NOTE_HEADER - FOLDER};
    if (name.size > link.size / 2 || !ds_within(name.spelled, name.size, name.digits))
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->spellings, image->spellings.count + 1));
    image->spellings.items[image->spellings.count++] = name;
    return DS_OK;
}

static ds_status read_probes(ds_elf *elf, const headers *h) {
    section s;
    return find_named(elf, h, SHT_NOTE, ".note.stapsdt", &s) ? ds_elf_probes(elf, section_extent(elf, &s)) : DS_OK;
}

/* A symbol table and the strings that its section header links to. */
static void symbol_section(const ds_elf *elf, const headers *h, uint32_t type, ds_extent *symbols, ds_extent *strings) {
    section s;
    if (!find_section(elf, h, type, &s))
        return;
    *symbols = section_extent(elf, &s);
    if (s.link >= h->section_count)
        return;
    s = section_at(elf->image->file, h, s.link);
    *strings = section_extent(elf, &s);
}

/* Unwind tables: .eh_frame_hdr by its segment; .eh_frame by its section (then it was read with
 * the other sections) or as the header names it. */
static ds_status read_unwind(ds_elf *elf, const headers *h, bool frames_known) {
    segment s;
    ds_address frames = 0;
    if (find_segment(elf, h, PT_GNU_EH_FRAME, &s)) {
        ds_extent table = extent_at(elf, s.offset, s.file_size);
        if (is_loaded(table) && ds_elf_charge(elf, table.size)) {
            elf->image->frame_header = table;
            DS_TRY(ds_unwind_frame_header(elf->image, table, &frames));
        }
    }
    if (!frames_known && frames != 0) {
        ds_extent table = ds_elf_rest(elf, frames);
        if (table.size != 0 && ds_elf_charge(elf, table.size))
            DS_TRY(ds_unwind_frames(elf->image, table, true, &elf->unwind));
    }
    for (uint64_t i = 0; i < elf->unwind.count; i++)
        ds_elf_function(elf, elf->unwind.items[i].start);
    return ds_unwind_exceptions(elf->image, &elf->unwind);
}

/* --- the whole --------------------------------------------------------------------------- */

static ds_status read_image(ds_elf *elf) {
    const ds_span file = elf->image->file;
    headers h = read_headers(file);
    DS_TRY(add_regions(elf, &h, propose_sections));
    bool by_sections = elf->image->regions.count != 0;
    if (!by_sections)
        DS_TRY(add_regions(elf, &h, propose_segments));

    ds_extent dynamic_table = {0};
    section s;
    segment dynamic_segment;
    if (by_sections && find_section(elf, &h, SHT_DYNAMIC, &s))
        dynamic_table = section_extent(elf, &s);
    else if (!by_sections && find_segment(elf, &h, PT_DYNAMIC, &dynamic_segment))
        dynamic_table = extent_at(elf, dynamic_segment.offset, dynamic_segment.file_size);
    ds_elf_dynamic dynamic;
    ds_elf_dynamic_read(elf, dynamic_table, &dynamic);
    if (by_sections) {
        symbol_section(elf, &h, SHT_DYNSYM, &elf->symbols, &elf->strings);
    } else {
        elf->symbols = ds_elf_dynamic_symbols(elf, &dynamic);
        elf->strings = ds_elf_dynamic_extent(elf, &dynamic, TAG_STRTAB, TAG_STRSZ);
    }
    elf->calls = ds_elf_dynamic_extent(elf, &dynamic, TAG_JMPREL, TAG_PLTRELSZ);

    DS_TRY(header_refs(elf));
    DS_TRY(segment_refs(elf, &h));
    DS_TRY(section_refs(elf, &h));
    DS_TRY(ds_elf_dynamic_refs(elf, &dynamic));
    DS_TRY(ds_elf_symbols(elf, elf->symbols, elf->strings));
    DS_TRY(by_sections ? read_sections(elf, &h) : ds_elf_dynamic_tables(elf, &dynamic));
    ds_elf_function(elf, ds_load64(file.data + 24));
    ds_elf_function(elf, dynamic.values[TAG_INIT]);
    ds_elf_function(elf, dynamic.values[TAG_FINI]);
    DS_TRY(read_unwind(elf, &h, elf->unwind.count != 0));
    ds_extent all_symbols = {0}, all_strings = {0};
    symbol_section(elf, &h, SHT_SYMTAB, &all_symbols, &all_strings);
    DS_TRY(ds_elf_symbols(elf, all_symbols, all_strings));
    DS_TRY(read_go(elf, &h));
    DS_TRY(read_fixed_words(elf, &h));
    DS_TRY(read_probes(elf, &h));
    DS_TRY(find_build(elf, &h));
    DS_TRY(ds_sweep_code(elf->image, elf->image->arch, 0, elf->functions, 0));
    return ds_keep_names(elf->image, all_strings);
}

ds_status ds_elf_parse(ds_image *image, ds_offset offset, uint64_t size, unsigned space, bool *claimed) {
    ds_arch arch;
    /* Nothing wraps an ELF image: it is the whole file, in the first space. */
    *claimed = offset == 0 && size == image->file.size && space == 0 && read_ident(image->file, &arch);
    if (!*claimed)
        return DS_OK;
    image->arch = arch;
    ds_elf elf = {.image = image, .work_left = size * ELF_WORK_LIMIT};
    elf.functions = ds_arena_alloc(image->arena, size / 8 + 1);
    if (elf.functions == NULL)
        return DS_E_MEMORY;
    ds_status status = read_image(&elf);
    DS_VEC_FREE(image->arena, &elf.unwind);
    ds_arena_free(image->arena, elf.functions);
    return status;
}
