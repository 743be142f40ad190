/* SHA-256 (FIPS 180-4), streaming. */
#ifndef DS_SHA256_H
#define DS_SHA256_H

#include "base/base.h"

typedef struct ds_sha256_state {
    uint32_t h[8];
    uint64_t length;
    uint8_t block[64];
    bool fast; /* the processor has the instructions; asked once, since the question is slow */
} ds_sha256_state;

void ds_sha256_open(ds_sha256_state *state);
void ds_sha256_add(ds_sha256_state *state, const uint8_t *data, uint64_t size);
void ds_sha256_close(ds_sha256_state *state, uint8_t digest[DS_DIGEST_SIZE]);

#endif
