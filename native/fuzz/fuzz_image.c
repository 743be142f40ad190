/* Any bytes as an image: parsing must end, stay inside the bytes and keep the promises of image.h. */
#include <stdlib.h>

#include "image/image.h"
#include "tests/sound.h"

#define CEILING ((uint64_t)1 << 28)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_arena *arena = ds_arena_open(CEILING);
    if (arena == NULL)
        return 0;
    ds_image image;
    ds_status status = ds_image_parse((ds_span){data, size}, arena, &image);
    if (status == DS_OK) {
        if (!ds_is_sound(&image))
            abort();
        ds_image_free(&image);
    } else if (status != DS_E_MEMORY) {
        abort();
    }
    ds_arena_close(arena);
    return 0;
}
