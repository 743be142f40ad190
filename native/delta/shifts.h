/* By how much operands moved that count from a register: where a frame grew or a structure gained a member, all places
 * behind it move by as many bytes, whatever instruction names them. Kept for each register of a function
 * (docs/spec/delta-model.md, "Shifts"; of frames alone where there is no model: delta-format.md). Private to this room.
 */
#ifndef DS_SHIFTS_H
#define DS_SHIFTS_H

#include "delta/risk.h"
#include "image/image.h"

#define DS_REGISTERS 32
#define DS_NO_REGISTER DS_REGISTERS

typedef struct ds_shifts {
    ds_offset from, to; /* the function, in the old image */
    uint32_t known;     /* registers whose operands were seen, a bit each */
    uint32_t moving;    /* those of them whose operands moved */
    int32_t by[DS_REGISTERS];
    int32_t last; /* that was not 0, in any function */
} ds_shifts;

/* What is known of operands that count from a register. */
typedef enum ds_shift_state { DS_SHIFT_NONE, DS_SHIFT_UNKNOWN, DS_SHIFT_STAYS, DS_SHIFT_MOVES } ds_shift_state;

/* Nothing is known in another function than that of the last call: true there. */
bool ds_shifts_enter(ds_shifts *shifts, const ds_image *old_image, ds_offset offset);
ds_shift_state ds_shifts_state(const ds_shifts *shifts, unsigned base);
/* By how much an operand of this base is expected to have moved. */
int32_t ds_shifts_expect(const ds_shifts *shifts, unsigned base);
void ds_shifts_learn(ds_shifts *shifts, unsigned base, int32_t by);
/* Of all sites: how many are known to move, at most three, times two; and one if any is known to stay. */
unsigned ds_shifts_level(const ds_shifts *shifts, const ds_site *sites, unsigned count);

#endif
