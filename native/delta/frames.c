/* Unwind tables, coded record by record; see frames.h.
 *
 * Invariants
 *  - a reader writes no byte outside the room of the new table, whatever it reads;
 *  - work on old programs and on code is bounded: WORK_FACTOR bytes looked at for each new one, all records together.
 */
#include "delta/frames.h"

#include "delta/frame_plan.h"

#define WORK_FACTOR 4
#define WORK_MIN ((uint64_t)64 << 10)
#define RAW_HISTORY 4

/* What the five flags of a record ask. */
enum { ALL_RIGHT, CIE_RIGHT, START_RIGHT, SIZE_RIGHT, LSDA_RIGHT, PROGRAM_RIGHT };
/* What numbers say. */
enum {
    NUMBER_OLD,
    NUMBER_CIE,
    NUMBER_START,
    NUMBER_SIZE,
    NUMBER_LSDA,
    NUMBER_ADVANCE,
    NUMBER_RAW,
    NUMBER_PADDING,
    NUMBER_OWN /* added to the others of an FDE of its own */
};
/* How far a guessed program is to be trusted. */
enum { TRUST_MOVED, TRUST_CODE, TRUST_PROVED, TRUST_SAME };

#define TOKEN_END 0x00     /* as the first byte of a step: the program ends */
#define TOKEN_ADVANCE 0x40 /* or a way to the next place */
#define AHEAD 8            /* guessed steps looked through for one that came otherwise */

/* What an FDE says beside its program. */
typedef struct fde {
    uint32_t cie; /* number of its record in the new table */
    uint32_t size;
    ds_address start, lsda;
} fde;

/* Records are padded; the last of each file that was linked ends at a multiple of eight of the table. Whether one is
 * such a last one, its older self may tell. */
enum { PADDED, PADDED_MORE, PADDED_LESS, PADDED_PERHAPS };
#define LAST_ALIGNMENT 8

/* A program that is likely: steps; but bytes, where there are some. */
typedef struct guess {
    unsigned trust;
    unsigned padding;
    ds_span bytes; /* with padding */
} guess;

typedef struct frames {
    ds_walk *w;
    ds_frame_table old_table, table; /* of the new one, what is made */
    ds_frame_plan plan;              /* writing */
    uint8_t *bytes;
    uint32_t at;      /* end of the records made */
    uint64_t next;    /* number of the old record that is expected */
    uint32_t *cie_of; /* by the number of an old CIE: that of the new record, and one */
    ds_frame_guess *guesser;
    ds_frame_steps guessed, old_steps, wanted;
    ds_offset code_end;
    uint64_t work;
    unsigned alignment;
    ds_address behind, last_lsda;           /* the end of the last function; its exception table */
    uint64_t usual;                         /* records that were, when writing; that still are, when reading */
    bool is_counting;                       /* reading: the record at hand is one of them */
    uint32_t ways, rights, programs, steps; /* latest of each kind, a bit each, ways two */
    uint32_t last[2], last_of[256];         /* hashes of the latest steps, and of the latest with each first byte */
} frames;

static bool is_writing(const frames *f) {
    return f->w->coder->writing;
}

/* ---- decisions: by the model; or a byte each, and numbers, in the stream of the layout ---- */

static bool has_model(const frames *f) {
    return f->w->coder->model != NULL;
}

static ds_status code_symbol(frames *f, const ds_contexts *contexts, unsigned bits, uint8_t *value) {
    ds_coder *c = f->w->coder;
    if (c->model != NULL) {
        *value = (uint8_t)ds_code_symbol(c, contexts, bits, *value);
        return DS_OK;
    }
    if (c->writing)
        return ds_write_bytes(c->writer, DS_STREAM_LAYOUT, value, 1);
    DS_TRY(ds_read_bytes(c->reader, DS_STREAM_LAYOUT, value, 1));
    return *value >> bits == 0 ? DS_OK : DS_E_DELTA;
}

/* What is usual is a byte of zero. */
static ds_status code_flag(frames *f, const ds_contexts *contexts, bool *flag) {
    uint8_t unusual = !*flag;
    if (has_model(f)) {
        *flag = ds_code_flag(f->w->coder, contexts, *flag);
        return DS_OK;
    }
    DS_TRY(code_symbol(f, contexts, 1, &unusual));
    *flag = !unusual;
    return DS_OK;
}

static unsigned known_of(const guess *g) {
    return g->trust | g->padding << 2;
}

static ds_status code_right(frames *f, unsigned what, unsigned guess_known, unsigned copied, bool *right) {
    uint32_t known = what << 8 | guess_known << 4 | copied, history = what == PROGRAM_RIGHT ? f->programs : f->rights;
    ds_contexts contexts = {.row = DS_DECIDE_FRAME_RIGHT,
                            .select = what,
                            .hash = {known, ds_mix(what << 8 | guess_known, history & 0xff), ds_mix(known, history & 7),
                                     ds_mix(1, ds_mix(what, history & 0xffff)),
                                     ds_mix(2, ds_mix(what << 2, f->ways & 0xf)), ds_mix(3, what << 8 | guess_known)}};
    return code_flag(f, &contexts, right);
}

