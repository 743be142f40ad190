/* Old bytes round a gap, shown to the model before the gap: the new ones in it resemble them. */
#include "delta/code.h"

/* What old bytes are shown as. */
typedef struct teacher {
    void (*show)(ds_walk *walk, ds_offset at, ds_offset end);
    ds_offset reach; /* old bytes on both sides of both ends of a gap */
} teacher;

static const teacher code_teachers[] = {{ds_x86_64_teach, 512}, {ds_aarch64_teach, 512}}; /* bytes, words */
static const teacher data_teacher = {ds_data_teach, 64};

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
        }
        ds_offset end = page * DS_PAGE_TAUGHT;
        if (page > first)
            t->show(w, first * DS_PAGE_TAUGHT, end < size ? end : size);
    }
}

static void teach_round(ds_walk *w, const teacher *t, ds_offset at) {
    teach(w, t, at > t->reach ? at - t->reach : 0, at + t->reach);
}

void ds_walk_teach(ds_walk *w, uint64_t block, const ds_region *code) {
    const ds_block *blocks = w->blocks->list.items;
    const teacher *t = code != NULL ? &code_teachers[code->words] : &data_teacher;
    if (block > w->first_block)
        teach_round(w, t, blocks[block - 1].old_offset + blocks[block - 1].length);
    if (block < w->last_block)
        teach_round(w, t, blocks[block].old_offset);
}
