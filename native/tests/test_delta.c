/* From two images to streams and back, in C alone: round trips, ceilings of memory at every step, cancelling. */
#include <stdlib.h>

#include "delta/follow.h"
#include "match/match.h"
#include "tests/check.h"

#define SIZE 30000
#define PLENTY ((uint64_t)1 << 28)

static uint64_t state = 1;

static uint64_t draw(void) { /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* A delta with all streams in one raw frame; the caller frees it. */
static uint8_t *pack(const ds_creation *creation, uint64_t old_size, uint64_t new_size, bool plain, uint64_t *size) {
    ds_delta_info info = {
        .old_size = old_size, .new_size = new_size, .plain = plain, .frame_count = 1, .frame_raw = {true}};
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        ds_stream_at(creation, s, &info.streams[s].raw_size);
        info.frame_sizes[0] += info.streams[s].raw_size;
    }
    uint8_t *delta = malloc(DS_HEADER_MAX + info.frame_sizes[0]);
    CHECK(delta != NULL);
    uint64_t at = ds_write_header(&info, delta);
    CHECK(at > 0);
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        const uint8_t *bytes = ds_stream_at(creation, s, size);
        memcpy(delta + at, bytes, *size);
        at += *size;
    }
    *size = at;
    return delta;
}

typedef struct expected {
    const uint8_t *data;
    uint64_t at, size;
    bool same;
} expected;

static bool compare(void *context, const uint8_t *data, size_t size) {
    expected *e = context;
    e->same &= ds_within(e->at, size, e->size) && memcmp(data, e->data + e->at, size) == 0;
    e->at += size;
    return e->same;
}

/* 0 where the new image comes back, from a delta that fits the ceiling or not. */
static ds_status give_back(ds_span old_file, ds_span new_file, const uint8_t *delta, uint64_t size, uint64_t memory) {
    ds_limits limits = {.output_bytes = new_file.size, .memory_bytes = memory};
    expected e = {.data = new_file.data, .size = new_file.size, .same = true};
    ds_status status = ds_apply(old_file.data, old_file.size, delta, size, &limits, compare, &e);
    CHECK(e.same && (status != DS_OK || e.at == e.size));
    return status;
}

static uint8_t *delta_of(ds_span old_file, ds_span new_file, bool plain, uint64_t *size) {
    ds_create_options options = {.memory_bytes = PLENTY, .threads = 1, .plain = plain};
    ds_creation *creation = NULL;
    CHECK(ds_create(old_file.data, old_file.size, new_file.data, new_file.size, &options, &creation) == DS_OK);
    uint8_t *delta = pack(creation, old_file.size, new_file.size, plain, size);
    ds_create_free(creation);
    return delta;
}

static void round_trip(ds_span old_file, ds_span new_file) {
    for (unsigned plain = 0; plain < 2; plain++) {
        uint64_t size;
        uint8_t *delta = delta_of(old_file, new_file, plain, &size);
        CHECK(give_back(old_file, new_file, delta, size, PLENTY) == DS_OK);
        free(delta);
    }
}

/* New bytes: pieces of the old ones, some changed, and others. */
static void edit(const uint8_t *old_bytes, uint8_t *new_bytes) {
    for (uint64_t at = 0; at < SIZE;) {
        uint64_t length = 1 + draw() % 3000, from = draw() % SIZE;
        bool copy = draw() % 3 != 0;
        for (uint64_t i = 0; i < length && at < SIZE; i++, at++)
            new_bytes[at] = copy && from + i < SIZE && draw() % 200 != 0 ? old_bytes[from + i] : (uint8_t)draw();
    }
}

static void test_round_trips(void) {
    static uint8_t old_bytes[SIZE], new_bytes[SIZE];
    for (unsigned i = 0; i < SIZE; i++)
        old_bytes[i] = draw() % 4 == 0 ? 0 : (uint8_t)draw();
    ds_span nothing = {NULL, 0}, old_file = {old_bytes, SIZE}, new_file = {new_bytes, SIZE};
    for (unsigned n = 0; n < 20; n++) {
        edit(old_bytes, new_bytes);
        round_trip(old_file, new_file);
    }
    round_trip(nothing, nothing);
    round_trip(nothing, old_file);
    round_trip(old_file, nothing);
    round_trip(old_file, old_file);
    for (uint64_t size = 1; size < 20; size++)
        round_trip((ds_span){old_bytes, size}, (ds_span){new_bytes, 20 - size});
}

