/* AArch64 code by the model: words in fields, the operation first (Arm ARM DDI 0487, chapter C4). */
#include "delta/code.h"

/* The word in pieces, in the order in which they are coded: operation, two registers, the rest. */
typedef struct field {
    uint8_t low, bits;
} field;
static const field fields[] = {{24, 8}, {0, 5}, {5, 5}, {10, 6}, {16, 8}};
#define FIELDS 5

static uint32_t field_of(uint32_t word, unsigned f) {
    return word >> fields[f].low & ((1u << fields[f].bits) - 1);
}

/* Bits of the fields before f. */
static uint32_t known_bits(unsigned f) {
    static const uint32_t known[FIELDS] = {0, 0xff000000, 0xff00001f, 0xff0003ff, 0xff00ffff};
    return known[f];
}

/* A word whose address is in it: bits that are no address, and its kind. */
typedef struct shape {
    uint32_t mask, value; /* of the operation */
    uint32_t kept;
    uint8_t kind;
    uint8_t fields; /* coded before the target */
} shape;

static const shape shapes[] = {
    {0x7c000000, 0x14000000, 0xfc000000, DS_REF_B26, 1},   {0xff000000, 0x54000000, 0xff00001f, DS_REF_IMM19, 2},
    {0x7e000000, 0x34000000, 0xff00001f, DS_REF_IMM19, 2}, {0x7e000000, 0x36000000, 0xfff8001f, DS_REF_IMM14, 2},
    {0x3b000000, 0x18000000, 0xff00001f, DS_REF_IMM19, 2}, {0x9f000000, 0x90000000, 0x9f00001f, DS_REF_ADRP, 2},
    {0x9f000000, 0x10000000, 0x9f00001f, DS_REF_ADR, 2},
};

static const shape *shape_of(uint32_t word) {
    for (unsigned i = 0; i < DS_COUNT(shapes); i++)
        if ((word & shapes[i].mask) == shapes[i].value)
            return &shapes[i];
    return NULL;
}

static uint32_t without_address(uint32_t word) {
    const shape *s = shape_of(word);
    return s != NULL ? word & s->kept : word;
}

/* ---- words that no block covers ---- */

static void enter_word(ds_walk *w, uint32_t word) {
    word = without_address(word);
    w->words[1] = w->words[0];
    w->words[0] = word;
    w->last_of[word >> 24] = word;
}

#define TAUGHT 5 /* contexts of literal words that old code has too */

static void taught_contexts(const uint32_t before[2], unsigned f, uint32_t so_far, uint32_t *h) {
    uint32_t op = so_far >> 24, p1 = before[0], p2 = before[1];
    h[0] = ds_mix(so_far, f);
    h[1] = ds_mix(so_far + f, p1);
    h[2] = ds_mix(ds_mix(so_far + f, p1), p2);
    h[3] = ds_mix(ds_mix(op << 8 | f, p1 >> 24), p2 >> 24);
    h[4] = ds_mix(op << 8 | f, field_of(p1, f));
}

static void literal_contexts(const ds_walk *w, unsigned f, uint32_t so_far, uint32_t expected, ds_contexts *c) {
    uint32_t op = so_far >> 24, last = w->last_of[op], agree = (expected & known_bits(f)) == so_far;
    unsigned run = w->alignment.run < 3 ? w->alignment.run : 3;
    c->row = DS_DECIDE_WORD;
    c->select = f;
    taught_contexts(w->words, f, so_far, c->hash);
    c->hash[5] = ds_mix(ds_mix(expected, f), agree << 2 | run);
    c->hash[6] = f == 0 ? ds_mix(1, w->words[0] & 0xff00001f) : ds_mix(ds_mix(op << 8 | f, last), agree);
    c->hash[7] = ds_mix(field_of(expected, f), (f << 8 | op) + agree);
}

/* Writing: what the word refers to. An ADRP's whole target is known to the parser of the new image. */
static ds_address target_of(const ds_walk *w, const shape *s, ds_offset at, const uint8_t *new_word, ds_address place) {
    ds_ref ref;
    if (s->kind == DS_REF_ADRP && ds_refs_find(w->new_image, at, &ref) && ds_ref_kind_of(&ref) == DS_REF_ADRP)
        return ref.target;
    return ds_ref_solve(s->kind, new_word, place, 0, 0, 0);
}

