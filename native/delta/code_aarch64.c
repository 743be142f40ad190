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

#define TAUGHT 7 /* contexts of literal words that old code has too */

static void taught_contexts(const uint32_t before[2], unsigned f, uint32_t so_far, uint32_t *h) {
    uint32_t op = so_far >> 24, p1 = before[0], p2 = before[1];
    h[0] = ds_mix(so_far, f);
    h[1] = ds_mix(so_far + f, p1);
    h[2] = ds_mix(ds_mix(so_far + f, p1), p2);
    h[3] = ds_mix(ds_mix(so_far, f), p1 >> 24);
    h[4] = ds_mix(ds_mix(op << 8 | f, p1 >> 24), p2 >> 24);
    h[5] = ds_mix(op << 8 | f, field_of(p1, f));
    h[6] = ds_mix(ds_mix(op << 8 | f, p1 & 31), p2 & 31);
}

static void literal_contexts(const ds_walk *w, unsigned f, uint32_t so_far, uint32_t expected, ds_contexts *c) {
    uint32_t op = so_far >> 24, last = w->last_of[op], agree = (expected & known_bits(f)) == so_far;
    unsigned run = w->alignment.run < 3 ? w->alignment.run : 3;
    c->row = DS_DECIDE_WORD;
    c->select = f;
    taught_contexts(w->words, f, so_far, c->hash);
    c->hash[7] = ds_mix(ds_mix(expected, f), agree << 2 | run);
    c->hash[8] = f == 0 ? ds_mix(1, w->words[0] & 0xff00001f) : ds_mix(ds_mix(op << 8 | f, last), agree);
    c->hash[9] = ds_mix(field_of(expected, f), (f << 8 | op) + agree);
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

static ds_status literal_word(ds_walk *w, uint64_t block, ds_offset at, uint8_t *bytes, const uint8_t *new_bytes) {
    uint32_t word = new_bytes != NULL ? without_address(ds_load32(new_bytes)) : 0, so_far = 0, expected = 0;
    const shape *s = NULL;
    ds_align_expect_word(&w->alignment, &expected);
    expected = without_address(expected);
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

/* The bytes by which the operand moved, where nothing else differs. */
static void learn_shift(ds_walk *w, uint32_t old, uint32_t word) {
    operand o = operand_of(old);
    if (o.bits == 0 || ((old ^ word) & ~operand_mask(o)) != 0)
        return;
    int32_t units = (int32_t)((word - old) << (32 - o.low - o.bits)) >> (32 - o.bits);
    ds_shifts_learn(&w->shifts, o.base, units * (1 << o.scale));
}

/* The word as it is if registers were renamed as before, and its operand moved as others did. */
static uint32_t guess_word(const ds_walk *w, uint32_t old) {
    operand o = operand_of(old);
    uint32_t registers = w->substituted[old & 31] | (uint32_t)w->substituted[old >> 5 & 31] << 5;
    uint32_t moved = old + ((uint32_t)(ds_shifts_expect(&w->shifts, o.base) >> o.scale) << o.low);
    return (old & ~operand_mask(o) & ~0x3ffu) | (moved & operand_mask(o)) | registers;
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
    const ds_block *block;
} near_words;

static bool code_differs(ds_walk *w, const near_words *n, uint64_t in_block, uint32_t old, bool must, bool differs) {
    ds_site site;
    ds_sites_aarch64(w->old_image, n->block->old_offset + in_block, DS_WORD, &site);
    unsigned length = ds_bits_in(n->block->length), from = ds_bits_in(in_block),
             to = ds_bits_in(n->block->length - in_block);
    ds_shift_state shift = ds_shifts_state(&w->shifts, site.base);
    uint32_t form = without_address(old), ends = (from < 4 ? from : 4) << 4 | (to < 4 ? to : 4);
    ds_contexts contexts = {.row = DS_DECIDE_WORD_DIFFERS,
                            .select = shift == DS_SHIFT_MOVES,
                            .hash = {old >> 24, ds_mix(old >> 24, n->flags & 0xff), ds_mix(1, form),
                                     ds_mix(length << 8 | ends, n->flags & 3),
                                     ds_mix(ds_mix(form, n->before), n->flags & 1), ds_mix(form >> 24, n->before >> 24),
                                     ds_mix(w->substituted[old & 31] << 8 | w->substituted[old >> 5 & 31],
                                            (old & 31) << 5 | (old >> 5 & 31)),
                                     ds_mix(ds_risk_level(&w->risk, DS_RISK_BY_FORM, &site, 1),
                                            ds_risk_level(&w->risk, DS_RISK_BY_OPERAND, &site, 1)),
                                     ds_mix(ds_mix(3, shift), site.base), ds_mix(ds_mix(4, shift), n->flags & 15)}};
    return must || ds_code_flag(w->coder, &contexts, differs);
}

#define GUESSED 77 /* keeps a context from others of the same parts */

/* Fields as differences from the old ones: what moved, moves alike whatever it was. */
static uint32_t code_changed(ds_walk *w, const near_words *n, uint32_t old, uint32_t word) {
    uint32_t so_far = 0, changed = 0, guessed = guess_word(w, old);
    operand o = operand_of(old);
    unsigned shift = ds_shifts_state(&w->shifts, o.base);
    for (unsigned f = 0; f < FIELDS; f++) {
        uint32_t was = field_of(old, f), op = so_far >> 24, kind = op << 8 | f, mask = (1u << fields[f].bits) - 1;
        uint32_t agrees = (guessed & known_bits(f)) == so_far;
        uint32_t guess = f == 1 || f == 2 ? (w->substituted[was] - was) & 0xff
                         : o.bits != 0    ? (field_of(guessed, f) - was) & mask
                                          : w->last_change[f];
        ds_contexts contexts = {.row = DS_DECIDE_WORD_FIELD,
                                .select = f,
                                .hash = {ds_mix(f << 16 | was, changed), ds_mix(ds_mix(so_far, f), old),
                                         ds_mix(ds_mix(f, old), 7), ds_mix(kind << 8 | guess, GUESSED),
                                         ds_mix(ds_mix(so_far, f), n->before), ds_mix(so_far, f),
                                         ds_mix(ds_mix(kind, was), changed), ds_mix(ds_mix(kind, n->before & 31), was),
                                         ds_mix(ds_mix(kind, guess), changed), ds_mix(f, changed),
                                         ds_mix(ds_mix(1, f << 16 | guess << 1 | agrees), shift),
                                         ds_mix(ds_mix(2, kind << 8 | guess), agrees << 8 | (n->flags & 15))}};
        uint32_t difference = (field_of(word, f) - was) & mask;
        uint32_t value = (was + ds_code_symbol(w->coder, &contexts, fields[f].bits, difference)) & mask;
        so_far |= value << fields[f].low;
        changed = changed << 1 | (value != was);
        if (f == 1 || f == 2)
            w->substituted[was] = (uint8_t)value;
        else if (value != was)
            w->last_change[f] = (uint8_t)(value - was);
    }
    learn_shift(w, old, so_far);
    return so_far;
}

void ds_recode_aarch64(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                       const uint8_t *new_bytes, uint64_t size) {
    near_words n = {.before = ds_load32(bytes - 4), .block = block};
    bool any = false;
    for (uint64_t i = 0; i < size; i += DS_WORD) {
        uint32_t old = ds_load32(bytes + i), word = new_bytes != NULL ? ds_load32(new_bytes + i) : 0;
        bool differs =
            code_differs(w, &n, old_offset + i - block->old_offset, old, !any && i + DS_WORD == size, word != old);
        n.flags = n.flags << 1 | differs;
        any |= differs;
        if (differs)
            ds_store32(bytes + i, code_changed(w, &n, old, word));
        else
            learn_shift(w, old, old);
        ds_coder_note(w->coder, block->new_offset + (old_offset - block->old_offset) + i);
        n.before = ds_load32(bytes + i);
    }
}
