/* What two files have in common, for those who choose which old file a new one is made from. */
#include "include/deltaseal.h"
#include "match/match.h"

ds_status ds_sketch_code(const uint8_t *data, uint64_t size, uint64_t memory_bytes, ds_hash_sink sink, void *context) {
    ds_arena *arena = ds_arena_open(memory_bytes);
    if (arena == NULL)
        return DS_E_MEMORY;
    ds_image image;
    ds_sketch sketch;
    ds_status status = ds_image_parse((ds_span){data, size}, arena, &image);
    if (status == DS_OK)
        status = ds_sketch_make(&image, arena, &sketch);
    if (status == DS_OK && sketch.list.count > 0 && !sink(context, sketch.list.items, sketch.list.count))
        status = DS_E_CANCELLED;
    ds_arena_close(arena);
    return status;
}
