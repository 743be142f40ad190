/* Operands that moved; see shifts.h. */
#include "delta/shifts.h"

bool ds_shifts_enter(ds_shifts *s, const ds_image *image, ds_offset offset) {
    if (offset >= s->from && offset < s->to)
        return false;
    uint64_t number = ds_image_functions_before(image, offset + 1);
    s->from = number > 0 ? image->functions.items[number - 1] : 0;
    s->to = number < image->functions.count ? image->functions.items[number] : UINT64_MAX;
    s->known = s->moving = 0;
    return true;
}

ds_shift_state ds_shifts_state(const ds_shifts *s, unsigned base) {
    if (base == DS_NO_REGISTER)
        return DS_SHIFT_NONE;
    if (!(s->known >> base & 1))
        return DS_SHIFT_UNKNOWN;
    return s->moving >> base & 1 ? DS_SHIFT_MOVES : DS_SHIFT_STAYS;
}

int32_t ds_shifts_expect(const ds_shifts *s, unsigned base) {
    return ds_shifts_state(s, base) == DS_SHIFT_MOVES ? s->by[base] : s->last;
}

void ds_shifts_learn(ds_shifts *s, unsigned base, int32_t by) {
    s->by[base] = by;
    s->known |= UINT32_C(1) << base;
    s->moving &= ~(UINT32_C(1) << base);
    if (by == 0)
        return;
    s->moving |= UINT32_C(1) << base;
    s->last = by;
}

#define MOVING_MAX 3

unsigned ds_shifts_level(const ds_shifts *s, const ds_site *sites, unsigned count) {
    unsigned moving = 0, stays = 0;
    if (s->known == 0)
        return 0;
    for (unsigned i = 0; i < count; i++) {
        ds_shift_state state = ds_shifts_state(s, sites[i].base);
        moving += state == DS_SHIFT_MOVES;
        stays |= state == DS_SHIFT_STAYS;
    }
    return (moving < MOVING_MAX ? moving : MOVING_MAX) << 1 | stays;
}
