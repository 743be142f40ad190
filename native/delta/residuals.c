/* Copied bytes that are not as predicted. */
#include "delta/steps.h"
#include "delta/words.h"
#include "image/isa/isa.h"

/* ---- streams: runs of equal bytes, and differences ---- */

static uint64_t equal_run(const uint8_t *a, const uint8_t *b, uint64_t limit) {
    uint64_t run = 0;
    while (run + 8 <= limit && ds_load64(a + run) == ds_load64(b + run))
        run += 8;
    while (run < limit && a[run] == b[run])
        run++;
    return run;
}

static ds_status stream_residuals(ds_coder *c, uint8_t *bytes, const uint8_t *new_bytes, uint64_t size) {
    uint64_t at = 0;
    while (at < size) {
        uint64_t run = new_bytes != NULL ? equal_run(bytes + at, new_bytes + at, size - at) : 0;
        DS_TRY(ds_code_run(c, DS_STREAM_RESIDUAL_GAPS, size - at, &run));
        at += run;
        if (at == size)
            break;
        uint8_t residual = new_bytes != NULL ? (uint8_t)(new_bytes[at] - bytes[at]) : 0;
        DS_TRY(c->writing ? ds_write_bytes(c->writer, DS_STREAM_RESIDUALS, &residual, 1)
                          : ds_read_bytes(c->reader, DS_STREAM_RESIDUALS, &residual, 1));
        if (new_bytes == NULL)
            bytes[at] = (uint8_t)(bytes[at] + residual);
        at++;
    }
    return DS_OK;
}

/* ---- the model: which units differ, then which bytes, then how ---- */

#define UNIT ((uint64_t)64)

/* What a byte of code is for. */
enum { ROLE_DATA, ROLE_OPCODE, ROLE_MODRM, ROLE_SIB, ROLE_DISPLACEMENT, ROLE_IMMEDIATE, ROLE_FIELD, ROLES = 8 };

/* The instruction of the old image that a copied byte belongs to. */
typedef struct site {
    const uint8_t *bytes; /* its first byte, in the old image */
    ds_x86_64_parts parts;
    unsigned at; /* of the byte in it */
    uint32_t whole, form;
} site;

