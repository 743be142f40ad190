/* What matching makes of the old image alone: both labellings, and the index of each. Made once, read by any number
 * of matchings, which may run at the same time. A matching with it chooses the same blocks as one without. */
#include "match/match.h"

ds_status ds_match_prepare(ds_match_prepared *prepared, const ds_image *old_image, unsigned threads, ds_arena *arena) {
    *prepared = (ds_match_prepared){0};
    for (unsigned late = 0; late < 2; late++) {
        ds_side *side = &prepared->sides[late];
        DS_TRY(ds_side_open(side, old_image, arena));
        if (late)
            ds_side_label_targets(side);
        else
            DS_TRY(ds_side_label_content(side, arena));
        DS_TRY(ds_index_build(&prepared->indexes[late], side, threads, arena));
    }
    return DS_OK;
}
