/* Applying in a second thread; see follow.h. */
#include "delta/follow.h"

#include <pthread.h>
#include <stdlib.h>

struct ds_follower {
    pthread_t thread;
    ds_opened *opened;
    ds_span old_file, new_file;
    const ds_delta_info *info;
    ds_relay *relay;
    ds_arena *arena; /* the writer's: it says how much there is */
    uint64_t same;
    bool proved;
};

static bool compare(void *context, const uint8_t *data, size_t size) {
    ds_follower *f = context;
    if (size > f->new_file.size - f->same || memcmp(data, f->new_file.data + f->same, size) != 0)
        return false;
    f->same += size;
    return true;
}

static void *follow(void *argument) {
    ds_follower *f = argument;
    ds_opened_old old;
    /* By then the writer has nearly all of the memory that it needs: an eighth of what is left stays for it. */
    if (!ds_relay_wait(f->relay) || !ds_opened_wait(f->opened, f->old_file, f->info, &old))
        return NULL;
    uint64_t left = ds_arena_left(f->arena) / 8 * 7;
    /* An arena apart: where it is too small, the old image serves a proof afterwards. */
    ds_arena *arena = left > old.held ? ds_arena_open(left - old.held) : NULL;
    if (arena == NULL)
        return NULL;
    ds_status status = ds_apply_followed(&old.image, f->info, f->relay, compare, f, arena);
    f->proved = status == DS_OK && f->same == f->new_file.size;
    ds_arena_close(arena);
    return NULL;
}

ds_status ds_follower_start(ds_follower **out, ds_opened *opened, ds_span old_file, ds_span new_file,
                            const ds_delta_info *info, ds_relay *relay, ds_arena *arena) {
    ds_follower *f = ds_arena_alloc(arena, sizeof *f);
    *out = NULL;
    if (f == NULL)
        return DS_E_MEMORY;
    *f = (ds_follower){
        .opened = opened, .old_file = old_file, .new_file = new_file, .info = info, .relay = relay, .arena = arena};
    if (pthread_create(&f->thread, NULL, follow, f) != 0) {
        ds_arena_free(arena, f);
        return DS_E_MEMORY;
    }
    *out = f;
    return DS_OK;
}

bool ds_follower_end(ds_follower *f) {
    if (f == NULL)
        return false;
    pthread_join(f->thread, NULL);
    bool proved = f->proved;
    ds_arena_free(f->arena, f);
    return proved;
}
