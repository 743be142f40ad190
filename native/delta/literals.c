/* Bytes that no block covers. */
#include "delta/steps.h"
#include "delta/words.h"
#include "image/isa/isa.h"

/* ---- what the model knows of a literal byte ---- */

enum { ROLE_OPCODE, ROLE_MODRM, ROLE_SIB, ROLE_DISPLACEMENT, ROLE_IMMEDIATE, ROLE_FIELD, ROLES = 8 };

#define LONGEST 15

/* Code as it is read: instructions up to the byte before the next. */
typedef struct reader {
    const uint8_t *next; /* the byte to come; earlier ones can be read */
    unsigned at;         /* bytes of its instruction so far */
    ds_x86_64_parts parts;
    uint32_t before[2]; /* hashes of the two instructions before */
    uint64_t recent;    /* bytes that are no reference, latest lowest */
} reader;

static uint32_t hash_bytes(const uint8_t *bytes, unsigned size) {
    uint32_t hash = size;
    for (unsigned i = 0; i < size; i++)
        hash = (hash + bytes[i] + 1) * 0x9e3779b1u;
    return hash ^ hash >> 15;
}

/* Take apart what is known of the instruction. */
static void look(reader *r) {
    uint8_t copy[DS_X86_64_READ] = {0};
    memcpy(copy, r->next - r->at, r->at);
    r->parts = ds_x86_64_take_apart(copy);
}

static void begin_instruction(reader *r) {
    r->before[1] = r->before[0];
    r->before[0] = hash_bytes(r->next - r->at, r->at < 3 ? r->at : 3);
    r->at = 0;
}

/* A byte has come, or a reference. */
static void step(reader *r, unsigned bytes) {
    if (bytes == 1)
        r->recent = r->recent << 8 | *r->next;
    r->next += bytes;
    r->at += bytes;
    look(r);
    if (r->parts.length == 0 ? r->at > 0 : r->at >= r->parts.length) {
        begin_instruction(r);
        look(r);
    }
}

