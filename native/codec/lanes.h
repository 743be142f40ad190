/* Vectors of 16-bit numbers: what the model weighs, and how much each weighs.
 *
 * The portable loops say what is computed; SSE2 and Advanced SIMD compute the same (native/tests/test_model.c).
 */
#ifndef DS_LANES_H
#define DS_LANES_H

#include "base/base.h"

#define DS_LANES 8 /* numbers of a vector */

/* Of `vectors` vectors each, at multiples of 16 bytes. */
static inline int32_t ds_lanes_dot_portable(const int16_t *x, const int16_t *weights, unsigned vectors) {
    int32_t sum = 0;
    for (unsigned i = 0; i < vectors * DS_LANES; i++)
        sum += x[i] * weights[i];
    return sum;
}

/* Moves each weight by x * step / 65536, rounded, as far as 16 bits allow. */
static inline void ds_lanes_learn_portable(const int16_t *x, int16_t *weights, unsigned vectors, int16_t step) {
    for (unsigned i = 0; i < vectors * DS_LANES; i++) {
        const int32_t moved = weights[i] + ((x[i] * step + (1 << 15)) >> 16);
        weights[i] = (int16_t)(moved < INT16_MIN ? INT16_MIN : moved > INT16_MAX ? INT16_MAX : moved);
    }
}

#if defined __SSE2__
#include <emmintrin.h>

static inline int32_t ds_lanes_dot(const int16_t *x, const int16_t *weights, unsigned vectors) {
    const __m128i *a = (const __m128i *)x, *b = (const __m128i *)weights;
    __m128i sum = _mm_madd_epi16(a[0], b[0]);
    for (unsigned i = 1; i < vectors; i++)
        sum = _mm_add_epi32(sum, _mm_madd_epi16(a[i], b[i]));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(sum);
}

/* The product's upper half, and one more where its lower half is at least 1/2. */
static inline void ds_lanes_learn(const int16_t *x, int16_t *weights, unsigned vectors, int16_t step) {
    const __m128i *a = (const __m128i *)x, steps = _mm_set1_epi16(step);
    __m128i *b = (__m128i *)weights;
    for (unsigned i = 0; i < vectors; i++) {
        __m128i half = _mm_srli_epi16(_mm_mullo_epi16(a[i], steps), 15);
        b[i] = _mm_adds_epi16(b[i], _mm_add_epi16(_mm_mulhi_epi16(a[i], steps), half));
    }
}

#elif defined __ARM_NEON
#include <arm_neon.h>

static inline int32_t ds_lanes_dot(const int16_t *x, const int16_t *weights, unsigned vectors) {
    int32x4_t sum = vdupq_n_s32(0);
    for (unsigned i = 0; i < vectors * DS_LANES; i += 4)
        sum = vmlal_s16(sum, vld1_s16(x + i), vld1_s16(weights + i));
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static inline void ds_lanes_learn(const int16_t *x, int16_t *weights, unsigned vectors, int16_t step) {
    for (unsigned i = 0; i < vectors * DS_LANES; i += 4) {
        int16x4_t moved = vrshrn_n_s32(vmull_n_s16(vld1_s16(x + i), step), 16);
        vst1_s16(weights + i, vqadd_s16(vld1_s16(weights + i), moved));
    }
}

#else
#define ds_lanes_dot ds_lanes_dot_portable
#define ds_lanes_learn ds_lanes_learn_portable
#endif

#endif
