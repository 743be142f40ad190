/* Any bytes as an image: parsing must end, stay inside the bytes and keep the promises of image.h. What can be computed
 * of it is looked for too: signatures are read then. */
#include <stdlib.h>

#include "image/image.h"
#include "predict/derive.h"
#include "tests/sound.h"

#define CEILING ((uint64_t)1 << 28)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds) {
    if (!holds)
        abort();
}

/* Derived bytes lie in the image, in order, apart. */
static ds_status derive(const ds_image *image, ds_arena *arena) {
    ds_derivations found = {0};
    ds_status status = ds_derive_find(image, arena, &found);
    if (status == DS_OK)
        status = ds_derive_find_lists(image, arena, &found);
    ds_offset end = 0;
    for (uint64_t i = 0; i < found.list.count; i++) {
        const ds_derivation *d = &found.list.items[i];
        must(d->digests >= end && ds_within(d->digests, ds_derivation_size(d), image->file.size));
        end = d->digests + ds_derivation_size(d);
    }
    ds_derivations_free(&found, arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_arena *arena = ds_arena_open(CEILING);
    if (arena == NULL)
        return 0;
    ds_image image;
    ds_status status = ds_image_parse((ds_span){data, size}, arena, &image);
    if (status == DS_OK) {
        must(ds_is_sound(&image));
        status = derive(&image, arena);
        ds_image_free(&image);
    }
    must(status == DS_OK || status == DS_E_MEMORY);
    ds_arena_close(arena);
    return 0;
}
