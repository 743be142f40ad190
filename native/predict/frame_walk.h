/* What the rules of both instruction sets share (frame_program.c): rows, traces, steps.
 *
 * A *row* is what an unwinder knows at one place: how to find the CFA, and which registers are saved where. A *trace*
 * is a stretch of code that begins at the function's first byte, at the target of a branch, behind an instruction that
 * control does not pass, behind a prologue's instruction, or where registers begin to be restored. Where control
 * comes to a trace from elsewhere, its row is mostly another than that at the end of the code before it, and the
 * program must lead from the one to the other.
 */
#ifndef DS_FRAME_WALK_H
#define DS_FRAME_WALK_H

#include "predict/frame_program.h"

/* Registers that a row can hold: of AArch64 x19 to x30 and d8 to d15. */
#define DS_FRAME_SLOTS 20
#define DS_FRAME_NO_SLOT 255
#define DS_FRAME_NO_ROW UINT32_MAX
#define DS_FRAME_NO_STEP UINT64_MAX
/* What would make a row's CFA lie further from the stack pointer, or save a register there, is passed over. */
#define DS_FRAME_OFFSET_MAX (1 << 28)

typedef struct ds_frame_row {
    uint32_t cfa_offset;
    uint32_t saved[DS_FRAME_SLOTS]; /* words of 8 bytes below the CFA; 0: not saved */
    uint32_t cfa_register;          /* DWARF number */
    uint32_t is_signed;             /* the return address */
} ds_frame_row;

/* Where control goes from an instruction. */
typedef enum ds_frame_flow {
    DS_FLOW_ON,
    DS_FLOW_CALL,
    DS_FLOW_BRANCH, /* to the target, or on */
    DS_FLOW_JUMP,   /* to the target. It and what follows do not go on */
    DS_FLOW_INDIRECT,
    DS_FLOW_RETURN,
    DS_FLOW_STOP,
} ds_frame_flow;

#define DS_FRAME_OUTSIDE UINT32_MAX

typedef struct ds_frame_event {
    uint32_t end; /* place behind the instruction */
    uint8_t flow; /* ds_frame_flow */
    bool is_padding;
    uint8_t act;          /* what it does to the frame, as the instruction set numbers it; 0: nothing */
    uint8_t registers[2]; /* slots, else DS_FRAME_NO_SLOT or as the act says */
    uint8_t count;        /* of these */
    int64_t amount;       /* bytes */
    uint32_t target;      /* place of a branch or jump, or DS_FRAME_OUTSIDE */
    uint32_t writes;      /* bit i: the register of slot i is overwritten */
} ds_frame_event;

typedef struct ds_frame_walk ds_frame_walk;

typedef struct ds_frame_rules {
    uint8_t numbers[DS_FRAME_SLOTS]; /* DWARF numbers of the slots, ascending */
    uint8_t slots;
    uint8_t unit; /* instructions stand at multiples of it */
    uint8_t stack_pointer;
    uint8_t entry_offset; /* of the CFA from the stack pointer, at the function's first byte */
    /* The instruction at `place`, a unit or more before code.size. Its end is above place, and at most code.size. */
    ds_frame_event (*read)(ds_span code, uint32_t place);
    /* A target, or what control passes to from elsewhere, stands at `place`; or a call, branch or jump does. */
    void (*end_block)(ds_frame_walk *w, uint32_t place, bool is_call);
    void (*act)(ds_frame_walk *w, const ds_frame_event *event);
} ds_frame_rules;

extern const ds_frame_rules ds_frame_rules_aarch64, ds_frame_rules_x86_64;

struct ds_frame_walk {
    const ds_frame_rules *rules;
    ds_span code;
    ds_frame_guess *guess;
    ds_frame_steps *out;
    ds_status status; /* the first failure of memory */

    ds_frame_row row;
    int64_t depth;   /* bytes from the stack pointer up to the CFA */
    bool branched;   /* a block ended since the function or the frame began, calls left aside */
    uint32_t row_id; /* of the guess's rows the one that is as `row`, or DS_FRAME_NO_ROW */
    uint32_t acts;   /* bit i: some instruction of the function has act i */

    ds_frame_row trace_row; /* where the trace began */
    uint64_t trace_first;   /* number of its first step, or DS_FRAME_NO_STEP */
    bool trace_restores;

    uint8_t waiting[DS_FRAME_SLOTS]; /* saves whose steps are still to come */
    unsigned waiting_count;
    uint32_t prologue_end; /* place behind the last instruction that counts as one of the prologue */
    uint32_t overwrites;   /* place of the first instruction that overwrites one of them; 0: none yet */

    ds_frame_event exit; /* of the block around the place that was asked for last; ends at 0: of none */

    struct ds_frame_x86_64 {
        bool in_prologue, is_wrapped;
        uint32_t frame; /* CFA offset where the prologue ended */
    } x86_64;
    struct ds_frame_aarch64 {
        uint32_t components; /* bit i: slot i was saved apart from the prologue */
        bool has_components; /* the first walk found some */
        bool pushed;         /* the frame was made by the store that saves its first registers */
        uint8_t constant_register;
        int64_t constant;
    } aarch64;
};

/* A step at `place`; one that `restores` begins an epilogue's trace. The row is changed by those below alone. */
void ds_frame_put_sign(ds_frame_walk *w, uint32_t place);
void ds_frame_set_cfa(ds_frame_walk *w, uint32_t place, uint32_t reg, uint32_t offset, bool restores);
/* The step of a slot's save; the row has it already. */
void ds_frame_put_save(ds_frame_walk *w, uint32_t place, unsigned slot);
/* In the row alone. False where it is saved already, or the place, in bytes below the CFA, is none. */
bool ds_frame_note_save(ds_frame_walk *w, unsigned slot, int64_t below);
/* The step of a slot's save is to wait. */
void ds_frame_wait(ds_frame_walk *w, unsigned slot);
/* The steps of what waits, at `place`. */
void ds_frame_write_waiting(ds_frame_walk *w, uint32_t place);
/* The same, where one of these registers was overwritten since, at the place of that. */
void ds_frame_write_overdue(ds_frame_walk *w);
/* Both. */
void ds_frame_settle(ds_frame_walk *w, uint32_t place);
void ds_frame_restore(ds_frame_walk *w, uint32_t place, unsigned slot, bool restores);
void ds_frame_begin_trace(ds_frame_walk *w);
/* The first instruction from `place` on that control may leave from, calls left aside. */
const ds_frame_event *ds_frame_exit(ds_frame_walk *w, uint32_t place);

static inline bool ds_frame_is_saved(const ds_frame_walk *w, unsigned slot) {
    return slot < DS_FRAME_SLOTS && w->row.saved[slot] != 0;
}

/* Whether it jumps out of the function: a tail call, or perhaps a jump table. */
static inline bool ds_frame_jumps_out(const ds_frame_event *event) {
    return event->flow == DS_FLOW_INDIRECT || (event->flow == DS_FLOW_JUMP && event->target == DS_FRAME_OUTSIDE);
}

#endif
