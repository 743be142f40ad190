/* Which style made a stream; see deflate.h. */
#include "deflate/parse.h"

#define LEVELS 9
#define MEMORIES 9
#define WINDOW_MIN 9
#define WINDOWS 7
#define MEMORY_USUAL 8
/* Content that all styles are tried on; then ever more with those that are left. */
#define TRIAL_FIRST ((uint64_t)16 << 10)
#define TRIAL_GROWTH 8

uint64_t ds_style_number(const ds_deflate_style *style) {
    return ((style->filtered * UINT64_C(7) + style->window - WINDOW_MIN) * MEMORIES + style->memory - 1) * LEVELS +
           style->level - 1;
}

bool ds_style_of(uint64_t number, ds_deflate_style *style) {
    if (number >= DS_STYLES)
        return false;
    style->level = (uint8_t)(number % LEVELS + 1);
    style->memory = (uint8_t)(number / LEVELS % MEMORIES + 1);
    style->window = (uint8_t)(number / (LEVELS * MEMORIES) % WINDOWS + WINDOW_MIN);
    style->filtered = number / (LEVELS * MEMORIES * WINDOWS);
    return true;
}

/* A block is full at 2^(memory + 6) - 1 tokens; all but the last are. Of stored ones tokens are not known. False where
 * no block tells; then at least *memory. */
static bool find_memory(const ds_inflated *inflated, uint8_t *memory) {
    uint64_t most = 0;
    for (uint64_t i = 0; i < inflated->blocks.count; i++) {
        const ds_deflate_block *block = &inflated->blocks.items[i];
        if (block->type == DS_BLOCK_STORED)
            continue;
        most = block->tokens > most ? block->tokens : most;
        for (*memory = 1; i + 1 < inflated->blocks.count && *memory <= MEMORIES; ++*memory)
            if (block->tokens == (UINT64_C(1) << (*memory + 6)) - 1)
                return true;
    }
    for (*memory = 1; *memory < MEMORIES && most >= UINT64_C(1) << (*memory + 6);)
        ++*memory;
    return false;
}

/* How many tokens of the first `limit` bytes of content are not as expected. */
typedef struct trial {
    const ds_inflated *inflated;
    ds_parser *parser;
    uint64_t limit, wrong;
} trial;

/* What lies in a stored block is told by no token. */
static void pass_stored(const trial *t, uint64_t size) {
    uint64_t end = ds_parser_at(t->parser) + size;
    while (ds_parser_at(t->parser) < end) {
        ds_token token = ds_parser_expect(t->parser);
        ds_parser_take(t->parser, ds_token_length(token) > end - ds_parser_at(t->parser) ? 0 : token);
    }
}

static void try_tokens(trial *t) {
    uint64_t next = 0;
    for (uint64_t i = 0; i < t->inflated->blocks.count; i++) {
        const ds_deflate_block *block = &t->inflated->blocks.items[i];
        uint64_t end = next + (block->type == DS_BLOCK_STORED ? 0 : block->tokens);
        if (block->type == DS_BLOCK_STORED && ds_parser_at(t->parser) < t->limit)
            pass_stored(t, block->tokens);
        for (; next < end && ds_parser_at(t->parser) < t->limit; next++) {
            t->wrong += ds_parser_expect(t->parser) != t->inflated->tokens.items[next];
            ds_parser_take(t->parser, t->inflated->tokens.items[next]);
        }
    }
    if (ds_parser_is_tired(t->parser))
        t->wrong = UINT64_MAX;
}

static ds_status count_wrong(const ds_inflated *inflated, const ds_deflate_style *style, uint64_t limit,
                             ds_arena *arena, uint64_t *wrong) {
    trial t = {.inflated = inflated, .limit = limit};
    ds_span content = {inflated->content.items, inflated->content.count};
    ds_status status = ds_parser_open(&t.parser, content, style, arena);
    if (status == DS_OK)
        try_tokens(&t);
    *wrong = t.wrong;
    ds_parser_close(t.parser, arena);
    return status;
}

/* Of `count` styles the best, first; those as good as each other are told apart by more of the stream. Where none is
 * right, the second look decides. */
static ds_status choose(const ds_inflated *inflated, ds_deflate_style *styles, uint64_t count, ds_arena *arena,
                        uint64_t *least) {
    uint64_t wrong[2 * LEVELS];
    for (uint64_t limit = TRIAL_FIRST;; limit *= TRIAL_GROWTH) {
        uint64_t kept = 0;
        *least = UINT64_MAX;
        for (uint64_t i = 0; i < count; i++) {
            DS_TRY(count_wrong(inflated, &styles[i], limit, arena, &wrong[i]));
            *least = wrong[i] < *least ? wrong[i] : *least;
        }
        for (uint64_t i = 0; i < count; i++)
            if (wrong[i] == *least)
                styles[kept++] = styles[i];
        count = kept;
        if (count == 1 || limit >= inflated->content.count || (*least > 0 && limit > TRIAL_FIRST))
            return DS_OK;
    }
}

ds_status ds_style_guess(const ds_inflated *inflated, unsigned window, ds_arena *arena, ds_deflate_style *style) {
    ds_deflate_style styles[2 * LEVELS];
    uint64_t count = 0, least;
    uint8_t memory_min;
    bool known = find_memory(inflated, &memory_min);
    uint8_t memory = known || memory_min > MEMORY_USUAL ? memory_min : MEMORY_USUAL;
    for (uint8_t i = 0; i < 2 * LEVELS; i++) {
        ds_deflate_style s = {.level = i % LEVELS + 1, .memory = memory, .window = (uint8_t)window};
        s.filtered = i >= LEVELS;
        if (!s.filtered || ds_style_is_lazy(&s))
            styles[count++] = s;
    }
    DS_TRY(choose(inflated, styles, count, arena, &least));
    *style = styles[0];
    if (known || least == 0)
        return DS_OK;
    /* The size of the hash is seen where chains are cut short. The usual one comes first: of equally good ones it stays. */
    for (count = 1, memory = memory_min; memory <= MEMORIES; memory++) {
        styles[count] = *style;
        styles[count].memory = memory;
        count += memory != style->memory;
    }
    DS_TRY(choose(inflated, styles, count, arena, &least));
    *style = styles[0];
    return DS_OK;
}
