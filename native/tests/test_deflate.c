/* Deflate taken apart and written back: the seeds, which zlib and others made, worked examples, bad bytes. */
#include <dirent.h>
#include <stdlib.h>

#include "deflate/codes.h"
#include "fuzz/fuzz_deflate.c" /* NOLINT(bugprone-suspicious-include): the target itself, without libFuzzer */
#include "tests/check.h"

#define SEED_MAX 8192
#define SEEDS_MIN 30

static ds_arena *arena;

/* ---- codes ---- */

/* RFC 1951, section 3.2.2: lengths 3, 3, 3, 3, 3, 2, 4, 4 of A to H. First bit lowest here. */
static void test_canonical_codes(void) {
    static const uint8_t lengths[8] = {3, 3, 3, 3, 3, 2, 4, 4};
    static const uint16_t expected[8] = {2, 6, 1, 5, 3, 0, 7, 15};
    uint16_t codes[8];
    ds_codes_assign(lengths, 8, codes);
    CHECK(memcmp(codes, expected, sizeof codes) == 0);
}

static void test_symbols(void) {
    for (unsigned length = DS_MATCH_MIN; length <= DS_MATCH_MAX; length++) {
        unsigned s = ds_length_symbol(length);
        CHECK(s < 29 && length >= ds_length_base[s] && length - ds_length_base[s] < 1u << ds_length_extra[s]);
    }
    CHECK(ds_length_symbol(257) == 27 && ds_length_symbol(258) == 28);
    for (unsigned distance = 1; distance <= DS_DEFLATE_WINDOW; distance++) {
        unsigned s = ds_distance_symbol(distance);
        CHECK(s < 30 && distance >= ds_distance_base[s] && distance - ds_distance_base[s] < 1u << ds_distance_extra[s]);
    }
}

/* Counts that grow as Fibonacci's numbers want codes of more than 15 bits. */
static void test_lengths_are_cut(void) {
    ds_counts counts = {0};
    ds_lengths lengths;
    ds_decoder decoder;
    uint32_t a = 1, b = 1;
    for (unsigned s = 0; s < 30; s++, b += a, a = b - a)
        counts.literals[DS_END_OF_BLOCK - s] = a;
    ds_lengths_build(&counts, &lengths);
    CHECK(lengths.literals[DS_END_OF_BLOCK] == DS_CODE_BITS && lengths.literals[DS_END_OF_BLOCK - 29] == 1);
    CHECK(lengths.literal_count == 257 && lengths.distance_count == 2);
    CHECK(ds_decoder_build(lengths.literals, DS_LITERAL_CODES, &decoder)); /* complete */
    /* No distance at all: two codes of one bit, which are never used. */
    CHECK(lengths.distances[0] == 1 && lengths.distances[1] == 1 && lengths.distances[2] == 0);
}

static void test_bad_code_lengths(void) {
    ds_decoder decoder;
    CHECK(!ds_decoder_build((const uint8_t[]){1, 1, 1}, 3, &decoder)); /* too many */
    CHECK(!ds_decoder_build((const uint8_t[]){2, 2, 2}, 3, &decoder)); /* too few */
    CHECK(ds_decoder_build((const uint8_t[]){0, 1, 0}, 3, &decoder));  /* a single one */
    CHECK(!ds_decoder_build((const uint8_t[]){0, 2, 0}, 3, &decoder));
    CHECK(ds_decoder_build((const uint8_t[]){0, 0, 0}, 3, &decoder));
    ds_bits bits = {.data = {(const uint8_t[]){0}, 1}};
    CHECK(ds_decode(&decoder, &bits) == DS_NO_SYMBOL);
}

static void test_style_numbers(void) {
    ds_deflate_style style;
    for (uint64_t number = 0; number < DS_STYLES; number++) {
        CHECK(ds_style_of(number, &style) && ds_style_number(&style) == number);
        CHECK(style.level >= 1 && style.level <= 9 && style.memory >= 1 && style.memory <= 9);
        CHECK(style.window >= 9 && style.window <= 15);
    }
    CHECK(!ds_style_of(DS_STYLES, &style) && !ds_style_of(UINT64_MAX, &style));
}

/* ---- seeds ---- */

