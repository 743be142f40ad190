/* The range coder and the adaptive model: what is written is read, whatever it is; damage ends. */
#include "codec/lanes.h"
#include "codec/model.h"
#include "codec/range.h"
#include "tests/check.h"

#define SYMBOLS 20000
#define LINES 4096

static const ds_model_row rows[] = {{"flag", 3, 2}, {"byte", 4, 1}, {"alone", 1, 1}};

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void test_range_of_any_probability(ds_arena *arena) {
    static const uint32_t probabilities[] = {1, 2, 255, 32768, 65280, 65534, 65535};
    ds_range_encoder encoder;
    ds_range_decoder decoder;
    ds_span coded;
    uint32_t state = 1;
    ds_range_encoder_open(&encoder, arena);
    for (unsigned i = 0; i < SYMBOLS; i++)
        ds_range_encode(&encoder, probabilities[i % DS_COUNT(probabilities)], next_random(&state) & 1);
    CHECK(ds_range_encoder_finish(&encoder, &coded) == DS_OK);
    state = 1;
    ds_range_decoder_open(&decoder, coded, NULL);
    unsigned wrong = 0;
    for (unsigned i = 0; i < SYMBOLS; i++)
        wrong += ds_range_decode(&decoder, probabilities[i % DS_COUNT(probabilities)]) != (next_random(&state) & 1);
    CHECK(wrong == 0);
    CHECK(ds_range_decoder_check(&decoder) == DS_OK && decoder.at == decoder.end);
    DS_VEC_FREE(arena, &encoder.out);
}

/* Bits that were certain leave nothing but what says so. */
static void test_a_sure_thing_costs_nothing(ds_arena *arena) {
    ds_range_encoder encoder;
    ds_span coded;
    ds_range_encoder_open(&encoder, arena);
    for (unsigned i = 0; i < SYMBOLS; i++)
        ds_range_encode(&encoder, 65535, true);
    CHECK(ds_range_encoder_finish(&encoder, &coded) == DS_OK && coded.size <= 1);
    DS_VEC_FREE(arena, &encoder.out);
}

static void test_reading_past_the_end_is_damage(void) {
    static const uint8_t bytes[] = {1, 2, 3};
    ds_range_decoder decoder;
    ds_range_decoder_open(&decoder, (ds_span){bytes, sizeof bytes}, NULL);
    CHECK(ds_range_decoder_check(&decoder) == DS_OK);
    for (unsigned i = 0; i < 64; i++)
        ds_range_decode(&decoder, 32768);
    CHECK(ds_range_decoder_check(&decoder) == DS_E_DELTA);
}

/* Codes so many bits while another reads: what was handed on early is what stays, and all of it comes. How much was. */
static uint64_t hand_on(ds_arena *arena, uint32_t seed, unsigned count, uint64_t *size) {
    static const uint32_t probabilities[] = {1, 2, 32768, 65534, 65535};
    ds_range_encoder encoder;
    ds_relay *relay;
    ds_span coded, piece;
    uint64_t at = 0;
    CHECK(ds_relay_open(&relay, arena) == DS_OK);
    ds_range_encoder_open(&encoder, arena);
    encoder.relay = relay;
    for (unsigned i = 0; i < count; i++) {
        /* Mostly at the upper end of the range, where bytes of 255 and carries are. */
        uint32_t p = probabilities[next_random(&seed) % DS_COUNT(probabilities)];
        ds_range_encode(&encoder, p, next_random(&seed) % 8 == 0);
    }
    uint64_t early = encoder.relayed;
    CHECK(ds_range_encoder_finish(&encoder, &coded) == DS_OK);
    ds_relay_end(relay);
    bool same = true;
    while (ds_relay_take(relay, &piece)) {
        same &= ds_within(at, piece.size, coded.size) && memcmp(coded.data + at, piece.data, piece.size) == 0;
        at += piece.size;
    }
    CHECK(same && at == coded.size && early <= coded.size);
    CHECK(!ds_relay_wait(relay) && !ds_relay_take(relay, &piece));
    ds_relay_free(relay);
    *size = coded.size;
    DS_VEC_FREE(arena, &encoder.out);
    return early;
}

static void test_what_is_handed_on_is_final(ds_arena *arena) {
    uint64_t size;
    for (uint32_t seed = 1; seed < 40; seed++)
        CHECK(hand_on(arena, seed, SYMBOLS, &size) > size / 2);
    /* Short strings: their last zeros are taken back at the end. */
    for (uint32_t seed = 1; seed < 4000; seed++)
        hand_on(arena, seed, seed % 97, &size);
}