static ds_status code_address(ds_walk *w, uint64_t block, const shape *s, uint32_t so_far, ds_offset at, uint8_t *bytes,
                              const uint8_t *new_bytes) {
    ds_ref ref;
    ds_target target = {.place = ds_layout_address(w->layout, at),
                        .known = ds_mix(so_far, s->kind),
                        .class_ = s->kind == DS_REF_ADRP ? DS_TARGET_DATA : DS_TARGET_CODE};
    if (ds_refs_find(w->old_image, w->alignment.first + (w->alignment.at & ~(ds_offset)3), &ref) &&
        ds_ref_kind_of(&ref) == s->kind) {
        target.has_hint = true;
        target.hint = ds_predict_beside(&w->predictor, ref.target, block);
    }
    if (new_bytes != NULL)
        target.address = target_of(w, s, at, new_bytes, target.place);
    DS_TRY(ds_code_target(w->targets, w->coder, &target));
    ds_store32(bytes, so_far);
    ds_ref_put(s->kind, bytes, target.place, 0, 0, target.address);
    return DS_OK;
}

#define SURE 8 /* words that came as expected, after which whole ones are: padding of other length, above all */

static bool code_as_expected(ds_walk *w, uint32_t expected, bool as_expected) {
    ds_contexts contexts = {.row = DS_DECIDE_WORD_EXPECTED, .hash = {ds_bits_in(w->alignment.run), expected}};
    return ds_code_flag(w->coder, &contexts, as_expected);
}

static ds_status literal_word(ds_walk *w, uint64_t block, ds_offset at, uint8_t *bytes, const uint8_t *new_bytes) {
    uint32_t word = new_bytes != NULL ? without_address(ds_load32(new_bytes)) : 0, so_far = 0, expected = 0;
    bool expects = ds_align_expect_word(&w->alignment, &expected);
    expected = without_address(expected);
    if (expects && w->alignment.run >= SURE && code_as_expected(w, expected, word == expected)) {
        const shape *s = shape_of(expected);
        if (s != NULL)
            return code_address(w, block, s, expected, at, bytes, new_bytes);
        ds_store32(bytes, expected);
        return DS_OK;
    }
    const shape *s = NULL;
    for (unsigned f = 0; f < FIELDS; f++) {
        ds_contexts contexts;
        literal_contexts(w, f, so_far, expected, &contexts);
        so_far |= ds_code_symbol(w->coder, &contexts, fields[f].bits, field_of(word, f)) << fields[f].low;
        if (f == 0)
            s = shape_of(so_far);
        if (s != NULL && f + 1 == s->fields) {
            if (s->kind == DS_REF_IMM14) {
                literal_contexts(w, 4, so_far, expected, &contexts);
                so_far |= ds_code_symbol(w->coder, &contexts, 5, word >> 19 & 31) << 19;
            }
            DS_TRY(code_address(w, block, s, so_far & s->kept, at, bytes, new_bytes));
            return DS_OK;
        }
    }
    ds_store32(bytes, so_far);
    return DS_OK;
}

ds_status ds_code_aarch64(ds_walk *w, uint64_t block, ds_offset at, uint64_t size, uint8_t *bytes,
                          const uint8_t *new_bytes) {
    w->words[0] = without_address(ds_load32(bytes - 4));
    w->words[1] = without_address(ds_load32(bytes - 8));
    for (uint64_t i = 0; i < size; i += DS_WORD) {
        DS_TRY(literal_word(w, block, at + i, bytes + i, new_bytes != NULL ? new_bytes + i : NULL));
        uint32_t word = ds_load32(bytes + i);
        uint32_t expected;
        bool as_expected =
            ds_align_expect_word(&w->alignment, &expected) && without_address(expected) == without_address(word);
        ds_align_take_word(&w->alignment, word, as_expected);
        ds_coder_note(w->coder, at + i);
        enter_word(w, word);
    }
    return ds_model_check(w->coder->model);
}

/* ---- teaching ---- */

static void teach_word(ds_model *model, const uint32_t before[2], uint32_t word) {
    const shape *s = shape_of(word);
    uint32_t so_far = 0, contexts[TAUGHT];
    for (unsigned f = 0; f < (s != NULL ? s->fields : FIELDS); f++) {
        taught_contexts(before, f, so_far, contexts);
        ds_model_teach(model, DS_DECIDE_WORD, TAUGHT, contexts, fields[f].bits, field_of(word, f));
        so_far |= field_of(word, f) << fields[f].low;
    }
}

