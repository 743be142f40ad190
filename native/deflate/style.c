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

/* A block is full at 2^(memory + 6) - 1 tokens; all but the last are. Of stored ones tokens are not known. */
static uint8_t guess_memory(const ds_inflated *inflated) {
    uint64_t most = 0;
    for (uint64_t i = 0; i < inflated->blocks.count; i++) {
        const ds_deflate_block *block = &inflated->blocks.items[i];
        if (block->type == DS_BLOCK_STORED)
            continue;
        most = block->tokens > most ? block->tokens : most;
        for (uint8_t memory = 1; i + 1 < inflated->blocks.count && memory <= MEMORIES; memory++)
            if (block->tokens == (UINT64_C(1) << (memory + 6)) - 1)
                return memory;
    }
    return most < UINT64_C(1) << (MEMORY_USUAL + 6) ? MEMORY_USUAL : MEMORIES;
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

ds_status ds_style_guess(const ds_inflated *inflated, unsigned window, ds_arena *arena, ds_deflate_style *style) {
    ds_deflate_style left[2 * LEVELS];
    uint64_t wrong[2 * LEVELS], count = 0, least = 0;
    for (uint8_t i = 0; i < 2 * LEVELS; i++) {
        ds_deflate_style s = {.level = i % LEVELS + 1, .memory = guess_memory(inflated), .window = (uint8_t)window};
        s.filtered = i >= LEVELS;
        if (!s.filtered || ds_style_is_lazy(&s))
            left[count++] = s;
    }
    /* Styles that are as good as each other are told apart by more of the stream; where none is right, the second
     * look decides. */
    for (uint64_t limit = TRIAL_FIRST; count > 1; limit *= TRIAL_GROWTH) {
        uint64_t kept = 0;
        for (uint64_t i = 0; i < count; i++)
            DS_TRY(count_wrong(inflated, &left[i], limit, arena, &wrong[i]));
        least = UINT64_MAX;
        for (uint64_t i = 0; i < count; i++)
            least = wrong[i] < least ? wrong[i] : least;
        for (uint64_t i = 0; i < count; i++)
            if (wrong[i] == least)
                left[kept++] = left[i];
        count = kept;
        if (limit >= inflated->content.count || (least > 0 && limit > TRIAL_FIRST))
            break;
    }
    *style = left[0];
    return DS_OK;
}
