/* Reading a file as an image: the first format that claims it decides. See image.h. */
#include "image/format/format.h"

ds_status ds_image_parse(ds_span file, ds_arena *arena, ds_image *out) {
    *out = (ds_image){.file = file, .arena = arena};
    if (file.size == 0 || file.size > DS_IMAGE_LIMIT)
        return DS_OK;
    out->starts = ds_arena_alloc(arena, file.size / 8 + 1);
    if (out->starts == NULL)
        return DS_E_MEMORY;
    bool claimed = false;
    DS_TRY(ds_elf_parse(out, 0, file.size, 0, &claimed));
    if (!claimed)
        DS_TRY(ds_macho_parse(out, 0, file.size, 0, &claimed));
    if (!claimed) {
        ds_arena_free(arena, out->starts);
        out->starts = NULL;
    }
    return ds_image_settle(out);
}
