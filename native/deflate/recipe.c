/* Recipes, and streams made from them; see deflate.h and docs/spec/deflate.md.
 *
 * A recipe has two sections: what is not as predicted of the blocks, and of the tokens. It is written and read by the
 * same walk along the content: what depends on tokens before is computed by the same lines on both sides.
 */
#include "deflate/codes.h"
#include "deflate/parse.h"

#define NO_EVENT UINT64_MAX

/* What of a block is told. */
enum {
    TELLS_SIZE = 1,
    TYPE_SHIFT = 1, /* two bits: 0 as predicted, else 1 + type */
    TELLS_HEADER = 8,
    TELLS_PADDING = 16,
    FLIPS_FINAL = 32,
    TELLS_TAIL = 64, /* the bits behind the last block */
    FLAGS_ALL = 127,
};

/* One section under way. */
typedef struct section {
    DS_VEC(uint8_t) bytes;   /* writing */
    uint64_t run;            /* writing: items since the last that was told; reading: items before the next */
    const uint8_t *at, *end; /* reading */
} section;

typedef struct cook {
    ds_span content;
    const ds_deflate_style *style;
    ds_arena *arena;
    ds_parser *parser;
    section blocks, tokens;
    /* The block under way. */
    DS_VEC(ds_token) in_block;
    ds_counts counts;
    uint64_t block_start; /* in the content */
    /* writing */
    const ds_inflated *inflated;
    ds_span data;
    uint64_t next_token, next_block;
    /* reading */
    ds_bit_pen pen;
} cook;

/* The same bytes, never at NULL. */
static ds_span solid(ds_span span) {
    static const uint8_t nothing[1];
    return span.size > 0 ? span : (ds_span){nothing, 0};
}

/* ---- numbers ---- */

static ds_status put_byte(cook *c, section *s, uint8_t byte) {
    DS_TRY(DS_VEC_RESERVE(c->arena, &s->bytes, s->bytes.count + 1));
    s->bytes.items[s->bytes.count++] = byte;
    return DS_OK;
}

static ds_status put_number(cook *c, section *s, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        DS_TRY(put_byte(c, s, (uint8_t)(value | 0x80)));
    return put_byte(c, s, (uint8_t)value);
}

static ds_status take_byte(section *s, uint8_t *byte) {
    if (s->at == s->end)
        return DS_E_DELTA;
    *byte = *s->at++;
    return DS_OK;
}

static ds_status take_number(section *s, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t byte;
        DS_TRY(take_byte(s, &byte));
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return byte == 0 && shift > 0 ? DS_E_DELTA : DS_OK;
    }
    return DS_E_DELTA;
}

/* ---- events: items that are told, and how many are not before each ---- */

static ds_status load_run(section *s) {
    if (s->at == s->end) {
        s->run = NO_EVENT;
        return DS_OK;
    }
    return take_number(s, &s->run);
}

static ds_status put_event(cook *c, section *s) {
    uint64_t run = s->run;
    s->run = 0;
    return put_number(c, s, run);
}

/* Whether the next item is told; it must be taken at once, and load_run called behind it. */
static bool is_event(section *s) {
    if (s->run == 0)
        return true;
    s->run -= s->run != NO_EVENT;
    return false;
}

/* ---- tokens ---- */

static ds_status add_to_block(cook *c, ds_token token) {
    if (token == 0) {
        c->counts.literals[c->content.data[ds_parser_at(c->parser)]]++;
    } else {
        c->counts.literals[DS_END_OF_BLOCK + 1 + ds_length_symbol(ds_token_length(token))]++;
        c->counts.distances[ds_distance_symbol(ds_token_distance(token))]++;
    }
    DS_TRY(DS_VEC_RESERVE(c->arena, &c->in_block, c->in_block.count + 1));
    c->in_block.items[c->in_block.count++] = token;
    ds_parser_take(c->parser, token);
    return DS_OK;
}

static ds_status put_token(cook *c, ds_token token) {
    DS_TRY(put_event(c, &c->tokens));
    DS_TRY(put_number(c, &c->tokens, token == 0 ? 0 : ds_token_length(token) - DS_MATCH_MIN + 1));
    return token == 0 ? DS_OK : put_number(c, &c->tokens, ds_token_distance(token));
}

