/* Frame programs that are not as guessed: token by token, then the padding; see state.h. */
#include "delta/unwind/state.h"

#define TOKEN_END 0x00     /* as the first byte of a step: the program ends */
#define TOKEN_ADVANCE 0x40 /* or a way to the next place */
#define AHEAD 8            /* guessed steps looked through for one that came otherwise */

/* A step, the way to the next place, or the end: `first` is TOKEN_ADVANCE or TOKEN_END for these. */
typedef struct token {
    uint8_t first;
    uint32_t place;            /* after it */
    const ds_frame_step *step; /* NULL: no step */
} token;

static token token_of(const ds_frame_steps *steps, uint64_t index, uint32_t place) {
    if (index == steps->list.count)
        return (token){TOKEN_END, place, NULL};
    const ds_frame_step *step = &steps->list.items[index];
    if (step->place > place)
        return (token){TOKEN_ADVANCE, step->place, NULL};
    return (token){step->bytes[0], place, step};
}

static bool same_token(const token *a, const token *b) {
    if (a->first != b->first || a->place != b->place || (a->step == NULL) != (b->step == NULL))
        return false;
    return a->step == NULL ||
           (a->step->size == b->step->size && memcmp(a->step->bytes, b->step->bytes, a->step->size) == 0);
}

/* A program under way. */
typedef struct program {
    unsigned trust, unit_bits;
    uint64_t guessed; /* steps of the guess that are done with */
    uint32_t place;
    uint32_t history; /* tokens of this program: were they as guessed */
    uint32_t *size;   /* of the record */
} program;

static ds_status code_token_right(ds_unwinding *f, const program *p, const token *guessed, bool *right) {
    uint32_t kind = guessed->step == NULL ? 0x100u | guessed->first : guessed->first;
    ds_contexts contexts = {.row = DS_DECIDE_FRAME_STEP,
                            .select = p->trust,
                            .hash = {ds_mix(p->trust, kind), ds_mix(kind, f->steps & 0xf),
                                     ds_mix(p->trust, p->history & 0x3f), ds_mix(kind, f->last[0]),
                                     ds_mix(ds_mix(p->trust, kind), p->history & 3), ds_mix(1, f->steps & 0xff)}};
    return ds_unwinding_flag(f, &contexts, right);
}

/* Byte `known` of a step; those before it are there. */
static ds_status code_step_byte(ds_unwinding *f, const token *guessed, unsigned trust, const uint8_t *bytes,
                                unsigned known, uint8_t *byte) {
    uint32_t so_far = ds_mix(ds_hash_bytes(bytes, known), known), expected = 0x100;
    if (known == 0)
        expected = guessed->step == NULL ? 0x100u | guessed->first : guessed->first;
    else if (guessed->step != NULL && known < guessed->step->size && memcmp(guessed->step->bytes, bytes, known) == 0)
        expected = guessed->step->bytes[known];
    ds_contexts contexts = {.row = DS_DECIDE_FRAME_BYTE,
                            .hash = {so_far, ds_mix(so_far, f->last[0]), ds_mix(so_far, ds_mix(f->last[0], f->last[1])),
                                     ds_mix(so_far, expected), ds_mix(ds_mix(so_far, expected), trust),
                                     ds_mix(so_far, ds_mix(7, f->last_of[known > 0 ? bytes[0] : 0])),
                                     ds_mix(ds_mix(so_far, expected), f->last[0])}};
    return ds_unwinding_symbol(f, &contexts, 8, byte);
}

static void remember_step(ds_unwinding *f, const uint8_t *bytes, unsigned size) {
    uint32_t hash = ds_hash_bytes(bytes, size);
    f->last[1] = f->last[0];
    f->last[0] = hash;
    f->last_of[bytes[0]] = hash;
}

static ds_status put_step(ds_unwinding *f, program *p, const uint8_t *bytes, unsigned size) {
    remember_step(f, bytes, size);
    return ds_unwinding_append(f, p->size, bytes, size);
}

static ds_status put_advance(ds_unwinding *f, program *p, uint32_t place) {
    static const uint8_t mark[1] = {TOKEN_ADVANCE};
    uint8_t bytes[DS_FRAME_ADVANCE_BYTES];
    unsigned size = ds_frame_advance(place - p->place, p->unit_bits, bytes);
    p->place = place;
    remember_step(f, mark, 1);
    return size == 0 ? DS_E_DELTA : ds_unwinding_append(f, p->size, bytes, size);
}

