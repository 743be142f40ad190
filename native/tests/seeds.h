/* Seeds of the fuzz targets, read for tests that replay them. */
#ifndef DS_SEEDS_H
#define DS_SEEDS_H

#include <stdint.h>
#include <stdio.h>

#include "tests/check.h"

/* The bytes of a file, fewer than `most`; their number. */
static inline size_t read_seed(const char *folder, const char *name, uint8_t *seed, size_t most) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    if (file == NULL)
        return 0;
    size_t size = fread(seed, 1, most, file);
    fclose(file);
    CHECK(size < most);
    return size;
}

#endif