static ds_contexts number_contexts(const frames *f, unsigned what) {
    return (ds_contexts){.row = DS_DECIDE_FRAME_NUMBER,
                         .hash = {what, ds_mix(what, f->rights & 3), ds_mix(what, f->last[0])}};
}

static ds_status code_number(frames *f, unsigned what, uint64_t *value) {
    ds_contexts contexts = number_contexts(f, what);
    return ds_code_number(f->w->coder, DS_STREAM_LAYOUT, &contexts, value);
}

static ds_status code_signed(frames *f, unsigned what, uint64_t *value) {
    ds_contexts contexts = number_contexts(f, what);
    return ds_code_signed(f->w->coder, DS_STREAM_LAYOUT, &contexts, value);
}

/* ---- bytes ---- */

static uint32_t room(const frames *f) {
    return f->table.size - f->at;
}

/* Appends to the record under way, of which *size bytes are there. */
static ds_status append(frames *f, uint32_t *size, const uint8_t *bytes, uint32_t count) {
    if (count > room(f) - *size)
        return DS_E_DELTA;
    memcpy(f->bytes + f->at + *size, bytes, count);
    *size += count;
    return DS_OK;
}

static uint32_t round_up(uint32_t size, unsigned alignment) {
    return size + (0 - size) % alignment;
}

/* Fills the record up: as little as it can be, and so many units of alignment more. */
static ds_status pad(frames *f, uint32_t *size, uint64_t more) {
    uint32_t left = room(f) - *size;
    uint64_t missing = round_up(*size, f->alignment) - *size;
    if (missing > left || more > (left - missing) / f->alignment)
        return DS_E_DELTA;
    missing += more * f->alignment;
    memset(f->bytes + f->at + *size, 0, missing);
    *size += (uint32_t)missing;
    ds_store32(f->bytes + f->at, *size - 4);
    return DS_OK;
}

/* ---- guessing a program ---- */

static ds_span old_code(const frames *f, const ds_frame_record *old_record) {
    const ds_image *image = f->w->old_image;
    const ds_region *region = ds_image_region(image, old_record->start);
    if (region == NULL || region->class_ != DS_REGION_CODE || old_record->code_size == 0)
        return (ds_span){0};
    uint64_t inside = old_record->start - region->address;
    if (old_record->code_size > region->size - inside)
        return (ds_span){0};
    return (ds_span){image->file.data + region->offset + inside, old_record->code_size};
}

/* Whether code is what it was, but for references that lie wholly in it. */
static bool is_same_code(const ds_image *old_image, ds_span old_bytes, ds_span new_bytes) {
    if (old_bytes.size != new_bytes.size)
        return false;
    ds_offset offset = (ds_offset)(old_bytes.data - old_image->file.data);
    uint64_t at = 0;
    for (uint64_t i = ds_image_first_ref(old_image, offset); i < old_image->refs.count; i++) {
        const ds_ref *ref = &old_image->refs.items[i];
        uint64_t from = ref->offset - offset, length = ds_ref_length(ds_ref_kind_of(ref));
        if (from >= old_bytes.size || length > old_bytes.size - from)
            break;
        if (memcmp(old_bytes.data + at, new_bytes.data + at, from - at) != 0)
            return false;
        uint64_t mask = ds_ref_mask(ds_ref_kind_of(ref));
        for (uint64_t b = 0; b < length; b++)
            if (((old_bytes.data[from + b] ^ new_bytes.data[from + b]) & ~(mask >> 8 * b) & 0xff) != 0)
                return false;
        at = from + length;
    }
    return memcmp(old_bytes.data + at, new_bytes.data + at, old_bytes.size - at) == 0;
}

static bool same_steps(const ds_frame_steps *a, const ds_frame_steps *b) {
    if (a->list.count != b->list.count)
        return false;
    for (uint64_t i = 0; i < a->list.count; i++) {
        const ds_frame_step *x = &a->list.items[i], *y = &b->list.items[i];
        if (x->place != y->place || x->size != y->size || memcmp(x->bytes, y->bytes, x->size) != 0)
            return false;
    }
    return true;
}

/* The old steps: at their places, if the function is as long as it was; else at those that the address map says, none
 * before the one before it, or behind the end. */
static ds_status move_steps(frames *f, const ds_frame_record *old_record, const fde *said) {
    uint64_t last = 0;
    DS_TRY(DS_VEC_RESERVE(f->w->arena, &f->guessed.list, f->old_steps.list.count + 1));
    for (uint64_t i = 0; i < f->old_steps.list.count; i++) {
        ds_frame_step step = f->old_steps.list.items[i];
        uint64_t place = step.place;
        if (said->size != old_record->code_size)
            place = ds_map_address(f->w->predictor.map, old_record->start + step.place) - said->start;
        if (place >= last && place <= said->size)
            last = place;
        step.place = (uint32_t)last;
        f->guessed.list.items[i] = step;
    }
    f->guessed.list.count = f->old_steps.list.count;
    return DS_OK;
}

static bool spend(frames *f, uint64_t work) {
    if (work > f->work)
        return false;
    f->work -= work;
    return true;
}

static uint32_t fixed_size(const frames *f, uint32_t cie) {
    return f->table.records.items[cie].has_lsda ? 21 : 17;
}

