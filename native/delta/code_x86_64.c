/* x86-64 code by the model: bytes in the order of the file, each with its part in the instruction. */
#include "delta/code.h"
#include "image/isa/isa.h"

#define LONGEST 15 /* bytes of an instruction (SDM volume 2, 2.3.11) */

/* What a byte is for. */
enum { OPCODE, MODRM, SIB, DISPLACEMENT, IMMEDIATE, FIELD, DATA };

/* Of the byte at `at` of an instruction that is known up to there. */
static unsigned role_of(const ds_x86_64_parts *p, unsigned at) {
    if (p->field != 0 && at >= p->field && at < p->field + p->field_size)
        return FIELD;
    if (p->immediate != 0 && at >= p->immediate)
        return IMMEDIATE;
    if (p->displacement != 0 && at >= p->displacement)
        return DISPLACEMENT;
    if (p->modrm != 0 && at > p->modrm)
        return SIB;
    return p->modrm != 0 && at == p->modrm ? MODRM : OPCODE;
}

/* ---- new code ---- */

/* Code as it comes: instructions up to the byte before the next. */
typedef struct reader {
    const uint8_t *next; /* the byte to come; earlier ones can be read */
    unsigned at;         /* bytes of its instruction so far */
    ds_x86_64_parts parts;
    uint32_t before[2]; /* hashes of the two instructions before, latest first */
    uint64_t recent;    /* bytes that are no reference, latest lowest */
} reader;

/* Take apart what is known of the instruction. What is not known yet stands in for a usual one: ones are a valid map
 * of VEX and EVEX, and the second byte behind an EVEX's first has its fixed bit. */
static void look(reader *r) {
    uint8_t known[DS_X86_64_READ];
    memset(known, 1, sizeof known);
    known[2] = 5;
    memcpy(known, r->next - r->at, r->at);
    r->parts = ds_x86_64_take_apart(known);
}

/* Where the bytes so far are an instruction, or none, the next one begins. */
static void look_ahead(reader *r) {
    look(r);
    if (r->at == 0 || r->at < r->parts.length)
        return;
    r->before[1] = r->before[0];
    r->before[0] = ds_hash_bytes(r->next - r->at, r->at < 3 ? r->at : 3);
    r->at = 0;
    look(r);
}

static void begin(reader *r, const uint8_t *next, unsigned at) {
    *r = (reader){.next = next, .at = at, .recent = ds_load64_be(next - 8)};
    look_ahead(r);
}

static void take_byte(reader *r) {
    r->recent = r->recent << 8 | *r->next++;
    r->at++;
    look_ahead(r);
}

#define FIELD_SIZE 4

/* Whether the bytes to come are a distance of four bytes, `left` of them in the gap. */
static bool at_field(const reader *r, uint64_t left) {
    return r->parts.field_size == FIELD_SIZE && r->at == r->parts.field && left >= FIELD_SIZE;
}

static void take_field(reader *r) {
    r->next += FIELD_SIZE;
    r->at += FIELD_SIZE;
    look_ahead(r);
}

#define TAUGHT 6 /* contexts that do not depend on where a byte stands among old bytes; they come first */

static void contexts_of(const reader *r, ds_contexts *contexts) {
    const uint8_t *instruction = r->next - r->at;
    unsigned role = role_of(&r->parts, r->at);
    uint32_t so_far = ds_mix(ds_hash_bytes(instruction, r->at), role), recent = (uint32_t)r->recent;
    uint32_t modrm = role >= SIB && r->parts.modrm != 0 ? instruction[r->parts.modrm] : 0;
    unsigned operand = role == DISPLACEMENT ? r->parts.displacement : role == IMMEDIATE ? r->parts.immediate : r->at;
    contexts->row = DS_DECIDE_CODE;
    contexts->select = role;
    uint32_t *hash = contexts->hash;
    hash[0] = so_far;
    hash[1] = ds_mix(so_far, r->before[0]);
    hash[2] = ds_mix(role, recent & 0xff);
    hash[3] = ds_mix(role, recent & 0xffff);
    hash[4] = ds_mix(2, recent);
    hash[5] = ds_mix(ds_mix(role, modrm), ds_hash_bytes(instruction + operand, r->at - operand));
    hash[6] = ds_mix(recent, (uint32_t)(r->recent >> 32) & 0xffff);
    hash[7] = ds_mix(so_far, r->before[1]);
}

