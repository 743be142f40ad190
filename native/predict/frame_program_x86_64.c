/* Predicted call frame programs of x86-64. See frame_walk.h; docs/spec/frame-programs.md.
 *
 * Sources: Intel SDM volume 2, appendix A (opcodes); System V ABI for x86-64, 3.2.1 (callee-saved registers), 3.6
 * (DWARF numbers).
 */
#include "image/isa/isa.h"
#include "predict/frame_walk.h"

#define SP 7
#define FP 6
#define SLOT_FP 1u
#define ENTRY_OFFSET 8
#define REX_B 1u
#define REX_X 2u
#define REX_R 4u
#define REX_W 8u

enum {
    NOTHING,
    PUSH,       /* a slot, or what has none */
    POP,        /* the same */
    DOWN,       /* rsp -= amount, which may be negative */
    SET_FP,     /* rbp = rsp */
    SP_FROM_FP, /* rsp = rbp + amount */
    LEAVE,
    SP_FROM, /* rsp = another register */
};

#define NONE DS_FRAME_NO_SLOT
/* By the number of the register in instructions: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, ... */
static const uint8_t slots[16] = {NONE, NONE, NONE, 0, NONE, SLOT_FP, NONE, NONE, NONE, NONE, NONE, NONE, 2, 3, 4, 5};

static bool is_prefix(unsigned byte) {
    return (byte & 0xf0) == 0x40 || (byte & 0xe7) == 0x26 || (byte >= 0x64 && byte <= 0x67) || byte == 0xf0 ||
           byte == 0xf2 || byte == 0xf3;
}

static int32_t load_number(const uint8_t *bytes, unsigned size) {
    return size == 1 ? (int8_t)bytes[0] : (int32_t)ds_load32(bytes);
}

/* Of the instruction whose opcode stands at `at`: what writes rsp or rbp. */
static void read_arithmetic(ds_frame_event *event, const uint8_t *at, unsigned rex) {
    bool is_lea = at[0] == 0x8d;
    if ((at[0] == 0x83 || at[0] == 0x81) && (at[1] == 0xec || at[1] == 0xc4) && !(rex & REX_B)) {
        int64_t amount = load_number(at + 2, at[0] == 0x83 ? 1 : 4);
        event->act = DOWN;
        event->amount = at[1] == 0xec ? amount : -amount;
    } else if (is_lea && (at[1] == 0x64 || at[1] == 0xa4) && at[2] == 0x24 && !(rex & (REX_R | REX_X | REX_B))) {
        event->act = DOWN;
        event->amount = -(int64_t)load_number(at + 3, at[1] == 0x64 ? 1 : 4);
    } else if (is_lea && (at[1] == 0x65 || at[1] == 0xa5) && !(rex & (REX_R | REX_B))) {
        event->act = SP_FROM_FP;
        event->amount = load_number(at + 2, at[1] == 0x65 ? 1 : 4);
    } else if (at[0] == 0x89 && (at[1] & 0xc7) == 0xc4 && !(rex & REX_B)) {
        event->act = SP_FROM;
    } else if (((at[0] == 0x89 && at[1] == 0xe5) || (at[0] == 0x8b && at[1] == 0xec)) && !(rex & (REX_R | REX_B))) {
        event->act = SET_FP;
    }
}

static void read_stack(ds_frame_event *event, const uint8_t *at, unsigned rex) {
    unsigned reg = at[1] >> 3 & 7;
    event->registers[0] = DS_FRAME_NO_SLOT;
    if ((at[0] & 0xf0) == 0x50) {
        event->act = at[0] < 0x58 ? PUSH : POP;
        event->registers[0] = slots[(at[0] & 7u) + (rex & REX_B ? 8 : 0)];
    } else if (at[0] == 0x68 || at[0] == 0x6a || (at[0] == 0xff && reg == 6)) {
        event->act = PUSH;
    } else if (at[0] == 0x8f && reg == 0) {
        event->act = POP;
    } else if (at[0] == 0xc9) {
        event->act = LEAVE;
    }
}

/* Which operand of an opcode is overwritten: the one of the reg field, that of the rm field where it is a register, or
 * that of the opcode. */
enum { NEITHER, REG, RM, OPCODE };