/* Whether the guess would end at a multiple of eight as it is. */
static bool ends_well(const frames *f, const fde *said) {
    const ds_frame_record *cie = &f->table.records.items[said->cie];
    uint32_t size = fixed_size(f, said->cie) + (uint32_t)ds_frame_steps_size(&f->guessed, cie->unit_bits);
    return (f->at + round_up(size, f->alignment)) % LAST_ALIGNMENT == 0;
}

/* How the steps are likely to be padded, by the padding of the old ones. */
static unsigned guess_padding(const frames *f, const ds_frame_record *old_record, const fde *said, bool exact) {
    const ds_frame_record *old_cie = &f->old_table.records.items[old_record->cie];
    uint64_t size = old_record->at + old_record->size - old_record->program;
    if (ends_well(f, said))
        return PADDED;
    if (exact && size - ds_frame_steps_size(&f->old_steps, old_cie->unit_bits) >= f->alignment)
        return PADDED_MORE;
    return (old_record->at + old_record->size) % LAST_ALIGNMENT != 0 ? PADDED_LESS : PADDED_PERHAPS;
}

/* Of a function that has no older self. */
static ds_status guess_own(frames *f, const fde *said, guess *g) {
    ds_span code = ds_made_code_at(&f->w->made_code, said->start, said->size, f->code_end);
    *g = (guess){.trust = TRUST_MOVED};
    f->guessed.list.count = 0;
    if (code.data != NULL && spend(f, code.size)) {
        g->trust = TRUST_CODE;
        DS_TRY(ds_frame_guess_make(f->guesser, f->w->old_image->arch, code, &f->guessed));
    }
    g->padding = ends_well(f, said) ? PADDED : PADDED_PERHAPS;
    return DS_OK;
}

/* Without looking at code: the old program. Bytes that are no steps can be taken over as they are. */
static ds_status guess_moved(frames *f, const ds_frame_record *old_record, const fde *said, bool exact, guess *g) {
    const ds_frame_record *old_cie = &f->old_table.records.items[old_record->cie];
    const ds_frame_record *cie = &f->table.records.items[said->cie];
    if (exact)
        return move_steps(f, old_record, said);
    if (old_cie->has_lsda == cie->has_lsda && old_cie->unit_bits == cie->unit_bits)
        g->bytes = (ds_span){f->old_table.bytes + old_record->program,
                             old_record->at + old_record->size - old_record->program};
    return DS_OK;
}

static ds_status guess_steps(frames *f, const ds_frame_record *old_record, const fde *said, bool exact, guess *g) {
    ds_arch arch = f->w->old_image->arch;
    ds_span before = old_code(f, old_record);
    ds_span code = ds_made_code_at(&f->w->made_code, said->start, said->size, f->code_end);
    if (before.data == NULL || code.data == NULL || !spend(f, before.size + code.size))
        return guess_moved(f, old_record, said, exact, g);
    if (is_same_code(f->w->old_image, before, code)) {
        g->trust = TRUST_SAME;
        return guess_moved(f, old_record, said, exact, g);
    }
    g->trust = TRUST_CODE;
    DS_TRY(ds_frame_guess_make(f->guesser, arch, before, &f->guessed));
    if (exact && same_steps(&f->guessed, &f->old_steps))
        g->trust = TRUST_PROVED;
    return ds_frame_guess_make(f->guesser, arch, code, &f->guessed);
}

static ds_status guess_program(frames *f, const ds_frame_record *old_record, const fde *said, guess *g) {
    const uint8_t *program = f->old_table.bytes + old_record->program;
    uint32_t size = old_record->at + old_record->size - old_record->program;
    bool exact = false;
    *g = (guess){.trust = TRUST_MOVED};
    f->guessed.list.count = f->old_steps.list.count = 0;
    if (spend(f, size)) {
        DS_TRY(ds_frame_steps_read(program, size, f->old_table.records.items[old_record->cie].unit_bits, f->w->arena,
                                   &f->old_steps, &exact));
        DS_TRY(guess_steps(f, old_record, said, exact, g));
    }
    g->padding = guess_padding(f, old_record, said, exact);
    return DS_OK;
}

/* The bytes of the guess, padded, appended. */
static ds_status append_guess(frames *f, const guess *g, unsigned unit_bits, uint32_t *size) {
    if (g->bytes.data != NULL) {
        DS_TRY(append(f, size, g->bytes.data, (uint32_t)g->bytes.size));
        ds_store32(f->bytes + f->at, *size - 4);
        return DS_OK;
    }
    uint32_t place = 0;
    for (uint64_t i = 0; i < f->guessed.list.count; i++) {
        const ds_frame_step *step = &f->guessed.list.items[i];
        uint8_t advance[5];
        unsigned advance_size = step->place != place ? ds_frame_advance(step->place - place, unit_bits, advance) : 0;
        if (step->place != place && advance_size == 0)
            return DS_E_DELTA;
        DS_TRY(append(f, size, advance, advance_size));
        place = step->place;
        DS_TRY(append(f, size, step->bytes, step->size));
    }
    uint32_t end = f->at + round_up(*size, f->alignment);
    return pad(f, size, g->padding == PADDED_MORE ? (0 - end) % LAST_ALIGNMENT / f->alignment : 0);
}

