/* Unwind tables, coded record by record; see unwind.h. */
#include "delta/unwind/unwind.h"

#include "delta/unwind/state.h"

#define WORK_FACTOR 4 /* bytes of old programs and code looked at for each new one */
#define WORK_MIN ((uint64_t)64 << 10)

/* ---- other records ---- */

/* The old record, its personality where that lies now. */
static ds_status copy_record(ds_unwinding *f, const ds_frame_record *old_record, uint32_t *size) {
    const uint8_t *bytes = f->old_table.bytes + old_record->at;
    DS_TRY(ds_unwinding_append(f, size, bytes, old_record->size));
    if (old_record->kind != DS_FRAME_CIE || old_record->personality == 0)
        return DS_OK;
    uint32_t inside = old_record->personality;
    ds_ref_kind kind = ds_frame_pointer(old_record->pointer_bytes);
    ds_address target = ds_ref_solve(kind, bytes + inside, f->old_table.address + old_record->at + inside, 0, 0, 0);
    ds_ref_put(kind, f->bytes + f->at + inside, f->table.address + f->at + inside, 0, 0,
               ds_predict_far(&f->w->predictor, target));
    return DS_OK;
}

static ds_status code_raw(ds_unwinding *f, uint32_t *size) {
    const ds_frame_record *record = is_writing(f) ? &f->plan.table.records.items[f->plan.at] : NULL;
    uint64_t count = record != NULL ? record->size : 0;
    DS_TRY(ds_unwinding_number(f, NUMBER_RAW, &count));
    if (count == 0 || count > room(f))
        return DS_E_DELTA;
    uint32_t latest = 0;
    for (uint32_t i = 0; i < count; i++) {
        ds_contexts contexts = {.row = DS_DECIDE_FRAME_BYTE,
                                .hash = {0x200, ds_mix(0x201, latest & 0xff), ds_mix(0x202, latest & 0xffff),
                                         ds_mix(0x203, latest & 0xffffff), ds_mix(0x204, latest),
                                         ds_mix(0x205, i < 32 ? i : 32 + i % 4), ds_mix(0x206, i % 4)}};
        uint8_t byte = record != NULL ? f->plan.table.bytes[record->at + i] : 0;
        DS_TRY(ds_unwinding_symbol(f, &contexts, 8, &byte));
        f->bytes[f->at + i] = byte;
        latest = latest << 8 | byte;
    }
    *size = (uint32_t)count;
    return DS_OK;
}

/* ---- the table ---- */

static ds_status code_way(ds_unwinding *f, uint8_t *way) {
    const ds_frame_record *next = f->next < f->old_table.records.count ? &f->old_table.records.items[f->next] : NULL;
    uint32_t kind = next != NULL ? next->kind : DS_FRAME_OTHER + 1;
    uint32_t copied = kind == DS_FRAME_FDE ? ds_unwinding_copied(f, next) : 0;
    ds_contexts contexts = {.row = DS_DECIDE_FRAME_WAY,
                            .hash = {kind, ds_mix(kind, copied), ds_mix(kind, f->ways & 0xff),
                                     ds_mix(ds_mix(kind, copied), f->ways & 0xf), ds_mix(1, f->ways & 0xffff)}};
    DS_TRY(has_model(f) ? ds_unwinding_symbol(f, &contexts, 2, way) : ds_unwinding_stream_way(f, way));
    f->ways = f->ways << 2 | *way;
    return DS_OK;
}

static ds_status follow_old(ds_unwinding *f, unsigned way, uint64_t number, uint32_t *size) {
    uint64_t distance = number - f->next;
    if (way == DS_FRAME_SKIPS)
        DS_TRY(ds_unwinding_signed(f, NUMBER_OLD, &distance));
    f->next += way == DS_FRAME_SKIPS ? distance : 0;
    if (f->next >= f->old_table.records.count)
        return DS_E_DELTA;
    const ds_frame_record *old_record = &f->old_table.records.items[f->next++];
    if (old_record->kind == DS_FRAME_FDE)
        return ds_unwinding_followed(f, old_record, size);
    DS_TRY(copy_record(f, old_record, size));
    f->usual += is_writing(f) && way == DS_FRAME_FOLLOWS;
    if (old_record->kind == DS_FRAME_CIE)
        f->cie_of[f->next - 1] = (uint32_t)f->table.records.count + 1;
    return DS_OK;
}

/* Writing: whether the planned way gives the wanted bytes. Steps come out as they are; a copy must be one. */
static ds_status can_follow(ds_unwinding *f, const ds_frame_record *record, uint64_t number, bool *can) {
    const ds_frame_record *old_record = &f->old_table.records.items[number];
    uint32_t size = 0;
    *can = true;
    if (record->kind == DS_FRAME_FDE)
        return f->plan.exact ? DS_OK : ds_unwinding_can_follow(f, old_record, can);
    ds_status status = copy_record(f, old_record, &size);
    *can = status == DS_OK && size == record->size &&
           memcmp(f->bytes + f->at, f->plan.table.bytes + record->at, size) == 0;
    return DS_OK;
}