static ds_status take_token(cook *c, ds_token *token) {
    uint64_t length, distance, at = ds_parser_at(c->parser);
    *token = 0;
    DS_TRY(take_number(&c->tokens, &length));
    if (length == 0)
        return load_run(&c->tokens);
    length += DS_MATCH_MIN - 1;
    DS_TRY(take_number(&c->tokens, &distance));
    if (length > DS_MATCH_MAX || length > c->content.size - at || distance == 0 || distance > at ||
        distance > DS_DEFLATE_WINDOW)
        return DS_E_DELTA;
    *token = ds_token_match((unsigned)length, (unsigned)distance);
    return load_run(&c->tokens);
}

/* The next token of a block that is not stored. There must be content left. */
static ds_status cook_token(cook *c) {
    ds_token expected = ds_parser_expect(c->parser), token = expected;
    if (ds_parser_is_tired(c->parser))
        return DS_E_LIMIT;
    if (c->inflated != NULL) {
        token = c->inflated->tokens.items[c->next_token++];
        if (token == expected)
            c->tokens.run++;
        else
            DS_TRY(put_token(c, token));
    } else if (is_event(&c->tokens)) {
        DS_TRY(take_token(c, &token));
    }
    return add_to_block(c, token);
}

/* Goes through `size` stored bytes as zlib would have. A match that would go beyond gives way to literals. */
static ds_status pass_stored(cook *c, uint64_t size, bool *cut) {
    uint64_t end = ds_parser_at(c->parser) + size;
    *cut = false;
    while (ds_parser_at(c->parser) < end) {
        ds_token token = ds_parser_expect(c->parser);
        if (ds_parser_is_tired(c->parser))
            return DS_E_LIMIT;
        *cut |= ds_token_length(token) > end - ds_parser_at(c->parser);
        DS_TRY(add_to_block(c, ds_token_length(token) > end - ds_parser_at(c->parser) ? 0 : token));
    }
    return DS_OK;
}

/* ---- blocks ---- */

typedef struct block_plan {
    ds_lengths lengths;
    ds_code_header header;
    ds_block_type type;
    bool final;
} block_plan;

static bool is_at_end(const cook *c) {
    return ds_parser_at(c->parser) == c->content.size;
}

static void begin_block(cook *c) {
    c->in_block.count = 0;
    c->counts = (ds_counts){0};
    c->counts.literals[DS_END_OF_BLOCK] = 1;
    c->block_start = ds_parser_at(c->parser);
}

static uint64_t bytes_of_bits(uint64_t bits) {
    return (bits + 3 + 7) / 8; /* with the three that begin a block */
}

/* What zlib would make of a block of these tokens: trees.c, _tr_flush_block. */
static void plan_block(const cook *c, block_plan *plan) {
    ds_lengths fixed;
    ds_lengths_fixed(&fixed);
    ds_lengths_build(&c->counts, &plan->lengths);
    ds_header_build(&plan->lengths, &plan->header);
    uint64_t bytes = bytes_of_bits(plan->header.cost + ds_counts_cost(&c->counts, &plan->lengths));
    uint64_t fixed_bytes = bytes_of_bits(ds_counts_cost(&c->counts, &fixed));
    uint64_t stored_bytes = ds_parser_at(c->parser) - c->block_start;
    plan->type = fixed_bytes <= bytes ? DS_BLOCK_FIXED : DS_BLOCK_DYNAMIC;
    bytes = fixed_bytes <= bytes ? fixed_bytes : bytes;
    if (stored_bytes <= UINT16_MAX && stored_bytes + 4 <= bytes)
        plan->type = DS_BLOCK_STORED;
    bool is_full = c->in_block.count == ds_style_block(c->style);
    bool ends_in_literal = c->in_block.count > 0 && c->in_block.items[c->in_block.count - 1] == 0;
    plan->final = is_at_end(c) && (!is_full || (ds_style_is_lazy(c->style) && ends_in_literal));
}

/* ---- writing ---- */

