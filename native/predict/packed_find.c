/* Which streams are worth taking apart; see packed.h.
 *
 * A stream of the new image is listed if the old one does not have it byte for byte, some old stream resembles it, and
 * it comes back from content and recipe. Resemblance is counted in samples: positions of the content whose next
 * SAMPLE_BYTES have a hash that ends in zeros. Of the old streams only those are listed that a new one resembles most.
 */
#include "base/pool.h"
#include "predict/packed.h"

#define SAMPLE_BYTES 16
#define SAMPLE_ONE_IN 16
#define SAMPLES_MANY ((uint64_t)1 << 19) /* where there would be more of one side, they are thinned */
/* Of a sample that stands in several old streams so many are counted. */
#define SAME_SAMPLES 4
/* Listed where at least one sample in SHARE is shared, and the recipe does not eat up what that saves. */
#define SHARE 8
#define LISTING_COST 32
#define RECIPE_SHARE 4
/* A longer recipe is expected to resemble the old one's. */
#define RECIPE_LONG 32
#define NOBODY UINT64_MAX

/* Something of a stream: of its content, or all of its bytes. */
typedef struct sample {
    uint64_t hash, stream;
} sample;

typedef struct samples {
    DS_VEC(sample) list;
} samples;

typedef struct side {
    ds_span file;
    ds_found found;
    uint64_t *keys; /* what each stream's bytes are hashed to */
    samples sorted; /* the same, in order */
} side;

typedef struct finder {
    side sides[2]; /* old, new */
    ds_arena *arena;
    samples old_samples;
    uint64_t sample_mask;
    uint64_t *shared; /* of each old stream: samples that the new one under way has too */
    bool *is_partner;
    ds_deflate_style *partner_style;
    bool *partner_recipe;
    ds_packed_both *both;
} finder;

/* ---- samples ---- */

static bool is_less(const sample *a, const sample *b) {
    return a->hash != b->hash ? a->hash < b->hash : a->stream < b->stream;
}

