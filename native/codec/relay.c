/* A list of pieces under a lock; see relay.h. */
#include "codec/relay.h"

#include <pthread.h>

typedef struct piece {
    struct piece *next;
    uint64_t size;
    uint8_t bytes[];
} piece;

struct ds_relay {
    ds_arena *arena;
    pthread_mutex_t lock; /* over all below but `taken` */
    pthread_cond_t changed;
    piece *first, *last;
    bool ended;
    piece *taken; /* the taker's */
};

ds_status ds_relay_open(ds_relay **out, ds_arena *arena) {
    ds_relay *r = ds_arena_alloc(arena, sizeof *r);
    *out = r;
    if (r == NULL)
        return DS_E_MEMORY;
    r->arena = arena;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    return DS_OK;
}

void ds_relay_free(ds_relay *r) {
    if (r == NULL)
        return;
    ds_arena_free(r->arena, r->taken);
    while (r->first != NULL) {
        piece *next = r->first->next;
        ds_arena_free(r->arena, r->first);
        r->first = next;
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    ds_arena_free(r->arena, r);
}

ds_status ds_relay_put(ds_relay *r, ds_span bytes) {
    if (bytes.size == 0)
        return DS_OK;
    piece *p = ds_arena_alloc(r->arena, sizeof *p + bytes.size);
    if (p == NULL)
        return DS_E_MEMORY;
    p->next = NULL;
    p->size = bytes.size;
    memcpy(p->bytes, bytes.data, bytes.size);
    pthread_mutex_lock(&r->lock);
    if (r->first == NULL)
        r->first = p;
    else
        r->last->next = p;
    r->last = p;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return DS_OK;
}

void ds_relay_end(ds_relay *r) {
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void wait_locked(ds_relay *r) {
    while (r->first == NULL && !r->ended)
        pthread_cond_wait(&r->changed, &r->lock);
}

bool ds_relay_wait(ds_relay *r) {
    pthread_mutex_lock(&r->lock);
    wait_locked(r);
    bool any = r->first != NULL;
    pthread_mutex_unlock(&r->lock);
    return any;
}

bool ds_relay_take(ds_relay *r, ds_span *bytes) {
    ds_arena_free(r->arena, r->taken);
    pthread_mutex_lock(&r->lock);
    wait_locked(r);
    r->taken = r->first;
    if (r->first != NULL)
        r->first = r->first->next;
    pthread_mutex_unlock(&r->lock);
    if (r->taken == NULL)
        return false;
    *bytes = (ds_span){r->taken->bytes, r->taken->size};
    return true;
}
