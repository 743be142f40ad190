/* Predicted call frame programs of AArch64. See frame_walk.h; docs/spec/frame-programs.md.
 *
 * Of GCC's ways (dwarf2cfi.c, aarch64.cc): a store of callee-saved registers says nothing at once, but what it saved
 * waits, and all that waits is written where the CFA moves next, where one of these registers is overwritten, or
 * behind the last save of the prologue. Registers that only a part of the function needs are saved and restored round
 * that part (components), each at once.
 *
 * Sources: Arm Architecture Reference Manual for A-profile (DDI 0487), C4 (encodings); AAPCS64, 6.1 (callee-saved
 * registers).
 */
#include "predict/frame_walk.h"

#define WORD 4u
#define SP 31
#define FP 29
#define SLOT_FP 10u
#define SLOT_LR 11u
#define SLOT_D8 12u
#define ALL_SLOTS 20u

enum {
    NOTHING,
    SIGN,         /* or check, the return address */
    PUSH,         /* store, and move sp down first */
    POP,          /* load, and move sp up then */
    STORE,        /* at sp + amount */
    LOAD,         /* from there */
    DOWN,         /* sp -= amount */
    UP,           /* sp += amount */
    DOWN_BY,      /* sp -= a register */
    UP_BY,        /* sp += a register */
    SET_FP,       /* x29 = sp + amount */
    SP_FROM_FP,   /* sp = x29 + or - something */
    SET_CONSTANT, /* a register = amount */
};

/* Which registers, and how many bytes. */
enum {
    NONE,
    GENERAL = 1,   /* bits 0 to 4 */
    GENERAL_2 = 2, /* and 10 to 14 */
    VECTOR = 3,    /* the same of d0 to d31 */
    VECTOR_2 = 4,
    IMM7 = 0x10,  /* bits 15 to 21, signed, times 8 */
    IMM9 = 0x20,  /* bits 12 to 20, signed */
    IMM12 = 0x30, /* bits 10 to 21, times 8 */
    ADD12 = 0x40, /* bits 10 to 21, shifted by 12 if bit 22 is set */
    IMM16 = 0x50, /* bits 5 to 20; the register as it is */
    BY = 0x60,    /* register of bits 16 to 20, as it is */
    MINUS = 0x80, /* negated */
};

typedef struct pattern {
    uint32_t mask, value;
    uint8_t act, operands;
} pattern;

