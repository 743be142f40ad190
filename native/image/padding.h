/* The paddings of an image, one after the other: instructions that do nothing, between code and where the next code
 * begins (docs/spec/delta-format.md, "Paddings").
 */
#ifndef DS_PADDING_H
#define DS_PADDING_H

#include "image/image.h"

typedef struct ds_padding {
    ds_offset begin, end; /* equal where code begins without one */
    bool of_function;
} ds_padding;

typedef struct ds_padding_scan {
    const ds_image *image;
    ds_offset from, at, end;
    uint64_t function; /* number of the first that does not start before `at` */
    bool behind_jumps; /* whether code behind a jump counts where it begins without a padding */
    bool behind_jump;  /* the instruction before `at` is one, and counts */
} ds_padding_scan;

ds_padding_scan ds_padding_scan_open(const ds_image *image, ds_offset from, ds_offset end, bool behind_jumps);
/* The next one that begins behind `from` and ends before `end`. Takes linear time over the whole scan. */
bool ds_padding_next(ds_padding_scan *scan, ds_padding *found);

#endif
