/* A table of call frame records (.eh_frame): its records, their programs as steps, and the sorted table that finds
 * them (.eh_frame_hdr). Read once of an old image, and record by record of a new one as it is made.
 *
 * Sources: Linux Standard Base Core 5.0, chapter 10; DWARF 5 sections 6.4.1 and 7.24; docs/spec/delta-frames.md.
 *
 * Invariants
 *  - records lie one behind the other, from the first byte of the table on, and leave no gap;
 *  - what is not of the one form that toolchains write today is a record of kind OTHER, never an error.
 */
#ifndef DS_FRAME_TABLE_H
#define DS_FRAME_TABLE_H

#include "image/image.h"
#include "predict/frame_program.h"

typedef enum ds_frame_kind { DS_FRAME_END, DS_FRAME_CIE, DS_FRAME_FDE, DS_FRAME_OTHER } ds_frame_kind;

typedef struct ds_frame_record {
    uint32_t at, size; /* in the table, the length field included */
    uint8_t kind;
    /* CIE */
    uint8_t lsda_bytes;    /* of the pointer to an exception table in its FDEs: 4, 8; 0: they have none */
    uint8_t unit_bits;     /* logarithm of the unit of steps */
    uint8_t pointer_bytes; /* of the personality */
    uint32_t personality;  /* of a pointer relative to its place, in the record; 0: none */
    /* FDE */
    uint32_t cie;           /* number of its record */
    uint32_t code_size;     /* of the function */
    ds_address start, lsda; /* lsda 0: none */
    uint32_t program;       /* in the table; up to the end of the record */
} ds_frame_record;

typedef struct ds_frame_table {
    const uint8_t *bytes;
    ds_address address;
    uint32_t size;
    DS_VEC(ds_frame_record) records;
    DS_VEC(uint32_t) cies; /* numbers of their records */
} ds_frame_table;

/* Bytes of an FDE before its program: length, id, start, size, a length, and the exception table where its CIE says so. */
#define DS_FRAME_LSDA_AT 17
#define DS_FRAME_FIXED_MAX (DS_FRAME_LSDA_AT + 8)
static inline uint32_t ds_frame_fixed_size(unsigned lsda_bytes) {
    return DS_FRAME_LSDA_AT + lsda_bytes;
}
/* Of a pointer of 4 or 8 bytes, relative to its place. */
static inline ds_ref_kind ds_frame_pointer(unsigned bytes) {
    return bytes == 8 ? DS_REF_PREL64 : DS_REF_PREL32;
}

#define DS_FRAME_TABLE_MAX ((uint64_t)1 << 30)

/* Takes the record at `at`, the end of those before, out of the bytes up to `end`: appended to the records. Nothing
 * fits: one of kind OTHER takes all that is left. */
ds_status ds_frame_take(ds_frame_table *table, uint32_t at, uint32_t end, ds_arena *arena);
ds_status ds_frame_table_read(ds_frame_table *table, ds_arena *arena);
void ds_frame_table_free(ds_frame_table *table, ds_arena *arena);

/* What records are padded to: 8 if that explains the sizes of all of them, else 4. */
unsigned ds_frame_alignment(const ds_frame_table *table);

/* A program as steps. False where writing the steps, and padding, would not give its bytes. */
ds_status ds_frame_steps_read(const uint8_t *program, uint32_t size, unsigned unit_bits, ds_arena *arena,
                              ds_frame_steps *steps, bool *exact);
/* Bytes that the steps take, without padding. */
uint64_t ds_frame_steps_size(const ds_frame_steps *steps, unsigned unit_bits);
/* Bytes of the operands behind the first byte of a step, as far as it is known; 0: it is whole. False: no step. */
bool ds_frame_step_wants(const uint8_t *bytes, unsigned known, bool *more);
/* The bytes of an advance by so many bytes of code; their number. 0: not a multiple of the unit. */
#define DS_FRAME_ADVANCE_BYTES 5
unsigned ds_frame_advance(uint64_t distance, unsigned unit_bits, uint8_t *bytes);

/* The sorted table: `size` bytes at `address` for a table of frames that is whole. DS_E_DELTA where it would take
 * another number of bytes. */
#define DS_FRAME_HEADER_SIZE 12
#define DS_FRAME_HEADER_ROW 8
ds_status ds_frame_header_make(const ds_frame_table *table, ds_address address, uint8_t *bytes, uint64_t size,
                               ds_arena *arena);

#endif
