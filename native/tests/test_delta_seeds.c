/* The seeds of the delta's fuzz target, replayed: all named good-… apply, all others are refused; and what a
 * fuzzer would do to them first. */
#include <dirent.h>

#include "fuzz/fuzz_delta.c" /* NOLINT(bugprone-suspicious-include): the target itself, without libFuzzer */
#include "tests/seeds.h"

#define SEED_MAX 4097
#define SEEDS_MIN 12

/* Every byte in turn; whether what comes out is right is for other tests, which have digests. Of a modelled delta,
 * which takes longer, each byte in one way: to the model one wrong byte is like another. */
static void change_bytes(uint8_t *seed, uint64_t size) {
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    for (uint64_t at = 0; at < size; at++)
        for (unsigned i = 0; i < sizeof changes; i++) {
            if (is_modelled(seed, size) && i != at % sizeof changes)
                continue;
            seed[at] ^= changes[i];
            fuzz_one(seed, size, false);
            seed[at] ^= changes[i];
        }
    if (is_modelled(seed, size))
        return; /* what is behind its end reads as zeros: without its last byte it may be the same */
    for (uint64_t cut = 0; cut < size; cut++)
        CHECK(fuzz_one(seed, cut, false) != DS_OK);
}

int main(void) {
    char folder[1024];
    const char *here = __FILE__, *end = strrchr(here, '/');
    snprintf(folder, sizeof folder, "%.*s/../fuzz/seeds/delta", (int)(end - here), here);
    DIR *seeds = opendir(folder);
    CHECK(seeds != NULL);
    if (seeds == NULL)
        return checks_done();
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(seeds)) != NULL;) {
        uint8_t seed[SEED_MAX];
        if (entry->d_name[0] == '.')
            continue;
        uint64_t size = read_seed(folder, entry->d_name, seed, SEED_MAX);
        bool good = strncmp(entry->d_name, "good-", 5) == 0;
        CHECK((fuzz_one(seed, size, true) == DS_OK) == good);
        if (good)
            change_bytes(seed, size);
        count++;
    }
    closedir(seeds);
    CHECK(count >= SEEDS_MIN);
    return checks_done();
}