/* The code lengths as the stream has them, moved to whole bytes. */
static ds_status put_header(cook *c, const ds_deflate_block *block) {
    ds_bits bits = {.data = c->data, .at = block->header};
    for (unsigned left = block->header_bits, part; left > 0; left -= part) {
        part = left < 8 ? left : 8;
        DS_TRY(put_byte(c, &c->blocks, (uint8_t)ds_bits_take(&bits, part)));
    }
    return DS_OK;
}

static bool is_header_expected(const cook *c, const ds_deflate_block *block, const block_plan *plan) {
    uint8_t expected[512] = {0};
    ds_bit_pen pen = {.out = expected, .size = sizeof expected};
    ds_bits bits = {.data = c->data, .at = block->header};
    if (plan->header.cost != block->header_bits)
        return false;
    ds_header_write(&plan->header, &pen);
    ds_pen_align(&pen, 0);
    ds_bits mine = {.data = {expected, sizeof expected}};
    for (unsigned left = block->header_bits, part; left > 0; left -= part) {
        part = left < 8 ? left : 8;
        if (ds_bits_take(&bits, part) != ds_bits_take(&mine, part))
            return false;
    }
    return true;
}

static ds_status write_block(cook *c) {
    const ds_deflate_block *block = &c->inflated->blocks.items[c->next_block++];
    uint64_t full = ds_style_block(c->style), end = c->next_token + block->tokens;
    unsigned flags = 0;
    bool is_stored = block->type == DS_BLOCK_STORED, cut = false;
    block_plan plan;
    begin_block(c);
    if (is_stored)
        DS_TRY(pass_stored(c, block->tokens, &cut));
    else
        while (c->next_token < end)
            DS_TRY(cook_token(c));
    plan_block(c, &plan);
    bool fits = c->in_block.count == full || (c->in_block.count < full && is_at_end(c));
    if (is_stored && (cut || !fits || plan.type != DS_BLOCK_STORED))
        flags |= TELLS_SIZE | (1 + DS_BLOCK_STORED) << TYPE_SHIFT;
    else if (is_stored)
        c->tokens.run += c->in_block.count;
    else
        flags |= (fits ? 0 : TELLS_SIZE) | (plan.type != block->type ? 1u + block->type : 0u) << TYPE_SHIFT;
    if (block->type == DS_BLOCK_DYNAMIC && !is_header_expected(c, block, &plan))
        flags |= TELLS_HEADER;
    bool is_last = c->next_block == c->inflated->blocks.count;
    flags |= (block->padding != 0 ? TELLS_PADDING : 0) | (is_last != plan.final ? FLIPS_FINAL : 0) |
             (is_last && c->inflated->padding != 0 ? TELLS_TAIL : 0);
    if (flags == 0) {
        c->blocks.run++;
        return DS_OK;
    }
    DS_TRY(put_event(c, &c->blocks));
    DS_TRY(put_byte(c, &c->blocks, (uint8_t)flags));
    if (flags & TELLS_SIZE)
        DS_TRY(put_number(c, &c->blocks, block->tokens));
    if (flags & TELLS_HEADER)
        DS_TRY(put_header(c, block));
    if (flags & TELLS_PADDING)
        DS_TRY(put_byte(c, &c->blocks, block->padding));
    return flags & TELLS_TAIL ? put_byte(c, &c->blocks, c->inflated->padding) : DS_OK;
}

static ds_status join_sections(cook *c, ds_recipe *recipe) {
    section size = {0};
    recipe->bytes.count = 0;
    if (c->blocks.bytes.count == 0 && c->tokens.bytes.count == 0)
        return DS_OK;
    DS_TRY(put_number(c, &size, c->blocks.bytes.count));
    const section *parts[] = {&size, &c->blocks, &c->tokens};
    for (unsigned i = 0; i < DS_COUNT(parts); i++) {
        uint64_t count = parts[i]->bytes.count;
        DS_TRY(DS_VEC_RESERVE(c->arena, &recipe->bytes, recipe->bytes.count + count));
        if (count > 0)
            memcpy(recipe->bytes.items + recipe->bytes.count, parts[i]->bytes.items, count);
        recipe->bytes.count += count;
    }
    DS_VEC_FREE(c->arena, &size.bytes);
    return DS_OK;
}

