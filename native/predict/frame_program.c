/* Predicted call frame programs: what both instruction sets share. See frame_program.h, frame_walk.h;
 * docs/spec/frame-programs.md.
 *
 * The code is walked twice. The first walk learns with which row control comes to each target, also from behind; the
 * steps are those of the second.
 *
 * Invariant: a row changes only with a step, but for saves that wait for theirs, at most one a slot. Walks end at
 * DS_FRAME_STEPS_MAX steps, so there are never more rows than a small multiple of it.
 *
 * Sources: DWARF 5, 6.4.1 (rows) and 6.4.2 (instructions); System V ABI for x86-64, 3.6; DWARF for the Arm 64-bit
 * Architecture, "Call frame instructions".
 */
#include "predict/frame_walk.h"

/* Call frame instructions. */
enum {
    OFFSET_EXTENDED = 0x05,
    RESTORE_EXTENDED = 0x06,
    REMEMBER_STATE = 0x0a,
    RESTORE_STATE = 0x0b,
    DEF_CFA = 0x0c,
    DEF_CFA_REGISTER = 0x0d,
    DEF_CFA_OFFSET = 0x0e,
    NEGATE_RA_STATE = 0x2d,
    OFFSET = 0x80,
    RESTORE = 0xc0,
};
#define SHORT_REGISTERS 64

/* What is known of a place. From FIRST_ROW on: a target that control reaches with row (value - FIRST_ROW). */
enum { PLAIN, TARGET, FIRST_ROW };

struct ds_frame_guess {
    ds_arena *arena;
    DS_VEC(uint32_t) places;       /* one for each unit of code */
    DS_VEC(ds_frame_event) events; /* the same, where an instruction stands: each is read once */
    DS_VEC(ds_frame_row) rows;
};

ds_status ds_frame_guess_open(ds_frame_guess **guess, ds_arena *arena) {
    *guess = ds_arena_alloc(arena, sizeof **guess);
    if (*guess == NULL)
        return DS_E_MEMORY;
    (*guess)->arena = arena;
    return DS_OK;
}

void ds_frame_guess_close(ds_frame_guess *guess) {
    if (guess == NULL)
        return;
    DS_VEC_FREE(guess->arena, &guess->places);
    DS_VEC_FREE(guess->arena, &guess->events);
    DS_VEC_FREE(guess->arena, &guess->rows);
    ds_arena_free(guess->arena, guess);
}

/* ---- steps ---- */

static void append(ds_frame_walk *w, ds_frame_step step) {
    if (w->status == DS_OK)
        w->status = DS_VEC_RESERVE(w->guess->arena, &w->out->list, w->out->list.count + 1);
    if (w->status == DS_OK)
        w->out->list.items[w->out->list.count++] = step;
}

void ds_frame_begin_trace(ds_frame_walk *w) {
    w->trace_row = w->row;
    w->trace_first = DS_FRAME_NO_STEP;
    w->trace_restores = false;
}

static void put(ds_frame_walk *w, ds_frame_step step, bool restores) {
    if (restores && !w->trace_restores) {
        ds_frame_begin_trace(w);
        w->trace_restores = true;
    }
    if (w->trace_first == DS_FRAME_NO_STEP)
        w->trace_first = w->out->list.count;
    append(w, step);
}

static void add_byte(ds_frame_step *step, uint32_t byte) {
    step->bytes[step->size++] = (uint8_t)byte;
}

static void add_uleb(ds_frame_step *step, uint32_t value) {
    for (; value > 0x7f; value >>= 7)
        add_byte(step, (value & 0x7f) | 0x80);
    add_byte(step, value);
}

void ds_frame_put_sign(ds_frame_walk *w, uint32_t place) {
    ds_frame_step step = {.place = place};
    add_byte(&step, NEGATE_RA_STATE);
    put(w, step, false);
    w->row.is_signed ^= 1;
    w->row_id = DS_FRAME_NO_ROW;
}

void ds_frame_set_cfa(ds_frame_walk *w, uint32_t place, uint32_t reg, uint32_t offset, bool restores) {
    ds_frame_step step = {.place = place};
    bool same_register = reg == w->row.cfa_register, same_offset = offset == w->row.cfa_offset;
    if (same_register && same_offset)
        return;
    add_byte(&step, same_register ? DEF_CFA_OFFSET : same_offset ? DEF_CFA_REGISTER : DEF_CFA);
    if (!same_register)
        add_uleb(&step, reg);
    if (!same_offset)
        add_uleb(&step, offset);
    put(w, step, restores);
    w->row.cfa_register = reg;
    w->row.cfa_offset = offset;
    w->row_id = DS_FRAME_NO_ROW;
    if (reg == w->rules->stack_pointer)
        w->depth = offset;
}

static void add_register(ds_frame_walk *w, ds_frame_step *step, unsigned slot, unsigned primary, unsigned extended) {
    unsigned number = w->rules->numbers[slot];
    add_byte(step, number < SHORT_REGISTERS ? primary | number : extended);
    if (number >= SHORT_REGISTERS)
        add_uleb(step, number);
}

