/* What every room of the core stands on: status codes, byte spans, checked
 * arithmetic, little-endian access, and an allocator with a ceiling.
 *
 * Invariants
 *  - No allocation but through ds_arena; its ceiling is never exceeded.
 *  - Arithmetic on foreign values goes through the ds_add / ds_mul family.
 */
#ifndef DS_BASE_H
#define DS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "deltaseal.h"

#define DS_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DS_TRY(call)                    \
    do {                                \
        ds_status try_status_ = (call); \
        if (try_status_ != DS_OK)       \
            return try_status_;         \
    } while (0)

/* A byte in a file, a byte in an image's address space. Never mixed. */
typedef uint64_t ds_offset;
typedef uint64_t ds_address;

/* Read-only bytes; `data` may be NULL when `size` is 0. */
typedef struct ds_span {
    const uint8_t *data;
    uint64_t size;
} ds_span;

/* Whether [offset, offset + size) lies in a span of `limit` bytes; cannot overflow. */
static inline bool ds_within(uint64_t offset, uint64_t size, uint64_t limit) {
    return offset <= limit && size <= limit - offset;
}

/* False when the sum or product does not fit; then *out is untouched. */
static inline bool ds_add(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}
static inline bool ds_mul(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

/* Bits that a number takes; 0 for 0. */
static inline unsigned ds_bits_in(uint64_t value) {
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

static inline uint16_t ds_load16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t ds_load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t ds_load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t ds_load32_be(const uint8_t *p) {
    return __builtin_bswap32(ds_load32(p));
}
static inline uint64_t ds_load64_be(const uint8_t *p) {
    return __builtin_bswap64(ds_load64(p));
}
static inline void ds_store32(uint8_t *p, uint32_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void ds_store64(uint8_t *p, uint64_t v) {
    memcpy(p, &v, sizeof v);
}
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the core is written for little-endian hosts"
#endif

/* Allocator that counts what is live and refuses to pass its ceiling (bytes).
 * Blocks can be resized and freed one by one; ds_arena_close frees the rest. */
typedef struct ds_arena ds_arena;

ds_arena *ds_arena_open(uint64_t ceiling);
void ds_arena_close(ds_arena *arena);
/* NULL when the ceiling or the host is exhausted. Zeroed. Never called with size 0 on purpose; 0 gives a valid block. */
void *ds_arena_alloc(ds_arena *arena, uint64_t size);
void *ds_arena_resize(ds_arena *arena, void *block, uint64_t size);
void ds_arena_free(ds_arena *arena, void *block);
/* From now on; what is live above it stays. */
void ds_arena_allow(ds_arena *arena, uint64_t ceiling);
uint64_t ds_arena_peak(const ds_arena *arena);
/* Bytes that may still be allocated under the ceiling. */
uint64_t ds_arena_left(ds_arena *arena);

/* Growable array. `items` is any pointer type; `reserve` keeps capacity geometric. */
#define DS_VEC(type)       \
    struct {               \
        type *items;       \
        uint64_t count;    \
        uint64_t capacity; \
    }
ds_status ds_vec_grow(ds_arena *arena, void **items, uint64_t *capacity, uint64_t need, uint64_t item_size);
#define DS_VEC_RESERVE(arena, vec, need)               \
    ((need) <= (vec)->capacity && (vec)->items != NULL \
         ? DS_OK                                       \
         : ds_vec_grow((arena), (void **)&(vec)->items, &(vec)->capacity, (need), sizeof *(vec)->items))
#define DS_VEC_FREE(arena, vec)               \
    do {                                      \
        ds_arena_free((arena), (vec)->items); \
        (vec)->items = NULL;                  \
        (vec)->count = (vec)->capacity = 0;   \
    } while (0)

/* A key and what it belongs to; sorted by both, so that the order never depends on the method. */
typedef struct ds_pair {
    uint64_t key, value;
} ds_pair;

/* In place, n log n whatever the keys are. */
void ds_sort_pairs(ds_pair *pairs, uint64_t count);

#endif
