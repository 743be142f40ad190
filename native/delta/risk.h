/* How likely copied instructions are to differ from the old ones. Those that do resemble each other: the same number
 * moved by a line, the same frame grew. Chances are kept by an instruction's form, and by its form with its operand
 * roughly, and learned from every instruction that was copied (docs/spec/delta-model.md, "Residuals").
 */
#ifndef DS_RISK_H
#define DS_RISK_H

#include "codec/counters.h"

enum { DS_RISK_BY_FORM, DS_RISK_BY_OPERAND, DS_RISKS };
#define DS_RISK_KEYS ((uint32_t)1 << 16)
#define DS_RISK_LATEST 20 /* observations after which a chance no longer slows down: what differs comes in stretches */

typedef struct ds_risk {
    uint32_t *chances[DS_RISKS];
    uint32_t steps[DS_RISK_LATEST + 1]; /* codec/counters.h */
} ds_risk;

/* An old instruction that begins in a unit of copied bytes. */
typedef struct ds_site {
    uint8_t at, size;
    uint8_t base; /* register that its operand counts from, or DS_NO_REGISTER: delta/shifts.h */
    uint16_t keys[DS_RISKS];
} ds_site;

ds_status ds_risk_open(ds_risk *risk, ds_arena *arena);
void ds_risk_close(ds_risk *risk, ds_arena *arena);
/* On a logarithmic scale: how likely any of the sites is to differ. */
unsigned ds_risk_level(const ds_risk *risk, unsigned table, const ds_site *sites, unsigned count);
void ds_risk_learn(ds_risk *risk, const ds_site *site, bool differs);

#endif