void ds_aarch64_teach(ds_walk *w, ds_offset at, ds_offset end) {
    const uint8_t *old = w->old_image->file.data;
    uint32_t before[2] = {0, 0};
    for (at = (at + 3) & ~(ds_offset)3; at + DS_WORD <= end; at += DS_WORD) {
        uint32_t word = without_address(ds_load32(old + at));
        if (!ds_image_is_start(w->old_image, at))
            continue;
        teach_word(w->coder->model, before, word);
        before[1] = before[0];
        before[0] = word;
    }
}

/* ---- copied words that differ ---- */

/* An immediate that counts from a register: so many bits from `low` on, in units of 1 << scale bytes. */
typedef struct operand {
    uint8_t base, low, bits, scale;
} operand;

/* C4.1: load/store register (unsigned immediate, unscaled), load/store pair, add/subtract (immediate, not shifted). */
static operand operand_of(uint32_t word) {
    uint8_t base = word >> 5 & 31, size = (uint8_t)(word >> 30);
    bool vector = word >> 26 & 1, quad = vector && word >> 23 & 1;
    if ((word & 0x3b000000) == 0x39000000)
        return (operand){base, 10, 12, quad ? 4 : size};
    if ((word & 0x3a000000) == 0x28000000)
        return (operand){base, 15, 7, (uint8_t)(2 + (vector ? size : size >> 1))};
    if ((word & 0x3fc00000) == 0x11000000)
        return (operand){base, 10, 12, 0};
    if ((word & 0x3b200000) == 0x38000000)
        return (operand){base, 12, 9, 0};
    return (operand){.base = DS_NO_REGISTER};
}

static uint32_t operand_mask(operand o) {
    return ((1u << o.bits) - 1) << o.low;
}

/* By so many bytes, the shift of a register. */
static uint32_t move_operand(uint32_t word, operand o, int32_t by) {
    uint32_t moved = word + ((uint32_t)(by >> o.scale) << o.low);
    return (word & ~operand_mask(o)) | (moved & operand_mask(o));
}

/* Where nothing else differs. */
static void learn_shift(ds_shifts *shifts, uint32_t old, uint32_t word) {
    operand o = operand_of(old);
    if (o.bits == 0 || ((old ^ word) & ~operand_mask(o)) != 0)
        return;
    int32_t units = (int32_t)((word - old) << (32 - o.low - o.bits)) >> (32 - o.bits);
    ds_shifts_learn(shifts, o.base, units * (1 << o.scale));
}

/* Without a model: what counts from a frame moves together; of other registers one operand says little of the next. */
uint32_t ds_aarch64_moved_in_frame(const ds_shifts *shifts, uint32_t word) {
    operand o = operand_of(word);
    return ds_shifts_state(shifts, o.base) == DS_SHIFT_MOVES ? move_operand(word, o, shifts->by[o.base]) : word;
}

void ds_aarch64_learn_frame(ds_shifts *shifts, uint32_t word, uint32_t new_word) {
    enum { FRAME_POINTER = 29, STACK_POINTER = 31 };
    operand o = operand_of(word);
    if (o.base == FRAME_POINTER || o.base == STACK_POINTER)
        learn_shift(shifts, word, new_word);
}

/* C4.1, move wide (immediate): a number of 16 bits. */
#define WIDE 0x001fffe0u

static bool is_wide(uint32_t word) {
    return (word & 0x1f800000) == 0x12800000;
}

/* Numbers that code was compiled with, of lines above all, move alike too. */
static void learn_wide(ds_walk *w, uint32_t old, uint32_t word) {
    uint32_t by = (word & WIDE) - (old & WIDE);
    if (is_wide(old) && ((old ^ word) & ~(WIDE | 31)) == 0 && by != 0)
        w->wide_change = by;
}

/* The word as it is if registers were renamed as before, and its operand moved as others did. */
static uint32_t guess_word(const ds_walk *w, uint32_t old) {
    if (is_wide(old))
        return (old & ~(WIDE | 31)) | ((old + w->wide_change) & WIDE) | w->substituted[old & 31];
    operand o = operand_of(old);
    uint32_t registers = w->substituted[old & 31] | (uint32_t)w->substituted[old >> 5 & 31] << 5;
    uint32_t moved = move_operand(old, o, ds_shifts_expect(&w->shifts, o.base));
    return (moved & ~0x3ffu) | registers;
}

