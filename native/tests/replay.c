/* A fuzz target run over files, without libFuzzer: every file of the folders named must end without a crash. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/check.h"

#define INPUT_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const char *folder, const char *name, uint8_t *input) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    if (file == NULL)
        return;
    size_t size = fread(input, 1, INPUT_MAX, file);
    CHECK(size < INPUT_MAX);
    fclose(file);
    CHECK(LLVMFuzzerTestOneInput(input, size) == 0);
}

int main(int count, char **folders) {
    uint8_t *input = malloc(INPUT_MAX);
    CHECK(input != NULL && count > 1);
    for (int i = 1; i < count && input != NULL; i++) {
        DIR *folder = opendir(folders[i]);
        CHECK(folder != NULL);
        for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
            if (entry->d_name[0] != '.')
                replay(folders[i], entry->d_name, input);
        if (folder != NULL)
            closedir(folder);
    }
    free(input);
    return checks_done();
}