/* The first that fits counts. */
static const pattern acts[] = {
    {0xffffffff, 0xd503233f, SIGN, NONE},                     /* paciasp */
    {0xffffffff, 0xd503237f, SIGN, NONE},                     /* pacibsp */
    {0xffffffff, 0xd50323bf, SIGN, NONE},                     /* autiasp */
    {0xffffffff, 0xd50323ff, SIGN, NONE},                     /* autibsp */
    {0xffc003e0, 0xa98003e0, PUSH, GENERAL_2 | IMM7 | MINUS}, /* stp x, x, [sp, #i]! */
    {0xffc003e0, 0x6d8003e0, PUSH, VECTOR_2 | IMM7 | MINUS},  /* stp d, d, [sp, #i]! */
    {0xffe00fe0, 0xf8000fe0, PUSH, GENERAL | IMM9 | MINUS},   /* str x, [sp, #i]! */
    {0xffe00fe0, 0xfc000fe0, PUSH, VECTOR | IMM9 | MINUS},    /* str d, [sp, #i]! */
    {0xffc003e0, 0xa8c003e0, POP, GENERAL_2 | IMM7},          /* ldp x, x, [sp], #i */
    {0xffc003e0, 0x6cc003e0, POP, VECTOR_2 | IMM7},           /* ldp d, d, [sp], #i */
    {0xffe00fe0, 0xf84007e0, POP, GENERAL | IMM9},            /* ldr x, [sp], #i */
    {0xffe00fe0, 0xfc4007e0, POP, VECTOR | IMM9},             /* ldr d, [sp], #i */
    {0xffc003e0, 0xa90003e0, STORE, GENERAL_2 | IMM7},        /* stp x, x, [sp, #i] */
    {0xffc003e0, 0x6d0003e0, STORE, VECTOR_2 | IMM7},         /* stp d, d, [sp, #i] */
    {0xffc003e0, 0xf90003e0, STORE, GENERAL | IMM12},         /* str x, [sp, #i] */
    {0xffc003e0, 0xfd0003e0, STORE, VECTOR | IMM12},          /* str d, [sp, #i] */
    {0xffc003e0, 0xa94003e0, LOAD, GENERAL_2 | IMM7},         /* ldp x, x, [sp, #i] */
    {0xffc003e0, 0x6d4003e0, LOAD, VECTOR_2 | IMM7},          /* ldp d, d, [sp, #i] */
    {0xffc003e0, 0xf94003e0, LOAD, GENERAL | IMM12},          /* ldr x, [sp, #i] */
    {0xffc003e0, 0xfd4003e0, LOAD, VECTOR | IMM12},           /* ldr d, [sp, #i] */
    {0xff8003ff, 0xd10003ff, DOWN, ADD12},                    /* sub sp, sp, #i */
    {0xff8003ff, 0x910003ff, UP, ADD12},                      /* add sp, sp, #i */
    {0xffe003ff, 0xcb2003ff, DOWN_BY, BY},                    /* sub sp, sp, x */
    {0xffe003ff, 0x8b2003ff, UP_BY, BY},                      /* add sp, sp, x */
    {0xffc003ff, 0x910003fd, SET_FP, ADD12},                  /* add x29, sp, #i */
    {0xffc003ff, 0x910003bf, SP_FROM_FP, NONE},               /* add sp, x29, #i */
    {0xff8003ff, 0xd10003bf, SP_FROM_FP, NONE},               /* sub sp, x29, #i */
    {0xffe00000, 0xd2800000, SET_CONSTANT, GENERAL | IMM16},  /* mov x, #i */
};

/* Bits of a branch's distance in words, and the lowest of them. */
typedef struct flow_pattern {
    uint32_t mask, value;
    uint8_t flow, distance_bits, distance_at;
} flow_pattern;

static const flow_pattern flows[] = {
    {0xfc000000, 0x94000000, DS_FLOW_CALL, 0, 0},     /* bl */
    {0xfc000000, 0x14000000, DS_FLOW_JUMP, 26, 0},    /* b */
    {0xff000010, 0x54000000, DS_FLOW_BRANCH, 19, 5},  /* b.cond */
    {0x7e000000, 0x34000000, DS_FLOW_BRANCH, 19, 5},  /* cbz, cbnz */
    {0x7e000000, 0x36000000, DS_FLOW_BRANCH, 14, 5},  /* tbz, tbnz */
    {0xfffffc1f, 0xd61f0000, DS_FLOW_INDIRECT, 0, 0}, /* br */
    {0xfffffc1f, 0xd63f0000, DS_FLOW_CALL, 0, 0},     /* blr */
    {0xfffffc1f, 0xd65f0000, DS_FLOW_RETURN, 0, 0},   /* ret */
    {0xfffff800, 0xd61f0800, DS_FLOW_INDIRECT, 0, 0}, /* braaz, brabz */
    {0xfffff800, 0xd63f0800, DS_FLOW_CALL, 0, 0},     /* blraaz, blrabz */
    {0xfffff800, 0xd65f0800, DS_FLOW_RETURN, 0, 0},   /* retaa, retab */
    {0xffe0001f, 0xd4200000, DS_FLOW_STOP, 0, 0},     /* brk */
};
#define NOP 0xd503201fu

static uint32_t bits(uint32_t word, unsigned at, unsigned count) {
    return word >> at & ((UINT32_C(1) << count) - 1);
}