/* A source with some order: a byte depends on the one before. */
static void code_all(ds_model *model, const uint8_t *bytes, uint8_t *out, unsigned count) {
    uint8_t before = 0, second = 0;
    for (unsigned i = 0; i < count; i++) {
        uint8_t value = bytes != NULL ? bytes[i] : 0;
        uint32_t known[] = {0, before, ds_mix(before, second), i & 3};
        bool small = ds_model_flag(model, 0, i & 1, known, value < 16);
        uint8_t coded = small ? (uint8_t)ds_model_symbol(model, 2, 0, known, 4, value)
                              : (uint8_t)ds_model_symbol(model, 1, 0, known, 8, value);
        if (i % 7 == 0)
            ds_model_teach(model, 1, 2, known, 8, coded);
        if (out != NULL)
            out[i] = coded;
        second = before;
        before = coded;
    }
}

static void test_round_trip(ds_arena *arena, unsigned kind) {
    static uint8_t bytes[SYMBOLS], read[SYMBOLS];
    uint32_t state = 7;
    for (unsigned i = 0; i < SYMBOLS; i++)
        bytes[i] = kind == 0 ? 0 : kind == 1 ? (uint8_t)(i * 3) : (uint8_t)next_random(&state);
    ds_model *model;
    ds_span coded;
    CHECK(ds_model_open_write(&model, rows, DS_COUNT(rows), LINES, arena) == DS_OK);
    code_all(model, bytes, NULL, SYMBOLS);
    CHECK(ds_model_finish(model, &coded) == DS_OK);
    uint64_t cost = ds_model_cost(model, 0) + ds_model_cost(model, 1) + ds_model_cost(model, 2);
    CHECK(cost / 8 / 4096 + 16 > coded.size && cost / 8 / 4096 < coded.size + coded.size / 50 + 16);
    if (kind == 0)
        CHECK(coded.size < 20);
    if (kind == 2)
        CHECK(coded.size < SYMBOLS + SYMBOLS / 4);
    ds_model *reader;
    CHECK(ds_model_open_read(&reader, rows, DS_COUNT(rows), LINES, coded, NULL, arena) == DS_OK);
    code_all(reader, NULL, read, SYMBOLS);
    CHECK(memcmp(bytes, read, SYMBOLS) == 0 && ds_model_check(reader) == DS_OK && ds_model_at_end(reader));
    ds_model_close(reader);
    /* Half of it is not all of it. */
    CHECK(ds_model_open_read(&reader, rows, DS_COUNT(rows), LINES, (ds_span){coded.data, coded.size / 2}, NULL,
                             arena) == DS_OK);
    code_all(reader, NULL, read, SYMBOLS);
    if (kind == 2)
        CHECK(ds_model_check(reader) == DS_E_DELTA);
    ds_model_close(reader);
    ds_model_close(model);
}

/* Any numbers: what processors compute in vectors is what the portable loops say. */
static void test_vectors_are_what_they_stand_for(void) {
    _Alignas(16) int16_t x[3 * DS_LANES], weights[3 * DS_LANES], expected[3 * DS_LANES];
    uint32_t state = 7;
    for (unsigned round = 0; round < SYMBOLS; round++) {
        unsigned vectors = 1 + round % 3;
        for (unsigned i = 0; i < vectors * DS_LANES; i++) {
            x[i] = (int16_t)(next_random(&state) % 6143 - 3071);
            weights[i] = expected[i] =
                (int16_t)(round % 2 ? next_random(&state) : INT16_MAX - next_random(&state) % 99);
        }
        int16_t step = (int16_t)(next_random(&state) % 65535 - 32767);
        CHECK(ds_lanes_dot(x, weights, vectors) == ds_lanes_dot_portable(x, weights, vectors));
        ds_lanes_learn(x, weights, vectors, step);
        ds_lanes_learn_portable(x, expected, vectors, step);
        CHECK(memcmp(weights, expected, vectors * DS_LANES * sizeof *x) == 0);
    }
}

static void test_memory_is_asked_for(void) {
    ds_arena *arena = ds_arena_open(1 << 16);
    ds_model *model;
    CHECK(ds_model_open_write(&model, rows, DS_COUNT(rows), LINES, arena) == DS_E_MEMORY);
    ds_arena_close(arena);
}

int main(void) {
    ds_arena *arena = ds_arena_open((uint64_t)1 << 28);
    test_range_of_any_probability(arena);
    test_a_sure_thing_costs_nothing(arena);
    test_reading_past_the_end_is_damage();
    test_what_is_handed_on_is_final(arena);
    for (unsigned kind = 0; kind < 3; kind++)
        test_round_trip(arena, kind);
    test_vectors_are_what_they_stand_for();
    test_memory_is_asked_for();
    ds_arena_close(arena);
    return checks_done();
}