static unsigned log_of(uint64_t value) {
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

static uint32_t hash_bytes(const uint8_t *bytes, unsigned size) {
    uint32_t hash = size;
    for (unsigned i = 0; i < size; i++)
        hash = (hash + bytes[i] + 1) * 0x9e3779b1u;
    return hash ^ hash >> 15;
}

static bool is_start(const ds_image *image, ds_offset offset) {
    return image->starts != NULL && image->starts[offset >> 3] >> (offset & 7) & 1;
}

static void enter_instruction(const ds_image *image, ds_offset offset, site *s) {
    uint8_t copy[DS_X86_64_READ] = {0};
    uint64_t left = image->file.size - offset;
    memcpy(copy, image->file.data + offset, left < sizeof copy ? left : sizeof copy);
    s->bytes = image->file.data + offset;
    s->parts = ds_x86_64_take_apart(copy);
    s->at = 0;
    if (s->parts.length > left)
        s->parts.length = 0;
    unsigned form = s->parts.modrm != 0 ? s->parts.modrm + 1u : s->parts.length > 2 ? 2 : s->parts.length;
    s->whole = hash_bytes(s->bytes, s->parts.length);
    s->form = hash_bytes(s->bytes, form);
}

static unsigned role_of(const site *s) {
    const ds_x86_64_parts *p = &s->parts;
    unsigned n = s->at;
    if (n >= p->length)
        return ROLE_DATA;
    if (p->field != 0 && n >= p->field && n < p->field + p->field_size)
        return ROLE_FIELD;
    if (p->immediate != 0 && n >= p->immediate)
        return ROLE_IMMEDIATE;
    if (p->displacement != 0 && n >= p->displacement)
        return ROLE_DISPLACEMENT;
    if (p->modrm != 0 && n > p->modrm)
        return ROLE_SIB;
    return p->modrm != 0 && n == p->modrm ? ROLE_MODRM : ROLE_OPCODE;
}

/* The instruction that holds old byte `offset`, if one does. */
static void find_site(const ds_image *image, ds_offset offset, site *s) {
    *s = (site){0};
    for (unsigned back = 0; back < 15 && back <= offset; back++)
        if (is_start(image, offset - back)) {
            enter_instruction(image, offset - back, s);
            s->at = back;
            if (back >= s->parts.length)
                *s = (site){0};
            return;
        }
}

/* The value of the displacement or immediate that the byte is in. */
static uint32_t operand_of(const site *s, unsigned role) {
    unsigned from = role == ROLE_IMMEDIATE ? s->parts.immediate : s->parts.displacement;
    unsigned to = role == ROLE_DISPLACEMENT && s->parts.immediate != 0 ? s->parts.immediate : s->parts.length;
    return hash_bytes(s->bytes + from, to - from);
}

typedef struct unit_state {
    uint32_t flags; /* of the last bytes, latest lowest */
    unsigned since; /* last byte that differed */
    uint8_t last[ROLES];
} unit_state;

static void code_byte(ds_walk *w, const ds_block *block, ds_offset old_offset, const site *s, uint8_t *bytes,
                      const uint8_t *new_bytes, unit_state *state, bool must) {
    ds_coder *c = w->coder;
    unsigned role = role_of(s), n = role == ROLE_DATA ? (unsigned)(old_offset & 7) : s->at;
    uint8_t old = *bytes;
    bool moved = old != w->old_image->file.data[old_offset];
    uint32_t operand = role == ROLE_IMMEDIATE || role == ROLE_DISPLACEMENT ? operand_of(s, role) : 0;
    uint32_t kind = role << 8 | n, modrm = s->parts.modrm != 0 && s->bytes != NULL ? s->bytes[s->parts.modrm] : 0;
    uint64_t in_block = old_offset - block->old_offset;
    unsigned length = log_of(block->length), near = log_of(in_block) < 3 || log_of(block->length - in_block) < 3;
    ds_contexts flag = {.row = DS_DECIDE_BYTE_DIFFERS,
                        .select = role,
                        .hash = {ds_mix(role, s->form), ds_mix(kind, state->flags & 0xff), ds_mix(kind, s->whole),
                                 ds_mix(role, old), ds_mix(ds_mix(role, state->since), moved),
                                 ds_mix(ds_mix(role, modrm), operand), ds_mix(ds_mix(role, length), near),
                                 ds_mix(kind, ds_mix(s->form, state->flags & 7))}};
    bool differs = must || ds_code_flag(c, &flag, new_bytes != NULL && *new_bytes != old);
    state->flags = state->flags << 1 | differs;
    state->since = differs ? 0 : state->since + 1;
    if (!differs)
        return;
    const uint8_t *made = bytes - (role == ROLE_DATA ? 1 : s->at);
    unsigned made_size = role == ROLE_DATA ? 1 : s->at;
    ds_contexts value = {.row = DS_DECIDE_BYTE,
                         .select = role,
                         .hash = {ds_mix(role, old), ds_mix(0x100 | role, (uint8_t)(old + state->last[role])),
                                  ds_mix(s->form, old << 8 | n), ds_mix(ds_mix(role, modrm), operand + n),
                                  ds_mix(hash_bytes(made, made_size), kind), ds_mix(s->whole, n), kind}};
    unsigned coded = ds_code_symbol(c, &value, 8, new_bytes != NULL ? *new_bytes : 0);
    state->last[role] = (uint8_t)(coded - old);
    *bytes = (uint8_t)coded;
}

static void code_unit(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                      const uint8_t *new_bytes, uint64_t size) {
    unit_state state = {.since = 15};
    site s;
    bool any = false;
    find_site(w->old_image, old_offset, &s);
    for (uint64_t i = 0; i < size; i++) {
        if (i > 0 && is_start(w->old_image, old_offset + i))
            enter_instruction(w->old_image, old_offset + i, &s);
        uint8_t before = bytes[i];
        code_byte(w, block, old_offset + i, &s, bytes + i, new_bytes != NULL ? new_bytes + i : NULL, &state,
                  !any && i + 1 == size);
        any |= bytes[i] != before;
        s.at++;
    }
}

static bool is_words(const ds_walk *w, ds_offset old_offset, const ds_block *block, uint64_t size) {
    const ds_region *region = ds_image_region(w->old_image, ds_image_address(w->old_image, old_offset));
    ds_offset new_offset = block->new_offset + (old_offset - block->old_offset);
    return region != NULL && region->words && region->class_ == DS_REGION_CODE && size % DS_WORD == 0 &&
           old_offset % DS_WORD == 0 && new_offset % DS_WORD == 0;
}

static ds_status model_residuals(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                                 const uint8_t *new_bytes, uint64_t size) {
    unsigned length = log_of(block->length);
    for (uint64_t at = 0; at < size; at += UNIT) {
        uint64_t unit = size - at < UNIT ? size - at : UNIT;
        uint64_t in_block = old_offset + at - block->old_offset;
        bool first = in_block == 0, last = in_block + unit == block->length;
        bool differs = new_bytes != NULL && memcmp(bytes + at, new_bytes + at, unit) != 0;
        uint32_t ends = first << 1 | last, wrong = w->wrong_history & 0xf;
        bool code = is_start(w->old_image, old_offset + at) || is_start(w->old_image, old_offset + at + unit / 2);
        ds_contexts contexts = {.row = DS_DECIDE_UNIT_DIFFERS,
                                .select = code,
                                .hash = {ds_mix(length, ends), w->unit_history & 0xff,
                                         ds_mix(w->unit_history & 7, ds_mix(length, ends)), log_of(unit) << 2 | ends,
                                         ds_mix(wrong, w->unit_history & 3), w->unit_history & 0xffff}};
        differs = ds_code_flag(w->coder, &contexts, differs);
        w->unit_history = w->unit_history << 1 | differs;
        if (differs && is_words(w, old_offset + at, block, unit))
            ds_words_residual(w, block, old_offset + at, bytes + at, new_bytes != NULL ? new_bytes + at : NULL, unit);
        else if (differs)
            code_unit(w, block, old_offset + at, bytes + at, new_bytes != NULL ? new_bytes + at : NULL, unit);
    }
    return ds_model_check(w->coder->model);
}

ds_status ds_walk_residuals(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes,
                            const uint8_t *new_bytes, uint64_t size) {
    return w->coder->model != NULL ? model_residuals(w, block, old_offset, bytes, new_bytes, size)
                                   : stream_residuals(w->coder, bytes, new_bytes, size);
}
