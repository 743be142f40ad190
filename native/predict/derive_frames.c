/* Unwind tables as derivations; see derive.h. They are made by the walk (delta/unwind/), not here. */
#include "predict/derive.h"
#include "predict/frame_table.h"

uint64_t ds_derive_find_kind(const ds_derivations *derivations, unsigned kind) {
    uint64_t number = 0;
    while (number < derivations->list.count && derivations->list.items[number].page_bits != kind)
        number++;
    return number;
}

bool ds_derive_has_good_frames(const ds_derivations *derivations) {
    unsigned frames = 0, headers = 0;
    for (uint64_t i = 0; i < derivations->list.count; i++) {
        frames += derivations->list.items[i].page_bits == DS_DERIVED_FRAMES;
        headers += derivations->list.items[i].page_bits == DS_DERIVED_HEADER;
    }
    return frames <= 1 && headers <= frames;
}

static ds_status read_table(const ds_image *image, ds_arena *arena, ds_frame_table *table) {
    const ds_extent *frames = &image->frames;
    *table = (ds_frame_table){
        .bytes = image->file.data + frames->offset, .address = frames->address, .size = (uint32_t)frames->size};
    return ds_frame_table_read(table, arena);
}

/* Whether the header is what the records of the table give. */
static ds_status prove_header(const ds_image *image, const ds_frame_table *table, ds_arena *arena, bool *proved) {
    const ds_extent *header = &image->frame_header;
    uint8_t *bytes = ds_arena_alloc(arena, header->size);
    if (bytes == NULL)
        return DS_E_MEMORY;
    ds_status status = ds_frame_header_make(table, header->address, bytes, header->size, arena);
    *proved = status == DS_OK && memcmp(bytes, image->file.data + header->offset, header->size) == 0;
    ds_arena_free(arena, bytes);
    return status == DS_E_DELTA ? DS_OK : status;
}

static bool is_same_record(const ds_frame_table *a, const ds_frame_record *x, const ds_frame_table *b,
                           const ds_frame_record *y) {
    if (x->kind != y->kind || x->size != y->size || x->program - x->at != y->program - y->at)
        return false;
    return x->kind != DS_FRAME_FDE ||
           memcmp(a->bytes + x->program, b->bytes + y->program, x->size - (x->program - x->at)) == 0;
}

/* Programs that changed, record for record, or more; a few are said more cheaply by blocks. */
#define CHANGED_MIN 2
static bool has_changed(const ds_frame_table *a, const ds_frame_table *b) {
    uint64_t changed = a->records.count == b->records.count ? 0 : CHANGED_MIN;
    for (uint64_t i = 0; changed < CHANGED_MIN && i < a->records.count; i++)
        changed += !is_same_record(a, &a->records.items[i], b, &b->records.items[i]);
    return changed >= CHANGED_MIN;
}

/* Whether the new tables are worth it, and come out. */
static ds_status are_good(const ds_image *old_image, const ds_image *new_image, ds_arena *arena, bool *good) {
    ds_frame_table old_table, table;
    DS_TRY(read_table(old_image, arena, &old_table));
    DS_TRY(read_table(new_image, arena, &table));
    *good = has_changed(&old_table, &table);
    if (*good && new_image->frame_header.size > 0)
        DS_TRY(prove_header(new_image, &table, arena, good));
    ds_frame_table_free(&old_table, arena);
    ds_frame_table_free(&table, arena);
    return DS_OK;
}

ds_status ds_derive_find_frames(const ds_image *old_image, const ds_image *new_image, ds_arena *arena,
                                ds_derivations *out) {
    const ds_extent *frames = &new_image->frames, *header = &new_image->frame_header;
    bool good;
    if (old_image->frames.size == 0 || old_image->frames.size > DS_FRAME_TABLE_MAX || frames->size == 0 ||
        frames->size > DS_FRAME_TABLE_MAX || out->list.count + 2 > DS_DERIVATIONS_MAX)
        return DS_OK;
    DS_TRY(are_good(old_image, new_image, arena, &good));
    if (!good)
        return DS_OK;
    ds_derivation table = {.digests = frames->offset, .limit = frames->size, .page_bits = DS_DERIVED_FRAMES},
                  sorted = {.digests = header->offset, .limit = header->size, .page_bits = DS_DERIVED_HEADER};
    DS_TRY(ds_derive_insert(out, &table, arena));
    /* Without the table there is no header. */
    if (header->size > 0 && ds_derive_find_kind(out, DS_DERIVED_FRAMES) < out->list.count)
        DS_TRY(ds_derive_insert(out, &sorted, arena));
    return DS_OK;
}