static void close_cook(cook *c) {
    ds_parser_close(c->parser, c->arena);
    DS_VEC_FREE(c->arena, &c->in_block);
    DS_VEC_FREE(c->arena, &c->blocks.bytes);
    DS_VEC_FREE(c->arena, &c->tokens.bytes);
}

ds_status ds_recipe_write(const ds_inflated *inflated, ds_span data, const ds_deflate_style *style, ds_arena *arena,
                          ds_recipe *recipe) {
    cook c = {.content = solid((ds_span){inflated->content.items, inflated->content.count}),
              .style = style,
              .arena = arena,
              .inflated = inflated,
              .data = data};
    ds_status status = ds_parser_open(&c.parser, c.content, style, arena);
    while (status == DS_OK && c.next_block < inflated->blocks.count)
        status = write_block(&c);
    if (status == DS_OK)
        status = join_sections(&c, recipe);
    close_cook(&c);
    return status;
}

/* ---- reading: the stream is made ---- */

static void emit_stored(cook *c, unsigned padding) {
    uint64_t size = ds_parser_at(c->parser) - c->block_start;
    ds_pen_align(&c->pen, padding);
    ds_pen_put(&c->pen, size, 16);
    ds_pen_put(&c->pen, size ^ 0xffff, 16);
    if (size > c->pen.size - c->pen.at) {
        c->pen.full = true;
        return;
    }
    if (size > 0)
        memcpy(c->pen.out + c->pen.at, c->content.data + c->block_start, size);
    c->pen.at += size;
}

typedef struct emitter {
    const ds_lengths *lengths;
    uint16_t literals[DS_LITERAL_CODES], distances[DS_DISTANCE_CODES];
    bool lacks_code; /* a symbol that the header gives none */
} emitter;

static void emit_symbol(emitter *e, ds_bit_pen *pen, unsigned symbol) {
    e->lacks_code |= e->lengths->literals[symbol] == 0;
    ds_pen_put(pen, e->literals[symbol], e->lengths->literals[symbol]);
}

static ds_status emit_tokens(cook *c, const ds_lengths *lengths) {
    emitter e = {.lengths = lengths};
    const uint8_t *at = c->content.data + c->block_start;
    ds_codes_assign(lengths->literals, DS_LITERAL_CODES, e.literals);
    ds_codes_assign(lengths->distances, DS_DISTANCE_CODES, e.distances);
    for (uint64_t i = 0; i < c->in_block.count && !c->pen.full; i++) {
        ds_token token = c->in_block.items[i];
        if (token == 0) {
            emit_symbol(&e, &c->pen, *at++);
            continue;
        }
        unsigned length = ds_token_length(token), distance = ds_token_distance(token);
        unsigned symbol = ds_length_symbol(length), far = ds_distance_symbol(distance);
        emit_symbol(&e, &c->pen, DS_END_OF_BLOCK + 1 + symbol);
        ds_pen_put(&c->pen, length - ds_length_base[symbol], ds_length_extra[symbol]);
        e.lacks_code |= lengths->distances[far] == 0;
        ds_pen_put(&c->pen, e.distances[far], lengths->distances[far]);
        ds_pen_put(&c->pen, distance - ds_distance_base[far], ds_distance_extra[far]);
        at += length;
    }
    emit_symbol(&e, &c->pen, DS_END_OF_BLOCK);
    return e.lacks_code ? DS_E_DELTA : DS_OK;
}

/* Told code lengths: their bits go into the stream as they are. */
static ds_status take_header(cook *c, ds_lengths *lengths) {
    ds_bits bits = {.data = {c->blocks.at, (uint64_t)(c->blocks.end - c->blocks.at)}};
    if (!ds_header_read(&bits, lengths))
        return DS_E_DELTA;
    ds_bits copied = {.data = bits.data};
    for (uint64_t left = bits.at, part; left > 0; left -= part) {
        part = left < 8 ? left : 8;
        ds_pen_put(&c->pen, ds_bits_take(&copied, (unsigned)part), (unsigned)part);
    }
    c->blocks.at += (bits.at + 7) / 8;
    return DS_OK;
}

