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

/* How a counter or a map's entry changes, by what it is but its probability: looked up, since every bit of every
 * context asks. */
typedef struct ds_counter_steps {
    uint32_t counter[1u << (COUNT_BITS + HISTORY_BITS)]; /* a step, and count and history after a 0 */
    uint32_t map[MAP_COUNT_MAX + 1];                     /* a step, and count after a bit */
} ds_counter_steps;

#define STEP_SHIFT 16

/* How far a probability moves towards a bit when it has been seen n times: 65536 / (n + 1.3). */
static inline uint32_t ds_step_of(unsigned n) {
    return 655360 / (10 * n + 13);
}

/* Of a map whose counts end at `most`. */
static inline void ds_map_steps_open(uint32_t *steps, unsigned most) {
    for (unsigned n = 0; n <= most; n++)
        steps[n] = ds_step_of(n) << STEP_SHIFT | (n < most ? n + 1 : most);
}

static inline void ds_counter_steps_open(ds_counter_steps *steps) {
    for (unsigned n = 0; n <= COUNT_MAX; n++)
        for (unsigned history = 0; history < HISTORIES; history++) {
            unsigned longer = (history == 0 ? 1 : history) << 1, count = n < COUNT_MAX ? n + 1 : COUNT_MAX;
            longer = longer < HISTORIES ? longer : (longer & (HISTORIES / 2 - 1)) | HISTORIES / 2;
            steps->counter[n << HISTORY_BITS | history] = ds_step_of(n) << STEP_SHIFT | count << HISTORY_BITS | longer;
        }
    ds_map_steps_open(steps->map, MAP_COUNT_MAX);
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

/* A word whose probability, its bits above `low`, moved towards `goal` by the step that was looked up; below they are
 * what stands behind the step. */
static inline uint32_t ds_move(int64_t goal, int64_t chance, uint32_t low, uint32_t step) {
    const uint32_t move = (uint32_t)((goal - chance) * (step >> STEP_SHIFT) >> 16) & ~low;
    return (uint32_t)chance + move + (step & low);
}

static inline void ds_counter_learn(uint32_t *counter, bool bit, const ds_counter_steps *steps) {
    const int32_t low = (1 << (32 - CHANCE_BITS)) - 1, c = (int32_t)*counter; /* less COUNTER_ZERO, hence signed */
    const int64_t goal = bit ? INT32_MAX - low : INT32_MIN;
    *counter = ds_move(goal, c & ~low, (uint32_t)low, steps->counter[c & low]) | bit;
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
/* `steps`: ds_map_steps_open. */
static inline void ds_map_learn(uint32_t *entry, bool bit, const uint32_t *steps) {
    const uint32_t low = MAP_COUNT_MAX;
    *entry = ds_move(bit ? UINT32_MAX - low : 0, *entry & ~low, low, steps[*entry & low]);
}

#endif