/* A distance in new code: its target instead of its bytes. */
static ds_status code_field(ds_walk *w, uint64_t block, ds_offset at, const reader *r, uint8_t *field,
                            const uint8_t *new_field) {
    ds_ref ref;
    unsigned behind = r->parts.length - r->parts.field - FIELD_SIZE;
    ds_target target = {.place = ds_layout_address(w->layout, at),
                        .known = ds_hash_bytes(field - r->at, r->at),
                        .class_ = r->parts.modrm != 0 ? DS_TARGET_DATA : DS_TARGET_CODE};
    if (ds_refs_find(w->old_image, w->alignment.first + w->alignment.at, &ref) &&
        ds_ref_kind_of(&ref) == DS_REF_REL32) {
        target.has_hint = true;
        target.hint = ds_predict_beside(&w->predictor, ref.target, block);
    }
    if (new_field != NULL)
        target.address = ds_ref_solve(DS_REF_REL32, new_field, target.place, behind, 0, 0);
    DS_TRY(ds_code_target(w->targets, w->coder, &target));
    ds_ref_put(DS_REF_REL32, field, target.place, behind, 0, target.address);
    w->alignment.at += FIELD_SIZE;
    return DS_OK;
}

static void code_byte(ds_walk *w, const reader *r, uint8_t *byte, const uint8_t *new_byte) {
    ds_contexts contexts;
    uint8_t expected = 0;
    unsigned trust = ds_align_expect(&w->alignment, &expected);
    contexts_of(r, &contexts);
    contexts.hash[8] = ds_mix(trust, expected);
    contexts.hash[9] = ds_mix(contexts.hash[0], trust > 0 ? expected : 256);
    *byte = (uint8_t)ds_code_symbol(w->coder, &contexts, 8, new_byte != NULL ? *new_byte : 0);
    ds_align_take(&w->alignment, byte + 1);
}

ds_status ds_code_x86_64(ds_walk *w, uint64_t block, ds_offset at, uint64_t size, uint8_t *bytes,
                         const uint8_t *new_bytes) {
    reader r;
    begin(&r, bytes, w->instruction < at && at - w->instruction <= LONGEST ? (unsigned)(at - w->instruction) : 0);
    for (uint64_t i = 0; i < size;) {
        if (at_field(&r, size - i)) {
            DS_TRY(code_field(w, block, at + i, &r, bytes + i, new_bytes != NULL ? new_bytes + i : NULL));
            take_field(&r);
            ds_coder_note(w->coder, at + i);
            i += FIELD_SIZE;
        } else {
            code_byte(w, &r, bytes + i, new_bytes != NULL ? new_bytes + i : NULL);
            take_byte(&r);
            ds_coder_note(w->coder, at + i);
            i++;
        }
    }
    w->instruction = at + size - r.at;
    return ds_model_check(w->coder->model);
}

void ds_x86_64_follow(ds_walk *w, const ds_block *block) {
    for (unsigned back = 1; back <= LONGEST && back <= block->length; back++)
        if (ds_image_is_start(w->old_image, block->old_offset + block->length - back)) {
            w->instruction = block->new_offset + block->length - back;
            return;
        }
}

/* ---- teaching ---- */

void ds_x86_64_teach(ds_walk *w, ds_offset at, ds_offset end) {
    const ds_image *old_image = w->old_image;
    at = at < LONGEST + 1 ? LONGEST + 1 : at;
    while (at < end && !ds_image_is_start(old_image, at))
        at++;
    reader r;
    if (at >= end)
        return;
    begin(&r, old_image->file.data + at, 0);
    while ((at = (ds_offset)(r.next - old_image->file.data)) < end) {
        if (at_field(&r, end - at)) {
            take_field(&r);
            continue;
        }
        ds_contexts contexts;
        contexts_of(&r, &contexts);
        ds_model_teach(w->coder->model, DS_DECIDE_CODE, TAUGHT, contexts.hash, 8, *r.next);
        take_byte(&r);
    }
}