/* Every ceiling: out of memory somewhere else each time, never anything worse. */
static void test_ceilings(ds_span old_file, ds_span new_file) {
    unsigned refused = 0;
    uint64_t step = 1 + old_file.size / 8;
    ds_status status = DS_E_MEMORY;
    for (uint64_t memory = 0; status != DS_OK; memory += step, refused++) {
        ds_create_options options = {.memory_bytes = memory, .threads = 1};
        ds_creation *creation = NULL;
        status = ds_create(old_file.data, old_file.size, new_file.data, new_file.size, &options, &creation);
        CHECK(status == DS_OK || (status == DS_E_MEMORY && creation == NULL));
        if (status == DS_OK)
            CHECK(ds_create_peak_memory(creation) <= memory);
        ds_create_free(creation);
    }
    CHECK(refused > 20);
    uint64_t size;
    uint8_t *delta = delta_of(old_file, new_file, false, &size);
    refused = 0;
    status = DS_E_MEMORY;
    for (uint64_t memory = 0; status != DS_OK; memory += 3000, refused++) {
        status = give_back(old_file, new_file, delta, size, memory);
        CHECK(status == DS_OK || status == DS_E_MEMORY);
    }
    CHECK(refused > 20);
    free(delta);
}

static uint8_t *read_seed(const char *name, uint64_t *size) {
    char path[1024];
    const char *here = __FILE__, *end = strrchr(here, '/');
    snprintf(path, sizeof path, "%.*s/../fuzz/seeds/image/%s", (int)(end - here), here, name);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(1 << 18);
    CHECK(file != NULL && data != NULL);
    if (file == NULL || data == NULL)
        exit(checks_done());
    *size = fread(data, 1, 1 << 18, file);
    fclose(file);
    return data;
}

static void test_images(void) {
    static const char *const names[] = {"lazy.so", "arm64.so", "symtab.so", "classic.dylib", "throws.so"};
    for (size_t i = 0; i < DS_COUNT(names); i++)
        for (size_t j = 0; j < DS_COUNT(names); j++) {
            ds_span old_file, new_file;
            uint8_t *old_bytes = read_seed(names[i], &old_file.size), *new_bytes = read_seed(names[j], &new_file.size);
            old_file.data = old_bytes;
            new_file.data = new_bytes;
            round_trip(old_file, new_file);
            if (i == 0 && j == 4)
                test_ceilings(old_file, new_file);
            free(old_bytes);
            free(new_bytes);
        }
}

/* What the matcher promises whatever it is given: blocks inside both images, ascending, disjoint. */
static void test_blocks_are_sound(void) {
    static uint8_t old_bytes[SIZE], new_bytes[SIZE];
    for (unsigned n = 0; n < 10; n++) {
        for (unsigned i = 0; i < SIZE; i++)
            old_bytes[i] = (uint8_t)(n < 5 ? draw() : draw() % 2);
        edit(old_bytes, new_bytes);
        ds_arena *arena = ds_arena_open(PLENTY);
        ds_image old_image = {.file = {old_bytes, SIZE}, .arena = arena};
        ds_image new_image = {.file = {new_bytes, SIZE}, .arena = arena};
        ds_match_options options = {.rounds = 1 + n % 4, .threads = 1 + n % 3};
        ds_blocks blocks;
        ds_renames renames;
        CHECK(ds_match(&old_image, &new_image, &options, arena, &blocks, &renames) == DS_OK && blocks.list.count > 0);
        uint64_t end = 0;
        for (uint64_t i = 0; i < blocks.list.count; i++) {
            const ds_block *b = &blocks.list.items[i];
            CHECK(b->length > 0 && b->new_offset >= end);
            CHECK(ds_within(b->new_offset, b->length, SIZE) && ds_within(b->old_offset, b->length, SIZE));
            end = b->new_offset + b->length;
        }
        ds_arena_close(arena);
    }
}

/* What stood at the front of the old image is found wherever it went. */
static void test_the_first_old_byte_is_copied(void) {
    static uint8_t old_bytes[SIZE], new_bytes[SIZE];
    for (unsigned i = 0; i < SIZE; i++)
        old_bytes[i] = (uint8_t)draw();
    for (uint64_t moved = 1; moved <= SIZE; moved *= 3) { /* this much of it comes first now */
        memcpy(new_bytes, old_bytes + (SIZE - moved), moved);
        memcpy(new_bytes + moved, old_bytes, SIZE - moved);
        ds_arena *arena = ds_arena_open(PLENTY);
        ds_image old_image = {.file = {old_bytes, SIZE}, .arena = arena};
        ds_image new_image = {.file = {new_bytes, SIZE}, .arena = arena};
        ds_match_options options = {.rounds = 1, .threads = 1};
        ds_blocks blocks;
        ds_renames renames;
        CHECK(ds_match(&old_image, &new_image, &options, arena, &blocks, &renames) == DS_OK && blocks.list.count > 0);
        const ds_block *last = &blocks.list.items[blocks.list.count - 1];
        CHECK(last->old_offset == 0 && last->new_offset == moved && last->length == SIZE - moved);
        ds_arena_close(arena);
    }
}

static bool stop_at(void *context, unsigned done) {
    (void)done;
    return (*(unsigned *)context)-- > 0;
}

static void test_cancelling(void) {
    static uint8_t bytes[SIZE];
    for (unsigned calls = 0; calls < 3; calls++) {
        unsigned left = calls;
        ds_create_options options = {.memory_bytes = PLENTY, .threads = 1, .progress = stop_at, .context = &left};
        ds_creation *creation = NULL;
        ds_status status = ds_create(bytes, SIZE, bytes, SIZE, &options, &creation);
        CHECK(status == DS_E_CANCELLED ? creation == NULL : calls > 0 && status == DS_OK);
        ds_create_free(creation);
    }
}

