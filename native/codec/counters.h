/* What is known of one bit in one context: how likely it is a 1, how often it was seen, and what it was lately.
 *
 * A counter is 32 bits: a probability (18), a count (8), a history (6), stored so that zeroed memory means 1/2 and
 * never seen. A history is a 1 followed by the latest bits, at most HISTORY_BITS - 1 of them. What came after a
 * history, in any context of the same input, is kept by a map: it tells what a context seen only once or twice is
 * worth, and whether those that were regular go on being so (docs/spec/delta-model.md, "Counters").
 */
#ifndef DS_COUNTERS_H
#define DS_COUNTERS_H

#include "base/base.h"

#define HISTORY_BITS 6
#define HISTORIES (1u << HISTORY_BITS)
#define COUNT_BITS 8
#define COUNT_MAX ((1u << COUNT_BITS) - 1)
#define CHANCE_BITS (32 - COUNT_BITS - HISTORY_BITS)
#define COUNTER_ZERO (1u << 31)

/* Of a map: 22 bits of probability, 10 of count. */
#define MAP_COUNT_BITS 10
#define MAP_COUNT_MAX ((1u << MAP_COUNT_BITS) - 1)
#define MAP_CHANCE_BITS (32 - MAP_COUNT_BITS)
#define MAP_START 6 /* what is assumed of a history counts as so many observations */

/* rates[n] = 65536 / (n + 1.3): how far a probability moves towards a bit when it has been seen n times. */
typedef struct ds_counter_rates {
    uint32_t of[MAP_COUNT_MAX + 1];
} ds_counter_rates;

static inline void ds_counter_rates_open(ds_counter_rates *rates) {
    for (unsigned n = 0; n <= MAP_COUNT_MAX; n++)
        rates->of[n] = 655360 / (10 * n + 13);
}

/* The probability of a 1, in 1/65536. */
static inline uint32_t ds_counter_chance(uint32_t counter) {
    return (counter ^ COUNTER_ZERO) >> 16;
}
static inline unsigned ds_counter_count(uint32_t counter) {
    return counter >> HISTORY_BITS & COUNT_MAX;
}
static inline unsigned ds_counter_history(uint32_t counter) {
    return counter & (HISTORIES - 1);
}

/* `chance` of so many bits moves towards the bit. */
static inline uint32_t ds_move_chance(uint32_t chance, unsigned bits, bool bit, uint32_t rate) {
    int64_t goal = bit ? (INT64_C(1) << bits) - 1 : 0;
    return (uint32_t)((int64_t)chance + ((goal - (int64_t)chance) * rate >> 16));
}

static inline void ds_counter_learn(uint32_t *counter, bool bit, const ds_counter_rates *rates) {
    uint32_t c = *counter ^ COUNTER_ZERO, count = ds_counter_count(c), history = ds_counter_history(c);
    uint32_t chance = ds_move_chance(c >> (32 - CHANCE_BITS), CHANCE_BITS, bit, rates->of[count]);
    history = (history == 0 ? 1 : history) << 1 | bit;
    if (history >= HISTORIES)
        history = (history & (HISTORIES / 2 - 1)) | HISTORIES / 2;
    count += count < COUNT_MAX;
    *counter = (chance << (32 - CHANCE_BITS) | count << HISTORY_BITS | history) ^ COUNTER_ZERO;
}

/* What is assumed of a history of `ones` among `length` bits: (ones + 0.4) / (length + 0.8). */
static inline void ds_map_open(uint32_t map[HISTORIES]) {
    for (unsigned history = 0; history < HISTORIES; history++) {
        unsigned length = history < 2 ? 0 : 31 - (unsigned)__builtin_clz(history);
        unsigned ones = history < 2 ? 0 : (unsigned)__builtin_popcount(history) - 1;
        uint64_t chance = ((uint64_t)(10 * ones + 4) << MAP_CHANCE_BITS) / (10 * length + 8);
        map[history] = (uint32_t)chance << MAP_COUNT_BITS | MAP_START;
    }
}
static inline uint32_t ds_map_chance(uint32_t entry) {
    return entry >> 16;
}
static inline void ds_map_learn(uint32_t *entry, bool bit, const ds_counter_rates *rates) {
    uint32_t count = *entry & MAP_COUNT_MAX;
    uint32_t chance = ds_move_chance(*entry >> MAP_COUNT_BITS, MAP_CHANCE_BITS, bit, rates->of[count]);
    *entry = chance << MAP_COUNT_BITS | (count + (count < MAP_COUNT_MAX));
}

#endif
