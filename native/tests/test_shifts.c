/* Operands that moved, by register and function: docs/spec/delta-model.md, "Shifts". */
#include "delta/shifts.h"

#include "tests/check.h"

static uint32_t starts[] = {0x100, 0x200};
static const ds_image image = {.functions = {starts, DS_COUNT(starts), DS_COUNT(starts)}};

static void test_functions(void) {
    ds_shifts s = {0};
    CHECK(ds_shifts_enter(&s, &image, 0x10));
    CHECK(!ds_shifts_enter(&s, &image, 0xff));
    CHECK(ds_shifts_enter(&s, &image, 0x100));
    ds_shifts_learn(&s, 31, -80);
    CHECK(!ds_shifts_enter(&s, &image, 0x1ff) && ds_shifts_state(&s, 31) == DS_SHIFT_MOVES);
    CHECK(ds_shifts_enter(&s, &image, 0x200) && ds_shifts_state(&s, 31) == DS_SHIFT_UNKNOWN);
    CHECK(!ds_shifts_enter(&s, &image, 0x7fffffff));
    CHECK(ds_shifts_enter(&s, &image, 0));
}

static void test_states(void) {
    ds_shifts s = {0};
    CHECK(ds_shifts_state(&s, DS_NO_REGISTER) == DS_SHIFT_NONE);
    CHECK(ds_shifts_state(&s, 0) == DS_SHIFT_UNKNOWN);
    CHECK(ds_shifts_expect(&s, 0) == 0);
    ds_shifts_learn(&s, 0, 0);
    CHECK(ds_shifts_state(&s, 0) == DS_SHIFT_STAYS);
    ds_shifts_learn(&s, 29, 16);
    ds_shifts_learn(&s, 0, 0);
    CHECK(ds_shifts_state(&s, 29) == DS_SHIFT_MOVES && ds_shifts_expect(&s, 29) == 16);
    CHECK(ds_shifts_expect(&s, 0) == 16); /* what others did, where its own is not known to move */
    ds_shifts_learn(&s, 29, 0);
    CHECK(ds_shifts_state(&s, 29) == DS_SHIFT_STAYS && ds_shifts_expect(&s, 29) == 16);
}

static void test_levels(void) {
    ds_shifts s = {0};
    const ds_site sites[] = {{.base = 1}, {.base = 1}, {.base = 1}, {.base = 1}, {.base = 2}, {.base = DS_NO_REGISTER}};
    CHECK(ds_shifts_level(&s, sites, DS_COUNT(sites)) == 0);
    ds_shifts_learn(&s, 2, 0);
    CHECK(ds_shifts_level(&s, sites, DS_COUNT(sites)) == 1);
    ds_shifts_learn(&s, 1, 8);
    CHECK(ds_shifts_level(&s, sites, 1) == 2);
    CHECK(ds_shifts_level(&s, sites, DS_COUNT(sites)) == 7);
}

int main(void) {
    test_functions();
    test_states();
    test_levels();
    return checks_done();
}