static bool alike(uint8_t a, uint8_t b) {
    return a == b || (a >> 6 == b >> 6 && a >> 6 != 0);
}

/* A step came that is not the guessed one: where the guess goes on. */
static void follow_step(const ds_unwinding *f, program *p, const token *guessed, const uint8_t *bytes, unsigned size) {
    if (guessed->step == NULL)
        return;
    for (uint64_t i = p->guessed; i < f->guessed.list.count && i < p->guessed + AHEAD; i++) {
        const ds_frame_step *step = &f->guessed.list.items[i];
        if (step->size == size && memcmp(step->bytes, bytes, size) == 0) {
            p->guessed = i + 1;
            return;
        }
    }
    p->guessed += alike(guessed->first, bytes[0]);
}

static ds_status code_step(ds_unwinding *f, program *p, const token *guessed, const token *wanted, uint8_t first) {
    uint8_t bytes[DS_FRAME_STEP_BYTES] = {first};
    unsigned size = 1;
    bool more;
    while (true) {
        if (!ds_frame_step_wants(bytes, size, &more))
            return DS_E_DELTA;
        if (!more)
            break;
        bytes[size] = wanted->step != NULL ? wanted->step->bytes[size] : 0;
        DS_TRY(code_step_byte(f, guessed, p->trust, bytes, size, &bytes[size]));
        size++;
    }
    follow_step(f, p, guessed, bytes, size);
    return put_step(f, p, bytes, size);
}

static ds_status code_advance(ds_unwinding *f, program *p, const token *guessed, const token *wanted) {
    uint64_t units = (uint64_t)(wanted->place - p->place) >> p->unit_bits;
    DS_TRY(ds_unwinding_number(f, NUMBER_ADVANCE, &units));
    if (units == 0 || units > (UINT32_MAX - p->place) >> p->unit_bits)
        return DS_E_DELTA;
    uint32_t place = p->place + (uint32_t)(units << p->unit_bits);
    if (guessed->first != TOKEN_ADVANCE)
        while (p->guessed < f->guessed.list.count && f->guessed.list.items[p->guessed].place < place)
            p->guessed++;
    return put_advance(f, p, place);
}

/* One token; *ends where it is the last. */
static ds_status code_token(ds_unwinding *f, program *p, const token *wanted, bool *ends) {
    token guessed = token_of(&f->guessed, p->guessed, p->place);
    bool right = is_writing(f) && same_token(&guessed, wanted);
    DS_TRY(code_token_right(f, p, &guessed, &right));
    f->steps = f->steps << 1 | !right;
    p->history = p->history << 1 | !right;
    uint8_t first = right ? guessed.first : wanted->first;
    if (!right)
        DS_TRY(code_step_byte(f, &guessed, p->trust, NULL, 0, &first));
    *ends = first == TOKEN_END;
    if (*ends)
        return DS_OK;
    if (first == TOKEN_ADVANCE)
        return right ? put_advance(f, p, guessed.place) : code_advance(f, p, &guessed, wanted);
    if (!right)
        return code_step(f, p, &guessed, wanted, first);
    p->guessed++;
    return put_step(f, p, guessed.step->bytes, guessed.step->size);
}

ds_status ds_unwinding_steps(ds_unwinding *f, const ds_guess *g, unsigned unit_bits, uint32_t *size) {
    program p = {.trust = g->trust, .unit_bits = unit_bits, .history = 1, .size = size};
    uint64_t written = 0;
    bool ends = false;
    while (!ends) {
        token wanted = {0};
        if (is_writing(f)) {
            wanted = token_of(&f->wanted, written, p.place);
            written += wanted.step != NULL;
        }
        DS_TRY(code_token(f, &p, &wanted, &ends));
    }
    uint64_t more = 0;
    if (is_writing(f))
        more = (f->plan.table.records.items[f->plan.at].size - round_up(*size, f->alignment)) / f->alignment;
    DS_TRY(ds_unwinding_number(f, NUMBER_PADDING, &more));
    return ds_unwinding_pad(f, size, more);
}