/* Writing: the way of the record at hand; what no other way makes is sent raw. */
static ds_status choose_way(ds_unwinding *f, uint8_t *way, uint64_t *number) {
    const ds_frame_record *records = f->plan.table.records.items;
    if (records == NULL) /* a table of no bytes is not planned */
        return DS_E_ARGUMENT;
    const ds_frame_record *record = &records[f->plan.at];
    bool can = true;
    ds_frame_planned planned = f->plan.records.items[f->plan.at];
    *number = planned.number;
    *way = (uint8_t)(planned.way == DS_FRAME_FOLLOWS && planned.number != f->next ? DS_FRAME_SKIPS : planned.way);
    if (record->kind == DS_FRAME_FDE) {
        const ds_frame_record *cie = &f->plan.table.records.items[record->cie];
        uint32_t size = record->at + record->size - record->program;
        bool exact, whole = record->size % f->alignment == 0;
        DS_TRY(ds_frame_steps_read(f->plan.table.bytes + record->program, size, cie->unit_bits, f->w->arena, &f->wanted,
                                   &exact));
        f->plan.exact = exact && whole;
    }
    if (record->kind == DS_FRAME_FDE && f->table.cies.count == 0)
        can = false;
    else if (planned.way == DS_FRAME_FOLLOWS)
        DS_TRY(can_follow(f, record, planned.number, &can));
    else if (planned.way == DS_FRAME_OWN)
        can = f->plan.exact;
    if (!can)
        *way = DS_FRAME_RAW;
    return DS_OK;
}

static ds_status code_record(ds_unwinding *f) {
    uint8_t way = 0;
    uint64_t number = 0;
    uint32_t size = 0;
    if (is_writing(f))
        DS_TRY(choose_way(f, &way, &number));
    DS_TRY(code_way(f, &way));
    if (way == DS_FRAME_RAW)
        DS_TRY(code_raw(f, &size));
    else
        DS_TRY(way == DS_FRAME_OWN ? ds_unwinding_own(f, &size) : follow_old(f, way, number, &size));
    uint32_t end = f->at + size;
    DS_TRY(ds_frame_take(&f->table, f->at, end, f->w->arena));
    f->at = end;
    return has_model(f) ? ds_model_check(f->w->coder->model) : DS_OK;
}

static ds_status open_tables(ds_unwinding *f, const ds_derivation *d, uint8_t *bytes) {
    ds_walk *w = f->w;
    const ds_extent *old_frames = &w->old_image->frames;
    f->old_table = (ds_frame_table){.bytes = w->old_image->file.data + old_frames->offset,
                                    .address = old_frames->address,
                                    .size = (uint32_t)old_frames->size};
    DS_TRY(ds_frame_table_read(&f->old_table, w->arena));
    f->alignment = ds_frame_alignment(&f->old_table);
    f->bytes = bytes;
    f->table = (ds_frame_table){
        .bytes = bytes, .address = ds_layout_address(w->layout, d->digests), .size = (uint32_t)d->limit};
    f->cie_of = ds_arena_alloc(w->arena, (f->old_table.records.count + 1) * sizeof *f->cie_of);
    if (f->cie_of == NULL)
        return DS_E_MEMORY;
    return ds_frame_guess_open(&f->guesser, w->arena);
}

static void close_tables(ds_unwinding *f) {
    ds_arena *arena = f->w->arena;
    ds_frame_guess_close(f->guesser);
    ds_arena_free(arena, f->cie_of);
    ds_frame_table_free(&f->old_table, arena);
    ds_frame_table_free(&f->table, arena);
    ds_frame_plan_free(&f->plan, arena);
    DS_VEC_FREE(arena, &f->guessed.list);
    DS_VEC_FREE(arena, &f->guessed_before.list);
    DS_VEC_FREE(arena, &f->old_steps.list);
    DS_VEC_FREE(arena, &f->wanted.list);
}

static ds_status code_table(ds_unwinding *f, const ds_derivation *d) {
    while (f->at < f->table.size) {
        uint32_t at = f->at;
        DS_TRY(code_record(f));
        ds_coder_note(f->w->coder, d->digests + at);
        f->plan.at++;
    }
    return !has_model(f) && is_writing(f) && f->usual > 0 ? ds_unwinding_write_usual(f) : DS_OK;
}

static ds_status open_plan(ds_unwinding *f, const ds_derivation *d) {
    f->plan.table = (ds_frame_table){
        .bytes = f->w->new_image->file.data + d->digests, .address = f->table.address, .size = f->table.size};
    return ds_frame_plan_make(&f->plan, &f->old_table, f->w->predictor.map, f->w->arena);
}

ds_status ds_walk_unwind(ds_walk *w, ds_offset at, uint8_t *bytes, uint8_t *header) {
    const ds_derivation *items = w->derivations->list.items;
    const ds_derivation *d = &items[ds_derive_find_kind(w->derivations, DS_DERIVED_FRAMES)];
    ds_unwinding f = {.w = w, .code_end = at, .work = WORK_FACTOR * w->new_size + WORK_MIN};
    uint8_t *own = bytes == NULL ? ds_arena_alloc(w->arena, d->limit) : NULL;
    if (bytes == NULL && own == NULL)
        return DS_E_MEMORY;
    DS_TRY(open_tables(&f, d, own != NULL ? own : bytes));
    if (is_writing(&f))
        DS_TRY(open_plan(&f, d));
    DS_TRY(code_table(&f, d));
    if (header != NULL) {
        const ds_derivation *h = &items[ds_derive_find_kind(w->derivations, DS_DERIVED_HEADER)];
        DS_TRY(ds_frame_header_make(&f.table, ds_layout_address(w->layout, h->digests), header, h->limit, w->arena));
    }
    close_tables(&f);
    if (own != NULL)
        ds_arena_free(w->arena, own);
    return DS_OK;
}
