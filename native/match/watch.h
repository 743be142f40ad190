/* What a round labels otherwise than the one before: only there, and round it, is matched again.
 *
 * Windows begin and end well inside blocks of the round before, and well away from what changed: matched by itself, a
 * window gives what matching all of the image again would give, nearly always.
 */
#ifndef DS_WATCH_H
#define DS_WATCH_H

#include "match/match.h"

typedef struct ds_watch {
    const ds_side *side;
    uint64_t count;    /* of granules */
    uint32_t *digests; /* of each, when it was last looked at */
    uint64_t *changed; /* a bit each */
} ds_watch;

ds_status ds_watch_open(ds_watch *watch, const ds_side *side, ds_arena *arena);
void ds_watch_close(ds_watch *watch, ds_arena *arena);
/* Looks at the side's labels: in how many granules they changed since it last did. */
uint64_t ds_watch_look(ds_watch *watch);
/* The first window of the range; `blocks` are those of the round before. False: nothing in it has changed. */
bool ds_watch_window(const ds_watch *watch, const ds_blocks *blocks, ds_range range, ds_range *window);

#endif
