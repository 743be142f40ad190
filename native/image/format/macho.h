/* What the files of the Mach-O parser share: macho.c (headers, load commands, order), macho_fixups.c,
 * macho_linkedit.c, macho_unwind.c. Not for others.
 */
#ifndef DS_MACHO_H
#define DS_MACHO_H

#include "image/format/unwind.h"

/* Tables may overlap in a hostile file; all readers of a slice together look at no more bytes than
 * this many times the slice. A table past the limit is left alone. Real files need less than twice. */
#define MACHO_WORK_LIMIT 4

/* Sizes of structures (mach-o/loader.h, mach-o/nlist.h). */
enum {
    MACHO_HEADER_SIZE = 32,
    MACHO_SYMBOL_SIZE = 16,
    MACHO_INDIRECT_SIZE = 4,
    MACHO_DATA_IN_CODE_SIZE = 8,
    MACHO_POINTER_SIZE = 8,
};

/* Tables of __LINKEDIT, in the order in which they are read. */
typedef enum ds_macho_table {
    TABLE_CHAINED_FIXUPS,
    TABLE_REBASE,
    TABLE_BIND,
    TABLE_WEAK_BIND,
    TABLE_LAZY_BIND,
    TABLE_SYMBOLS,
    TABLE_STRINGS,
    TABLE_INDIRECT,
    TABLE_FUNCTION_STARTS,
    TABLE_DATA_IN_CODE,
    TABLE_EXPORTS,
    MACHO_TABLES,
} ds_macho_table;

typedef struct ds_macho_segment {
    ds_address address;
    ds_offset offset; /* in the file */
    uint64_t size;    /* in the file; 0 when its bytes do not lie in the slice */
} ds_macho_segment;

typedef struct ds_macho_section {
    char name[17], segment[17];
    ds_extent bytes; /* size 0 for those without bytes */
    uint32_t flags;
    uint32_t reserved1, reserved2;
} ds_macho_section;

typedef struct ds_macho {
    ds_image *image;
    ds_offset start; /* of the slice in the file */
    uint64_t size;
    ds_address space;
    ds_arch arch;
    uint64_t work_left;                /* bytes of tables that may still be read */
    uint8_t *functions;                /* one bit per byte of the slice: a function starts here */
    ds_address header;                 /* address of the Mach header, which image offsets count from */
    DS_VEC(ds_macho_segment) segments; /* in the order of load commands, which opcodes count in */
    DS_VEC(ds_macho_section) sections;
    ds_extent tables[MACHO_TABLES]; /* size 0: absent */
    ds_unwind_functions unwind;
} ds_macho;

/* Takes `size` from the work left; false when it does not suffice. */
static inline bool ds_macho_charge(ds_macho *macho, uint64_t size) {
    if (size > macho->work_left)
        return false;
    macho->work_left -= size;
    return true;
}

/* A field whose kind does not count from its place; one that counts from the space (ABS64) only where its
 * place is known to have the slice's. */
static inline ds_status ds_macho_field(ds_macho *macho, ds_offset offset, ds_ref_kind kind, ds_address base) {
    return ds_image_add_field(macho->image, offset, macho->space, kind, base);
}
/* Whether the byte has an address in the slice's space: all places do but those that no region covers. */
bool ds_macho_has_place(const ds_macho *macho, ds_offset offset);
/* The same as ds_macho_field, unless the field (of 4 or 8 bytes, inside the file) is zero. */
ds_status ds_macho_nonzero(ds_macho *macho, ds_offset offset, ds_ref_kind kind, ds_address base);
/* A ULEB128 number of `bytes` bytes that stands for base + number; longer than 4: left alone. */
ds_status ds_macho_uleb(ds_macho *macho, ds_offset offset, unsigned bytes, ds_address base);
/* Notes a function start, if the address is one of code in the slice. */
void ds_macho_function(ds_macho *macho, ds_address address);

/* macho_fixups.c: pointers that the loader rewrites. */
ds_status ds_macho_chained_fixups(ds_macho *macho, ds_extent table);
ds_status ds_macho_rebase(ds_macho *macho, ds_extent table);
ds_status ds_macho_bind(ds_macho *macho, ds_extent table);

/* macho_linkedit.c: symbols and what else lies in __LINKEDIT. */
ds_status ds_macho_symbols(ds_macho *macho, ds_extent table);
ds_status ds_macho_indirect(ds_macho *macho, ds_extent table);
ds_status ds_macho_function_starts(ds_macho *macho, ds_extent table);
ds_status ds_macho_data_in_code(ds_macho *macho, ds_extent table);
ds_status ds_macho_exports(ds_macho *macho, ds_extent table);

/* macho_unwind.c: __unwind_info; appends functions with exception tables to macho->unwind. */
ds_status ds_macho_unwind_info(ds_macho *macho, ds_extent table);

#endif