void ds_frame_put_save(ds_frame_walk *w, uint32_t place, unsigned slot) {
    ds_frame_step step = {.place = place};
    add_register(w, &step, slot, OFFSET, OFFSET_EXTENDED);
    add_uleb(&step, w->row.saved[slot]);
    put(w, step, false);
}

bool ds_frame_note_save(ds_frame_walk *w, unsigned slot, int64_t below) {
    if (slot == DS_FRAME_NO_SLOT || w->row.saved[slot] != 0 || below < 8 || below > DS_FRAME_OFFSET_MAX)
        return false;
    w->row.saved[slot] = (uint32_t)(below / 8);
    w->row_id = DS_FRAME_NO_ROW;
    return true;
}

void ds_frame_wait(ds_frame_walk *w, unsigned slot) {
    ds_frame_write_overdue(w);
    w->waiting[w->waiting_count++] = (uint8_t)slot;
}

void ds_frame_write_waiting(ds_frame_walk *w, uint32_t place) {
    for (unsigned i = 0; i < w->waiting_count; i++)
        ds_frame_put_save(w, place, w->waiting[i]);
    w->waiting_count = 0;
    w->overwrites = 0;
}

void ds_frame_write_overdue(ds_frame_walk *w) {
    if (w->overwrites != 0)
        ds_frame_write_waiting(w, w->overwrites);
}

void ds_frame_settle(ds_frame_walk *w, uint32_t place) {
    ds_frame_write_overdue(w);
    ds_frame_write_waiting(w, place);
}

static void note_overwriting(ds_frame_walk *w, uint32_t place, uint32_t writes) {
    for (unsigned i = 0; i < w->waiting_count; i++)
        if (w->overwrites == 0 && (writes >> w->waiting[i] & 1) != 0)
            w->overwrites = place;
}

void ds_frame_restore(ds_frame_walk *w, uint32_t place, unsigned slot, bool restores) {
    ds_frame_step step = {.place = place};
    add_register(w, &step, slot, RESTORE, RESTORE_EXTENDED);
    put(w, step, restores);
    w->row.saved[slot] = 0;
    w->row_id = DS_FRAME_NO_ROW;
}

/* ---- from row to row ---- */

static bool is_same(const ds_frame_row *a, const ds_frame_row *b) {
    return memcmp(a, b, sizeof *a) == 0; /* of 32-bit members alone */
}

/* Back to the row where the trace began: remembered before its first step, restored here. */
static void go_back(ds_frame_walk *w, uint32_t place) {
    ds_frame_step remember = {.bytes = {REMEMBER_STATE}, .size = 1};
    ds_frame_step restore = {.place = place, .bytes = {RESTORE_STATE}, .size = 1};
    append(w, restore);
    append(w, restore);
    if (w->status != DS_OK)
        return;
    ds_frame_step *at = w->out->list.items + w->trace_first, *end = w->out->list.items + w->out->list.count;
    remember.place = at->place;
    memmove(at + 1, at, (size_t)(end - at - 2) * sizeof *at);
    *at = remember;
}

/* One difference after the other. */
static void change(ds_frame_walk *w, uint32_t place, const ds_frame_row *wanted) {
    ds_frame_set_cfa(w, place, wanted->cfa_register, wanted->cfa_offset, false);
    for (unsigned slot = 0; slot < w->rules->slots; slot++) {
        if (wanted->saved[slot] == w->row.saved[slot])
            continue;
        if (wanted->saved[slot] == 0) {
            ds_frame_restore(w, place, slot, false);
        } else {
            w->row.saved[slot] = wanted->saved[slot];
            ds_frame_put_save(w, place, slot);
        }
    }
    if (wanted->is_signed != w->row.is_signed)
        ds_frame_put_sign(w, place);
}

static void connect(ds_frame_walk *w, uint32_t place, ds_frame_row wanted) {
    if (is_same(&wanted, &w->row))
        return;
    if (is_same(&wanted, &w->trace_row) && w->trace_first != DS_FRAME_NO_STEP)
        go_back(w, place);
    else
        change(w, place, &wanted);
    w->row = wanted;
    w->row_id = DS_FRAME_NO_ROW;
    if (wanted.cfa_register == w->rules->stack_pointer)
        w->depth = wanted.cfa_offset;
}

/* ---- walks ---- */

/* Bytes of whole instructions. */
static uint32_t walked_size(const ds_frame_walk *w) {
    return (uint32_t)(w->code.size - w->code.size % w->rules->unit);
}

static uint32_t *known_of(const ds_frame_walk *w, uint32_t place) {
    return &w->guess->places.items[place / w->rules->unit];
}

static const ds_frame_event *event_at(const ds_frame_walk *w, uint32_t place) {
    return &w->guess->events.items[place / w->rules->unit];
}

