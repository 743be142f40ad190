/* Creating: parse both images, match, walk; the streams are handed up raw. */
#include <stdlib.h>

#include "base/pool.h"
#include "delta/container.h"
#include "delta/follow.h"
#include "delta/opened.h"
#include "delta/packed_layout.h"
#include "delta/prepared.h"
#include "delta/walk.h"
#include "image/found.h"
#include "image/refs.h"
#include "match/match.h"

struct ds_creation {
    ds_arena *arena;
    ds_stream_writer writer;
    ds_code_parts parts;
    ds_model *model;
    ds_span modelled;
    unsigned table;
    uint32_t without; /* as asked for */
    ds_opened *opened;
    bool has_parsed, proved;
    uint64_t helped, harmed;
};

#define ROUNDS_SMALL 5
#define ROUNDS_LARGE 4
#define LARGE_IMAGE ((uint64_t)20 << 20) /* a fifth round costs more there than it saves */

/* Matching is nearly all of the time: the first 900 of 1000. */
static bool tell_round(void *context, unsigned round, unsigned rounds) {
    const ds_create_options *options = context;
    return options->progress == NULL || options->progress(options->context, 50 + 850 * round / rounds);
}

static ds_status read_image(ds_span file, bool plain, ds_arena *arena, ds_image *image) {
    if (!plain)
        return ds_image_parse(file, arena, image);
    *image = (ds_image){.file = file, .arena = arena};
    return DS_OK;
}

typedef struct images {
    ds_span files[2]; /* old, new */
    ds_image images[2];
    const ds_create_options *options;
    const ds_prepared *prepared; /* the old image is read already */
    ds_arena *arena;
} images;

static ds_status drop_kinds(ds_image *image, uint64_t kinds) {
    ds_ref_cursor cursor;
    ds_ref ref;
    DS_TRY(DS_VEC_RESERVE(image->arena, &image->found, image->refs.count + DS_FOUND_BEFORE));
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &ref))
        if (!(kinds >> ds_ref_kind_of(&ref) & 1))
            DS_TRY(ds_found_ref_add(image, &ref));
    ds_refs_free(image);
    return ds_image_settle(image);
}

static ds_status read_side(void *context, uint64_t side) {
    images *both = context;
    const ds_create_options *options = both->options;
    ds_span file = both->files[side];
    ds_image *image = &both->images[side];
    if (side == 0 && both->prepared != NULL) {
        *image = both->prepared->image;
        return DS_OK;
    }
    if (side == 0 && options->part_count > 0)
        DS_TRY(ds_image_parse_joined(file, options->part_sizes, options->part_count, both->arena, image));
    else
        DS_TRY(read_image(file, options->plain, both->arena, image));
    if (options->without_kinds != 0)
        DS_TRY(drop_kinds(image, options->without_kinds));
    return DS_OK;
}

/* What is computed in the new image, and what that needs of both; and what was renamed. */
typedef struct computed {
    ds_derivations derivations;
    ds_packed_both packed;
    ds_renames renames;
} computed;

/* Blocks between two images with their tails, clear of what is computed. */
static ds_status match(const ds_image *old_image, const ds_image *new_image, computed *made,
                       const ds_match_options *options, ds_arena *arena, ds_blocks *blocks) {
    const ds_packed_side *packed = &made->packed.new_side;
    DS_TRY(ds_match(old_image, new_image, options, arena, blocks, &made->renames));
    ds_derive_choose_lists(&made->derivations, old_image, new_image, blocks->list.items,
                           ds_blocks_before(blocks, new_image->file.size));
    DS_TRY(ds_derive_clip(&made->derivations, blocks, arena));
    return packed->streams.count == 0
               ? DS_OK
               : ds_packed_clip(packed, old_image->file.size, new_image->file.size, blocks, arena);
}

static void take_balance(ds_creation *creation, const ds_coder *coder) {
    creation->helped = coder->helped;
    creation->harmed = coder->harmed;
}

/* How the delta will say that its images are to be read. */
static ds_delta_info describe(const ds_image *old_image, const ds_image *new_image, const ds_create_options *options) {
    ds_delta_info info = {.old_size = old_image->file.size,
                          .new_size = new_image->file.size,
                          .plain = options->plain,
                          .modelled = options->modelled,
                          .part_count = options->part_count};
    memcpy(info.part_sizes, options->part_sizes, sizeof info.part_sizes);
    return info;
}

/* What the writer leaves, at most one part in so many, is for the old image that the proof reads meanwhile. */
#define OPENED_SHARE 2

