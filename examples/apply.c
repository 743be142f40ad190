/* For a C program: apply a delta with deltaseal.h and libzstd, nothing else.
 *
 *   cmake -S native -B build/c && cmake --build build/c && cmake --install build/c --prefix PREFIX
 *   cc apply.c -o apply $(PKG_CONFIG_PATH=PREFIX/lib/pkgconfig pkg-config --cflags --libs deltaseal)
 *   ./apply OLD DELTA NEW
 *
 * NEW appears whole, or not at all: it is written beside, synced, and named only after its digest was right. The exit
 * codes are those of the command `deltaseal`. The delta is read in this process: whoever does not know where a
 * delta comes from starts deltaseal-apply in its place, which gives up all its rights before it reads the first byte.
 */
#include <deltaseal.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_MOST ((uint64_t)4 << 30)
#define MEMORY_MOST ((uint64_t)1 << 30)

enum { USAGE = 2, READ_OR_WRITE_FAILED = 22 };

static const int exit_codes[] = {
    [DS_OK] = 0,     [DS_E_ARGUMENT] = 1, [DS_E_MEMORY] = 19, [DS_E_CANCELLED] = READ_OR_WRITE_FAILED,
    [DS_E_OLD] = 13, [DS_E_DELTA] = 18,   [DS_E_LIMIT] = 19,  [DS_E_DIGEST] = 16,
};

/* The whole file in memory; NULL where it cannot be read. The caller frees it. */
static uint8_t *read_file(const char *path, uint64_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    long end = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    uint8_t *data = end >= 0 ? malloc((size_t)end + 1) : NULL;
    rewind(file);
    if (data != NULL && fread(data, 1, (size_t)end, file) != (size_t)end) {
        free(data);
        data = NULL;
    }
    fclose(file);
    *size = data != NULL ? (uint64_t)end : 0;
    return data;
}

/* ds_sink: the next bytes of the new image. False ends the work with DS_E_CANCELLED. */
static bool write_piece(void *file, const uint8_t *data, size_t size) {
    return fwrite(data, 1, size, file) == size;
}

static int refuse(const char *path, const char *why, int code) {
    fprintf(stderr, "apply: %s: %s\n", path, why);
    return code;
}

static int apply(const char *old_path, const char *delta_path, const char *new_path, const char *part) {
    uint64_t old_size, delta_size;
    uint8_t *old_data = read_file(old_path, &old_size), *delta = read_file(delta_path, &delta_size);
    FILE *output = old_data != NULL && delta != NULL ? fopen(part, "wbx") : NULL;
    if (output == NULL) {
        const char *path = old_data == NULL ? old_path : delta == NULL ? delta_path : part;
        free(old_data);
        free(delta);
        return refuse(path, "cannot be opened", READ_OR_WRITE_FAILED);
    }
    ds_limits limits = {.output_bytes = OUTPUT_MOST, .memory_bytes = MEMORY_MOST};
    ds_status status = ds_apply(old_data, old_size, delta, delta_size, &limits, write_piece, output);
    bool durable = fflush(output) == 0 && fsync(fileno(output)) == 0;
    durable = fclose(output) == 0 && durable;
    free(old_data);
    free(delta);
    int code = status != DS_OK ? refuse(delta_path, ds_status_text(status), exit_codes[status])
               : !durable || rename(part, new_path) != 0 ? refuse(new_path, "cannot be written", READ_OR_WRITE_FAILED)
                                                         : 0;
    if (code != 0)
        remove(part);
    return code;
}

int main(int count, char **arguments) {
    if (count != 4)
        return refuse("usage", "apply OLD DELTA NEW", USAGE);
    char *part = malloc(strlen(arguments[3]) + sizeof ".part");
    if (part == NULL)
        return refuse(arguments[3], "no memory", exit_codes[DS_E_MEMORY]);
    strcat(strcpy(part, arguments[3]), ".part");
    int code = apply(arguments[1], arguments[2], arguments[3], part);
    free(part);
    return code;
}