/* The block's tokens, told or not, up to its told or expected end. */
static ds_status gather_block(cook *c, unsigned flags) {
    uint64_t size = ds_style_block(c->style), left = c->content.size - ds_parser_at(c->parser);
    bool told = flags & TELLS_SIZE, cut;
    if (told)
        DS_TRY(take_number(&c->blocks, &size));
    if (flags >> TYPE_SHIFT == 1 + DS_BLOCK_STORED) {
        if (!told || size > left || size > UINT16_MAX)
            return DS_E_DELTA;
        return pass_stored(c, size, &cut);
    }
    while (c->in_block.count < size && !is_at_end(c))
        DS_TRY(cook_token(c));
    return told && c->in_block.count < size ? DS_E_DELTA : DS_OK;
}

static ds_status make_block(cook *c, bool *final) {
    uint8_t flags = 0, padding = 0, tail = 0;
    bool is_told = is_event(&c->blocks);
    block_plan plan;
    begin_block(c);
    if (is_told)
        DS_TRY(take_byte(&c->blocks, &flags));
    if (flags > FLAGS_ALL)
        return DS_E_DELTA;
    unsigned told_type = flags >> TYPE_SHIFT & 3;
    DS_TRY(gather_block(c, flags & (TELLS_SIZE | 3u << TYPE_SHIFT)));
    plan_block(c, &plan);
    if (told_type > 0)
        plan.type = (ds_block_type)(told_type - 1);
    if (plan.type == DS_BLOCK_STORED && ds_parser_at(c->parser) - c->block_start > UINT16_MAX)
        return DS_E_DELTA;
    *final = plan.final != ((flags & FLIPS_FINAL) != 0);
    ds_pen_put(&c->pen, *final, 1);
    ds_pen_put(&c->pen, plan.type, 2);
    if (flags & TELLS_HEADER) {
        if (plan.type != DS_BLOCK_DYNAMIC)
            return DS_E_DELTA;
        DS_TRY(take_header(c, &plan.lengths));
    } else if (plan.type == DS_BLOCK_DYNAMIC) {
        ds_header_write(&plan.header, &c->pen);
    }
    if (flags & TELLS_PADDING)
        DS_TRY(take_byte(&c->blocks, &padding));
    if (plan.type == DS_BLOCK_STORED) {
        emit_stored(c, padding);
    } else {
        if (plan.type == DS_BLOCK_FIXED)
            ds_lengths_fixed(&plan.lengths);
        DS_TRY(emit_tokens(c, &plan.lengths));
    }
    if (flags & TELLS_TAIL)
        DS_TRY(take_byte(&c->blocks, &tail));
    if (*final)
        ds_pen_align(&c->pen, tail);
    return is_told ? load_run(&c->blocks) : DS_OK;
}

static ds_status open_sections(cook *c, ds_span recipe) {
    section all = {.at = recipe.data, .end = recipe.data + recipe.size};
    uint64_t size = 0;
    if (recipe.size > 0)
        DS_TRY(take_number(&all, &size));
    if (size > (uint64_t)(all.end - all.at))
        return DS_E_DELTA;
    c->blocks.at = all.at;
    c->blocks.end = c->tokens.at = all.at + size;
    c->tokens.end = all.end;
    DS_TRY(load_run(&c->blocks));
    return load_run(&c->tokens);
}

static ds_status make(cook *c, ds_span recipe) {
    DS_TRY(ds_parser_open(&c->parser, c->content, c->style, c->arena));
    DS_TRY(open_sections(c, recipe));
    for (bool final = false; !final;) {
        DS_TRY(make_block(c, &final));
        if (c->pen.full)
            return DS_E_DELTA;
    }
    /* All was said, and nothing more. */
    bool whole = is_at_end(c) && c->pen.at == c->pen.size && c->blocks.run == NO_EVENT && c->tokens.run == NO_EVENT;
    return whole ? DS_OK : DS_E_DELTA;
}

ds_status ds_deflate_make(ds_span content, ds_span recipe, const ds_deflate_style *style, ds_arena *arena, uint8_t *out,
                          uint64_t size) {
    cook c = {.content = solid(content), .style = style, .arena = arena, .pen = {.out = out, .size = size}};
    if (content.size > DS_DEFLATE_CONTENT_MAX)
        return DS_E_LIMIT;
    ds_status status = make(&c, solid(recipe));
    close_cook(&c);
    return status;
}
