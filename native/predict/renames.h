/* Renames: strings that became others of the same length wherever they stood (docs/spec/delta-format.md, "Renames").
 * Old bytes are copied as if they had been renamed before.
 *
 * Any list makes a valid delta. Finding occurrences takes one look at each old byte outside code, and at no more than
 * DS_RENAME_SIZE_MAX behind it.
 */
#ifndef DS_RENAMES_H
#define DS_RENAMES_H

#include "image/image.h"
#include "predict/blocks.h"

#define DS_RENAMES_MAX 256
#define DS_RENAME_SIZE_MIN 8 /* the first so many old bytes tell renames apart */
#define DS_RENAME_SIZE_MAX 64

typedef struct ds_rename {
    ds_offset offset; /* of old bytes: its first occurrence, for a writer */
    uint64_t size;
    uint8_t bytes[DS_RENAME_SIZE_MAX]; /* the new ones */
} ds_rename;

/* Where old bytes of a rename stand. There may be many. */
typedef struct ds_occurrence {
    uint32_t offset;
    uint32_t number; /* of the rename */
} ds_occurrence;

typedef struct ds_renames {
    DS_VEC(ds_rename) list;            /* ascending, none over another */
    DS_VEC(ds_occurrence) occurrences; /* ascending, none over another */
} ds_renames;

/* Finds the occurrences of those listed, which lie in the old image. DS_E_DELTA where two begin alike. */
ds_status ds_renames_locate(ds_renames *renames, const ds_image *old_image, ds_arena *arena);
/* `bytes`: a copy of the `size` old bytes from `at` on. Occurrences that lie there in part are renamed in part. */
void ds_renames_put(const ds_renames *renames, ds_offset at, uint8_t *bytes, uint64_t size);
void ds_renames_free(ds_renames *renames, ds_arena *arena);

/* Writing: those that `blocks` show, with their occurrences; none where there is no memory to look for them. */
ds_status ds_renames_find(ds_renames *renames, const ds_image *old_image, const ds_image *new_image,
                          const ds_blocks *blocks, ds_arena *arena);

#endif
