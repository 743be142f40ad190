/* Tables for unwinding the stack, as ELF and Mach-O share them: .eh_frame, .eh_frame_hdr and
 * the exception tables (LSDA, .gcc_except_table). All add references to the image and say
 * which functions they name; they know no section headers.
 */
#ifndef DS_UNWIND_H
#define DS_UNWIND_H

#include "image/format/format.h"

/* A function that an unwind table names. */
typedef struct ds_unwind_function {
    ds_address start;
    uint64_t size;
    ds_address lsda; /* 0: none */
} ds_unwind_function;
typedef DS_VEC(ds_unwind_function) ds_unwind_functions;

/* Read the records of .eh_frame and append the function of each FDE, in order. Where the end of
 * the table is not known (no section header) the first zero length ends it. */
ds_status ds_unwind_frames(ds_image *image, ds_extent table, bool ends_at_zero, ds_unwind_functions *functions);

/* Read .eh_frame_hdr. *frames is the address of .eh_frame, 0 when the header does not tell. */
ds_status ds_unwind_frame_header(ds_image *image, ds_extent table, ds_address *frames);

/* Read the exception tables of `functions`, each once (for the lowest function that names it)
 * and at most up to the next one or the end of its region. */
ds_status ds_unwind_exceptions(ds_image *image, const ds_unwind_functions *functions);

#endif
