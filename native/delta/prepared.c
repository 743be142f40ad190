/* See deltaseal.h: ds_prepare. */
#include "delta/prepared.h"

#include <stdlib.h>

#include "deltaseal.h"

ds_status ds_prepare(const uint8_t *old_data, uint64_t old_size, uint64_t memory_bytes, unsigned threads,
                     ds_prepared **out) {
    *out = NULL;
    if (threads == 0)
        return DS_E_ARGUMENT;
    if (old_size > DS_IMAGE_LIMIT)
        return DS_E_LIMIT;
    ds_prepared *prepared = calloc(1, sizeof *prepared);
    if (prepared == NULL)
        return DS_E_MEMORY;
    prepared->arena = ds_arena_open(memory_bytes);
    ds_status status = prepared->arena == NULL
                           ? DS_E_MEMORY
                           : ds_image_parse((ds_span){old_data, old_size}, prepared->arena, &prepared->image);
    if (status == DS_OK)
        status = ds_match_prepare(&prepared->match, &prepared->image, threads, prepared->arena);
    if (status != DS_OK) {
        ds_prepared_free(prepared);
        return status;
    }
    *out = prepared;
    return DS_OK;
}

void ds_prepared_free(ds_prepared *prepared) {
    if (prepared == NULL)
        return;
    ds_arena_close(prepared->arena);
    free(prepared);
}
