/* Prints what call frame programs the functions of raw code are predicted to have, for tests that compare:
 *
 *   dump_programs x86_64|aarch64 FILE < FUNCTIONS
 *
 * FUNCTIONS: a line each, "OFFSET SIZE", in the file. A line of each: its steps, "PLACE:HEX" with a space between.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "predict/frame_program.h"
#include "tests/files.h"

static void print(const ds_frame_steps *steps) {
    for (uint64_t i = 0; i < steps->list.count; i++) {
        const ds_frame_step *step = &steps->list.items[i];
        printf("%s%" PRIu32 ":", i > 0 ? " " : "", step->place);
        for (unsigned k = 0; k < step->size; k++)
            printf("%02x", step->bytes[k]);
    }
    printf("\n");
}

int main(int argc, char **argv) {
    uint64_t size = 0, offset, length;
    uint8_t *data = argc == 3 ? read_file(argv[2], &size) : NULL;
    if (data == NULL)
        return 2;
    ds_arch arch = strcmp(argv[1], "aarch64") == 0 ? DS_ARCH_AARCH64 : DS_ARCH_X86_64;
    ds_arena *arena = ds_arena_open(UINT64_MAX);
    ds_frame_guess *guess = NULL;
    ds_frame_steps steps = {0};
    ds_status status = ds_frame_guess_open(&guess, arena);
    while (status == DS_OK && scanf("%" SCNu64 " %" SCNu64, &offset, &length) == 2) {
        if (!ds_within(offset, length, size))
            return 2;
        /* Of its own, so that a sanitizer sees reads beyond. */
        uint8_t *code = malloc(length > 0 ? (size_t)length : 1);
        if (code == NULL)
            return 2;
        memcpy(code, data + offset, (size_t)length);
        status = ds_frame_guess_make(guess, arch, (ds_span){code, length}, &steps);
        print(&steps);
        free(code);
    }
    ds_frame_guess_close(guess);
    ds_arena_close(arena);
    free(data);
    return status == DS_OK ? 0 : 1;
}