/* ---- copied code that differs ---- */

/* The old instruction that a copied byte belongs to. */
typedef struct site {
    const uint8_t *bytes; /* its first one, in the old image */
    ds_x86_64_parts parts;
    unsigned at;   /* the copied byte's place in it */
    uint32_t form; /* hash of what it does, without operands */
} site;

/* Bytes up to ModR/M, or else before the operand. */
static unsigned form_size(const ds_x86_64_parts *p) {
    if (p->modrm != 0)
        return p->modrm + 1u;
    return p->immediate != 0 ? p->immediate : p->field != 0 ? p->field : p->length;
}

static void enter(const ds_image *image, ds_offset offset, site *s) {
    uint8_t bytes[DS_X86_64_READ] = {0};
    uint64_t left = image->file.size - offset;
    memcpy(bytes, image->file.data + offset, left < sizeof bytes ? left : sizeof bytes);
    *s = (site){.bytes = image->file.data + offset, .parts = ds_x86_64_take_apart(bytes)};
    if (s->parts.length > left)
        s->parts = (ds_x86_64_parts){0};
    s->form = ds_hash_bytes(s->bytes, form_size(&s->parts));
}

/* The instruction that holds the byte, if one does. */
static void find_site(const ds_image *image, ds_offset offset, site *s) {
    *s = (site){0};
    for (unsigned back = 0; back < LONGEST && back <= offset; back++)
        if (ds_image_is_start(image, offset - back)) {
            enter(image, offset - back, s);
            s->at = back;
            if (back >= s->parts.length)
                *s = (site){0};
            return;
        }
}

/* The operand without its low bits: what stands near it moves with it. */
static uint32_t rough_operand(const site *s) {
    unsigned from = s->parts.immediate != 0 ? s->parts.immediate : s->parts.displacement;
    if (from == 0)
        return 0;
    return from + 4u <= s->parts.length ? ds_load32(s->bytes + from) >> 7 : s->bytes[from] >> 2;
}

unsigned ds_sites_x86_64(const ds_image *image, ds_offset offset, unsigned size, ds_site *sites) {
    unsigned count = 0;
    for (unsigned at = 0; at < size;) {
        site s;
        if (!ds_image_is_start(image, offset + at)) {
            at++;
            continue;
        }
        enter(image, offset + at, &s);
        unsigned length = s.parts.length != 0 ? s.parts.length : 1;
        sites[count++] = (ds_site){.at = (uint8_t)at,
                                   .size = (uint8_t)length,
                                   .base = DS_NO_REGISTER,
                                   .keys = {[DS_RISK_BY_FORM] = ds_mix(4, s.form) >> 16,
                                            [DS_RISK_BY_OPERAND] = ds_mix(s.form, rough_operand(&s)) >> 16}};
        at += length;
    }
    return count;
}

/* Hash of the displacement or immediate that the byte is in; 0 in other parts. */
static uint32_t operand_of(const site *s, unsigned role) {
    if (role != DISPLACEMENT && role != IMMEDIATE)
        return 0;
    unsigned from = role == IMMEDIATE ? s->parts.immediate : s->parts.displacement;
    unsigned to = role == DISPLACEMENT && s->parts.immediate != 0 ? s->parts.immediate : s->parts.length;
    return ds_hash_bytes(s->bytes + from, to - from);
}

/* A stretch of copied bytes, as far as it is coded. */
typedef struct stretch {
    const ds_block *block;
    site site;
    uint32_t flags;         /* did the latest bytes differ, a bit each, latest lowest */
    unsigned since;         /* bytes since the last that did */
    uint8_t last[DATA + 1]; /* by role: how the latest byte differed */
} stretch;

