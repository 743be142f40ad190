/* A fuzz target run over files, without libFuzzer: every file of the folders named must end without a crash. */
#include <dirent.h>
#include <stdlib.h>

#include "tests/seeds.h"

#define INPUT_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int count, char **folders) {
    uint8_t *input = malloc(INPUT_MAX);
    CHECK(input != NULL && count > 1);
    for (int i = 1; i < count && input != NULL; i++) {
        DIR *folder = opendir(folders[i]);
        CHECK(folder != NULL);
        for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
            if (entry->d_name[0] != '.')
                CHECK(LLVMFuzzerTestOneInput(input, read_seed(folders[i], entry->d_name, input, INPUT_MAX)) == 0);
        if (folder != NULL)
            closedir(folder);
    }
    free(input);
    return checks_done();
}
