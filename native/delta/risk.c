/* Chances that copied instructions differ; see risk.h. */
#include "delta/risk.h"

#define CHANCE_START 4000 /* of 2^22: one in a thousand */
#define LEVEL_SHIFT 4     /* chances below 2^-18 are none */

ds_status ds_risk_open(ds_risk *risk, ds_arena *arena) {
    ds_map_steps_open(risk->steps, DS_RISK_LATEST);
    for (unsigned table = 0; table < DS_RISKS; table++) {
        risk->chances[table] = ds_arena_alloc(arena, DS_RISK_KEYS * sizeof *risk->chances[table]);
        if (risk->chances[table] == NULL)
            return DS_E_MEMORY;
        for (uint32_t key = 0; key < DS_RISK_KEYS; key++)
            risk->chances[table][key] = CHANCE_START << MAP_COUNT_BITS;
    }
    return DS_OK;
}

void ds_risk_close(ds_risk *risk, ds_arena *arena) {
    for (unsigned table = 0; table < DS_RISKS; table++)
        ds_arena_free(arena, risk->chances[table]);
}

unsigned ds_risk_level(const ds_risk *risk, unsigned table, const ds_site *sites, unsigned count) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += risk->chances[table][sites[i].keys[table]] >> MAP_COUNT_BITS;
    sum >>= LEVEL_SHIFT;
    unsigned bits = ds_bits_in(sum);
    return bits < 2 ? sum : bits << 1 | (sum >> (bits - 2) & 1);
}

void ds_risk_learn(ds_risk *risk, const ds_site *site, bool differs) {
    for (unsigned table = 0; table < DS_RISKS; table++)
        ds_map_learn(&risk->chances[table][site->keys[table]], differs, risk->steps);
}
