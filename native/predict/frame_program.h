/* What the call frame program of a function (the instructions of its FDE in .eh_frame) is likely to be, from its
 * machine code. Compilers write both from one list of instructions, so most programs come out byte for byte; it is a
 * guess all the same, and whoever uses it codes what differs.
 *
 * Total: any bytes give some program, in time linear in their number. Part of the delta format: the same bytes give
 * the same steps on every machine (docs/spec/frame-programs.md).
 */
#ifndef DS_FRAME_PROGRAM_H
#define DS_FRAME_PROGRAM_H

#include "image/image.h"

#define DS_FRAME_CODE_MAX ((uint64_t)1 << 18)
#define DS_FRAME_STEPS_MAX 4096

/* One call frame instruction other than an advance: `place` counts bytes from the function's first. */
#define DS_FRAME_STEP_BYTES 12
typedef struct ds_frame_step {
    uint32_t place;
    uint8_t size;
    uint8_t bytes[DS_FRAME_STEP_BYTES];
} ds_frame_step;

typedef struct ds_frame_steps {
    DS_VEC(ds_frame_step) list;
} ds_frame_steps;

/* Scratch memory, used again from function to function. */
typedef struct ds_frame_guess ds_frame_guess;

ds_status ds_frame_guess_open(ds_frame_guess **guess, ds_arena *arena);
void ds_frame_guess_close(ds_frame_guess *guess);

/* Replaces `out` by the steps of a function with this code. Places ascend, not strictly, and are at most `code.size`.
 * No more than DS_FRAME_STEPS_MAX steps: the rest is left out. Code of more than DS_FRAME_CODE_MAX bytes, or of an
 * architecture without rules, has none. `out` grows in the arena of `guess`. DS_E_MEMORY only. */
ds_status ds_frame_guess_make(ds_frame_guess *guess, ds_arch arch, ds_span code, ds_frame_steps *out);

#endif