void ds_aarch64_forget(ds_walk *w) {
    for (unsigned i = 0; i < DS_REGISTERS; i++)
        w->substituted[i] = (uint8_t)i;
}

unsigned ds_sites_aarch64(const ds_image *image, ds_offset offset, unsigned size, ds_site *sites) {
    for (unsigned i = 0; i < size / DS_WORD; i++) {
        uint32_t word = ds_load32(ds_image_bytes(image, offset + i * DS_WORD));
        uint32_t form = ds_mix(1, word >> 22 << 5 | (word & 31)), operand = ds_mix(2, word >> 12);
        sites[i] = (ds_site){.at = (uint8_t)(i * DS_WORD),
                             .size = DS_WORD,
                             .base = operand_of(word).base,
                             .keys = {[DS_RISK_BY_FORM] = form >> 16, [DS_RISK_BY_OPERAND] = operand >> 16}};
    }
    return size / DS_WORD;
}

typedef struct near_words {
    uint32_t before; /* the new word before */
    uint32_t flags;  /* latest words, a bit each: did they differ */
} near_words;

static bool code_differs(ds_walk *w, const near_words *n, ds_offset old_offset, uint32_t old, bool must, bool differs) {
    ds_site site;
    ds_sites_aarch64(w->old_image, old_offset, DS_WORD, &site);
    ds_shift_state shift = ds_shifts_state(&w->shifts, site.base);
    uint32_t form = without_address(old);
    ds_contexts contexts = {.row = DS_DECIDE_WORD_DIFFERS,
                            .select = shift == DS_SHIFT_MOVES,
                            .hash = {old >> 24, ds_mix(1, form), ds_mix(ds_mix(form, n->before), n->flags & 1),
                                     ds_mix(form >> 24, n->before >> 24),
                                     ds_mix(w->substituted[old & 31] << 8 | w->substituted[old >> 5 & 31],
                                            (old & 31) << 5 | (old >> 5 & 31)),
                                     ds_mix(ds_risk_level(&w->risk, DS_RISK_BY_FORM, &site, 1),
                                            ds_risk_level(&w->risk, DS_RISK_BY_OPERAND, &site, 1)),
                                     ds_mix(ds_mix(3, shift), site.base)}};
    return must || ds_code_flag(w->coder, &contexts, differs);
}

/* Which fields of two words differ, a bit each, the first highest. */
static uint32_t fields_apart(uint32_t a, uint32_t b) {
    uint32_t apart = 0;
    for (unsigned f = 0; f < FIELDS; f++)
        apart = apart << 1 | (field_of(a, f) != field_of(b, f));
    return apart;
}

/* A word that differs for certain, and what it is if nothing else happened than to the words before. */
typedef struct change {
    const near_words *near;
    uint32_t old, guessed;
    uint32_t apart; /* the fields in which those two differ */
    unsigned shift; /* state of the operand */
} change;

static bool code_as_guessed(ds_walk *w, const change *c, bool as_guessed) {
    uint32_t op = c->old >> 24, by = c->guessed - c->old;
    ds_contexts contexts = {.row = DS_DECIDE_WORD_GUESSED,
                            .select = c->shift == DS_SHIFT_MOVES,
                            .hash = {ds_mix(op, c->apart), ds_mix(ds_mix(without_address(c->old), by), 1),
                                     ds_mix(ds_mix(op, by), 2), ds_mix(ds_mix(c->shift, c->apart), w->guesses & 7),
                                     ds_mix(op << 8 | c->apart, c->near->flags & 15), ds_mix(by, w->guesses & 3)}};
    as_guessed = ds_code_flag(w->coder, &contexts, as_guessed);
    w->guesses = w->guesses << 1 | as_guessed;
    return as_guessed;
}