static int32_t signed_bits(uint32_t word, unsigned at, unsigned count) {
    int32_t half = (int32_t)1 << (count - 1);
    return (int32_t)(bits(word, at, count) ^ (uint32_t)half) - half;
}

static uint8_t slot_of(uint32_t number, bool is_vector) {
    if (is_vector)
        return number >= 8 && number <= 15 ? (uint8_t)(number - 8 + SLOT_D8) : DS_FRAME_NO_SLOT;
    return number >= 19 && number <= 30 ? (uint8_t)(number - 19) : DS_FRAME_NO_SLOT;
}

static int32_t amount_of(uint32_t word, unsigned form) {
    switch (form & 0x70) {
    case IMM7:
        return signed_bits(word, 15, 7) * 8;
    case IMM9:
        return signed_bits(word, 12, 9);
    case IMM12:
        return (int32_t)bits(word, 10, 12) * 8;
    case ADD12:
        return (int32_t)(bits(word, 10, 12) << (bits(word, 22, 1) ? 12 : 0));
    case IMM16:
        return (int32_t)bits(word, 5, 16);
    default:
        return 0;
    }
}

static void read_operands(ds_frame_event *event, uint32_t word, unsigned operands) {
    unsigned registers = operands & 7;
    bool is_vector = registers == VECTOR || registers == VECTOR_2;
    event->count = registers == NONE ? 0 : registers == GENERAL_2 || registers == VECTOR_2 ? 2 : 1;
    event->registers[0] = slot_of(bits(word, 0, 5), is_vector);
    event->registers[1] = slot_of(bits(word, 10, 5), is_vector);
    if ((operands & 0x70) == IMM16)
        event->registers[0] = (uint8_t)bits(word, 0, 5);
    if ((operands & 0x70) == BY)
        event->registers[0] = (uint8_t)bits(word, 16, 5);
    event->amount = operands & MINUS ? -amount_of(word, operands) : amount_of(word, operands);
}

/* General registers that the word overwrites; some others may be among them, where none can wait. */
static uint32_t written(uint32_t word) {
    uint32_t low = UINT32_C(1) << bits(word, 0, 5), second = UINT32_C(1) << bits(word, 10, 5);
    bool is_vector = bits(word, 26, 1);
    if ((word & 0xfff00000) == 0xd5300000) /* mrs */
        return low;
    switch (bits(word, 25, 4)) {
    case 8: /* data processing */
    case 9:
    case 5:
    case 13:
        return low;
    case 15: /* fmov, conversions to general registers */
        return bits(word, 24, 7) == 0x1e && bits(word, 10, 6) == 0 ? low : 0;
    case 4: /* loads and stores */
    case 6:
    case 12:
    case 14:
        break;
    default:
        return 0;
    }
    if (is_vector)
        return 0;
    switch (bits(word, 27, 3)) {
    case 5: /* pairs */
        return bits(word, 22, 1) ? low | second : 0;
    case 7: /* single registers */
        return bits(word, 22, 2) ? low : 0;
    default: /* literals, exclusive */
        return low;
    }
}

/* Branches and system instructions: all of the flows, and signing. */
static bool may_flow(uint32_t word) {
    return bits(word, 26, 3) == 5;
}

/* The other acts go by sp, make sp of x29, or set a constant. A quick no for most instructions. */
static bool may_act(uint32_t word) {
    uint32_t base = bits(word, 5, 5), result = bits(word, 0, 5);
    return base == SP || (base == FP && result == SP) || word >> 21 == 0xd2800000 >> 21 || may_flow(word);
}

