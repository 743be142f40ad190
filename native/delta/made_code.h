/* The code of the new image as far as it is made: what unwinds it is predicted from it. Private to this room.
 *
 * Invariant: the same answers when writing and when reading; a reader keeps at most DS_MADE_CODE_MAX bytes.
 */
#ifndef DS_MADE_CODE_H
#define DS_MADE_CODE_H

#include "image/image.h"
#include "predict/map.h"

/* An image with more code than this is not kept: its tables are predicted from their old selves alone. */
#define DS_MADE_CODE_MAX ((uint64_t)32 << 20)

typedef struct ds_made_code {
    const ds_layout *layout;
    ds_span written; /* writing: the new image, which is all there; else no bytes */
    uint8_t *kept;   /* reading: the bytes of the regions of code, one behind the other */
    ds_offset made;  /* the end of what there is */
    bool is_on;
} ds_made_code;

/* Keeps nothing where there is too much. `written`: the new image, of no bytes when reading. */
ds_status ds_made_code_open(ds_made_code *code, const ds_layout *layout, ds_span written, ds_arena *arena);
void ds_made_code_close(ds_made_code *code, ds_arena *arena);
/* The next bytes of the new image: all of them, in order. */
void ds_made_code_add(ds_made_code *code, const uint8_t *bytes, uint64_t size);
/* The `size` bytes at an address; none (data NULL) unless they lie in one region of code and end at or before `end`. */
ds_span ds_made_code_at(const ds_made_code *code, ds_address address, uint64_t size, ds_offset end);

#endif