static uint32_t code_parts(ds_walk *w, const change *c, uint32_t parts) {
    uint32_t op = c->old >> 24;
    ds_contexts contexts = {
        .row = DS_DECIDE_WORD_PARTS,
        .hash = {ds_mix(op, 1), ds_mix(op, c->apart), ds_mix(without_address(c->old), 2),
                 ds_mix(op << 8 | c->apart, w->changed_parts), ds_mix(ds_mix(op, c->near->before), 3),
                 ds_mix(ds_mix(c->apart, c->shift), c->near->flags & 15), ds_mix(op, c->near->before >> 24)}};
    return w->changed_parts = ds_code_symbol(w->coder, &contexts, FIELDS, parts);
}

static bool is_register(uint32_t old, unsigned f) {
    return f == 1 || (f == 2 && !is_wide(old));
}

/* A field as the difference from the old one: what moved, moves alike whatever it was. */
static uint32_t code_field(ds_walk *w, const change *c, uint32_t parts, unsigned f, uint32_t so_far, uint32_t value) {
    uint32_t was = field_of(c->old, f), op = so_far >> 24, kind = op << 8 | f, mask = (1u << fields[f].bits) - 1;
    uint32_t agrees = (c->guessed & known_bits(f)) == so_far, before = c->near->before;
    uint32_t guess = is_register(c->old, f)                            ? (w->substituted[was] - was) & 0xff
                     : operand_of(c->old).bits != 0 || is_wide(c->old) ? (field_of(c->guessed, f) - was) & mask
                                                                       : w->last_change[f];
    ds_contexts contexts = {.row = DS_DECIDE_WORD_FIELD,
                            .select = f,
                            .hash = {ds_mix(f << 16 | was, 1), ds_mix(ds_mix(so_far, f), c->old),
                                     ds_mix(ds_mix(so_far, f), before), ds_mix(ds_mix(kind, was), 2),
                                     ds_mix(ds_mix(kind, guess), parts), ds_mix(f, parts),
                                     ds_mix(ds_mix(3, f << 16 | guess << 1 | agrees), c->shift)}};
    return (was + ds_code_symbol(w->coder, &contexts, fields[f].bits, (value - was) & mask)) & mask;
}

/* What became of a field; a register that stays, stays itself from now on. */
static void learn_field(ds_walk *w, uint32_t old, unsigned f, uint32_t value) {
    uint32_t was = field_of(old, f);
    if (is_register(old, f))
        w->substituted[was] = (uint8_t)value;
    else if (value != was)
        w->last_change[f] = (uint8_t)(value - was);
}

static uint32_t code_fields(ds_walk *w, const change *c, uint32_t word) {
    uint32_t so_far = 0, parts = code_parts(w, c, fields_apart(c->old, word));
    for (unsigned f = 0; f < FIELDS; f++) {
        uint32_t value = field_of(c->old, f);
        if (parts >> (FIELDS - 1 - f) & 1)
            value = code_field(w, c, parts, f, so_far, field_of(word, f));
        learn_field(w, c->old, f, value);
        so_far |= value << fields[f].low;
    }
    return so_far;
}

static uint32_t code_changed(ds_walk *w, const near_words *n, uint32_t old, uint32_t word) {
    change c = {.near = n, .old = old, .guessed = guess_word(w, old)};
    c.apart = fields_apart(old, c.guessed);
    c.shift = ds_shifts_state(&w->shifts, operand_of(old).base);
    if (c.apart == 0 || !code_as_guessed(w, &c, word == c.guessed))
        word = code_fields(w, &c, word);
    else {
        word = c.guessed;
        for (unsigned f = 0; f < FIELDS; f++)
            learn_field(w, old, f, field_of(word, f));
    }
    learn_shift(&w->shifts, old, word);
    learn_wide(w, old, word);
    return word;
}

void ds_recode_aarch64(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                       const uint8_t *new_bytes, uint64_t size) {
    near_words n = {.before = ds_load32(bytes - 4)};
    bool any = false;
    for (uint64_t i = 0; i < size; i += DS_WORD) {
        uint32_t old = ds_load32(bytes + i), word = new_bytes != NULL ? ds_load32(new_bytes + i) : 0;
        bool differs = code_differs(w, &n, old_offset + i, old, !any && i + DS_WORD == size, word != old);
        n.flags = n.flags << 1 | differs;
        any |= differs;
        if (differs)
            ds_store32(bytes + i, code_changed(w, &n, old, word));
        else
            learn_shift(&w->shifts, old, old);
        ds_coder_note(w->coder, block->new_offset + (old_offset - block->old_offset) + i);
        n.before = ds_load32(bytes + i);
    }
}
