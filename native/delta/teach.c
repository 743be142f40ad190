/* Old bytes round a gap, shown to the model before the gap: the new ones in it resemble them. */
#include "delta/code.h"

/* What old bytes are shown as. */
typedef struct teacher {
    void (*show)(ds_walk *walk, ds_offset at, ds_offset end);
    /* Old bytes on both sides of both ends of a gap: so many for each new byte in it, within limits. Old bytes are
     * shown once, and teach most where what resembles them comes next. */
    ds_offset per_byte, least, most;
} teacher;

static const teacher code_teachers[] = {{ds_x86_64_teach, 2, 64, 512}, {ds_aarch64_teach, 1, 64, 256}};
static const teacher data_teacher = {ds_data_teach, 0, 64, 64};

/* The first old bytes teach much, wherever they are from: so many are shown as far as the teacher reaches. */
#define SHOWN_FREELY ((uint64_t)16 << 10)

/* Pages of old bytes [from, to) that were not shown yet, while there is budget. */
static void teach(ds_walk *w, const teacher *t, ds_offset from, ds_offset to) {
    uint64_t size = w->old_image->file.size;
    to = to < size ? to : size;
    for (uint64_t page = from / DS_PAGE_TAUGHT, first; page * DS_PAGE_TAUGHT < to; page++) {
        for (first = page; page * DS_PAGE_TAUGHT < to && w->teach_budget >= DS_PAGE_TAUGHT; page++) {
            uint8_t bit = (uint8_t)(1u << (page & 7));
            if (w->taught[page >> 3] & bit)
                break;
            w->taught[page >> 3] |= bit;
            w->teach_budget -= DS_PAGE_TAUGHT;
            w->shown += DS_PAGE_TAUGHT;
        }
        ds_offset end = page * DS_PAGE_TAUGHT;
        if (page > first)
            t->show(w, first * DS_PAGE_TAUGHT, end < size ? end : size);
    }
}

static void teach_round(ds_walk *w, const teacher *t, ds_offset at, ds_offset reach) {
    teach(w, t, at > reach ? at - reach : 0, at + reach);
}

/* For so many new bytes. */
static ds_offset reach_for(const teacher *t, uint64_t size) {
    ds_offset reach = size < t->most ? t->per_byte * size : t->most;
    return reach < t->least ? t->least : reach < t->most ? reach : t->most;
}

void ds_walk_teach(ds_walk *w, uint64_t block, const ds_region *code, uint64_t size) {
    const ds_block *blocks = w->blocks->list.items;
    const teacher *t = code != NULL ? &code_teachers[code->words] : &data_teacher;
    ds_offset reach = w->shown < SHOWN_FREELY ? t->most : reach_for(t, size);
    if (block > w->first_block)
        teach_round(w, t, blocks[block - 1].old_offset + blocks[block - 1].length, reach);
    if (block < w->last_block)
        teach_round(w, t, blocks[block].old_offset, reach);
}