static bool code_flag(ds_walk *w, const stretch *s, unsigned role, uint32_t kind, uint32_t operand, uint8_t old,
                      ds_offset old_offset, bool differs) {
    uint64_t from = old_offset - s->block->old_offset, length = s->block->length;
    uint32_t modrm = s->site.parts.modrm != 0 ? s->site.bytes[s->site.parts.modrm] : 0;
    bool moved = old != *ds_image_bytes(w->old_image, old_offset), near = from < 4 || length - from < 4;
    ds_contexts contexts = {.row = DS_DECIDE_BYTE_DIFFERS,
                            .select = role,
                            .hash = {ds_mix(kind, s->flags & 0xff), ds_mix(role, old),
                                     ds_mix(ds_mix(role, s->since), moved), ds_mix(ds_mix(role, modrm), operand),
                                     ds_mix(ds_mix(role, ds_bits_in(length)), near),
                                     ds_mix(kind, ds_mix(s->site.form, s->flags & 7))}};
    return ds_code_flag(w->coder, &contexts, differs);
}

/* A changed byte as what it differs by: what moved, moves alike whatever it was. */
static uint8_t code_changed(ds_walk *w, stretch *s, unsigned role, uint32_t kind, uint32_t operand, const uint8_t *byte,
                            const uint8_t *new_byte) {
    unsigned before = role == DATA ? 1 : s->site.at; /* bytes of the instruction so far */
    uint32_t modrm = s->site.parts.modrm != 0 ? s->site.bytes[s->site.parts.modrm] : 0;
    bool number = role == DISPLACEMENT || role == IMMEDIATE || role == DATA;
    uint8_t old = *byte, to = new_byte != NULL ? *new_byte : 0;
    ds_contexts contexts = {.row = DS_DECIDE_BYTE,
                            .select = role,
                            .hash = {ds_mix(role, old), ds_mix(0x100 | role, s->last[role]),
                                     ds_mix(s->site.form, (uint32_t)old << 8 | (kind & 0xff)),
                                     ds_mix(ds_mix(role, modrm), operand + (kind & 0xff)),
                                     ds_mix(ds_hash_bytes(byte - before, before), kind), kind}};
    s->last[role] = (uint8_t)ds_code_symbol(w->coder, &contexts, 8, number ? (uint8_t)(to - old) : to ^ old);
    return number ? (uint8_t)(old + s->last[role]) : old ^ s->last[role];
}

/* One copied byte; `must` where it differs for certain. True when it does. */
static bool recode_byte(ds_walk *w, stretch *s, ds_offset old_offset, uint8_t *byte, const uint8_t *new_byte,
                        bool must) {
    unsigned role = s->site.at < s->site.parts.length ? role_of(&s->site.parts, s->site.at) : DATA;
    unsigned at = role == DATA ? (unsigned)(old_offset & 7) : s->site.at;
    uint32_t kind = role << 8 | at, operand = operand_of(&s->site, role);
    bool changed = new_byte != NULL && *new_byte != *byte;
    bool differs = must || code_flag(w, s, role, kind, operand, *byte, old_offset, changed);
    s->flags = s->flags << 1 | differs;
    s->since = differs ? 0 : s->since + 1;
    if (differs)
        *byte = code_changed(w, s, role, kind, operand, byte, new_byte);
    return differs;
}

#define SINCE_NEVER 15

void ds_recode_x86_64(ds_walk *w, const ds_block *block, ds_offset old_offset, uint8_t *bytes, const uint8_t *new_bytes,
                      uint64_t size) {
    stretch s = {.block = block, .since = SINCE_NEVER};
    bool any = false;
    find_site(w->old_image, old_offset, &s.site);
    for (uint64_t i = 0; i < size; i++) {
        if (i > 0 && ds_image_is_start(w->old_image, old_offset + i))
            enter(w->old_image, old_offset + i, &s.site);
        any |= recode_byte(w, &s, old_offset + i, bytes + i, new_bytes != NULL ? new_bytes + i : NULL,
                           !any && i + 1 == size);
        ds_coder_note(w->coder, block->new_offset + (old_offset - block->old_offset) + i);
        s.site.at++;
    }
}