static const uint8_t one_byte_written[256] = {[0x01] = RM,
                                              [0x03] = REG,
                                              [0x09] = RM,
                                              [0x0b] = REG,
                                              [0x21] = RM,
                                              [0x23] = REG,
                                              [0x29] = RM,
                                              [0x2b] = REG,
                                              [0x31] = RM,
                                              [0x33] = REG,
                                              [0x63] = REG,
                                              [0x69] = REG,
                                              [0x6b] = REG,
                                              [0x81] = RM,
                                              [0x83] = RM,
                                              [0x89] = RM,
                                              [0x8b] = REG,
                                              [0x8d] = REG,
                                              [0xb8 ... 0xbf] = OPCODE,
                                              [0xc1] = RM,
                                              [0xc7] = RM,
                                              [0xd1] = RM,
                                              [0xd3] = RM};
static const uint8_t two_byte_written[256] = {[0x40 ... 0x4f] = REG, [0x7e] = RM,           [0x90 ... 0x9f] = RM,
                                              [0xaf] = REG,          [0xb6 ... 0xb8] = REG, [0xbc ... 0xbf] = REG};

static uint32_t written_slots(const uint8_t *at, unsigned rex) {
    bool is_two = at[0] == 0x0f;
    const uint8_t *opcode = at + is_two;
    unsigned which = (is_two ? two_byte_written : one_byte_written)[*opcode];
    unsigned modrm = opcode[1], number = *opcode & 7u;
    if (which == NEITHER || (which == RM && modrm < 0xc0))
        return 0;
    if (which == REG)
        number = modrm >> 3 & 7;
    else if (which == RM)
        number = modrm & 7;
    uint8_t slot = slots[number + (rex & (which == REG ? REX_R : REX_B) ? 8 : 0)];
    return slot == DS_FRAME_NO_SLOT ? 0 : UINT32_C(1) << slot;
}

static ds_frame_flow flow_of(const uint8_t *at) {
    unsigned opcode = at[0], reg = at[1] >> 3 & 7;
    if ((opcode & 0xf0) == 0x70 || (opcode & 0xfc) == 0xe0 || (opcode == 0x0f && (at[1] & 0xf0) == 0x80))
        return DS_FLOW_BRANCH;
    if (opcode == 0xe9 || opcode == 0xeb)
        return DS_FLOW_JUMP;
    if (opcode == 0xe8 || (opcode == 0xff && reg == 2))
        return DS_FLOW_CALL;
    if (opcode == 0xff && reg == 4)
        return DS_FLOW_INDIRECT;
    if (opcode == 0xc2 || opcode == 0xc3)
        return DS_FLOW_RETURN;
    return opcode == 0xf4 || (opcode == 0x0f && at[1] == 0x0b) ? DS_FLOW_STOP : DS_FLOW_ON; /* hlt, ud2 */
}

/* What is no instruction is a byte that does nothing. */
static ds_frame_event read(ds_span code, uint32_t place) {
    uint8_t tail[DS_X86_64_READ];
    const uint8_t *bytes = code.data + place;
    if (code.size - place < sizeof tail) {
        memset(tail, 0, sizeof tail);
        bytes = memcpy(tail, bytes, (size_t)(code.size - place));
    }
    ds_frame_event event = {.end = place + 1, .target = DS_FRAME_OUTSIDE};
    ds_x86_64_parts parts = ds_x86_64_take_apart(bytes);
    if (parts.length == 0 || parts.length > code.size - place)
        return event;
    event.end = place + parts.length;
    const uint8_t *at = bytes;
    while (is_prefix(*at))
        at++;
    unsigned rex = at > bytes && (at[-1] & 0xf0) == 0x40 ? at[-1] : 0;
    event.flow = (uint8_t)flow_of(at);
    event.is_padding = at[0] == 0x90 || (at[0] == 0x0f && at[1] == 0x1f);
    if (event.flow == DS_FLOW_BRANCH || event.flow == DS_FLOW_JUMP) {
        int64_t target = event.end + (int64_t)load_number(bytes + parts.field, parts.field_size);
        if (target >= 0 && target < (int64_t)code.size)
            event.target = (uint32_t)target;
    } else if (event.flow == DS_FLOW_ON) {
        read_stack(&event, at, rex);
        if (rex & REX_W)
            read_arithmetic(&event, at, rex);
        event.writes = written_slots(at, rex);
    }
    return event;
}

/* ---- acts ---- */

static void end_block(ds_frame_walk *w, uint32_t place, bool is_call) {
    (void)place;
    ds_frame_write_waiting(w, w->prologue_end);
    w->x86_64.in_prologue = false;
    if (!is_call)
        w->branched = true;
}

/* A function, or the part of it that needs a frame, begins to make one. */
static void enter(ds_frame_walk *w) {
    if (w->row.cfa_register != SP || w->row.cfa_offset != ENTRY_OFFSET)
        return;
    w->x86_64.is_wrapped = w->branched;
    w->x86_64.in_prologue = true;
    w->x86_64.frame = ENTRY_OFFSET;
}