static ds_frame_event read(ds_span code, uint32_t place) {
    uint32_t word = ds_load32(code.data + place);
    ds_frame_event event = {.end = place + WORD, .target = DS_FRAME_OUTSIDE, .is_padding = word == NOP};
    event.writes = written(word) >> 19 & 0xfff; /* x19 to x30 */
    for (unsigned i = 0; may_flow(word) && i < DS_COUNT(flows); i++) {
        const flow_pattern *p = &flows[i];
        if ((word & p->mask) != p->value)
            continue;
        event.flow = p->flow;
        if (p->distance_bits != 0) {
            int64_t target = place + (int64_t)signed_bits(word, p->distance_at, p->distance_bits) * WORD;
            if (target >= 0 && target + WORD <= (int64_t)code.size)
                event.target = (uint32_t)target;
        }
        return event;
    }
    for (unsigned i = 0; may_act(word) && i < DS_COUNT(acts); i++) {
        if ((word & acts[i].mask) != acts[i].value)
            continue;
        event.act = acts[i].act;
        read_operands(&event, word, acts[i].operands);
        break;
    }
    return event;
}

/* Where components follow, the compiler does not see the prologue's end here. */
static void end_block(ds_frame_walk *w, uint32_t place, bool is_call) {
    struct ds_frame_aarch64 *a = &w->aarch64;
    if (a->has_components)
        ds_frame_write_overdue(w);
    ds_frame_write_waiting(w, a->has_components ? place : w->prologue_end);
    if (!is_call)
        w->branched = true;
}

/* ---- acts ---- */

static void store(ds_frame_walk *w, const ds_frame_event *event) {
    struct ds_frame_aarch64 *a = &w->aarch64;
    uint8_t slots[2];
    unsigned count = 0;
    for (unsigned i = 0; i < event->count; i++)
        if (ds_frame_note_save(w, event->registers[i], w->depth - event->amount - 8 * (int64_t)i))
            slots[count++] = event->registers[i];
    if (count == 0)
        return;
    if (w->branched) { /* a component: the last first */
        while (count-- > 0) {
            ds_frame_put_save(w, event->end, slots[count]);
            a->components |= UINT32_C(1) << slots[count];
        }
        return;
    }
    for (unsigned i = 0; i < count; i++)
        ds_frame_wait(w, slots[i]);
    w->prologue_end = event->end;
    if (slots[0] >= SLOT_D8)
        ds_frame_write_waiting(w, event->end);
}

static void load(ds_frame_walk *w, const ds_frame_event *event) {
    const ds_frame_event *exit = ds_frame_exit(w, event->end);
    bool leaves = exit->flow == DS_FLOW_RETURN || ds_frame_jumps_out(exit);
    for (unsigned i = event->count; i-- > 0;) {
        unsigned slot = event->registers[i];
        if (ds_frame_is_saved(w, slot) && (w->aarch64.components >> slot & 1) != 0 &&
            8 * (int64_t)w->row.saved[slot] == w->depth - event->amount - 8 * (int64_t)i) {
            ds_frame_settle(w, event->end);
            ds_frame_restore(w, event->end, slot, leaves);
        }
    }
}

/* False where the CFA is not found from sp, or would lie too far from it. */
static bool move_down(ds_frame_walk *w, uint32_t place, int64_t amount) {
    if (amount <= 0 || w->row.cfa_register != SP || amount > DS_FRAME_OFFSET_MAX - (int64_t)w->row.cfa_offset)
        return false;
    if (w->row.cfa_offset == 0)
        w->branched = false;
    ds_frame_set_cfa(w, place, SP, w->row.cfa_offset + (uint32_t)amount, false);
    w->aarch64.pushed = false;
    ds_frame_write_waiting(w, place);
    return true;
}

static void push(ds_frame_walk *w, const ds_frame_event *event) {
    if (!move_down(w, event->end, event->amount))
        return;
    w->aarch64.pushed = true;
    for (unsigned i = 0; i < event->count; i++)
        if (ds_frame_note_save(w, event->registers[i], w->depth - 8 * (int64_t)i))
            ds_frame_put_save(w, event->end, event->registers[i]);
}

