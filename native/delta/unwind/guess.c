/* The frame program that a function is likely to have; see state.h. */
#include "delta/unwind/state.h"

/* ---- bytes ---- */

/* Appends to the record under way, of which *size bytes are there. */
ds_status ds_unwinding_append(ds_unwinding *f, uint32_t *size, const uint8_t *bytes, uint32_t count) {
    if (count > room(f) - *size)
        return DS_E_DELTA;
    memcpy(f->bytes + f->at + *size, bytes, count);
    *size += count;
    return DS_OK;
}

/* Fills the record up: as little as it can be, and so many units of alignment more. */
ds_status ds_unwinding_pad(ds_unwinding *f, uint32_t *size, uint64_t more) {
    uint32_t left = room(f) - *size;
    uint64_t missing = round_up(*size, f->alignment) - *size;
    if (missing > left || more > (left - missing) / f->alignment)
        return DS_E_DELTA;
    missing += more * f->alignment;
    memset(f->bytes + f->at + *size, 0, missing);
    *size += (uint32_t)missing;
    ds_store32(f->bytes + f->at, *size - 4);
    return DS_OK;
}

/* ---- guessing a program ---- */

static ds_span old_code(const ds_unwinding *f, const ds_frame_record *old_record) {
    const ds_image *image = f->w->old_image;
    const ds_region *region = ds_image_region(image, old_record->start);
    if (region == NULL || region->class_ != DS_REGION_CODE || old_record->code_size == 0)
        return (ds_span){0};
    uint64_t inside = old_record->start - region->address;
    if (old_record->code_size > region->size - inside)
        return (ds_span){0};
    return (ds_span){image->file.data + region->offset + inside, old_record->code_size};
}

/* Whether code is what it was, but for references that lie wholly in it. */
static bool is_same_code(const ds_image *old_image, ds_span old_bytes, ds_span new_bytes) {
    if (old_bytes.size != new_bytes.size)
        return false;
    ds_offset offset = (ds_offset)(old_bytes.data - old_image->file.data);
    uint64_t at = 0;
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_refs_between(&cursor, old_image, offset, offset + old_bytes.size);
    while (ds_refs_next(&cursor, &ref)) {
        uint64_t from = ref.offset - offset, length = ds_ref_length(ds_ref_kind_of(&ref));
        if (length > old_bytes.size - from)
            break;
        if (memcmp(old_bytes.data + at, new_bytes.data + at, from - at) != 0)
            return false;
        uint64_t mask = ds_ref_mask(ds_ref_kind_of(&ref));
        for (uint64_t b = 0; b < length; b++)
            if (((old_bytes.data[from + b] ^ new_bytes.data[from + b]) & ~(mask >> 8 * b) & 0xff) != 0)
                return false;
        at = from + length;
    }
    return memcmp(old_bytes.data + at, new_bytes.data + at, old_bytes.size - at) == 0;
}

/* With `at_places` at the same ones, else wherever. */
static bool same_steps(const ds_frame_steps *a, const ds_frame_steps *b, bool at_places) {
    if (a->list.count != b->list.count)
        return false;
    for (uint64_t i = 0; i < a->list.count; i++) {
        const ds_frame_step *x = &a->list.items[i], *y = &b->list.items[i];
        if ((at_places && x->place != y->place) || x->size != y->size || memcmp(x->bytes, y->bytes, x->size) != 0)
            return false;
    }
    return true;
}

/* The old steps: at their places, if the function is as long as it was; else at those that the address map says, none
 * before the one before it, or behind the end. */
static ds_status move_steps(ds_unwinding *f, const ds_frame_record *old_record, const ds_fde *said) {
    uint64_t last = 0;
    DS_TRY(DS_VEC_RESERVE(f->w->arena, &f->guessed.list, f->old_steps.list.count + 1));
    for (uint64_t i = 0; i < f->old_steps.list.count; i++) {
        ds_frame_step step = f->old_steps.list.items[i];
        uint64_t place = step.place;
        if (said->size != old_record->code_size)
            place = ds_map_address(f->w->predictor.map, old_record->start + step.place) - said->start;
        if (place >= last && place <= said->size)
            last = place;
        step.place = (uint32_t)last;
        f->guessed.list.items[i] = step;
    }
    f->guessed.list.count = f->old_steps.list.count;
    return DS_OK;
}

static bool spend(ds_unwinding *f, uint64_t work) {
    if (work > f->work)
        return false;
    f->work -= work;
    return true;
}

/* Whether the guess would end at a multiple of eight as it is. */
static bool ends_well(const ds_unwinding *f, const ds_fde *said) {
    const ds_frame_record *cie = &f->table.records.items[said->cie];
    uint32_t size = ds_frame_fixed_size(cie->lsda_bytes) + (uint32_t)ds_frame_steps_size(&f->guessed, cie->unit_bits);
    return (f->at + round_up(size, f->alignment)) % LAST_ALIGNMENT == 0;
}

