/* What the files of the ELF parser share: elf.c (headers, sections, order), elf_dynamic.c,
 * elf_symbols.c, elf_relocs.c. Not for others.
 */
#ifndef DS_ELF_H
#define DS_ELF_H

#include "image/format/unwind.h"

/* Sizes of ELF64 structures (System V gABI 4.1, chapters 4 and 5). */
enum {
    ELF_HEADER_SIZE = 64,
    ELF_PROGRAM_HEADER_SIZE = 56,
    ELF_SECTION_HEADER_SIZE = 64,
    ELF_SYMBOL_SIZE = 24,
    ELF_RELA_SIZE = 24,
    ELF_DYNAMIC_SIZE = 16,
    ELF_WORD_SIZE = 8,
};

/* Tables may overlap in a hostile file; all readers together look at no more bytes than this
 * many times the file. A table past the limit is left alone. Real files need less than once. */
#define ELF_WORK_LIMIT 4

typedef struct ds_elf {
    ds_image *image;
    uint64_t work_left; /* bytes of tables that may still be read */
    uint8_t *functions; /* one bit per file byte: a function starts here */
    ds_extent symbols;  /* .dynsym */
    ds_extent strings;  /* .dynstr */
    ds_extent calls;    /* relocations of the PLT (DT_JMPREL) */
    ds_unwind_functions unwind;
} ds_elf;

/* Reads a table that lies inside the file and adds its references. */
typedef ds_status (*ds_elf_reader)(ds_elf *elf, ds_extent table);

/* Takes `size` from the work left; false when it does not suffice. */
static inline bool ds_elf_charge(ds_elf *elf, uint64_t size) {
    if (size > elf->work_left)
        return false;
    elf->work_left -= size;
    return true;
}

/* A field whose kind does not count from its place (all but PREL). */
static inline ds_status ds_elf_field(ds_elf *elf, ds_offset offset, ds_ref_kind kind, ds_address base) {
    return ds_image_add_field(elf->image, offset, 0, kind, base);
}
/* The same, unless the field (of 4 or 8 bytes, inside the file) is zero. */
ds_status ds_elf_nonzero(ds_elf *elf, ds_offset offset, ds_ref_kind kind, ds_address base);
/* A size field (SIZE64) of what starts at `start`, unless it is zero. */
ds_status ds_elf_size(ds_elf *elf, ds_offset offset, ds_address start);

/* The `size` bytes at an address, if they lie in the file and in one region. */
bool ds_elf_locate(const ds_elf *elf, ds_address address, uint64_t size, ds_offset *offset);
/* From an address to the end of its region; size 0 when there are no bytes. */
ds_extent ds_elf_rest(const ds_elf *elf, ds_address address);
/* Notes a function start, if the address is one of code in the file. */
void ds_elf_function(ds_elf *elf, ds_address address);

/* elf_dynamic.c: .dynamic, as values of the tags that matter; 0 stands for absent. */
typedef enum ds_elf_tag {
    TAG_NEEDED,
    TAG_SONAME,
    TAG_RPATH,
    TAG_RUNPATH,
    TAG_AUXILIARY,
    TAG_FILTER,
    TAG_PLTGOT,
    TAG_HASH,
    TAG_GNU_HASH,
    TAG_STRTAB,
    TAG_STRSZ,
    TAG_SYMTAB,
    TAG_RELA,
    TAG_RELASZ,
    TAG_REL,
    TAG_RELSZ,
    TAG_RELR,
    TAG_RELRSZ,
    TAG_JMPREL,
    TAG_PLTRELSZ,
    TAG_INIT,
    TAG_FINI,
    TAG_PREINIT_ARRAY,
    TAG_PREINIT_ARRAYSZ,
    TAG_INIT_ARRAY,
    TAG_INIT_ARRAYSZ,
    TAG_FINI_ARRAY,
    TAG_FINI_ARRAYSZ,
    TAG_VERSYM,
    TAG_VERDEF,
    TAG_VERNEED,
    TAG_TLSDESC_PLT,
    TAG_TLSDESC_GOT,
    ELF_TAGS,
} ds_elf_tag;
typedef struct ds_elf_dynamic {
    ds_extent table; /* up to and without DT_NULL */
    uint64_t values[ELF_TAGS];
} ds_elf_dynamic;
void ds_elf_dynamic_read(const ds_elf *elf, ds_extent table, ds_elf_dynamic *out);
/* References of .dynamic itself. */
ds_status ds_elf_dynamic_refs(ds_elf *elf, const ds_elf_dynamic *dynamic);
/* The bytes that two tags name, within one region; all of the region's rest when that is shorter
 * or `size` is ELF_TAGS. */
ds_extent ds_elf_dynamic_extent(const ds_elf *elf, const ds_elf_dynamic *dynamic, ds_elf_tag address, ds_elf_tag size);
/* .dynsym as far as .dynamic and the hash tables tell. */
ds_extent ds_elf_dynamic_symbols(const ds_elf *elf, const ds_elf_dynamic *dynamic);
/* Reads every table that .dynamic names, for files without section headers. */
ds_status ds_elf_dynamic_tables(ds_elf *elf, const ds_elf_dynamic *dynamic);

/* elf_symbols.c */
ds_status ds_elf_symbols(ds_elf *elf, ds_extent table, ds_extent strings);
ds_status ds_elf_hash(ds_elf *elf, ds_extent table);
ds_status ds_elf_gnu_hash(ds_elf *elf, ds_extent table);
ds_status ds_elf_version_definitions(ds_elf *elf, ds_extent table);
ds_status ds_elf_version_needs(ds_elf *elf, ds_extent table);
/* Number of symbols in .dynsym as the hash tables tell (each may be absent); 0 when neither does. */
uint64_t ds_elf_symbol_count(const ds_elf *elf, ds_extent hash, ds_extent gnu_hash);

/* Places of probes (.note.stapsdt). */
ds_status ds_elf_probes(ds_elf *elf, ds_extent table);

/* elf_relocs.c */
ds_status ds_elf_rela(ds_elf *elf, ds_extent table);
ds_status ds_elf_relr(ds_elf *elf, ds_extent table);
/* 8-byte words that are addresses: .got, .init_array. */
ds_status ds_elf_words(ds_elf *elf, ds_extent table);
/* Pushes of relocation indices in the x86-64 PLT. */
ds_status ds_elf_plt(ds_elf *elf, ds_extent table);

#endif
