/* Any bytes as a delta: ds_apply must end with a status, inside its limits, and give what it promised.
 *
 * The old image is the one of some fixed ones that has the size which the delta states: no bytes, words, small
 * images of both formats and both instruction sets, with exceptions, with compressed streams, with names, with paddings, signed,
 * two joined. The total length is set right, since no fuzzer would guess it. The seeds carry no digests, so that only the decoder
 * stands in the way; `./dev golden` makes them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

#define OUTPUT_LIMIT ((uint64_t)1 << 15) /* above every image here; more would only cost time */
#define MEMORY_LIMIT ((uint64_t)1 << 27)
#define FLAGS_AT 5
#define TOTAL_AT 9 /* of the number in the header that is set right */
#define TOTAL_AT_MODELLED 6
#define NUMBER_MAX 10
#define EXPLAINED 16 /* one in so many is explained too, which takes several times as long as applying */
#define WORDS 4096

/* From this folder. Each has a size of its own. */
static const char *const image_names[] = {"seeds/image/throws.so",
                                          "../../tests/spec/golden/x86-64.old",
                                          "seeds/image/lazy.so",
                                          "seeds/image/arm64.so",
                                          "seeds/image/classic.dylib",
                                          "seeds/image/listed.dylib",
                                          "seeds/deflate/wrapped.zlib",
                                          "../../tests/spec/golden/aarch64.old",
                                          "../../tests/spec/golden/mach-o.old",
                                          "../../tests/spec/golden/packed.old",
                                          "../../tests/spec/golden/renamed.old",
                                          "../../tests/spec/golden/padded.old"};
#define IMAGES DS_COUNT(image_names)

#define JOINED 2 /* the first of them, as one old image of several files */

/* Old images, read once: words at the front, joined ones and no bytes behind. */
static uint8_t words[WORDS];
static uint8_t *images[IMAGES], *joined;
static ds_span olds[IMAGES + 3];

static ds_span read_image(const char *name, uint8_t **bytes) {
    char path[1024];
    const char *here = __FILE__, *end = strrchr(here, '/');
    snprintf(path, sizeof path, "%.*s/%s", (int)(end - here), here, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        abort();
    long size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0)
        abort();
    *bytes = malloc((size_t)size);
    if (*bytes == NULL || fread(*bytes, 1, (size_t)size, file) != (size_t)size)
        abort();
    fclose(file);
    return (ds_span){*bytes, (uint64_t)size};
}

static void read_images(void) {
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = (uint8_t)(i * i >> 5);
    olds[0] = (ds_span){words, WORDS};
    for (unsigned i = 0; i < IMAGES; i++)
        olds[i + 1] = read_image(image_names[i], &images[i]);
    uint64_t size = 0;
    for (unsigned i = 1; i <= JOINED; i++)
        size += olds[i].size;
    joined = malloc(size);
    if (joined == NULL)
        abort();
    olds[IMAGES + 1].data = joined;
    for (unsigned i = 1; i <= JOINED; i++) {
        memcpy(joined + olds[IMAGES + 1].size, olds[i].data, olds[i].size);
        olds[IMAGES + 1].size += olds[i].size;
    }
}

/* Flag bit 3: coded by the model. */
static bool is_modelled(const uint8_t *data, size_t size) {
    return size > FLAGS_AT && data[FLAGS_AT] & 8;
}

/* A copy with the total length set; NULL where the delta ends before it. */
static uint8_t *fit(const uint8_t *data, size_t size, size_t *fitted) {
    size_t total_at = is_modelled(data, size) ? TOTAL_AT_MODELLED : TOTAL_AT, behind = total_at;
    while (behind < size && behind < total_at + NUMBER_MAX - 1 && data[behind] >= 0x80)
        behind++;
    if (behind++ >= size)
        return NULL;
    uint8_t *copy = malloc(size + NUMBER_MAX);
    if (copy == NULL)
        return NULL;
    size_t others = total_at + size - behind, length = 1;
    while ((others + length) >> 7 * length != 0)
        length++;
    *fitted = others + length;
    memcpy(copy, data, total_at);
    for (size_t i = 0; i < length; i++)
        copy[total_at + i] = (uint8_t)((*fitted >> 7 * i & 0x7f) | (i + 1 < length ? 0x80 : 0));
    memcpy(copy + total_at + length, data + behind, size - behind);
    return copy;
}

typedef struct received {
    uint64_t bytes, sum;
} received;

static bool receive(void *context, const uint8_t *data, size_t size) {
    received *r = context;
    for (size_t i = 0; i < size; i++)
        r->sum += data[i]; /* all of it must be there */
    r->bytes += size;
    return true;
}

/* Explaining ends as applying did, or has no memory for what it adds; every cost can be read. */
static void explain(ds_span old, ds_span delta, const ds_limits *limits, ds_status applied) {
    static const uint64_t bounds[] = {0, 1, 100, 4096, OUTPUT_LIMIT};
    ds_explanation *explanation;
    ds_status status =
        ds_explain(old.data, old.size, delta.data, delta.size, limits, bounds, DS_COUNT(bounds), &explanation);
    if (status != applied && status != DS_E_MEMORY)
        abort();
    if (status != DS_OK)
        return;
    uint64_t sum = 0, count;
    unsigned kinds = 0;
    while (ds_explained_kind(explanation, kinds) != NULL)
        kinds++;
    for (uint64_t i = 0; i < (DS_COUNT(bounds) + 1) * kinds; i++)
        sum += ds_explained_costs(explanation)[i];
    const uint64_t *blocks = ds_explained_blocks(explanation, &count);
    for (uint64_t i = 0; i < 3 * count; i++)
        sum += blocks[i];
    if (sum == UINT64_MAX)
        abort();
    ds_explain_free(explanation);
}

static ds_status apply(ds_span delta, const ds_delta_info *info, bool explained) {
    static const ds_limits limits = {OUTPUT_LIMIT, MEMORY_LIMIT};
    for (size_t i = 0; i < DS_COUNT(olds); i++) {
        if (olds[i].size != info->old_size)
            continue;
        received r = {0};
        ds_status status = ds_apply(olds[i].data, olds[i].size, delta.data, delta.size, &limits, receive, &r);
        if (status == DS_E_ARGUMENT || status == DS_E_CANCELLED || r.bytes > OUTPUT_LIMIT)
            abort();
        if (status == DS_OK && r.bytes != info->new_size)
            abort();
        if (explained)
            explain(olds[i], delta, &limits, status);
        return status;
    }
    return DS_E_OLD;
}

static ds_status fuzz_one(const uint8_t *data, size_t size, bool explained) {
    size_t fitted;
    ds_delta_info info;
    if (images[0] == NULL)
        read_images();
    uint8_t *delta = fit(data, size, &fitted);
    ds_status status = delta == NULL ? DS_E_DELTA : ds_inspect(delta, fitted, &info);
    if (status == DS_OK)
        status = apply((ds_span){delta, fitted}, &info, explained);
    free(delta);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += data[i];
    fuzz_one(data, size, sum % EXPLAINED == 0);
    return 0;
}