/* Where there is no memory or no thread for it, the proof begins afterwards. */
static bool begin_opening(ds_creation *creation, ds_span old_file, const ds_delta_info *info) {
    uint64_t memory = ds_arena_left(creation->arena) / OPENED_SHARE;
    return ds_opened_start(&creation->opened, old_file, info, memory) == DS_OK;
}

static ds_status write_streams(ds_creation *creation, const ds_image *old_image, const ds_image *new_image,
                               const ds_create_options *options, computed *made, ds_blocks *blocks) {
    ds_coder coder = {.writing = true, .writer = &creation->writer, .without = creation->without};
    creation->writer.arena = creation->arena;
    if (options->prove && options->threads > 1) {
        ds_delta_info info = describe(old_image, new_image, options);
        (void)begin_opening(creation, old_image->file, &info);
    }
    DS_TRY(ds_walk_write(old_image, new_image, &made->derivations, &made->packed, &made->renames, blocks, &coder, NULL,
                         &creation->parts, creation->arena));
    take_balance(creation, &coder);
    return DS_OK;
}

/* Lines of counters for what is to be coded: sixteen for each byte that no block covers. */
#define LINES_A_LITERAL 16
#define TABLE_MIN 16 /* what is taught has room too */
#define LINE_SIZE 64
#define TABLE_SHARE 2 /* of the memory that is left, at most one in so many */

static unsigned choose_table(const computed *made, const ds_blocks *blocks, uint64_t new_size, uint64_t memory) {
    const ds_packed_side *packed = &made->packed.new_side;
    uint64_t literals = new_size;
    for (uint64_t i = 0; i < made->derivations.list.count; i++)
        if (ds_derivation_is_whole(&made->derivations.list.items[i]))
            literals -= made->derivations.list.items[i].limit;
    for (uint64_t i = 0; i < packed->streams.count; i++)
        literals -= packed->streams.items[i].size;
    for (uint64_t i = 0; i < blocks->list.count; i++)
        literals -= blocks->list.items[i].length;
    uint64_t wanted = (literals + blocks->list.count) * LINES_A_LITERAL;
    uint64_t units = wanted / DS_TABLE_UNIT, most = memory / TABLE_SHARE / (DS_TABLE_UNIT * LINE_SIZE);
    units = units < most ? units : most;
    units = units > TABLE_MIN ? units : TABLE_MIN;
    return units < DS_TABLE_MAX ? (unsigned)units : DS_TABLE_MAX;
}

/* Who proves the delta while it is written, and what he is told of it. */
typedef struct proof {
    ds_delta_info info;
    ds_relay *relay;
    ds_follower *follower;
} proof;

/* Where there is no memory or no thread for it, the delta is proved afterwards. */
static void begin_proof(ds_creation *creation, const ds_image *old_image, const ds_image *new_image,
                        const ds_create_options *options, proof *p) {
    p->info = describe(old_image, new_image, options);
    p->info.table = creation->table;
    if (begin_opening(creation, old_image->file, &p->info) && ds_relay_open(&p->relay, creation->arena) == DS_OK &&
        ds_follower_start(&p->follower, creation->opened, old_image->file, new_image->file, &p->info, p->relay,
                          creation->arena) == DS_OK)
        ds_model_relay(creation->model, p->relay);
}

static bool end_proof(proof *p) {
    if (p->relay != NULL)
        ds_relay_end(p->relay);
    bool proved = ds_follower_end(p->follower);
    ds_relay_free(p->relay);
    return proved;
}

static ds_status code_modelled(ds_creation *creation, const ds_image *old_image, const ds_image *new_image,
                               computed *made, ds_blocks *blocks, ds_targets *targets) {
    ds_coder coder = {
        .writing = true, .model = creation->model, .landmarks = &targets->landmarks, .without = creation->without};
    DS_TRY(ds_walk_write(old_image, new_image, &made->derivations, &made->packed, &made->renames, blocks, &coder,
                         targets, NULL, creation->arena));
    take_balance(creation, &coder);
    return ds_model_finish(creation->model, &creation->modelled);
}

