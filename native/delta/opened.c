/* Reading the old image in a second thread; see opened.h. */
#include "delta/opened.h"

#include <pthread.h>
#include <stdlib.h>

struct ds_opened {
    pthread_t thread;
    bool running;
    ds_span file;
    ds_delta_info how;
    uint64_t memory_bytes;
    ds_arena *arena; /* NULL where reading failed */
    ds_image image;
    uint8_t digest[DS_DIGEST_SIZE];
};

ds_status ds_opened_read(ds_span old_file, const ds_delta_info *info, ds_arena *arena, ds_image *image) {
    *image = (ds_image){.file = old_file, .arena = arena};
    return info->plain ? DS_OK : ds_image_parse_joined(old_file, info->part_sizes, info->part_count, arena, image);
}

static void *open_old(void *argument) {
    ds_opened *o = argument;
    ds_status status = ds_opened_read(o->file, &o->how, o->arena, &o->image);
    ds_sha256(o->file.data, o->file.size, o->digest);
    if (status != DS_OK) {
        ds_arena_close(o->arena);
        o->arena = NULL;
    }
    return NULL;
}

ds_status ds_opened_start(ds_opened **out, ds_span old_file, const ds_delta_info *info, uint64_t memory_bytes) {
    *out = NULL;
    ds_opened *o = calloc(1, sizeof *o);
    if (o == NULL)
        return DS_E_MEMORY;
    o->file = old_file;
    o->how = *info;
    o->memory_bytes = memory_bytes;
    o->arena = ds_arena_open(memory_bytes);
    o->running = o->arena != NULL && pthread_create(&o->thread, NULL, open_old, o) == 0;
    if (!o->running) {
        ds_opened_free(o);
        return DS_E_MEMORY;
    }
    *out = o;
    return DS_OK;
}

static void wait_for(ds_opened *o) {
    if (o->running)
        pthread_join(o->thread, NULL);
    o->running = false;
}

static bool is_read_so(const ds_opened *o, ds_span old_file, const ds_delta_info *info) {
    return o->file.data == old_file.data && o->file.size == old_file.size && o->how.plain == info->plain &&
           o->how.part_count == info->part_count &&
           memcmp(o->how.part_sizes, info->part_sizes, info->part_count * sizeof *info->part_sizes) == 0;
}

bool ds_opened_wait(ds_opened *o, ds_span old_file, const ds_delta_info *info, ds_opened_old *old) {
    wait_for(o);
    if (o->arena == NULL || !is_read_so(o, old_file, info))
        return false;
    *old = (ds_opened_old){
        .image = o->image, .arena = o->arena, .digest = o->digest, .held = o->memory_bytes - ds_arena_left(o->arena)};
    return true;
}

uint64_t ds_opened_memory(const ds_opened *o) {
    return o->memory_bytes;
}

void ds_opened_free(ds_opened *o) {
    if (o == NULL)
        return;
    wait_for(o);
    ds_arena_close(o->arena);
    free(o);
}