static uint64_t read_seed(const char *name, uint8_t *seed) {
    char path[1400];
    const char *here = __FILE__, *end = strrchr(here, '/');
    snprintf(path, sizeof path, "%.*s/../fuzz/seeds/deflate/%s", (int)(end - here), here, name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    if (file == NULL)
        return 0;
    uint64_t size = fread(seed, 1, SEED_MAX, file);
    fclose(file);
    CHECK(size < SEED_MAX);
    return size;
}

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

/* Takes a stream apart; true where it comes back. */
static bool comes_back(ds_span stream, unsigned window, ds_deflate_style *style, uint64_t *recipe_size) {
    ds_inflated inflated = {0};
    ds_recipe recipe = {0};
    bool is_stream;
    uint8_t *out = malloc(stream.size + 1);
    bool same = out != NULL && ds_inflate(stream, UINT64_MAX, true, arena, &inflated, &is_stream) == DS_OK &&
                is_stream && inflated.size == stream.size && ds_style_guess(&inflated, window, arena, style) == DS_OK &&
                ds_recipe_write(&inflated, stream, style, arena, &recipe) == DS_OK;
    ds_span content = {inflated.content.items, inflated.content.count};
    ds_span told = {recipe.bytes.items, recipe.bytes.count};
    *recipe_size = told.size;
    same = same && ds_deflate_make(content, told, style, arena, out, stream.size) == DS_OK &&
           memcmp(out, stream.data, stream.size) == 0;
    /* Neither one byte less nor one more. */
    if (same) {
        CHECK(ds_deflate_make(content, told, style, arena, out, stream.size - 1) == DS_E_DELTA);
        CHECK(ds_deflate_make(content, told, style, arena, out, stream.size + 1) == DS_E_DELTA);
    }
    free(out);
    ds_inflated_free(&inflated, arena);
    DS_VEC_FREE(arena, &recipe.bytes);
    return same;
}

/* What zlib made is predicted without a word, whatever it was told. */
static void test_zlib_is_predicted(const char *name, ds_span stream) {
    ds_deflate_style style;
    uint64_t recipe_size;
    bool small_window = strstr(name, "window-9") != NULL;
    CHECK(comes_back(stream, small_window ? 9 : 15, &style, &recipe_size));
    /* All in one stored block: nothing tells how many tokens a block has. */
    CHECK(recipe_size == (strcmp(name, "zlib-1-block-full") == 0 ? 3 : 0));
    if (strcmp(name, "zlib-2-memory-1") == 0)
        CHECK(style.level == 2 && style.memory == 1 && !style.filtered);
    if (strcmp(name, "zlib-6-filtered") == 0)
        CHECK(style.level == 6 && style.memory == 8 && style.filtered);
}

static void test_others_come_back(const char *name, ds_span stream) {
    ds_deflate_style style;
    uint64_t recipe_size;
    CHECK(comes_back(stream, 15, &style, &recipe_size));
    CHECK((recipe_size > 0) == !begins(name, "gzip-")); /* gzip's choice is zlib's, but for large files */
}

static void test_wrapped(const char *name, ds_span file) {
    static const struct {
        const char *name;
        uint64_t streams, pieces, content;
    } wrapped[] = {{"wrapped.gz", 1, 1, 500},  {"wrapped-named.gz", 1, 1, 700}, {"wrapped.zlib", 2, 2, 1200},
                   {"wrapped.zip", 1, 1, 800}, {"whole.png", 1, 1, 3660},       {"cut.png", 1, 5, 3660}};
    ds_found found = {0};
    unsigned i = 0;
    while (i < DS_COUNT(wrapped) && strcmp(wrapped[i].name, name) != 0)
        i++;
    CHECK(i < DS_COUNT(wrapped));
    CHECK(ds_scan(file, arena, &found) == DS_OK);
    CHECK(i < DS_COUNT(wrapped) && found.streams.count == wrapped[i].streams &&
          found.pieces.count == wrapped[i].pieces);
    uint64_t content = 0;
    for (uint64_t s = 0; s < found.streams.count; s++) {
        const ds_found_stream *stream = &found.streams.items[s];
        uint8_t *bytes = malloc(stream->size);
        ds_deflate_style style;
        uint64_t recipe_size;
        ds_pieces_gather(file, &found.pieces.items[stream->first], stream->count, bytes);
        CHECK(comes_back((ds_span){bytes, stream->size}, stream->window, &style, &recipe_size) && recipe_size == 0);
        content += stream->content_size;
        free(bytes);
    }
    CHECK(i < DS_COUNT(wrapped) && content == wrapped[i].content);
    ds_found_free(&found, arena);
}

static void test_bad(ds_span stream) {
    ds_inflated inflated = {0};
    bool is_stream = true;
    CHECK(ds_inflate(stream, UINT64_MAX, true, arena, &inflated, &is_stream) == DS_OK && !is_stream);
    CHECK(inflated.size <= stream.size);
    ds_inflated_free(&inflated, arena);
}

/* What a fuzzer would do first. */
static void change_bytes(uint8_t *seed, uint64_t size) {
    for (uint64_t at = 0; at < size; at += 1 + size / 16) {
        seed[at] ^= 0x81;
        LLVMFuzzerTestOneInput(seed, size);
        seed[at] ^= 0x81;
        LLVMFuzzerTestOneInput(seed, at);
    }
}

static void test_seeds(void) {
    char folder[1024];
    const char *here = __FILE__, *end = strrchr(here, '/');
    snprintf(folder, sizeof folder, "%.*s/../fuzz/seeds/deflate", (int)(end - here), here);
    DIR *seeds = opendir(folder);
    CHECK(seeds != NULL);
    unsigned count = 0;
    for (struct dirent *entry; seeds != NULL && (entry = readdir(seeds)) != NULL;) {
        uint8_t seed[SEED_MAX];
        const char *name = entry->d_name;
        if (name[0] == '.' || strcmp(name, "make") == 0)
            continue;
        ds_span stream = {seed, read_seed(name, seed)};
        if (begins(name, "bad-"))
            test_bad(stream);
        else if (begins(name, "zlib-"))
            test_zlib_is_predicted(name, stream);
        else if (strchr(name, '.') != NULL)
            test_wrapped(name, stream);
        else
            test_others_come_back(name, stream);
        change_bytes(seed, stream.size);
        count++;
    }
    if (seeds != NULL)
        closedir(seeds);
    CHECK(count >= SEEDS_MIN);
}

/* ---- limits ---- */

static void test_content_limit(void) {
    uint8_t seed[SEED_MAX];
    ds_inflated inflated = {0};
    bool is_stream;
    ds_span stream = {seed, read_seed("zlib-6-zeros", seed)};
    CHECK(ds_inflate(stream, 8999, true, arena, &inflated, &is_stream) == DS_OK && !is_stream);
    CHECK(inflated.content.count <= 8999);
    CHECK(ds_inflate(stream, 9000, false, arena, &inflated, &is_stream) == DS_OK && is_stream);
    CHECK(inflated.content.count == 9000 && inflated.tokens.count == 0 && inflated.blocks.count == 0);
    ds_inflated_free(&inflated, arena);
}

/* Recipes by hand, for "abcabcabc": zlib makes a fixed block of it, four literals and a match of 5 (it never finds
 * the first byte). */
static void test_recipes_by_hand(void) {
    static const struct {
        const char *recipe;
        uint64_t size;
        ds_status status;
        const char *stream;
        uint64_t stream_size;
    } recipes[] = {
        {"", 0, DS_OK, "\x4b\x4c\x4a\x4e\x04\x23\x00", 7},
        /* the first block is told: its type, stored, and 9 bytes */
        {"\x03\x00\x03\x09", 4, DS_OK,
         "\x01\x09\x00\xf6\xff"
         "abcabcabc",
         14},
        /* and the bits before its length */
        {"\x04\x00\x13\x09\x1f", 5, DS_OK,
         "\xf9\x09\x00\xf6\xff"
         "abcabcabc",
         14},
        /* the fourth token is told: a match of 5 at 3; the last literal is expected then */
        {"\x00\x03\x03\x03", 4, DS_OK, "\x4b\x4c\x4a\x06\xa3\x64\x00", 7},
        {"\x00\x03\x07\x03", 4, DS_E_DELTA, "1234567", 7},             /* beyond the end */
        {"\x00\x03\x03\x04", 4, DS_E_DELTA, "1234567", 7},             /* before the start */
        {"\x00\x03\x03\x00", 4, DS_E_DELTA, "1234567", 7},             /* at no distance */
        {"\x00\x03\x03", 3, DS_E_DELTA, "1234567", 7},                 /* cut */
        {"\x00\x09\x00", 3, DS_E_DELTA, "1234567", 7},                 /* behind the last token */
        {"\x05\x00", 2, DS_E_DELTA, "1234567", 7},                     /* a section beyond the end */
        {"\x02\x00\x80", 3, DS_E_DELTA, "1234567", 7},                 /* an unknown flag */
        {"\x02\x00\x02", 3, DS_E_DELTA, "1234567", 7},                 /* stored, of no told size */
        {"\x03\x00\x03\x0a", 4, DS_E_DELTA, "12345678901234", 14},     /* of too much */
        {"\x02\x00\x08", 3, DS_E_DELTA, "1234567", 7},                 /* code lengths of a fixed block, and none */
        {"\x04\x00\x0e\x05\xe0", 5, DS_E_DELTA, "12345678901234", 14}, /* code lengths that are none */
        {"\x03\x01\x01\x04", 4, DS_E_DELTA, "1234567", 7},             /* a second block, where the first is the last */
        {"\x80\x00", 2, DS_E_DELTA, "1234567", 7},                     /* a number that is not as short as can be */
    };
    ds_deflate_style style = {.level = 6, .memory = 8, .window = 15};
    ds_span content = {(const uint8_t *)"abcabcabc", 9};
    for (size_t i = 0; i < DS_COUNT(recipes); i++) {
        uint8_t out[16];
        ds_span recipe = {(const uint8_t *)recipes[i].recipe, recipes[i].size};
        ds_status status = ds_deflate_make(content, recipe, &style, arena, out, recipes[i].stream_size);
        CHECK(status == recipes[i].status);
        CHECK(status != DS_OK || memcmp(out, recipes[i].stream, recipes[i].stream_size) == 0);
    }
}

/* Content of two letters: every search goes as far as it may. zlib takes its time, a reader ends. */
static void test_work_is_bounded(void) {
    enum { SIZE = 1 << 17 };
    uint8_t *content = malloc(SIZE), *out = malloc(SIZE);
    ds_deflate_style style = {.level = 9, .memory = 8, .window = 15};
    uint32_t random = 1;
    for (unsigned i = 0; i < SIZE; i++) {
        random = random * 1664525 + 1013904223;
        content[i] = (uint8_t)('a' + (random >> 31));
    }
    CHECK(ds_deflate_make((ds_span){content, SIZE}, (ds_span){NULL, 0}, &style, arena, out, SIZE) == DS_E_LIMIT);
    style.level = 6;
    CHECK(ds_deflate_make((ds_span){content, SIZE}, (ds_span){NULL, 0}, &style, arena, out, SIZE) == DS_E_DELTA);
    free(content);
    free(out);
}

/* Headers of streams that all fail late: the search gives up, in linear time. */
static void test_scan_is_linear(void) {
    enum { SIZE = 1 << 20 };
    uint8_t *file = malloc(SIZE);
    ds_found found = {0};
    for (unsigned i = 0; i < SIZE; i++)
        file[i] = (uint8_t)"\x78\x01\x4b\x4c\x4a\x4e"[i % 6];
    CHECK(ds_scan((ds_span){file, SIZE}, arena, &found) == DS_OK && found.streams.count == 0);
    for (unsigned i = 0; i < SIZE; i++)
        file[i] = (uint8_t)"\x89PNG\r\n\x1a\n\0\0\0\0IDAT"[i % 16];
    CHECK(ds_scan((ds_span){file, SIZE}, arena, &found) == DS_OK && found.streams.count == 0);
    for (unsigned i = 0; i < SIZE; i++)
        file[i] = (uint8_t)"\x1f\x8b\x08\x10"[i % 4];
    CHECK(ds_scan((ds_span){file, SIZE}, arena, &found) == DS_OK && found.streams.count == 0);
    ds_found_free(&found, arena);
    free(file);
}

int main(void) {
    arena = ds_arena_open(UINT64_C(1) << 28);
    test_canonical_codes();
    test_symbols();
    test_lengths_are_cut();
    test_bad_code_lengths();
    test_style_numbers();
    test_content_limit();
    test_recipes_by_hand();
    test_work_is_bounded();
    test_scan_is_linear();
    test_seeds();
    ds_arena_close(arena);
    return checks_done();
}