/* ---- a program that is not as guessed: token by token, then the padding ---- */

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

static ds_status code_token_right(frames *f, const program *p, const token *guessed, bool *right) {
    uint32_t kind = guessed->step == NULL ? 0x100u | guessed->first : guessed->first;
    ds_contexts contexts = {.row = DS_DECIDE_FRAME_STEP,
                            .select = p->trust,
                            .hash = {ds_mix(p->trust, kind), ds_mix(kind, f->steps & 0xf),
                                     ds_mix(p->trust, p->history & 0x3f), ds_mix(kind, f->last[0]),
                                     ds_mix(ds_mix(p->trust, kind), p->history & 3), ds_mix(1, f->steps & 0xff)}};
    return code_flag(f, &contexts, right);
}

/* Byte `known` of a step; those before it are there. */
static ds_status code_step_byte(frames *f, const token *guessed, unsigned trust, const uint8_t *bytes, unsigned known,
                                uint8_t *byte) {
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
    return code_symbol(f, &contexts, 8, byte);
}

static void remember_step(frames *f, const uint8_t *bytes, unsigned size) {
    uint32_t hash = ds_hash_bytes(bytes, size);
    f->last[1] = f->last[0];
    f->last[0] = hash;
    f->last_of[bytes[0]] = hash;
}

static ds_status put_step(frames *f, program *p, const uint8_t *bytes, unsigned size) {
    remember_step(f, bytes, size);
    return append(f, p->size, bytes, size);
}

static ds_status put_advance(frames *f, program *p, uint32_t place) {
    static const uint8_t mark[1] = {TOKEN_ADVANCE};
    uint8_t bytes[5];
    unsigned size = ds_frame_advance(place - p->place, p->unit_bits, bytes);
    p->place = place;
    remember_step(f, mark, 1);
    return size == 0 ? DS_E_DELTA : append(f, p->size, bytes, size);
}

static bool alike(uint8_t a, uint8_t b) {
    return a == b || (a >> 6 == b >> 6 && a >> 6 != 0);
}

