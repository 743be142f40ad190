/* SHA-256 (FIPS 180-4): a plain version, and one with the SHA extensions of x86-64 or AArch64,
 * chosen when the program runs. Both are tested against the same vectors. */
#include "base/base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#endif

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

/* One round. The eight variables change roles from round to round rather than places. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                           \
    do {                                                                                                           \
        uint32_t t1_ = (h) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((g) ^ ((e) & ((f) ^ (g)))) + w[i] + \
                       round_constants[i];                                                                         \
        (d) += t1_;                                                                                                \
        (h) = t1_ + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (((a) & (b)) | ((c) & ((a) | (b))));          \
    } while (0)

static void compress_plain(uint32_t state[8], const uint8_t *data, uint64_t blocks) {
    for (; blocks-- > 0; data += 64) {
        uint32_t w[64];
        for (unsigned i = 0; i < 16; i++)
            w[i] = ds_load32_be(data + 4 * i);
        for (unsigned i = 16; i < 64; i++) {
            uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
            uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (unsigned i = 0; i < 64; i += 8) {
            ROUND(a, b, c, d, e, f, g, h, i);
            ROUND(h, a, b, c, d, e, f, g, i + 1);
            ROUND(g, h, a, b, c, d, e, f, i + 2);
            ROUND(f, g, h, a, b, c, d, e, i + 3);
            ROUND(e, f, g, h, a, b, c, d, i + 4);
            ROUND(d, e, f, g, h, a, b, c, i + 5);
            ROUND(c, d, e, f, g, h, a, b, i + 6);
            ROUND(b, c, d, e, f, g, h, a, i + 7);
        }
        const uint32_t ends[8] = {a, b, c, d, e, f, g, h};
        for (unsigned i = 0; i < 8; i++)
            state[i] += ends[i];
    }
}

#if defined(__x86_64__)
#define HAVE_FAST 1

static bool fast_available(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

__attribute__((target("sha,sse4.1,ssse3"))) static void compress_fast(uint32_t h[8], const uint8_t *data,
                                                                      uint64_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; blocks-- > 0; data += 64) {
        __m128i abef0 = abef, cdgh0 = cdgh, w[4];
        for (unsigned i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), swap);
        for (unsigned i = 0; i < 16; i++) {
            __m128i wk = _mm_add_epi32(w[0], _mm_load_si128((const __m128i *)(round_constants + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
            __m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), _mm_alignr_epi8(w[3], w[2], 4));
            next = _mm_sha256msg2_epu32(next, w[3]);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next;
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(high, low, 8));
}

#elif defined(__aarch64__) && defined(__linux__)
#define HAVE_FAST 1
#define HWCAP_SHA2_BIT (1u << 6)

static bool fast_available(void) {
    return (getauxval(AT_HWCAP) & HWCAP_SHA2_BIT) != 0;
}

__attribute__((target("+sha2"))) static void compress_fast(uint32_t h[8], const uint8_t *data, uint64_t blocks) {
    uint32x4_t abcd = vld1q_u32(h), efgh = vld1q_u32(h + 4);
    for (; blocks-- > 0; data += 64) {
        uint32x4_t abcd0 = abcd, efgh0 = efgh, w[4];
        for (unsigned i = 0; i < 4; i++)
            w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
        for (unsigned i = 0; i < 16; i++) {
            uint32x4_t wk = vaddq_u32(w[0], vld1q_u32(round_constants + 4 * i));
            uint32x4_t before = abcd;
            abcd = vsha256hq_u32(abcd, efgh, wk);
            efgh = vsha256h2q_u32(efgh, before, wk);
            uint32x4_t next = vsha256su1q_u32(vsha256su0q_u32(w[0], w[1]), w[2], w[3]);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next;
        }
        abcd = vaddq_u32(abcd, abcd0);
        efgh = vaddq_u32(efgh, efgh0);
    }
    vst1q_u32(h, abcd);
    vst1q_u32(h + 4, efgh);
}
#endif

#ifndef HAVE_FAST
static bool fast_available(void) {
    return false;
}
#define compress_fast compress_plain
#endif

static void compress(ds_sha256_state *state, const uint8_t *data, uint64_t blocks) {
    if (state->fast)
        compress_fast(state->h, data, blocks);
    else
        compress_plain(state->h, data, blocks);
}

void ds_sha256_open(ds_sha256_state *state) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(state->h, initial, sizeof initial);
    state->length = 0;
    state->fast = fast_available();
}

void ds_sha256_add(ds_sha256_state *state, const uint8_t *data, uint64_t size) {
    if (size == 0)
        return;
    uint64_t held = state->length % 64;
    state->length += size;
    if (held > 0) {
        uint64_t take = size < 64 - held ? size : 64 - held;
        memcpy(state->block + held, data, take);
        data += take;
        size -= take;
        if (held + take < 64)
            return;
        compress(state, state->block, 1);
    }
    compress(state, data, size / 64);
    memcpy(state->block, data + (size & ~(uint64_t)63), size % 64);
}

void ds_sha256_close(ds_sha256_state *state, uint8_t digest[DS_DIGEST_SIZE]) {
    uint64_t held = state->length % 64;
    uint8_t tail[128] = {0};
    memcpy(tail, state->block, held);
    tail[held] = 0x80;
    uint64_t padded = held < 56 ? 64 : 128;
    ds_store64(tail + padded - 8, __builtin_bswap64(state->length * 8));
    compress(state, tail, padded / 64);
    for (unsigned i = 0; i < 8; i++)
        ds_store32(digest + 4 * i, __builtin_bswap32(state->h[i]));
}

void ds_sha256(const uint8_t *data, uint64_t size, uint8_t digest[DS_DIGEST_SIZE]) {
    ds_sha256_state state;
    ds_sha256_open(&state);
    ds_sha256_add(&state, data, size);
    ds_sha256_close(&state, digest);
}