static ds_status write_modelled(ds_creation *creation, const ds_image *old_image, const ds_image *new_image,
                                const ds_create_options *options, computed *made, ds_blocks *blocks) {
    ds_targets targets;
    proof proof = {0};
    DS_TRY(ds_targets_rank(&targets, old_image, creation->arena));
    creation->table = choose_table(made, blocks, ds_image_size(new_image), ds_arena_left(creation->arena));
    DS_TRY(ds_model_open_write(&creation->model, ds_decision_rows, DS_DECISIONS, creation->table * DS_TABLE_UNIT,
                               creation->arena));
    if (options->prove && options->threads > 1)
        begin_proof(creation, old_image, new_image, options, &proof);
    ds_status status = code_modelled(creation, old_image, new_image, made, blocks, &targets);
    creation->proved = end_proof(&proof);
    if (creation->proved)
        ds_opened_free(ds_create_take_opened(creation));
    ds_targets_close(&targets);
    return status;
}

/* Matching takes at least so many bytes for one of the old, and of the new image, with their tails; and some beside. */
#define MATCH_OLD 3
#define MATCH_NEW 2
#define MATCH_BESIDE ((uint64_t)16 << 20)

/* Whether there is memory to match the tails too; a rule, so that any number of threads lists the same. */
static bool has_memory(const ds_packed_both *packed, uint64_t old_size, uint64_t new_size, ds_arena *arena) {
    uint64_t old_bytes = old_size + packed->old_side.tail.count, new_bytes = new_size + packed->new_side.tail.count;
    return MATCH_OLD * old_bytes + MATCH_NEW * new_bytes + MATCH_BESIDE <= ds_arena_left(arena);
}

/* Compressed streams that are worth it; none where they take more memory than there is. */
static ds_status find_packed(const ds_image *old_image, const ds_image *new_image, const ds_create_options *options,
                             ds_arena *arena, computed *made) {
    ds_packed_both *packed = &made->packed;
    ds_status status = ds_packed_find(old_image->file, new_image->file, options->threads, arena, packed);
    if (status != DS_OK && status != DS_E_MEMORY)
        return status;
    if (status == DS_E_MEMORY || !ds_packed_is_apart(&packed->new_side, &made->derivations) ||
        !has_memory(packed, old_image->file.size, new_image->file.size, arena))
        ds_packed_free(packed, arena);
    return DS_OK;
}

static ds_status find_computed(ds_image *old_image, ds_image *new_image, const ds_create_options *options,
                               ds_arena *arena, computed *made) {
    ds_packed_both *packed = &made->packed;
    if (!options->plain && !(options->without & DS_WITHOUT_DERIVATIONS))
        DS_TRY(ds_derive_find(new_image, arena, &made->derivations));
    if (!(options->without & DS_WITHOUT_DERIVATIONS))
        DS_TRY(ds_derive_find_lists(new_image, arena, &made->derivations));
    if (!options->plain && !(options->without & DS_WITHOUT_FRAMES))
        DS_TRY(ds_derive_find_frames(old_image, new_image, arena, &made->derivations));
    if (!(options->without & DS_WITHOUT_DEFLATE))
        DS_TRY(find_packed(old_image, new_image, options, arena, made));
    old_image->tail = (ds_span){packed->old_side.tail.items, packed->old_side.tail.count};
    new_image->tail = (ds_span){packed->new_side.tail.items, packed->new_side.tail.count};
    return DS_OK;
}

/* What was prepared, where it is of this image and of any use. */
static const ds_prepared *prepared_for(ds_span old_file, const ds_create_options *options) {
    const ds_prepared *prepared = options->prepared;
    if (prepared == NULL || options->plain || options->part_count > 0 || options->without != 0 ||
        options->without_kinds != 0)
        return NULL;
    return prepared->image.file.data == old_file.data && prepared->image.file.size == old_file.size ? prepared : NULL;
}

static ds_status create(ds_creation *creation, ds_span old_file, ds_span new_file, const ds_create_options *options) {
    images both = {.files = {old_file, new_file},
                   .options = options,
                   .prepared = prepared_for(old_file, options),
                   .arena = creation->arena};
    ds_image *old_image = &both.images[0], *new_image = &both.images[1];
    ds_blocks blocks;
    computed made = {0};
    ds_match_options match_options = {.coding = options->modelled ? DS_PRICES_MODEL : DS_PRICES_STREAMS,
                                      .rounds = options->rounds,
                                      .threads = options->threads,
                                      .without = options->without,
                                      .prepared = both.prepared != NULL ? &both.prepared->match : NULL,
                                      .progress = tell_round,
                                      .context = (void *)options};
    if (match_options.rounds == 0)
        match_options.rounds = new_file.size > LARGE_IMAGE ? ROUNDS_LARGE : ROUNDS_SMALL;
    DS_TRY(ds_pool_run(options->threads, 2, read_side, &both));
    creation->has_parsed = old_image->starts != NULL || new_image->starts != NULL;
    DS_TRY(find_computed(old_image, new_image, options, creation->arena, &made));
    DS_TRY(match(old_image, new_image, &made, &match_options, creation->arena, &blocks));
    if (!tell_round((void *)options, 1, 1))
        return DS_E_CANCELLED;
    DS_TRY(options->modelled ? write_modelled(creation, old_image, new_image, options, &made, &blocks)
                             : write_streams(creation, old_image, new_image, options, &made, &blocks));
    ds_derivations_free(&made.derivations, creation->arena);
    ds_packed_free(&made.packed, creation->arena);
    ds_renames_free(&made.renames, creation->arena);
    DS_VEC_FREE(creation->arena, &blocks.list);
    if (both.prepared == NULL)
        ds_image_free(old_image);
    ds_image_free(new_image);
    return DS_OK;
}