/* A step came that is not the guessed one: where the guess goes on. */
static void follow_step(const frames *f, program *p, const token *guessed, const uint8_t *bytes, unsigned size) {
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

static ds_status code_step(frames *f, program *p, const token *guessed, const token *wanted, uint8_t first) {
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

static ds_status code_advance(frames *f, program *p, const token *guessed, const token *wanted) {
    uint64_t units = (uint64_t)(wanted->place - p->place) >> p->unit_bits;
    DS_TRY(code_number(f, NUMBER_ADVANCE, &units));
    if (units == 0 || units > (UINT32_MAX - p->place) >> p->unit_bits)
        return DS_E_DELTA;
    uint32_t place = p->place + (uint32_t)(units << p->unit_bits);
    if (guessed->first != TOKEN_ADVANCE)
        while (p->guessed < f->guessed.list.count && f->guessed.list.items[p->guessed].place < place)
            p->guessed++;
    return put_advance(f, p, place);
}

/* One token; *ends where it is the last. */
static ds_status code_token(frames *f, program *p, const token *wanted, bool *ends) {
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

static ds_status code_steps(frames *f, const guess *g, unsigned unit_bits, uint32_t *size) {
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
    DS_TRY(code_number(f, NUMBER_PADDING, &more));
    return pad(f, size, more);
}

/* ---- usual records: those that follow the next old one, all as expected; streams count them ---- */

static ds_status write_usual(frames *f) {
    DS_TRY(ds_write_number(f->w->coder->writer, DS_STREAM_LAYOUT, f->usual));
    f->usual = 0;
    return DS_OK;
}

/* The way of a record. One that follows may still turn out unusual when it is written. */
static ds_status stream_way(frames *f, uint8_t *way) {
    ds_coder *c = f->w->coder;
    if (c->writing) {
        if (*way == DS_FRAME_FOLLOWS)
            return DS_OK;
        DS_TRY(write_usual(f));
        return ds_write_bytes(c->writer, DS_STREAM_LAYOUT, way, 1);
    }
    if (!f->is_counting)
        DS_TRY(ds_read_number(c->reader, DS_STREAM_LAYOUT, &f->usual));
    f->is_counting = f->usual > 0;
    f->usual -= f->is_counting;
    *way = DS_FRAME_FOLLOWS;
    if (f->is_counting)
        return DS_OK;
    DS_TRY(ds_read_bytes(c->reader, DS_STREAM_LAYOUT, way, 1));
    return *way <= DS_FRAME_RAW ? DS_OK : DS_E_DELTA;
}

/* Whether all that an FDE says is as expected, where it follows the next old one. */
static ds_status stream_usual(frames *f, bool *usual) {
    static const uint8_t follows[1] = {DS_FRAME_FOLLOWS};
    ds_coder *c = f->w->coder;
    if (!c->writing) {
        *usual = f->is_counting;
        return DS_OK;
    }
    f->usual += *usual;
    if (*usual)
        return DS_OK;
    DS_TRY(write_usual(f));
    return ds_write_bytes(c->writer, DS_STREAM_LAYOUT, follows, 1);
}

/* The first flag of an FDE that follows an old one. */
static ds_status code_all_right(frames *f, const guess *g, unsigned copied, bool *right) {
    bool follows_next = (f->ways & 3) == DS_FRAME_FOLLOWS;
    return has_model(f) || !follows_next ? code_right(f, ALL_RIGHT, known_of(g), copied, right)
                                         : stream_usual(f, right);
}

/* ---- an FDE ---- */

/* The fixed part, up to the program; *size bytes of it. */
static ds_status append_fixed(frames *f, const fde *said, uint32_t *size) {
    const ds_frame_record *cie = &f->table.records.items[said->cie];
    uint8_t bytes[21];
    uint32_t place = f->at;
    ds_address address = f->table.address + f->at;
    ds_store32(bytes + 4, place + 4 - cie->at);
    ds_store32(bytes + 8, (uint32_t)(said->start - (address + 8)));
    ds_store32(bytes + 12, said->size);
    bytes[16] = cie->has_lsda ? 4 : 0;
    ds_store32(bytes + 17, said->lsda == 0 ? 0 : (uint32_t)(said->lsda - (address + 17)));
    *size = 0;
    memset(bytes, 0, 4);
    return append(f, size, bytes, fixed_size(f, said->cie));
}

static ds_status code_cie(frames *f, uint32_t *cie) {
    uint64_t back = 0;
    if (is_writing(f))
        while (f->table.cies.items[f->table.cies.count - 1 - back] != *cie)
            back++;
    DS_TRY(code_number(f, NUMBER_CIE, &back));
    if (back >= f->table.cies.count)
        return DS_E_DELTA;
    *cie = f->table.cies.items[f->table.cies.count - 1 - back];
    return DS_OK;
}

static ds_status code_lsda(frames *f, unsigned what, ds_address expected, ds_address *lsda) {
    uint64_t number = *lsda == 0 ? 0 : 1 + ds_zigzag(*lsda - expected);
    DS_TRY(code_number(f, what, &number));
    *lsda = number == 0 ? 0 : expected + ds_unzigzag(number - 1);
    return DS_OK;
}

static ds_status code_difference(frames *f, unsigned what, uint64_t expected, uint64_t *actual) {
    uint64_t difference = *actual - expected;
    DS_TRY(code_signed(f, what, &difference));
    *actual = expected + difference;
    return DS_OK;
}

static ds_status code_size(frames *f, unsigned what, uint32_t expected, uint32_t *size) {
    uint64_t wide = *size;
    DS_TRY(code_difference(f, what, expected, &wide));
    *size = (uint32_t)wide;
    return wide > UINT32_MAX ? DS_E_DELTA : DS_OK;
}

static bool has_lsda(const frames *f, uint32_t cie) {
    return f->table.records.items[cie].has_lsda;
}

static void enter_right(frames *f, bool right) {
    f->rights = f->rights << 1 | !right;
}

/* The exception table that is likely, once the CIE and the function are known. */
static ds_address expected_lsda(const frames *f, const ds_frame_record *old_record, uint32_t cie) {
    if (!has_lsda(f, cie) || old_record->lsda == 0)
        return 0;
    return ds_predict_far(&f->w->predictor, old_record->lsda);
}

static uint32_t expected_size(const frames *f, const ds_frame_record *old_record, ds_address start) {
    return old_record->code_size == 0
               ? 0
               : (uint32_t)ds_predict_size(&f->w->predictor, old_record->start, old_record->code_size, start);
}

/* Field by field: at least one of them, or the program, is not as expected. *changed: a field that the guess is of. */
static ds_status code_fields(frames *f, const ds_frame_record *old_record, const fde *expected, unsigned copied,
                             const fde *wanted, fde *said, bool *all_right, bool *changed) {
    bool write = is_writing(f);
    *said = *wanted;
    bool right = write && wanted->cie == expected->cie;
    DS_TRY(code_right(f, CIE_RIGHT, 0, copied, &right));
    *all_right = right;
    said->cie = right ? expected->cie : wanted->cie;
    if (!right)
        DS_TRY(code_cie(f, &said->cie));
    right = write && wanted->start == expected->start;
    DS_TRY(code_right(f, START_RIGHT, 0, copied, &right));
    *all_right &= right;
    said->start = right ? expected->start : wanted->start;
    if (!right)
        DS_TRY(code_difference(f, NUMBER_START, expected->start, &said->start));
    uint32_t size = expected_size(f, old_record, said->start);
    right = write && wanted->size == size;
    DS_TRY(code_right(f, SIZE_RIGHT, 0, copied, &right));
    *all_right &= right;
    said->size = right ? size : wanted->size;
    if (!right)
        DS_TRY(code_size(f, NUMBER_SIZE, size, &said->size));
    *changed = !*all_right;
    said->lsda = 0;
    if (!has_lsda(f, said->cie))
        return DS_OK;
    ds_address lsda = expected_lsda(f, old_record, said->cie);
    right = write && wanted->lsda == lsda;
    DS_TRY(code_right(f, LSDA_RIGHT, 0, copied, &right));
    *all_right &= right;
    said->lsda = right ? lsda : wanted->lsda;
    return right ? DS_OK : code_lsda(f, NUMBER_LSDA, lsda, &said->lsda);
}

static ds_status learn(frames *f, ds_address old_target, ds_address expected, ds_address actual) {
    ds_prediction p = {.kind = DS_REF_PREL32, .old_target = old_target, .target = expected};
    return ds_predictor_learn(&f->w->predictor, &p, actual, expected != actual);
}

static unsigned copied_ends(const frames *f, const ds_frame_record *old_record) {
    const ds_map *map = f->w->predictor.map;
    return (unsigned)ds_map_is_copied(map, old_record->start) |
           (unsigned)ds_map_is_copied(map, old_record->start + old_record->code_size - 1) << 1;
}

/* The CIE that is likely: what was made of the old one, else the latest. */
static ds_status expect(frames *f, const ds_frame_record *old_record, fde *expected) {
    if (f->table.cies.count == 0)
        return DS_E_DELTA;
    uint32_t known = f->cie_of[old_record->cie];
    expected->cie = known > 0 ? known - 1 : f->table.cies.items[f->table.cies.count - 1];
    expected->start = ds_predict_far(&f->w->predictor, old_record->start);
    expected->size = expected_size(f, old_record, expected->start);
    expected->lsda = expected_lsda(f, old_record, expected->cie);
    return DS_OK;
}

/* Writing: whether the guess gives exactly the bytes of the record that is wanted. */
static ds_status is_as_guessed(frames *f, const fde *said, const guess *g, bool *same) {
    const ds_frame_record *record = &f->plan.table.records.items[f->plan.at];
    uint32_t size = 0;
    DS_TRY(append_fixed(f, said, &size));
    ds_status status = append_guess(f, g, f->table.records.items[said->cie].unit_bits, &size);
    *same = status == DS_OK && size == record->size &&
            memcmp(f->bytes + f->at, f->plan.table.bytes + record->at, size) == 0;
    return status == DS_E_DELTA ? DS_OK : status;
}

static fde wanted_fde(const frames *f) {
    const ds_frame_record *record = &f->plan.table.records.items[f->plan.at];
    return (fde){record->cie, record->code_size, record->start, record->lsda};
}

/* The fixed part, then the program: as guessed, or by steps. */
static ds_status make_fde(frames *f, const fde *said, const guess *g, bool as_guessed, uint32_t *size) {
    unsigned unit_bits = f->table.records.items[said->cie].unit_bits;
    DS_TRY(append_fixed(f, said, size));
    f->programs = f->programs << 1 | !as_guessed;
    f->behind = said->start + said->size;
    f->last_lsda = said->lsda != 0 ? said->lsda : f->last_lsda;
    return as_guessed ? append_guess(f, g, unit_bits, size) : code_steps(f, g, unit_bits, size);
}

static ds_status code_followed(frames *f, const ds_frame_record *old_record, uint32_t *size) {
    fde expected, wanted = {0}, said;
    guess g;
    bool same = false, all_right, changed;
    unsigned copied = copied_ends(f, old_record);
    DS_TRY(expect(f, old_record, &expected));
    DS_TRY(guess_program(f, old_record, &expected, &g));
    if (is_writing(f)) {
        wanted = wanted_fde(f);
        DS_TRY(is_as_guessed(f, &expected, &g, &same));
    }
    DS_TRY(code_all_right(f, &g, copied, &same));
    enter_right(f, same);
    said = expected;
    if (!same) {
        DS_TRY(code_fields(f, old_record, &expected, copied, &wanted, &said, &all_right, &changed));
        if (changed)
            DS_TRY(guess_program(f, old_record, &said, &g));
        if (!all_right) {
            if (is_writing(f))
                DS_TRY(is_as_guessed(f, &said, &g, &same));
            DS_TRY(code_right(f, PROGRAM_RIGHT, known_of(&g), copied, &same));
        }
    }
    f->cie_of[old_record->cie] = said.cie + 1;
    DS_TRY(learn(f, old_record->start, expected.start, said.start));
    if (old_record->lsda != 0 && said.lsda != 0)
        DS_TRY(learn(f, old_record->lsda, expected.lsda, said.lsda));
    return make_fde(f, &said, &g, same, size);
}

static ds_status code_own(frames *f, uint32_t *size) {
    fde said = {0};
    guess g;
    bool same = false;
    if (f->table.cies.count == 0)
        return DS_E_DELTA;
    if (is_writing(f))
        said = wanted_fde(f);
    DS_TRY(code_cie(f, &said.cie));
    DS_TRY(code_difference(f, NUMBER_OWN + NUMBER_START, (f->behind + 15) & ~(ds_address)15, &said.start));
    DS_TRY(code_size(f, NUMBER_OWN + NUMBER_SIZE, 0, &said.size));
    if (has_lsda(f, said.cie))
        DS_TRY(code_lsda(f, NUMBER_OWN + NUMBER_LSDA, f->last_lsda, &said.lsda));
    DS_TRY(guess_own(f, &said, &g));
    if (is_writing(f))
        DS_TRY(is_as_guessed(f, &said, &g, &same));
    DS_TRY(code_right(f, PROGRAM_RIGHT, known_of(&g), 4, &same));
    return make_fde(f, &said, &g, same, size);
}

/* ---- other records ---- */

/* The old record, its personality where that lies now. */
static ds_status copy_record(frames *f, const ds_frame_record *old_record, uint32_t *size) {
    const uint8_t *bytes = f->old_table.bytes + old_record->at;
    DS_TRY(append(f, size, bytes, old_record->size));
    if (old_record->kind != DS_FRAME_CIE || old_record->personality == 0)
        return DS_OK;
    uint32_t inside = old_record->personality;
    ds_address target =
        ds_ref_solve(DS_REF_PREL32, bytes + inside, f->old_table.address + old_record->at + inside, 0, 0, 0);
    ds_ref_put(DS_REF_PREL32, f->bytes + f->at + inside, f->table.address + f->at + inside, 0, 0,
               ds_predict_far(&f->w->predictor, target));
    return DS_OK;
}

static ds_status code_raw(frames *f, uint32_t *size) {
    const ds_frame_record *record = is_writing(f) ? &f->plan.table.records.items[f->plan.at] : NULL;
    uint64_t count = record != NULL ? record->size : 0;
    DS_TRY(code_number(f, NUMBER_RAW, &count));
    if (count == 0 || count > room(f))
        return DS_E_DELTA;
    uint32_t latest = 0;
    for (uint32_t i = 0; i < count; i++) {
        ds_contexts contexts = {.row = DS_DECIDE_FRAME_BYTE,
                                .hash = {0x200, ds_mix(0x201, latest & 0xff), ds_mix(0x202, latest & 0xffff),
                                         ds_mix(0x203, latest & 0xffffff), ds_mix(0x204, latest),
                                         ds_mix(0x205, i < 32 ? i : 32 + i % 4), ds_mix(0x206, i % 4)}};
        uint8_t byte = record != NULL ? f->plan.table.bytes[record->at + i] : 0;
        DS_TRY(code_symbol(f, &contexts, 8, &byte));
        f->bytes[f->at + i] = byte;
        latest = latest << 8 | byte;
    }
    *size = (uint32_t)count;
    return DS_OK;
}

/* ---- the table ---- */

static ds_status code_way(frames *f, uint8_t *way) {
    const ds_frame_record *next = f->next < f->old_table.records.count ? &f->old_table.records.items[f->next] : NULL;
    uint32_t kind = next != NULL ? next->kind : DS_FRAME_OTHER + 1;
    uint32_t copied = kind == DS_FRAME_FDE ? copied_ends(f, next) : 0;
    ds_contexts contexts = {.row = DS_DECIDE_FRAME_WAY,
                            .hash = {kind, ds_mix(kind, copied), ds_mix(kind, f->ways & 0xff),
                                     ds_mix(ds_mix(kind, copied), f->ways & 0xf), ds_mix(1, f->ways & 0xffff)}};
    DS_TRY(has_model(f) ? code_symbol(f, &contexts, 2, way) : stream_way(f, way));
    f->ways = f->ways << 2 | *way;
    return DS_OK;
}

static ds_status follow_old(frames *f, unsigned way, uint64_t number, uint32_t *size) {
    uint64_t distance = number - f->next;
    if (way == DS_FRAME_SKIPS)
        DS_TRY(code_signed(f, NUMBER_OLD, &distance));
    f->next += way == DS_FRAME_SKIPS ? distance : 0;
    if (f->next >= f->old_table.records.count)
        return DS_E_DELTA;
    const ds_frame_record *old_record = &f->old_table.records.items[f->next++];
    if (old_record->kind == DS_FRAME_FDE)
        return code_followed(f, old_record, size);
    DS_TRY(copy_record(f, old_record, size));
    f->usual += is_writing(f) && way == DS_FRAME_FOLLOWS;
    if (old_record->kind == DS_FRAME_CIE)
        f->cie_of[f->next - 1] = (uint32_t)f->table.records.count + 1;
    return DS_OK;
}

/* Writing: whether the planned way gives the wanted bytes. Steps come out as they are; a copy must be one. */
static ds_status can_follow(frames *f, const ds_frame_record *record, uint64_t number, bool *can) {
    const ds_frame_record *old_record = &f->old_table.records.items[number];
    uint64_t work = f->work;
    uint32_t size = 0;
    *can = true;
    if (record->kind == DS_FRAME_FDE) {
        if (f->plan.exact)
            return DS_OK;
        fde expected;
        guess g;
        DS_TRY(expect(f, old_record, &expected));
        DS_TRY(guess_program(f, old_record, &expected, &g));
        DS_TRY(is_as_guessed(f, &expected, &g, can));
        f->work = work;
        return DS_OK;
    }
    ds_status status = copy_record(f, old_record, &size);
    *can = status == DS_OK && size == record->size &&
           memcmp(f->bytes + f->at, f->plan.table.bytes + record->at, size) == 0;
    return DS_OK;
}

/* Writing: the way of the record at hand; what no other way makes is sent raw. */
static ds_status choose_way(frames *f, uint8_t *way, uint64_t *number) {
    const ds_frame_record *record = &f->plan.table.records.items[f->plan.at];
    bool can = true;
    ds_frame_planned planned = f->plan.records.items[f->plan.at];
    *number = planned.number;
    *way = (uint8_t)(planned.way == DS_FRAME_FOLLOWS && planned.number != f->next ? DS_FRAME_SKIPS : planned.way);
    if (record->kind == DS_FRAME_FDE) {
        const ds_frame_record *cie = &f->plan.table.records.items[record->cie];
        uint32_t size = record->at + record->size - record->program;
        bool exact, whole = record->size % f->alignment == 0;
        DS_TRY(ds_frame_steps_read(f->plan.table.bytes + record->program, size, cie->unit_bits, f->w->arena, &f->wanted,
                                   &exact));
        f->plan.exact = exact && whole;
    }
    if (record->kind == DS_FRAME_FDE && f->table.cies.count == 0)
        can = false;
    else if (planned.way == DS_FRAME_FOLLOWS)
        DS_TRY(can_follow(f, record, planned.number, &can));
    else if (planned.way == DS_FRAME_OWN)
        can = f->plan.exact;
    if (!can)
        *way = DS_FRAME_RAW;
    return DS_OK;
}

static ds_status code_record(frames *f) {
    uint8_t way = 0;
    uint64_t number = 0;
    uint32_t size = 0;
    if (is_writing(f))
        DS_TRY(choose_way(f, &way, &number));
    DS_TRY(code_way(f, &way));
    if (way == DS_FRAME_RAW)
        DS_TRY(code_raw(f, &size));
    else
        DS_TRY(way == DS_FRAME_OWN ? code_own(f, &size) : follow_old(f, way, number, &size));
    uint32_t end = f->at + size;
    DS_TRY(ds_frame_take(&f->table, f->at, end, f->w->arena));
    f->at = end;
    return has_model(f) ? ds_model_check(f->w->coder->model) : DS_OK;
}

static ds_status open_tables(frames *f, const ds_derivation *d, uint8_t *bytes) {
    ds_walk *w = f->w;
    const ds_extent *old_frames = &w->old_image->frames;
    f->old_table = (ds_frame_table){.bytes = w->old_image->file.data + old_frames->offset,
                                    .address = old_frames->address,
                                    .size = (uint32_t)old_frames->size};
    DS_TRY(ds_frame_table_read(&f->old_table, w->arena));
    f->alignment = ds_frame_alignment(&f->old_table);
    f->bytes = bytes;
    f->table = (ds_frame_table){
        .bytes = bytes, .address = ds_layout_address(w->layout, d->digests), .size = (uint32_t)d->limit};
    f->cie_of = ds_arena_alloc(w->arena, (f->old_table.records.count + 1) * sizeof *f->cie_of);
    if (f->cie_of == NULL)
        return DS_E_MEMORY;
    return ds_frame_guess_open(&f->guesser, w->arena);
}

static void close_tables(frames *f) {
    ds_arena *arena = f->w->arena;
    ds_frame_guess_close(f->guesser);
    ds_arena_free(arena, f->cie_of);
    ds_frame_table_free(&f->old_table, arena);
    ds_frame_table_free(&f->table, arena);
    ds_frame_plan_free(&f->plan, arena);
    DS_VEC_FREE(arena, &f->guessed.list);
    DS_VEC_FREE(arena, &f->old_steps.list);
    DS_VEC_FREE(arena, &f->wanted.list);
}

static ds_status code_table(frames *f, const ds_derivation *d) {
    while (f->at < f->table.size) {
        uint32_t at = f->at;
        DS_TRY(code_record(f));
        ds_coder_note(f->w->coder, d->digests + at);
        f->plan.at++;
    }
    return !has_model(f) && is_writing(f) && f->usual > 0 ? write_usual(f) : DS_OK;
}

static ds_status open_plan(frames *f, const ds_derivation *d) {
    f->plan.table = (ds_frame_table){
        .bytes = f->w->new_image->file.data + d->digests, .address = f->table.address, .size = f->table.size};
    return ds_frame_plan_make(&f->plan, &f->old_table, f->w->predictor.map, f->w->arena);
}

ds_status ds_walk_frames(ds_walk *w, ds_offset at, uint8_t *bytes, uint8_t *header) {
    const ds_derivation *items = w->derivations->list.items;
    const ds_derivation *d = &items[ds_derive_find_kind(w->derivations, DS_DERIVED_FRAMES)];
    frames f = {.w = w, .code_end = at, .work = WORK_FACTOR * w->new_size + WORK_MIN};
    uint8_t *own = bytes == NULL ? ds_arena_alloc(w->arena, d->limit) : NULL;
    if (bytes == NULL && own == NULL)
        return DS_E_MEMORY;
    DS_TRY(open_tables(&f, d, own != NULL ? own : bytes));
    if (is_writing(&f))
        DS_TRY(open_plan(&f, d));
    DS_TRY(code_table(&f, d));
    if (header != NULL) {
        const ds_derivation *h = &items[ds_derive_find_kind(w->derivations, DS_DERIVED_HEADER)];
        DS_TRY(ds_frame_header_make(&f.table, ds_layout_address(w->layout, h->digests), header, h->limit, w->arena));
    }
    close_tables(&f);
    if (own != NULL)
        ds_arena_free(w->arena, own);
    return DS_OK;
}