/* The frame reaches down to here. What restores it later goes back to this row. */
static void reach(ds_frame_walk *w) {
    w->x86_64.frame = w->row.cfa_offset;
    ds_frame_begin_trace(w);
}

static bool fits(int64_t offset) {
    return offset >= ENTRY_OFFSET && offset <= DS_FRAME_OFFSET_MAX;
}

static void push(ds_frame_walk *w, const ds_frame_event *event) {
    unsigned slot = event->registers[0];
    enter(w);
    if (w->row.cfa_register != SP)
        w->depth += 8;
    else if (fits(w->depth + 8))
        ds_frame_set_cfa(w, event->end, SP, w->row.cfa_offset + 8, false);
    else
        return;
    if (!ds_frame_note_save(w, slot, w->depth)) {
        w->x86_64.in_prologue = false;
        return;
    }
    if (w->row.cfa_register == FP && w->x86_64.in_prologue) {
        ds_frame_wait(w, slot);
        w->prologue_end = event->end;
        return;
    }
    ds_frame_settle(w, event->end);
    ds_frame_put_save(w, event->end, slot);
    if (w->x86_64.in_prologue)
        reach(w);
}

/* Only in a function that makes its frame late, and before a tail call. */
static void restore_before_jump(ds_frame_walk *w, uint32_t place, unsigned slot) {
    if (w->x86_64.is_wrapped && ds_frame_is_saved(w, slot) && ds_frame_jumps_out(ds_frame_exit(w, place)))
        ds_frame_restore(w, place, slot, true);
}

static void leave(ds_frame_walk *w, uint32_t place) {
    restore_before_jump(w, place, SLOT_FP);
    ds_frame_set_cfa(w, place, SP, ENTRY_OFFSET, true);
}

static void pop(ds_frame_walk *w, const ds_frame_event *event) {
    unsigned slot = event->registers[0];
    if (w->row.cfa_register == FP) {
        w->depth -= 8;
        if (slot == SLOT_FP)
            leave(w, event->end);
        return;
    }
    if (!fits(w->depth - 8))
        return;
    if (ds_frame_is_saved(w, slot) && 8 * (int64_t)w->row.saved[slot] == w->depth)
        restore_before_jump(w, event->end, slot);
    uint32_t offset = w->row.cfa_offset - 8;
    ds_frame_set_cfa(w, event->end, SP, offset, offset < w->x86_64.frame);
}

static void move_down(ds_frame_walk *w, const ds_frame_event *event) {
    bool is_down = event->amount > 0;
    int64_t depth = w->depth + event->amount;
    if (is_down)
        enter(w);
    if (w->row.cfa_register != SP) {
        w->depth = depth;
        if (is_down && w->x86_64.in_prologue) {
            ds_frame_write_overdue(w);
            w->prologue_end = event->end;
        }
    } else if (fits(depth)) {
        ds_frame_set_cfa(w, event->end, SP, (uint32_t)depth, depth < w->x86_64.frame);
        if (is_down && w->x86_64.in_prologue)
            reach(w);
    }
    w->x86_64.in_prologue = false;
}

static void act(ds_frame_walk *w, const ds_frame_event *event) {
    if (event->act != NOTHING && event->act != PUSH && event->act != DOWN)
        ds_frame_settle(w, event->end);
    switch (event->act) {
    case PUSH:
        push(w, event);
        break;
    case POP:
        pop(w, event);
        break;
    case DOWN:
        move_down(w, event);
        break;
    case SET_FP:
        if (w->row.cfa_register == SP && w->row.cfa_offset == 2 * ENTRY_OFFSET)
            ds_frame_set_cfa(w, event->end, FP, w->row.cfa_offset, false);
        break;
    case SP_FROM_FP:
        if (w->row.cfa_register == FP)
            w->depth = 2 * ENTRY_OFFSET - event->amount;
        break;
    case LEAVE:
        if (w->row.cfa_register == FP)
            leave(w, event->end);
        break;
    case SP_FROM:
        if (w->row.cfa_register == SP && w->x86_64.frame >= ENTRY_OFFSET)
            ds_frame_set_cfa(w, event->end, SP, w->x86_64.frame, false);
        break;
    default:
        break;
    }
}

const ds_frame_rules ds_frame_rules_x86_64 = {
    .numbers = {3, 6, 12, 13, 14, 15}, /* rbx, rbp, r12 to r15 */
    .slots = 6,
    .unit = 1,
    .stack_pointer = SP,
    .entry_offset = ENTRY_OFFSET,
    .read = read,
    .end_block = end_block,
    .act = act,
};