const ds_frame_event *ds_frame_exit(ds_frame_walk *w, uint32_t place) {
    /* What was found holds up to where it stands. Each instruction is looked at here once more at most. */
    uint32_t end = walked_size(w);
    if (place < w->exit.end)
        return &w->exit;
    w->exit = (ds_frame_event){.end = end};
    while (place < end) {
        const ds_frame_event *event = event_at(w, place);
        place = event->end;
        if (event->flow >= DS_FLOW_BRANCH) {
            w->exit = *event;
            break;
        }
    }
    return &w->exit;
}

static bool has_target(const ds_frame_event *event) {
    return (event->flow == DS_FLOW_BRANCH || event->flow == DS_FLOW_JUMP) && event->target != DS_FRAME_OUTSIDE;
}

/* The row at a target, unless control came there before. */
static void tell_target(ds_frame_walk *w, uint32_t target) {
    uint32_t *known = known_of(w, target);
    if (*known >= FIRST_ROW)
        return;
    if (w->row_id == DS_FRAME_NO_ROW) {
        if (w->status == DS_OK)
            w->status = DS_VEC_RESERVE(w->guess->arena, &w->guess->rows, w->guess->rows.count + 1);
        if (w->status != DS_OK)
            return;
        w->row_id = (uint32_t)w->guess->rows.count;
        w->guess->rows.items[w->guess->rows.count++] = w->row;
    }
    *known = FIRST_ROW + w->row_id;
}

/* What happens before an instruction that stands at a target, or behind one that control does not pass. */
static void arrive(ds_frame_walk *w, uint32_t place, bool is_cut_off) {
    uint32_t known = *known_of(w, place);
    w->rules->end_block(w, place, false);
    if (known >= FIRST_ROW)
        connect(w, place, w->guess->rows.items[known - FIRST_ROW]);
    else if (is_cut_off && w->trace_restores)
        connect(w, place, w->trace_row);
    ds_frame_begin_trace(w);
}

static void walk(ds_frame_walk *w) {
    uint32_t end = walked_size(w);
    bool is_cut_off = false;
    w->row = (ds_frame_row){.cfa_register = w->rules->stack_pointer, .cfa_offset = w->rules->entry_offset};
    w->depth = w->rules->entry_offset;
    w->row_id = DS_FRAME_NO_ROW;
    w->out->list.count = 0;
    ds_frame_begin_trace(w);
    if (*known_of(w, 0) != PLAIN)
        tell_target(w, 0);
    for (uint32_t place = 0; place < end && w->status == DS_OK && w->out->list.count < DS_FRAME_STEPS_MAX;) {
        const ds_frame_event *event = event_at(w, place);
        bool is_target = *known_of(w, place) != PLAIN;
        if (is_target || (is_cut_off && !event->is_padding)) {
            arrive(w, place, is_cut_off);
            is_cut_off = false;
        }
        if (!is_cut_off) {
            if (event->flow != DS_FLOW_ON)
                w->rules->end_block(w, place, event->flow == DS_FLOW_CALL);
            note_overwriting(w, place, event->writes);
            w->rules->act(w, event);
            if (has_target(event))
                tell_target(w, event->target);
            is_cut_off = event->flow >= DS_FLOW_JUMP;
        }
        place = event->end;
    }
}

static ds_status read_code(ds_frame_walk *w) {
    uint32_t end = walked_size(w);
    DS_TRY(DS_VEC_RESERVE(w->guess->arena, &w->guess->places, end / w->rules->unit));
    DS_TRY(DS_VEC_RESERVE(w->guess->arena, &w->guess->events, end / w->rules->unit));
    memset(w->guess->places.items, 0, end / w->rules->unit * sizeof *w->guess->places.items);
    for (uint32_t place = 0; place < end;) {
        ds_frame_event event = w->guess->events.items[place / w->rules->unit] = w->rules->read(w->code, place);
        if (has_target(&event))
            *known_of(w, event.target) = TARGET;
        w->acts |= UINT32_C(1) << event.act;
        place = event.end;
    }
    return DS_OK;
}

ds_status ds_frame_guess_make(ds_frame_guess *guess, ds_arch arch, ds_span code, ds_frame_steps *out) {
    const ds_frame_rules *rules = arch == DS_ARCH_AARCH64  ? &ds_frame_rules_aarch64
                                  : arch == DS_ARCH_X86_64 ? &ds_frame_rules_x86_64
                                                           : NULL;
    out->list.count = 0;
    if (rules == NULL || code.size > DS_FRAME_CODE_MAX || code.size < rules->unit)
        return DS_OK;
    ds_frame_walk first = {.rules = rules, .code = code, .guess = guess, .out = out};
    guess->rows.count = 0;
    DS_TRY(read_code(&first));
    ds_frame_walk second = first;
    walk(&first);
    DS_TRY(first.status);
    second.aarch64.has_components = first.aarch64.components != 0;
    walk(&second);
    if (out->list.count > DS_FRAME_STEPS_MAX)
        out->list.count = DS_FRAME_STEPS_MAX;
    return second.status;
}