/* How the steps are likely to be padded, by the padding of the old ones. */
static unsigned guess_padding(const ds_unwinding *f, const ds_frame_record *old_record, const ds_fde *said,
                              bool exact) {
    const ds_frame_record *old_cie = &f->old_table.records.items[old_record->cie];
    uint64_t size = old_record->at + old_record->size - old_record->program;
    if (ends_well(f, said))
        return PADDED;
    if (exact && size - ds_frame_steps_size(&f->old_steps, old_cie->unit_bits) >= f->alignment)
        return PADDED_MORE;
    return (old_record->at + old_record->size) % LAST_ALIGNMENT != 0 ? PADDED_LESS : PADDED_PERHAPS;
}

/* Of a function that has no older self. */
ds_status ds_unwinding_guess_own(ds_unwinding *f, const ds_fde *said, ds_guess *g) {
    ds_span code = ds_made_code_at(&f->w->made_code, said->start, said->size, f->code_end);
    *g = (ds_guess){.trust = TRUST_MOVED};
    f->guessed.list.count = 0;
    if (code.data != NULL && spend(f, code.size)) {
        g->trust = TRUST_CODE;
        DS_TRY(ds_frame_guess_make(f->guesser, f->w->old_image->arch, code, &f->guessed));
    }
    g->padding = ends_well(f, said) ? PADDED : PADDED_PERHAPS;
    return DS_OK;
}

/* Without looking at code: the old program. Bytes that are no steps can be taken over as they are. */
static ds_status guess_moved(ds_unwinding *f, const ds_frame_record *old_record, const ds_fde *said, bool exact,
                             ds_guess *g) {
    const ds_frame_record *old_cie = &f->old_table.records.items[old_record->cie];
    const ds_frame_record *cie = &f->table.records.items[said->cie];
    if (exact)
        return move_steps(f, old_record, said);
    if (old_cie->lsda_bytes == cie->lsda_bytes && old_cie->unit_bits == cie->unit_bits)
        g->bytes = (ds_span){f->old_table.bytes + old_record->program,
                             old_record->at + old_record->size - old_record->program};
    return DS_OK;
}

static ds_status guess_steps(ds_unwinding *f, const ds_frame_record *old_record, const ds_fde *said, bool exact,
                             ds_guess *g) {
    ds_arch arch = f->w->old_image->arch;
    ds_span before = old_code(f, old_record);
    ds_span code = ds_made_code_at(&f->w->made_code, said->start, said->size, f->code_end);
    if (before.data == NULL || code.data == NULL || !spend(f, before.size + code.size))
        return guess_moved(f, old_record, said, exact, g);
    if (is_same_code(f->w->old_image, before, code)) {
        g->trust = TRUST_SAME;
        return guess_moved(f, old_record, said, exact, g);
    }
    g->trust = TRUST_CODE;
    DS_TRY(ds_frame_guess_make(f->guesser, arch, before, &f->guessed_before));
    DS_TRY(ds_frame_guess_make(f->guesser, arch, code, &f->guessed));
    if (exact && same_steps(&f->guessed_before, &f->old_steps, true))
        g->trust = TRUST_PROVED;
    else if (exact && same_steps(&f->guessed_before, &f->guessed, false))
        return move_steps(f, old_record, said); /* the frame is handled as it was, though not as we think */
    return DS_OK;
}

ds_status ds_unwinding_guess(ds_unwinding *f, const ds_frame_record *old_record, const ds_fde *said, ds_guess *g) {
    const uint8_t *program = f->old_table.bytes + old_record->program;
    uint32_t size = old_record->at + old_record->size - old_record->program;
    bool exact = false;
    *g = (ds_guess){.trust = TRUST_MOVED};
    f->guessed.list.count = f->old_steps.list.count = 0;
    if (spend(f, size)) {
        DS_TRY(ds_frame_steps_read(program, size, f->old_table.records.items[old_record->cie].unit_bits, f->w->arena,
                                   &f->old_steps, &exact));
        DS_TRY(guess_steps(f, old_record, said, exact, g));
    }
    g->padding = guess_padding(f, old_record, said, exact);
    return DS_OK;
}

/* The bytes of the guess, padded, appended. */
ds_status ds_unwinding_append_guess(ds_unwinding *f, const ds_guess *g, unsigned unit_bits, uint32_t *size) {
    if (g->bytes.data != NULL) {
        DS_TRY(ds_unwinding_append(f, size, g->bytes.data, (uint32_t)g->bytes.size));
        ds_store32(f->bytes + f->at, *size - 4);
        return DS_OK;
    }
    uint32_t place = 0;
    for (uint64_t i = 0; i < f->guessed.list.count; i++) {
        const ds_frame_step *step = &f->guessed.list.items[i];
        uint8_t advance[DS_FRAME_ADVANCE_BYTES];
        unsigned advance_size = step->place != place ? ds_frame_advance(step->place - place, unit_bits, advance) : 0;
        if (step->place != place && advance_size == 0)
            return DS_E_DELTA;
        DS_TRY(ds_unwinding_append(f, size, advance, advance_size));
        place = step->place;
        DS_TRY(ds_unwinding_append(f, size, step->bytes, step->size));
    }
    uint32_t end = f->at + round_up(*size, f->alignment);
    return ds_unwinding_pad(f, size, g->padding == PADDED_MORE ? (0 - end) % LAST_ALIGNMENT / f->alignment : 0);
}
