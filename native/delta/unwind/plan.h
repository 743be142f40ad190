/* How each record of a new unwind table is to be coded: after which old one. Writing only, private to this room. */
#ifndef DS_FRAME_PLAN_H
#define DS_FRAME_PLAN_H

#include "predict/frame_table.h"
#include "predict/map.h"

/* The ways of a record, as they are coded. */
typedef enum ds_frame_way {
    DS_FRAME_FOLLOWS, /* the next old record */
    DS_FRAME_SKIPS,   /* an old record farther on, or back */
    DS_FRAME_OWN,     /* an FDE like none of the old */
    DS_FRAME_RAW,     /* bytes */
} ds_frame_way;

typedef struct ds_frame_planned {
    ds_frame_way way;
    uint32_t number; /* of the old record */
} ds_frame_planned;

typedef struct ds_frame_plan {
    ds_frame_table table; /* the new one, whole */
    DS_VEC(ds_frame_planned) records;
    uint64_t at; /* the record at hand */
    bool exact;  /* its program comes out of its steps */
} ds_frame_plan;

/* Functions are known again by where the address map leads the old ones. */
ds_status ds_frame_plan_make(ds_frame_plan *plan, const ds_frame_table *old_table, const ds_map *map, ds_arena *arena);
void ds_frame_plan_free(ds_frame_plan *plan, ds_arena *arena);

#endif
