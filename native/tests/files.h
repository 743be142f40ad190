/* Whole files, for drivers that print what the core finds in them. */
#ifndef DS_FILES_H
#define DS_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The bytes of an open file, to be freed; NULL where they cannot be read. */
static inline uint8_t *read_all(FILE *file, uint64_t *size) {
    if (fseek(file, 0, SEEK_END) != 0)
        return NULL;
    long end = ftell(file);
    if (end < 0 || fseek(file, 0, SEEK_SET) != 0)
        return NULL;
    uint8_t *data = malloc((size_t)end + 1);
    if (data != NULL && fread(data, 1, (size_t)end, file) != (size_t)end) {
        free(data);
        return NULL;
    }
    *size = (uint64_t)end;
    return data;
}

/* The bytes of a file, to be freed; NULL where it cannot be read. */
static inline uint8_t *read_file(const char *path, uint64_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    uint8_t *data = read_all(file, size);
    fclose(file);
    return data;
}

#endif