/* Pairs in the order of their numbers, from the last pair back, each pair forwards. */
static void restore_pairs(ds_frame_walk *w, uint32_t place, unsigned from, unsigned to) {
    uint8_t slots[ALL_SLOTS];
    unsigned count = 0;
    for (unsigned slot = from; slot < to; slot++)
        if (ds_frame_is_saved(w, slot))
            slots[count++] = (uint8_t)slot;
    for (unsigned pair = (count + 1) / 2; pair-- > 0;)
        for (unsigned i = 2 * pair; i < count && i < 2 * pair + 2; i++)
            ds_frame_restore(w, place, slots[i], true);
}

static void restore_all(ds_frame_walk *w, uint32_t place) {
    bool has_record = ds_frame_is_saved(w, SLOT_FP) && ds_frame_is_saved(w, SLOT_LR);
    if (has_record) {
        ds_frame_restore(w, place, SLOT_FP, true);
        ds_frame_restore(w, place, SLOT_LR, true);
    }
    restore_pairs(w, place, 0, SLOT_D8);
    restore_pairs(w, place, SLOT_D8, ALL_SLOTS);
}

static void move_up(ds_frame_walk *w, const ds_frame_event *event, int64_t amount) {
    bool is_all = amount == (int64_t)w->row.cfa_offset;
    if (amount <= 0 || amount > (int64_t)w->row.cfa_offset || (w->row.cfa_register != SP && !is_all))
        return;
    if (event->act == POP)
        for (unsigned i = event->count; i-- > 0;)
            if (ds_frame_is_saved(w, event->registers[i]))
                ds_frame_restore(w, event->end, event->registers[i], true);
    if (is_all)
        restore_all(w, event->end);
    ds_frame_set_cfa(w, event->end, SP, w->row.cfa_offset - (uint32_t)amount, true);
}

/* Only a function that sets sp from x29 again finds its CFA from there. */
static void set_frame_pointer(ds_frame_walk *w, const ds_frame_event *event) {
    if ((w->acts >> SP_FROM_FP & 1) == 0 || w->row.cfa_register != SP || w->row.cfa_offset == 0 ||
        event->amount > (int64_t)w->row.cfa_offset)
        return;
    ds_frame_set_cfa(w, event->end, FP, w->row.cfa_offset - (uint32_t)event->amount, false);
    ds_frame_write_waiting(w, event->end);
}

static void act(ds_frame_walk *w, const ds_frame_event *event) {
    struct ds_frame_aarch64 *a = &w->aarch64;
    int64_t constant = event->registers[0] == a->constant_register ? a->constant : 0;
    if (event->act != NOTHING && event->act != STORE && event->act != LOAD && event->act != SET_CONSTANT)
        ds_frame_write_overdue(w);
    switch (event->act) {
    case SIGN:
        ds_frame_write_waiting(w, event->end);
        ds_frame_put_sign(w, event->end);
        break;
    case PUSH:
        push(w, event);
        break;
    case POP:
    case UP:
        ds_frame_write_waiting(w, event->end);
        move_up(w, event, event->amount);
        break;
    case STORE:
        store(w, event);
        break;
    case LOAD:
        load(w, event);
        break;
    case DOWN:
        move_down(w, event->end, event->amount);
        break;
    case DOWN_BY:
        move_down(w, event->end, constant);
        break;
    case UP_BY:
        ds_frame_write_waiting(w, event->end);
        move_up(w, event, constant);
        break;
    case SET_FP:
        set_frame_pointer(w, event);
        break;
    case SP_FROM_FP:
        if (w->row.cfa_register == FP && !a->pushed)
            ds_frame_set_cfa(w, event->end, SP, w->row.cfa_offset, true);
        break;
    case SET_CONSTANT:
        a->constant_register = event->registers[0];
        a->constant = event->amount;
        break;
    default:
        break;
    }
}

const ds_frame_rules ds_frame_rules_aarch64 = {
    .numbers = {19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 72, 73, 74, 75, 76, 77, 78, 79},
    .slots = ALL_SLOTS,
    .unit = WORD,
    .stack_pointer = SP,
    .read = read,
    .end_block = end_block,
    .act = act,
};
