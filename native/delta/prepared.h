/* The old image of several creations, read and indexed once. */
#ifndef DS_PREPARED_H
#define DS_PREPARED_H

#include "match/match.h"

struct ds_prepared {
    ds_arena *arena;
    ds_image image; /* reads the caller's bytes */
    ds_match_prepared match;
};

#endif