static unsigned role_of(const reader *r) {
    const ds_x86_64_parts *p = &r->parts;
    unsigned n = r->at;
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

static void contexts_of_code(const reader *r, ds_contexts *contexts) {
    unsigned role = role_of(r);
    const uint8_t *next = r->next;
    uint32_t so_far = ds_mix(hash_bytes(next - r->at, r->at), role);
    uint32_t modrm = role >= ROLE_SIB && r->parts.modrm != 0 ? next[(int)r->parts.modrm - (int)r->at] : 0;
    unsigned operand = role == ROLE_DISPLACEMENT ? r->parts.displacement
                       : role == ROLE_IMMEDIATE  ? r->parts.immediate
                                                 : r->at;
    uint32_t operand_so_far = hash_bytes(next - (r->at - operand), r->at - operand);
    contexts->row = DS_DECIDE_CODE;
    contexts->select = role;
    uint32_t *hash = contexts->hash;
    hash[0] = so_far;
    hash[1] = ds_mix(so_far, r->before[0]);
    hash[2] = ds_mix(so_far, ds_mix(r->before[0], r->before[1]));
    uint32_t recent = (uint32_t)r->recent;
    hash[3] = ds_mix(role, recent & 0xff);
    hash[4] = ds_mix(role, recent & 0xffff);
    hash[5] = ds_mix(1, recent & 0xffffff);
    hash[6] = recent * 0x2545f491u;
    hash[7] = ds_mix(ds_mix(role, modrm), operand_so_far);
    hash[8] = ds_mix(recent, (uint32_t)(r->recent >> 32) & 0xffff);
}

/* ---- teaching: old code round a gap resembles the new code in it ---- */

#ifndef TEACH_REACH
#define TEACH_REACH 512
#endif
#define CODE_TAUGHT 9 /* contexts that do not depend on where a byte stands among old bytes */

static bool is_start(const ds_image *image, ds_offset offset) {
    return image->starts[offset >> 3] >> (offset & 7) & 1;
}

static void teach_run(ds_walk *w, ds_offset at, ds_offset end) {
    const ds_image *old = w->old_image;
    if (at < 16)
        at = 16;
    while (at < end && !is_start(old, at))
        at++;
    reader r = {.next = old->file.data + at, .recent = ds_load64_be(old->file.data + at - 8)};
    look(&r);
    while (at < end) {
        if (r.parts.field_size == 4 && r.at == r.parts.field && end - at >= 4) {
            step(&r, 4);
            at += 4;
            continue;
        }
        ds_contexts contexts;
        contexts_of_code(&r, &contexts);
        ds_model_teach(w->coder->model, DS_DECIDE_CODE, CODE_TAUGHT, contexts.hash, 8, *r.next);
        step(&r, 1);
        at++;
    }
}

static void teach(ds_walk *w, ds_offset from, ds_offset to) {
    const ds_image *old = w->old_image;
    to = to < old->file.size ? to : old->file.size;
    for (uint64_t page = from / DS_PAGE_TAUGHT; page * DS_PAGE_TAUGHT < to; page++) {
        uint64_t first = page;
        while (page * DS_PAGE_TAUGHT < to && w->teach_budget >= DS_PAGE_TAUGHT &&
               !(w->taught[page >> 3] >> (page & 7) & 1)) {
            w->taught[page >> 3] |= (uint8_t)(1u << (page & 7));
            w->teach_budget -= DS_PAGE_TAUGHT;
            page++;
        }
        if (page > first) {
            ds_offset end = page * DS_PAGE_TAUGHT;
            teach_run(w, first * DS_PAGE_TAUGHT, end < old->file.size ? end : old->file.size);
        }
    }
}

static void teach_gap(ds_walk *w, uint64_t block, uint64_t size) {
    if (w->old_image->starts == NULL)
        return;
    uint64_t reach = TEACH_REACH;
    (void)size;
    if (block > 0) {
        const ds_block *before = &w->blocks->list.items[block - 1];
        ds_offset end = before->old_offset + before->length;
        teach(w, end > reach ? end - reach : 0, end + reach);
    }
    if (block < w->blocks->list.count) {
        ds_offset start = w->blocks->list.items[block].old_offset;
        teach(w, start > reach ? start - reach : 0, start + reach);
    }
}

/* ---- alignment ---- */

#define SEARCH_REACH 512 /* old bytes on either side */

static unsigned expect(const ds_walk *w, uint8_t *byte) {
    const ds_alignment *a = &w->alignment;
    if (a->at >= w->old_image->file.size)
        return 0;
    *byte = w->old_image->file.data[a->at];
    unsigned run = a->run < 4 ? a->run : a->run < 8 ? 4 : a->run < 16 ? 5 : a->run < 32 ? 6 : 7;
    return 1 + run * 2 + (a->missed > 0);
}

/* Nearest old place whose `size` bytes before it are the latest new ones. */
static bool search(ds_walk *w, const uint8_t *next, unsigned size, ds_offset *found) {
    ds_span old = w->old_image->file;
    ds_offset at = w->alignment.at;
    uint32_t mask = size == 4 ? UINT32_MAX : 0xffffff;
    uint32_t wanted = ds_load32(next - 4) >> (size == 4 ? 0 : 8);
    for (uint64_t reach = 0; reach < SEARCH_REACH; reach++)
        for (unsigned side = 0; side < 2; side++) {
            ds_offset place = side == 0 ? at + reach : at - reach;
            if (place < size || place > old.size - 4 + size || place - size + 4 > old.size)
                continue;
            if ((ds_load32(old.data + place - size) & mask) == wanted) {
                *found = place;
                return true;
            }
        }
    return false;
}

static void align(ds_walk *w, const uint8_t *next, uint8_t byte) {
    ds_alignment *a = &w->alignment;
    uint8_t expected;
    if (expect(w, &expected) != 0 && expected == byte) {
        a->run++;
        a->at++;
        return;
    }
    a->run = 0;
    a->missed++;
    a->at++;
    if (w->search_budget < 4 * SEARCH_REACH || w->old_image->file.size < 16)
        return;
    ds_offset found;
    w->search_budget -= 4 * SEARCH_REACH;
    if (search(w, next, 4, &found)) {
        a->at = found;
        a->missed = 0;
    }
}

/* ---- x86-64 code ---- */

/* A rel32 field in new code: its target instead of its bytes. */
static ds_status code_field(ds_walk *w, uint64_t block, ds_offset at, reader *r, uint8_t *field,
                            const uint8_t *new_field) {
    const ds_ref *ref;
    unsigned tail = r->parts.length - r->parts.field - 4u;
    ds_address place = ds_layout_address(w->layout, at), target = 0, hint = 0;
    bool has_hint = ds_walk_find_reference(w->old_image, w->alignment.at, &ref) && ds_ref_kind_of(ref) == DS_REF_REL32;
    if (has_hint)
        hint = ds_predict_beside(&w->predictor, ref->target, block);
    if (new_field != NULL)
        target = ds_ref_solve(DS_REF_REL32, new_field, place, tail, 0, 0);
    uint32_t known = hash_bytes(field - r->at, r->at);
    unsigned class_ = r->parts.modrm != 0;
    if (class_ == 0 || !has_hint)
        w->alignment.run = 0;
    DS_TRY(ds_code_target(&w->targets, w->coder, place, has_hint, hint, known, 0, class_, &target));
    ds_ref_put(DS_REF_REL32, field, place, tail, 0, target);
    w->alignment.at += 4;
    return DS_OK;
}

static ds_status model_code(ds_walk *w, uint64_t block, ds_offset at, uint64_t size, uint8_t *bytes,
                            const uint8_t *new_bytes) {
    reader r = {.next = bytes, .recent = ds_load64_be(bytes - 8)};
    ds_offset from = w->instruction < at && at - w->instruction <= LONGEST ? w->instruction : at;
    r.at = (unsigned)(at - from);
    look(&r);
    if (r.parts.length == 0 ? r.at > 0 : r.at >= r.parts.length) {
        begin_instruction(&r);
        look(&r);
    }
    for (uint64_t i = 0; i < size;) {
        if (r.parts.field_size == 4 && r.at == r.parts.field && size - i >= 4) {
            DS_TRY(code_field(w, block, at + i, &r, bytes + i, new_bytes != NULL ? new_bytes + i : NULL));
            step(&r, 4);
            i += 4;
            continue;
        }
        ds_contexts contexts;
        uint8_t expected = 0;
        unsigned trust = expect(w, &expected);
        contexts_of_code(&r, &contexts);
        contexts.hash[9] = ds_mix(trust, expected);
        contexts.hash[10] = ds_mix(ds_mix(trust > 0, expected), r.next[-1]);
        contexts.hash[11] = ds_mix(contexts.hash[0], trust > 0 ? expected : 256);
        unsigned byte = ds_code_symbol(w->coder, &contexts, 8, new_bytes != NULL ? new_bytes[i] : 0);
        bytes[i] = (uint8_t)byte;
        step(&r, 1);
        align(w, bytes + i + 1, (uint8_t)byte);
        i++;
    }
    w->instruction = at + size - r.at;
    return DS_OK;
}

/* ---- data ---- */

static ds_status model_data(ds_walk *w, ds_offset at, uint64_t size, uint8_t *bytes, const uint8_t *new_bytes) {
    for (uint64_t i = 0; i < size; i++) {
        const uint8_t *next = bytes + i;
        uint8_t expected = 0;
        unsigned trust = expect(w, &expected), column = (unsigned)(at + i) & 7;
        ds_contexts contexts = {.row = DS_DECIDE_DATA,
                                .hash = {0, next[-1], ds_load16(next - 2), ds_load32(next - 3) & 0xffffff,
                                         ds_mix(1, ds_load32(next - 4)), ds_mix(trust, expected),
                                         ds_mix(column, next[-8]), ds_mix(ds_mix(2, expected), next[-1])}};
        unsigned byte = ds_code_symbol(w->coder, &contexts, 8, new_bytes != NULL ? new_bytes[i] : 0);
        bytes[i] = (uint8_t)byte;
        align(w, next + 1, (uint8_t)byte);
    }
    w->instruction = at + size;
    return DS_OK;
}

/* ---- a gap ---- */

static ds_status literal_run(ds_walk *w, uint64_t block, const ds_region *code, ds_offset at, uint64_t size,
                             uint8_t *bytes) {
    ds_coder *c = w->coder;
    const uint8_t *new_bytes = c->writing ? w->new_bytes + at : NULL;
    if (c->model != NULL && code != NULL && code->words && at % DS_WORD == 0 && size % DS_WORD == 0)
        return ds_words_literal(w, block, at, size, bytes, new_bytes);
    if (c->model != NULL)
        return code != NULL && !code->words ? model_code(w, block, at, size, bytes, new_bytes)
                                            : model_data(w, at, size, bytes, new_bytes);
    ds_stream stream = code != NULL ? DS_STREAM_CODE : DS_STREAM_DATA;
    return c->writing ? ds_write_bytes(c->writer, stream, new_bytes, size)
                      : ds_read_bytes(c->reader, stream, bytes, size);
}

/* The last instruction that the block before the gap copies: code goes on from there. */
static void find_instruction(ds_walk *w, const ds_block *block) {
    const uint8_t *starts = w->old_image->starts;
    for (unsigned back = 1; starts != NULL && back <= LONGEST && back <= block->length; back++) {
        ds_offset old = block->old_offset + block->length - back;
        if (starts[old >> 3] >> (old & 7) & 1) {
            w->instruction = block->new_offset + block->length - back;
            return;
        }
    }
}

static void enter_gap(ds_walk *w, uint64_t block) {
    w->alignment = (ds_alignment){0};
    if (block == 0)
        return;
    const ds_block *before = &w->blocks->list.items[block - 1];
    w->alignment.at = before->old_offset + before->length;
    find_instruction(w, before);
}

ds_status ds_walk_literal(ds_walk *w, uint64_t block, ds_offset at, ds_offset end) {
    if (at < end && w->coder->model != NULL)
        enter_gap(w, block);
    while (at < end) {
        ds_offset stop;
        bool derived;
        const ds_region *code = ds_layout_code(w->layout, at, &stop);
        if (w->coder->model != NULL && code != NULL && !code->words)
            teach_gap(w, block, end - at);
        stop = ds_derived_run(w->derivations, at, stop < end ? stop : end, &derived);
        while (at < stop) {
            uint64_t size = stop - at < DS_CHUNK ? stop - at : DS_CHUNK;
            uint8_t *bytes;
            DS_TRY(ds_walk_make_room(w, size, &bytes));
            if (derived)
                memset(bytes, 0, size);
            else
                DS_TRY(literal_run(w, block, code, at, size, bytes));
            at += size;
        }
    }
    return w->coder->model != NULL ? ds_model_check(w->coder->model) : DS_OK;
}
