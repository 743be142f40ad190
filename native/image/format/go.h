/* Tables of the Go runtime, as every file format holds them: functions (.gopclntab) and types. They add
 * references to the image and know no section headers.
 */
#ifndef DS_GO_H
#define DS_GO_H

#include "image/format/format.h"

/* Notes a function start. */
typedef void (*ds_go_sink)(void *context, ds_address function);

/* Where things lie, by release; places of words in the module data are those of addresses. */
typedef struct ds_go_form {
    uint16_t types; /* the word behind it: their end */
    uint16_t read_only, function_data;
    uint16_t type_links, itab_links; /* the word behind each: how many */
    uint16_t module;                 /* bytes of it that are needed */
    uint8_t record;                  /* bytes of a function's record; the last one is the number of its data */
    uint8_t inlined, inlined_name, inlined_counter; /* bytes of an entry of an inline tree, and places in it */
} ds_go_form;

/* A Go program, as a file format finds it. */
typedef struct ds_go_program {
    ds_image *image;
    ds_extent functions;    /* .gopclntab, with what the linker put behind it in the same section; size 0: unknown */
    ds_extent module;       /* runtime.firstmoduledata is somewhere in it; a section of its own since Go 1.26 */
    const ds_go_form *form; /* found by ds_go_read() */
    ds_address space;
    uint64_t *work_left; /* bounds the bytes looked at, and counts them down */
    ds_go_sink sink;
    void *context;
} ds_go_program;

/* Reads the tables as far as they are understood. */
ds_status ds_go_read(ds_go_program *program);

/* ---- between the files of Go ---- */

/* Words of the module data that are in the same place in every form; addresses (runtime/symtab.go, moduledata). */
typedef enum ds_go_word { GO_HEADER = 0, GO_NAMES = 8, GO_FIND_TABLE = 152, GO_TEXT = 176 } ds_go_word;

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