/* ---- the proof while it is written ---- */

static bool follow(ds_span old_file, ds_span new_file, const ds_delta_info *info, ds_span coded, uint64_t memory) {
    ds_arena *arena = ds_arena_open(memory);
    ds_relay *relay;
    ds_follower *follower;
    ds_opened *opened;
    ds_opened_old old;
    CHECK(ds_opened_start(&opened, old_file, info, PLENTY) == DS_OK);
    CHECK(ds_relay_open(&relay, arena) == DS_OK);
    CHECK(ds_follower_start(&follower, opened, old_file, new_file, info, relay, arena) == DS_OK);
    for (uint64_t at = 0; at < coded.size; at++)
        CHECK(ds_relay_put(relay, (ds_span){coded.data + at, 1}) == DS_OK);
    ds_relay_end(relay);
    bool proved = ds_follower_end(follower);
    CHECK(ds_opened_wait(opened, old_file, info, &old)); /* whatever became of it, it serves again */
    ds_opened_free(opened);
    ds_relay_free(relay);
    ds_arena_close(arena);
    return proved;
}

/* The follower proves what gives the new image back, and nothing else. */
static void test_following(void) {
    static uint8_t old_bytes[SIZE], new_bytes[SIZE];
    for (unsigned i = 0; i < SIZE; i++)
        old_bytes[i] = new_bytes[i] = (uint8_t)draw();
    for (unsigned i = 0; i < SIZE; i += 100)
        new_bytes[i]++;
    ds_span old_file = {old_bytes, SIZE}, new_file = {new_bytes, SIZE};
    ds_creation *creation[2];
    ds_delta_info info = {.old_size = SIZE, .new_size = SIZE, .modelled = true};
    ds_span coded[2];
    for (unsigned t = 0; t < 2; t++) {
        ds_create_options options = {.memory_bytes = PLENTY, .threads = t + 1, .modelled = true, .prove = true};
        CHECK(ds_create(old_bytes, SIZE, new_bytes, SIZE, &options, &creation[t]) == DS_OK);
        CHECK(ds_create_is_proved(creation[t]) == (t == 1)); /* by the second thread */
        CHECK(ds_create_take_opened(creation[t]) == NULL);   /* of no more use */
        coded[t].data = ds_modelled_at(creation[t], &coded[t].size, &info.table);
    }
    CHECK(coded[0].size == coded[1].size && memcmp(coded[0].data, coded[1].data, coded[0].size) == 0);
    CHECK(follow(old_file, new_file, &info, coded[0], PLENTY));
    CHECK(!follow(old_file, new_file, &info, coded[0], SIZE)); /* of memory */
    CHECK(!follow(old_file, new_file, &info, (ds_span){coded[0].data, coded[0].size / 2}, PLENTY));
    CHECK(!follow(old_file, new_file, &info, (ds_span){coded[0].data, 0}, PLENTY));
    CHECK(!follow(old_file, (ds_span){new_bytes, SIZE - 1}, &info, coded[0], PLENTY));
    new_bytes[SIZE - 1]++;
    CHECK(!follow(old_file, new_file, &info, coded[0], PLENTY));
    ds_create_free(creation[0]);
    ds_create_free(creation[1]);
}

static void test_arguments(void) {
    uint8_t bytes[4] = {0};
    ds_create_options options = {.memory_bytes = PLENTY, .threads = 1};
    ds_creation *creation;
    ds_limits limits = {0};
    ds_delta_info info;
    /* Sizes from 4 GiB are refused before a byte is looked at. */
    CHECK(ds_create(bytes, UINT64_MAX, bytes, 4, &options, &creation) == DS_E_LIMIT && creation == NULL);
    CHECK(ds_create(bytes, 4, bytes, (uint64_t)1 << 32, &options, &creation) == DS_E_LIMIT && creation == NULL);
    CHECK(ds_create(bytes, 4, bytes, 4, NULL, &creation) == DS_E_ARGUMENT);
    CHECK(ds_apply(bytes, 4, bytes, 4, NULL, compare, NULL) == DS_E_ARGUMENT);
    CHECK(ds_apply(bytes, 4, bytes, 4, &limits, NULL, NULL) == DS_E_ARGUMENT);
    CHECK(ds_apply(NULL, 0, NULL, 0, &limits, compare, NULL) == DS_E_DELTA);
    CHECK(ds_inspect(NULL, 0, &info) == DS_E_DELTA);
    CHECK(ds_stream_name(DS_STREAM_COUNT) == NULL && ds_stream_name(UINT32_MAX) == NULL);
    ds_create_free(NULL);
}

int main(void) {
    test_round_trips();
    test_images();
    test_blocks_are_sound();
    test_the_first_old_byte_is_copied();
    test_cancelling();
    test_following();
    test_arguments();
    return checks_done();
}