static bool has_good_parts(const ds_create_options *options, uint64_t old_size) {
    uint64_t sum = 0;
    if (options->part_count == 0)
        return true;
    if (options->part_count < 2 || options->part_count > DS_PARTS_MAX || options->plain)
        return false;
    for (unsigned i = 0; i < options->part_count; i++)
        if (options->part_sizes[i] == 0 || !ds_add(sum, options->part_sizes[i], &sum))
            return false;
    return sum == old_size;
}

ds_status ds_create(const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data, uint64_t new_size,
                    const ds_create_options *options, ds_creation **out) {
    *out = NULL;
    if (options == NULL || options->rounds > 8 || options->threads == 0 || !has_good_parts(options, old_size))
        return DS_E_ARGUMENT;
    if (old_size > DS_IMAGE_LIMIT || new_size > DS_IMAGE_LIMIT)
        return DS_E_LIMIT;
    ds_creation *creation = calloc(1, sizeof *creation);
    if (creation == NULL)
        return DS_E_MEMORY;
    creation->without = options->without;
    creation->arena = ds_arena_open(options->memory_bytes);
    ds_status status = creation->arena == NULL
                           ? DS_E_MEMORY
                           : create(creation, (ds_span){old_data, old_size}, (ds_span){new_data, new_size}, options);
    if (status != DS_OK) {
        ds_create_free(creation);
        return status;
    }
    *out = creation;
    return DS_OK;
}

void ds_create_free(ds_creation *creation) {
    if (creation == NULL)
        return;
    ds_opened_free(creation->opened);
    ds_arena_close(creation->arena);
    free(creation);
}

const uint8_t *ds_stream_at(const ds_creation *creation, unsigned index, uint64_t *size) {
    static const uint8_t empty[1];
    *size = index < DS_STREAM_COUNT ? creation->writer.streams[index].count : 0;
    return *size > 0 ? creation->writer.streams[index].items : empty;
}

unsigned ds_code_part_count(const ds_creation *creation) {
    return (unsigned)creation->parts.list.count;
}

const uint8_t *ds_context_at(const ds_creation *creation, unsigned part, uint64_t *size, uint64_t *code_start) {
    static const uint8_t empty[1];
    const ds_code_part *list = creation->parts.list.items;
    *size = *code_start = 0;
    if (part >= creation->parts.list.count)
        return empty;
    uint64_t start = part > 0 ? list[part - 1].context_end : 0;
    *size = list[part].context_end - start;
    *code_start = list[part].code_start;
    return *size > 0 ? creation->parts.contexts.items + start : empty;
}

const uint8_t *ds_modelled_at(const ds_creation *creation, uint64_t *size, unsigned *table) {
    *size = creation->modelled.size;
    *table = creation->table;
    return creation->modelled.data;
}

uint64_t ds_modelled_cost(const ds_creation *creation, unsigned index, const char **name) {
    bool known = creation->model != NULL && index < DS_DECISIONS;
    *name = known ? ds_decision_rows[index].name : NULL;
    return known ? ds_model_cost(creation->model, index) : 0;
}

bool ds_create_has_parsed(const ds_creation *creation) {
    return creation->has_parsed;
}

ds_opened *ds_create_take_opened(ds_creation *creation) {
    ds_opened *opened = creation->opened;
    creation->opened = NULL;
    return opened;
}

bool ds_create_is_proved(const ds_creation *creation) {
    return creation->proved;
}

void ds_create_balance(const ds_creation *creation, uint64_t *helped, uint64_t *harmed) {
    *helped = creation->helped;
    *harmed = creation->harmed;
}

uint64_t ds_create_peak_memory(const ds_creation *creation) {
    return ds_arena_peak(creation->arena);
}
