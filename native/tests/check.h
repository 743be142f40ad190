/* Checks for unit tests: a failed CHECK says where and goes on; main returns checks_done(). */
#ifndef DS_CHECK_H
#define DS_CHECK_H

#include <stdio.h>

static unsigned long check_count, check_failures;

#define CHECK(condition)                                                            \
    do {                                                                            \
        check_count++;                                                              \
        if (!(condition)) {                                                         \
            check_failures++;                                                       \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                           \
    } while (0)

static inline int checks_done(void) {
    printf("%lu checks, %lu failed\n", check_count, check_failures);
    return check_failures == 0 ? 0 : 1;
}

#endif
