/* Bytes that one thread puts and another takes, in order, while both go on. */
#ifndef DS_RELAY_H
#define DS_RELAY_H

#include "base/base.h"

typedef struct ds_relay ds_relay;

/* `arena` holds what was put and not yet taken; both threads use it. */
ds_status ds_relay_open(ds_relay **relay, ds_arena *arena);
void ds_relay_free(ds_relay *relay); /* accepts NULL; nobody else uses it any more */

ds_status ds_relay_put(ds_relay *relay, ds_span bytes);
void ds_relay_end(ds_relay *relay); /* nothing more is put */

/* Waits until there is something to take; false where there will not be. */
bool ds_relay_wait(ds_relay *relay);
/* Waits for the next bytes, which stay until the next call; false at the end. */
bool ds_relay_take(ds_relay *relay, ds_span *bytes);

#endif
