/* Tables of the Go runtime, as every file format holds them: functions (.gopclntab) and types. They add
 * references to the image and know no section headers.
 */
#ifndef DS_GO_H
#define DS_GO_H

#include "image/format/format.h"

/* Notes a function start. */
typedef void (*ds_go_sink)(void *context, ds_address function);

/* A Go program, as a file format finds it. */
typedef struct ds_go_program {
    ds_image *image;
    ds_extent functions; /* .gopclntab, with what the linker put behind it in the same section */
    ds_extent module;    /* runtime.firstmoduledata; in a section of its own since Go 1.26 */
    ds_address space;
    uint64_t *work_left; /* bounds the bytes looked at, and counts them down */
    ds_go_sink sink;
    void *context;
} ds_go_program;

/* Reads the tables as far as they are understood. */
ds_status ds_go_read(ds_go_program *program);

/* ---- between the files of Go ---- */

/* Words of the module data that are read; addresses, or numbers of entries (runtime/symtab.go, moduledata). */
typedef enum ds_go_word {
    GO_HEADER = 0,
    GO_FIND_TABLE = 152,
    GO_TEXT = 176,
    GO_TYPES = 296,
    GO_TYPES_END = 304,
    GO_READ_ONLY = 312,
    GO_FUNCTION_DATA = 320,
    GO_TYPE_LINKS = 360, /* 368: how many */
    GO_ITAB_LINKS = 384, /* 392: how many */
    GO_MODULE_SIZE = 408,
} ds_go_word;

static inline uint64_t ds_go_word_at(const ds_go_program *program, unsigned word) {
    return ds_load64(program->image->file.data + program->module.offset + word);
}

static inline ds_address ds_go_address_at(const ds_go_program *program, unsigned word) {
    return program->space + ds_go_word_at(program, word);
}

static inline bool ds_go_charge(const ds_go_program *program, uint64_t size) {
    if (size > *program->work_left)
        return false;
    *program->work_left -= size;
    return true;
}

/* The bytes from an address to the end of its region; size 0 when there are none. */
ds_extent ds_go_rest(const ds_go_program *program, ds_address address);

/* go_types.c; the program has module data. */
ds_status ds_go_types(ds_go_program *program);

#endif
