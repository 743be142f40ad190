/* The hash that index and lookups share. */
#ifndef DS_INDEX_H
#define DS_INDEX_H

#include "match/match.h"

#define DS_HASH_BYTES 8

static inline uint64_t ds_hash_at(const uint8_t *bytes, unsigned bits) {
    return (ds_load64(bytes) * UINT64_C(0x9fb21c651e98df25)) >> (64 - bits);
}

#endif
