/* deltaseal-apply: the child that applies one delta.
 *
 *   deltaseal-apply OLD_FD DELTA_FD DELTA_OFFSET DELTA_SIZE OUT_FD OUTPUT_BYTES MEMORY_BYTES SECONDS
 *
 * All arguments are decimal numbers. The exit code is the ds_status. Nothing is printed: its parent
 * knows what to say.
 */
#include <stdlib.h>

#include "confine/confined.h"

#ifdef DS_SANITIZED
/* It has no descriptors left to look for leaks with; and a signal is to end it as in any other build. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void) {
    return "detect_leaks=0:handle_segv=0:handle_sigbus=0";
}
#endif

#define ARGUMENTS 8

int main(int count, char **arguments) {
    uint64_t numbers[ARGUMENTS];
    if (count != ARGUMENTS + 1)
        return DS_E_ARGUMENT;
    for (int i = 0; i < ARGUMENTS; i++) {
        char *end;
        numbers[i] = strtoull(arguments[i + 1], &end, 10);
        if (end == arguments[i + 1] || *end != '\0')
            return DS_E_ARGUMENT;
    }
    ds_confinement confinement = {
        .old_fd = (int)numbers[0],
        .delta_fd = (int)numbers[1],
        .delta_offset = numbers[2],
        .delta_size = numbers[3],
        .out_fd = (int)numbers[4],
        .limits = {.output_bytes = numbers[5], .memory_bytes = numbers[6]},
        .seconds = numbers[7],
    };
    return (int)ds_apply_confined(&confinement);
}
