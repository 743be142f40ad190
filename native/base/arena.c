/* ds_arena: malloc with a ceiling, and a list of what is live so that closing
 * frees everything. Threads may share one. See base.h. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/base.h"

/* Sits in front of every block; the union keeps blocks 16-byte aligned. */
typedef union block_header {
    struct {
        union block_header *previous, *next;
        uint64_t size;
    } link;
    max_align_t align[2];
} block_header;

struct ds_arena {
    pthread_mutex_t lock; /* over the list and the counts */
    block_header head;
    uint64_t live, peak, ceiling;
};

ds_arena *ds_arena_open(uint64_t ceiling) {
    ds_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        return NULL;
    arena->ceiling = ceiling;
    pthread_mutex_init(&arena->lock, NULL);
    arena->head.link.previous = arena->head.link.next = &arena->head;
    return arena;
}

static void unlink_block(ds_arena *arena, block_header *block) {
    pthread_mutex_lock(&arena->lock);
    block->link.previous->link.next = block->link.next;
    block->link.next->link.previous = block->link.previous;
    pthread_mutex_unlock(&arena->lock);
}

static void link_block(ds_arena *arena, block_header *block) {
    pthread_mutex_lock(&arena->lock);
    block->link.previous = &arena->head;
    block->link.next = arena->head.link.next;
    block->link.next->link.previous = block;
    arena->head.link.next = block;
    pthread_mutex_unlock(&arena->lock);
}

void ds_arena_close(ds_arena *arena) {
    if (arena == NULL)
        return;
    block_header *block = arena->head.link.next;
    while (block != &arena->head) {
        block_header *next = block->link.next;
        free(block);
        block = next;
    }
    pthread_mutex_destroy(&arena->lock);
    free(arena);
}

static bool admit(ds_arena *arena, uint64_t size) {
    uint64_t live;
    if (size > SIZE_MAX - sizeof(block_header))
        return false;
    pthread_mutex_lock(&arena->lock);
    bool fits = ds_add(arena->live, size, &live) && live <= arena->ceiling;
    if (fits) {
        arena->live = live;
        arena->peak = live > arena->peak ? live : arena->peak;
    }
    pthread_mutex_unlock(&arena->lock);
    return fits;
}

static void release(ds_arena *arena, uint64_t size) {
    pthread_mutex_lock(&arena->lock);
    arena->live -= size;
    pthread_mutex_unlock(&arena->lock);
}

#define LARGE ((uint64_t)4 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

/* Large tables are read at random: with large pages the processor finds its way in them. Advice only, and none where
 * sanitizers slow it all down: a fuzzer opens a table a thousand times a second, and large pages are cleared whole. */
static void advise(void *block, uint64_t size) {
#if defined MADV_HUGEPAGE && !defined DS_SANITIZED
    size_t before = (HUGE_PAGE - (uintptr_t)block % HUGE_PAGE) % HUGE_PAGE;
    if (size >= LARGE && before < size)
        (void)madvise((uint8_t *)block + before, ((size_t)size - before) & ~(HUGE_PAGE - 1), MADV_HUGEPAGE);
#else
    (void)block, (void)size;
#endif
}

void *ds_arena_alloc(ds_arena *arena, uint64_t size) {
    if (!admit(arena, size))
        return NULL;
    block_header *block = calloc(1, sizeof *block + (size_t)size);
    if (block == NULL) {
        release(arena, size);
        return NULL;
    }
    advise(block, size);
    block->link.size = size;
    link_block(arena, block);
    return block + 1;
}

void *ds_arena_resize(ds_arena *arena, void *old, uint64_t size) {
    if (old == NULL)
        return ds_arena_alloc(arena, size);
    block_header *block = (block_header *)old - 1;
    uint64_t before = block->link.size;
    /* While realloc copies, both blocks are live; only the larger is counted. */
    if (size > before && !admit(arena, size - before))
        return NULL;
    unlink_block(arena, block);
    block_header *moved = realloc(block, sizeof *block + (size_t)size);
    if (moved == NULL) {
        if (size > before)
            release(arena, size - before);
        link_block(arena, block);
        return NULL;
    }
    if (size < before)
        release(arena, before - size);
    moved->link.size = size;
    link_block(arena, moved);
    return moved + 1;
}

void ds_arena_free(ds_arena *arena, void *old) {
    if (old == NULL)
        return;
    block_header *block = (block_header *)old - 1;
    release(arena, block->link.size);
    unlink_block(arena, block);
    free(block);
}

void ds_arena_allow(ds_arena *arena, uint64_t ceiling) {
    pthread_mutex_lock(&arena->lock);
    arena->ceiling = ceiling;
    pthread_mutex_unlock(&arena->lock);
}

uint64_t ds_arena_peak(const ds_arena *arena) {
    return arena->peak;
}

uint64_t ds_arena_left(ds_arena *arena) {
    pthread_mutex_lock(&arena->lock);
    uint64_t left = arena->ceiling > arena->live ? arena->ceiling - arena->live : 0;
    pthread_mutex_unlock(&arena->lock);
    return left;
}

ds_status ds_vec_grow(ds_arena *arena, void **items, uint64_t *capacity, uint64_t need, uint64_t item_size) {
    uint64_t wanted = *capacity + *capacity / 2 + 16;
    if (wanted < need)
        wanted = need;
    uint64_t bytes;
    if (!ds_mul(wanted, item_size, &bytes))
        return DS_E_MEMORY;
    void *grown = ds_arena_resize(arena, *items, bytes);
    if (grown == NULL)
        return DS_E_MEMORY;
    *items = grown;
    *capacity = wanted;
    return DS_OK;
}