static void sink(sample *heap, uint64_t count, uint64_t at) {
    sample top = heap[at];
    for (uint64_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && is_less(&heap[child], &heap[child + 1]);
        if (!is_less(&top, &heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = top;
}

static void sort_few(sample *items, uint64_t all) {
    for (uint64_t at = all / 2; at > 0; at--)
        sink(items, all, at - 1);
    for (uint64_t count = all; count > 1; count--) {
        sample last = items[count - 1];
        items[count - 1] = items[0];
        items[0] = last;
        sink(items, count - 1, 0);
    }
}

#define RADIX_BITS 11
#define RADIX_PASSES 3 /* over the upper bits: nearly all differ in them */
#define MANY 4096

static void radix_pass(const sample *from, sample *to, uint64_t count, unsigned shift) {
    uint32_t places[1u << RADIX_BITS] = {0}, sum = 0;
    uint64_t mask = DS_COUNT(places) - 1;
    for (uint64_t i = 0; i < count; i++)
        places[from[i].hash >> shift & mask]++;
    for (uint64_t i = 0; i <= mask; i++) {
        uint32_t here = places[i];
        places[i] = sum;
        sum += here;
    }
    for (uint64_t i = 0; i < count; i++)
        to[places[from[i].hash >> shift & mask]++] = from[i];
}

/* Those whose upper bits are equal stand together, and are few. */
static void sort_neighbours(sample *items, uint64_t count) {
    unsigned shift = 64 - RADIX_PASSES * RADIX_BITS;
    for (uint64_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && items[to].hash >> shift == items[from].hash >> shift;)
            to++;
        sort_few(items + from, to - from);
    }
}

static ds_status sort_many(samples *s, ds_arena *arena) {
    uint64_t count = s->list.count;
    sample *items = s->list.items, *spare = ds_arena_alloc(arena, count * sizeof *spare);
    if (spare == NULL)
        return DS_E_MEMORY;
    for (unsigned pass = 0; pass < RADIX_PASSES; pass++) {
        radix_pass(items, spare, count, 64 - (RADIX_PASSES - pass) * RADIX_BITS);
        sample *swap = items;
        items = spare;
        spare = swap;
    }
    sort_neighbours(items, count);
    s->list.items = items;
    s->list.capacity = count;
    ds_arena_free(arena, spare);
    return DS_OK;
}

/* Sorts, and leaves each pair of hash and stream once. */
static ds_status settle_samples(samples *s, ds_arena *arena) {
    if (s->list.count < MANY)
        sort_few(s->list.items, s->list.count);
    else
        DS_TRY(sort_many(s, arena));
    sample *items = s->list.items;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < s->list.count; i++)
        if (i == 0 || is_less(&items[i - 1], &items[i]))
            items[kept++] = items[i];
    s->list.count = kept;
    return DS_OK;
}

/* The first sample of at least that hash, from `low` on: looked for farther and farther away, then between. */
static uint64_t next_sample(const samples *s, uint64_t low, uint64_t hash) {
    uint64_t high = low;
    for (uint64_t step = 1; high < s->list.count && s->list.items[high].hash < hash; step *= 2) {
        low = high + 1;
        high += step;
    }
    high = high < s->list.count ? high : s->list.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (s->list.items[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t first_sample(const samples *s, uint64_t hash) {
    return next_sample(s, 0, hash);
}

static ds_status add_sample(samples *to, uint64_t hash, uint64_t stream, ds_arena *arena) {
    DS_TRY(DS_VEC_RESERVE(arena, &to->list, to->list.count + 1));
    to->list.items[to->list.count++] = (sample){hash, stream};
    return DS_OK;
}

/* ---- streams that stand in both images ---- */

static uint64_t key_of(const side *s, const ds_found_stream *stream) {
    uint8_t digest[DS_DIGEST_SIZE];
    ds_sha256_state hash;
    ds_sha256_open(&hash);
    for (uint64_t i = 0; i < stream->count; i++) {
        const ds_piece *piece = &s->found.pieces.items[stream->first + i];
        ds_sha256_add(&hash, s->file.data + piece->offset, piece->size);
    }
    ds_sha256_close(&hash, digest);
    return ds_load64(digest);
}

static ds_status scan_side(void *context, uint64_t index) {
    finder *f = context;
    side *s = &f->sides[index];
    DS_TRY(ds_scan(s->file, f->arena, &s->found));
    s->keys = ds_arena_alloc(f->arena, s->found.streams.count * sizeof *s->keys);
    if (s->keys == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < s->found.streams.count; i++) {
        s->keys[i] = key_of(s, &s->found.streams.items[i]);
        DS_TRY(add_sample(&s->sorted, s->keys[i], i, f->arena));
    }
    return settle_samples(&s->sorted, f->arena);
}

static bool has_key(const side *s, uint64_t key) {
    uint64_t at = first_sample(&s->sorted, key);
    return at < s->sorted.list.count && s->sorted.list.items[at].hash == key;
}

/* ---- resemblance ---- */

static uint64_t sample_hash(const uint8_t *at) {
    uint64_t hash = (ds_load64(at) ^ ds_load64(at + 8) * UINT64_C(0x9E3779B97F4A7C15)) * UINT64_C(0xD6E8FEB86659FD93);
    return hash ^ hash >> 32;
}

/* Adds the samples of one content, without those that repeat the one before. */
static ds_status add_samples(const finder *f, samples *to, ds_span content, uint64_t stream) {
    uint64_t before = 0;
    for (uint64_t at = 0; at + SAMPLE_BYTES <= content.size; at++) {
        uint64_t hash = sample_hash(content.data + at);
        if (hash & f->sample_mask || hash == before)
            continue;
        DS_TRY(add_sample(to, hash, stream, f->arena));
        before = hash;
    }
    return DS_OK;
}

/* The old stream that shares most samples with this content, the first of equal ones; NOBODY where too few are shared.
 * *share: how many of 256. */
static ds_status find_partner(finder *f, ds_span content, uint64_t *partner, uint64_t *share) {
    samples mine = {0};
    uint64_t count = f->sides[0].found.streams.count;
    DS_TRY(add_samples(f, &mine, content, 0));
    DS_TRY(settle_samples(&mine, f->arena));
    memset(f->shared, 0, count * sizeof *f->shared);
    for (uint64_t i = 0, next = 0; i < mine.list.count; i++) {
        uint64_t at = next = next_sample(&f->old_samples, next, mine.list.items[i].hash);
        for (uint64_t n = 0; n < SAME_SAMPLES && at < f->old_samples.list.count &&
                             f->old_samples.list.items[at].hash == mine.list.items[i].hash;
             n++, at++)
            f->shared[f->old_samples.list.items[at].stream]++;
    }
    uint64_t best = 0;
    for (uint64_t i = 1; i < count; i++)
        best = f->shared[i] > f->shared[best] ? i : best;
    bool resembles =
        mine.list.count > 0 && count > 0 && f->shared[best] > 0 && f->shared[best] * SHARE >= mine.list.count;
    *partner = resembles ? best : NOBODY;
    *share = resembles ? f->shared[best] * 256 / mine.list.count : 0;
    DS_VEC_FREE(f->arena, &mine.list);
    return DS_OK;
}

/* ---- one stream ---- */

/* Its bytes: in the file, or gathered (then *owned, to be freed). */
static ds_status bytes_of(ds_span file, const ds_piece *pieces, uint64_t count, uint64_t size, ds_arena *arena,
                          uint8_t **owned, ds_span *bytes) {
    *owned = NULL;
    *bytes = (ds_span){file.data + pieces[0].offset, size};
    if (count == 1)
        return DS_OK;
    *owned = ds_arena_alloc(arena, size);
    if (*owned == NULL)
        return DS_E_MEMORY;
    ds_pieces_gather(file, pieces, count, *owned);
    bytes->data = *owned;
    return DS_OK;
}

/* One in so many of all positions, on both sides the same. */
static void choose_samples(finder *f) {
    uint64_t most = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t content = 0;
        for (uint64_t n = 0; n < f->sides[i].found.streams.count; n++)
            content += f->sides[i].found.streams.items[n].content_size;
        most = content > most ? content : most;
    }
    uint64_t one_in = SAMPLE_ONE_IN;
    while (most / one_in > SAMPLES_MANY)
        one_in *= 2;
    f->sample_mask = one_in - 1;
}

static ds_status sample_old(finder *f) {
    const side *s = &f->sides[0];
    ds_inflated inflated = {0};
    uint64_t room = DS_TAILS_MAX;
    for (uint64_t i = 0; i < s->found.streams.count; i++) {
        const ds_found_stream *stream = &s->found.streams.items[i];
        uint8_t *owned;
        ds_span bytes;
        bool is_stream;
        if (has_key(&f->sides[1], s->keys[i]) || stream->content_size > room)
            continue;
        room -= stream->content_size;
        DS_TRY(bytes_of(s->file, &s->found.pieces.items[stream->first], stream->count, stream->size, f->arena, &owned,
                        &bytes));
        DS_TRY(ds_inflate(bytes, stream->content_size, false, f->arena, &inflated, &is_stream));
        DS_TRY(add_samples(f, &f->old_samples, (ds_span){inflated.content.items, inflated.content.count}, i));
        ds_arena_free(f->arena, owned);
    }
    ds_inflated_free(&inflated, f->arena);
    return settle_samples(&f->old_samples, f->arena);
}

static ds_status add_tail(ds_packed_side *to, const uint8_t *bytes, uint64_t size, ds_arena *arena) {
    DS_TRY(DS_VEC_RESERVE(arena, &to->tail, to->tail.count + size + 1));
    if (size > 0)
        memcpy(to->tail.items + to->tail.count, bytes, size);
    to->tail.count += size;
    return DS_OK;
}

static ds_status list_stream(ds_packed_side *to, const side *s, const ds_found_stream *stream, const ds_packed *packed,
                             ds_arena *arena) {
    ds_packed listed = *packed;
    listed.first = to->pieces.count;
    listed.count = stream->count;
    listed.size = stream->size;
    DS_TRY(DS_VEC_RESERVE(arena, &to->streams, to->streams.count + 1));
    DS_TRY(DS_VEC_RESERVE(arena, &to->pieces, to->pieces.count + stream->count));
    to->streams.items[to->streams.count++] = listed;
    for (uint64_t i = 0; i < stream->count; i++)
        to->pieces.items[to->pieces.count++] = s->found.pieces.items[stream->first + i];
    return DS_OK;
}

static bool has_room(const ds_packed_side *side, const ds_found_stream *stream) {
    return side->streams.count < DS_PACKED_STREAMS_MAX && side->pieces.count + stream->count <= DS_PACKED_PIECES_MAX;
}

/* Whether content and recipe give the stream. */
static ds_status is_proved(const ds_inflated *inflated, ds_span recipe, const ds_deflate_style *style, ds_span bytes,
                           ds_arena *arena, bool *proved) {
    uint8_t *made = ds_arena_alloc(arena, bytes.size);
    if (made == NULL)
        return DS_E_MEMORY;
    ds_span content = {inflated->content.items, inflated->content.count};
    ds_status status = ds_deflate_make(content, recipe, style, arena, made, bytes.size);
    *proved = status == DS_OK && memcmp(made, bytes.data, bytes.size) == 0;
    ds_arena_free(arena, made);
    return status == DS_E_MEMORY ? status : DS_OK;
}

/* Tail that the old side will have with this stream: its content, and a recipe of about that size. */
static uint64_t old_tail_with(const finder *f, uint64_t partner, uint64_t recipe_size) {
    uint64_t size = 0;
    for (uint64_t i = 0; i < f->sides[0].found.streams.count; i++)
        if (f->is_partner[i] || i == partner)
            size += f->sides[0].found.streams.items[i].content_size;
    return size + 2 * recipe_size;
}

static ds_status weigh_stream(finder *f, const ds_found_stream *stream, ds_span bytes, ds_inflated *inflated,
                              ds_recipe *recipe) {
    ds_packed_side *to = &f->both->new_side;
    bool is_stream, proved;
    uint64_t partner, share;
    ds_packed packed = {.has_recipe = true, .content_size = stream->content_size};
    DS_TRY(ds_inflate(bytes, stream->content_size, true, f->arena, inflated, &is_stream));
    DS_TRY(find_partner(f, (ds_span){inflated->content.items, inflated->content.count}, &partner, &share));
    if (!is_stream || partner == NOBODY)
        return DS_OK;
    DS_TRY(ds_style_guess(inflated, stream->window, f->arena, &packed.style));
    ds_status status = ds_recipe_write(inflated, bytes, &packed.style, f->arena, recipe);
    if (status != DS_OK)
        return status == DS_E_LIMIT ? DS_OK : status;
    ds_span told = {recipe->bytes.items, recipe->bytes.count};
    packed.recipe_size = told.size;
    if (share * bytes.size / 256 < told.size / RECIPE_SHARE + LISTING_COST)
        return DS_OK;
    uint64_t old_tail = old_tail_with(f, partner, told.size),
             new_tail = to->tail.count + packed.content_size + told.size;
    if (!ds_tails_fit(old_tail, new_tail, f->sides[1].file.size))
        return DS_OK;
    DS_TRY(is_proved(inflated, told, &packed.style, bytes, f->arena, &proved));
    if (!proved)
        return DS_OK;
    f->is_partner[partner] = true;
    if (told.size > RECIPE_LONG && !f->partner_recipe[partner]) {
        f->partner_recipe[partner] = true;
        f->partner_style[partner] = packed.style;
    }
    DS_TRY(list_stream(to, &f->sides[1], stream, &packed, f->arena));
    DS_TRY(add_tail(to, inflated->content.items, inflated->content.count, f->arena));
    return add_tail(to, told.data, told.size, f->arena);
}

static ds_status list_new(finder *f) {
    const side *s = &f->sides[1];
    ds_inflated inflated = {0};
    ds_recipe recipe = {0};
    for (uint64_t i = 0; i < s->found.streams.count; i++) {
        const ds_found_stream *stream = &s->found.streams.items[i];
        uint8_t *owned;
        ds_span bytes;
        if (has_key(&f->sides[0], s->keys[i]) || !has_room(&f->both->new_side, stream) ||
            stream->content_size > DS_TAILS_MAX)
            continue;
        DS_TRY(bytes_of(s->file, &s->found.pieces.items[stream->first], stream->count, stream->size, f->arena, &owned,
                        &bytes));
        DS_TRY(weigh_stream(f, stream, bytes, &inflated, &recipe));
        ds_arena_free(f->arena, owned);
    }
    ds_inflated_free(&inflated, f->arena);
    DS_VEC_FREE(f->arena, &recipe.bytes);
    return DS_OK;
}

static ds_status list_old(finder *f) {
    const side *s = &f->sides[0];
    for (uint64_t i = 0; i < s->found.streams.count; i++) {
        ds_packed packed = {.has_recipe = f->partner_recipe[i], .style = f->partner_style[i]};
        if (f->is_partner[i] && has_room(&f->both->old_side, &s->found.streams.items[i]))
            DS_TRY(list_stream(&f->both->old_side, s, &s->found.streams.items[i], &packed, f->arena));
    }
    return DS_OK;
}

/* ---- all ---- */

static ds_status open_partners(finder *f) {
    uint64_t count = f->sides[0].found.streams.count;
    f->shared = ds_arena_alloc(f->arena, count * sizeof *f->shared);
    f->is_partner = ds_arena_alloc(f->arena, count * sizeof *f->is_partner);
    f->partner_style = ds_arena_alloc(f->arena, count * sizeof *f->partner_style);
    f->partner_recipe = ds_arena_alloc(f->arena, count * sizeof *f->partner_recipe);
    bool all = f->shared != NULL && f->is_partner != NULL && f->partner_style != NULL && f->partner_recipe != NULL;
    return all ? DS_OK : DS_E_MEMORY;
}

/* Recipes of old streams are not known before: where the tails do not fit, or one cannot be written in time, there are
 * none at all. */
static ds_status unpack_old(finder *f) {
    ds_packed_side *old_side = &f->both->old_side;
    uint64_t new_tail = f->both->new_side.tail.count;
    ds_status status = ds_packed_unpack(old_side, f->sides[0].file, DS_TAILS_MAX - new_tail, f->arena);
    for (uint64_t i = 0; status == DS_E_LIMIT && i < old_side->streams.count; i++)
        old_side->streams.items[i].has_recipe = false;
    return status == DS_E_LIMIT ? ds_packed_unpack(old_side, f->sides[0].file, DS_TAILS_MAX - new_tail, f->arena)
                                : status;
}

static ds_status find(finder *f, unsigned threads) {
    DS_TRY(ds_pool_run(threads, 2, scan_side, f));
    if (f->sides[0].found.streams.count == 0 || f->sides[1].found.streams.count == 0)
        return DS_OK;
    DS_TRY(open_partners(f));
    choose_samples(f);
    DS_TRY(sample_old(f));
    DS_TRY(list_new(f));
    DS_TRY(list_old(f));
    DS_TRY(ds_packed_settle(&f->both->new_side, f->arena));
    return unpack_old(f);
}

ds_status ds_packed_find(ds_span old_file, ds_span new_file, unsigned threads, ds_arena *arena, ds_packed_both *both) {
    finder f = {.sides = {{.file = old_file}, {.file = new_file}}, .arena = arena, .both = both};
    *both = (ds_packed_both){0};
    ds_status status = find(&f, threads);
    for (unsigned i = 0; i < 2; i++) {
        ds_found_free(&f.sides[i].found, arena);
        ds_arena_free(arena, f.sides[i].keys);
        DS_VEC_FREE(arena, &f.sides[i].sorted.list);
    }
    DS_VEC_FREE(arena, &f.old_samples.list);
    ds_arena_free(arena, f.shared);
    ds_arena_free(arena, f.is_partner);
    ds_arena_free(arena, f.partner_style);
    ds_arena_free(arena, f.partner_recipe);
    return status;
}
