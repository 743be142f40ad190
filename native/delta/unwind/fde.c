/* FDEs: what one says is expected after an old one, and what differs is coded; see state.h. */
#include "delta/unwind/state.h"

/* The fixed part, up to the program; *size bytes of it. */
static ds_status append_fixed(ds_unwinding *f, const ds_fde *said, uint32_t *size) {
    const ds_frame_record *cie = &f->table.records.items[said->cie];
    uint8_t bytes[DS_FRAME_FIXED_MAX] = {0};
    ds_address address = f->table.address + f->at;
    ds_store32(bytes + 4, f->at + 4 - cie->at);
    ds_store32(bytes + 8, (uint32_t)(said->start - (address + 8)));
    ds_store32(bytes + 12, said->size);
    bytes[16] = cie->lsda_bytes;
    if (said->lsda != 0)
        ds_ref_put(ds_frame_pointer(cie->lsda_bytes), bytes + DS_FRAME_LSDA_AT, address + DS_FRAME_LSDA_AT, 0, 0,
                   said->lsda);
    *size = 0;
    return ds_unwinding_append(f, size, bytes, ds_frame_fixed_size(cie->lsda_bytes));
}

static ds_status code_cie(ds_unwinding *f, uint32_t *cie) {
    uint64_t back = 0;
    if (is_writing(f))
        while (f->table.cies.items[f->table.cies.count - 1 - back] != *cie)
            back++;
    DS_TRY(ds_unwinding_number(f, NUMBER_CIE, &back));
    if (back >= f->table.cies.count)
        return DS_E_DELTA;
    *cie = f->table.cies.items[f->table.cies.count - 1 - back];
    return DS_OK;
}

static ds_status code_lsda(ds_unwinding *f, unsigned what, ds_address expected, ds_address *lsda) {
    uint64_t number = *lsda == 0 ? 0 : 1 + ds_zigzag(*lsda - expected);
    DS_TRY(ds_unwinding_number(f, what, &number));
    *lsda = number == 0 ? 0 : expected + ds_unzigzag(number - 1);
    return DS_OK;
}

static ds_status code_difference(ds_unwinding *f, unsigned what, uint64_t expected, uint64_t *actual) {
    uint64_t difference = *actual - expected;
    DS_TRY(ds_unwinding_signed(f, what, &difference));
    *actual = expected + difference;
    return DS_OK;
}

static ds_status code_size(ds_unwinding *f, unsigned what, uint32_t expected, uint32_t *size) {
    uint64_t wide = *size;
    DS_TRY(code_difference(f, what, expected, &wide));
    *size = (uint32_t)wide;
    return wide > UINT32_MAX ? DS_E_DELTA : DS_OK;
}

/* The exception table that is likely, once the CIE and the function are known. */
static ds_address expected_lsda(const ds_unwinding *f, const ds_frame_record *old_record, uint32_t cie) {
    if (!has_lsda(f, cie) || old_record->lsda == 0)
        return 0;
    return ds_predict_far(&f->w->predictor, old_record->lsda);
}

static uint32_t expected_size(const ds_unwinding *f, const ds_frame_record *old_record, ds_address start) {
    return old_record->code_size == 0
               ? 0
               : (uint32_t)ds_predict_size(&f->w->predictor, old_record->start, old_record->code_size, start);
}

/* What became of the fields of an FDE that is not wholly as expected. */
typedef struct fields {
    bool all_right; /* of those asked for so far */
    bool changed;   /* one that the guess is of is not right */
} fields;

/* Whether a field is as expected; writing: `same` says so. */
static ds_status code_field_right(ds_unwinding *f, unsigned what, unsigned copied, bool same, fields *all,
                                  bool *right) {
    *right = same;
    DS_TRY(ds_unwinding_right(f, what, 0, copied, right));
    all->all_right &= *right;
    return DS_OK;
}

static ds_status code_said_lsda(ds_unwinding *f, const ds_frame_record *old_record, unsigned copied, ds_address wanted,
                                ds_fde *said, fields *all) {
    bool right;
    ds_address expected = expected_lsda(f, old_record, said->cie);
    DS_TRY(code_field_right(f, LSDA_RIGHT, copied, wanted == expected, all, &right));
    said->lsda = right ? expected : wanted;
    return right ? DS_OK : code_lsda(f, NUMBER_LSDA, expected, &said->lsda);
}

/* Field by field. *said holds what is expected, and becomes what is said; `wanted` counts when writing alone. */
static ds_status code_fields(ds_unwinding *f, const ds_frame_record *old_record, unsigned copied, const ds_fde *wanted,
                             ds_fde *said, fields *all) {
    bool right;
    ds_fde expected = *said;
    *all = (fields){.all_right = true};
    DS_TRY(code_field_right(f, CIE_RIGHT, copied, wanted->cie == expected.cie, all, &right));
    said->cie = right ? expected.cie : wanted->cie;
    if (!right)
        DS_TRY(code_cie(f, &said->cie));
    DS_TRY(code_field_right(f, START_RIGHT, copied, wanted->start == expected.start, all, &right));
    said->start = right ? expected.start : wanted->start;
    if (!right)
        DS_TRY(code_difference(f, NUMBER_START, expected.start, &said->start));
    expected.size = expected_size(f, old_record, said->start);
    DS_TRY(code_field_right(f, SIZE_RIGHT, copied, wanted->size == expected.size, all, &right));
    said->size = right ? expected.size : wanted->size;
    if (!right)
        DS_TRY(code_size(f, NUMBER_SIZE, expected.size, &said->size));
    all->changed = !all->all_right;
    said->lsda = 0;
    return has_lsda(f, said->cie) ? code_said_lsda(f, old_record, copied, wanted->lsda, said, all) : DS_OK;
}

static ds_status learn(ds_unwinding *f, ds_address old_target, ds_address expected, ds_address actual) {
    ds_prediction p = {.kind = DS_REF_PREL32, .old_target = old_target, .target = expected};
    return ds_predictor_learn(&f->w->predictor, &p, actual, expected != actual);
}

unsigned ds_unwinding_copied(const ds_unwinding *f, const ds_frame_record *old_record) {
    const ds_map *map = f->w->predictor.map;
    return (unsigned)ds_map_is_copied(map, old_record->start) |
           (unsigned)ds_map_is_copied(map, old_record->start + old_record->code_size - 1) << 1;
}

/* The CIE that is likely: what was made of the old one, else the latest. */
static ds_status expect(ds_unwinding *f, const ds_frame_record *old_record, ds_fde *expected) {
    if (f->table.cies.count == 0)
        return DS_E_DELTA;
    uint32_t known = f->cie_of[old_record->cie];
    expected->cie = known > 0 ? known - 1 : f->table.cies.items[f->table.cies.count - 1];
    expected->start = ds_predict_far(&f->w->predictor, old_record->start);
    expected->size = expected_size(f, old_record, expected->start);
    expected->lsda = expected_lsda(f, old_record, expected->cie);
    return DS_OK;
}

/* Writing: whether the guess gives exactly the bytes of the record that is wanted. */
static ds_status is_as_guessed(ds_unwinding *f, const ds_fde *said, const ds_guess *g, bool *same) {
    const ds_frame_record *record = &f->plan.table.records.items[f->plan.at];
    uint32_t size = 0;
    DS_TRY(append_fixed(f, said, &size));
    ds_status status = ds_unwinding_append_guess(f, g, f->table.records.items[said->cie].unit_bits, &size);
    *same = status == DS_OK && size == record->size &&
            memcmp(f->bytes + f->at, f->plan.table.bytes + record->at, size) == 0;
    return status == DS_E_DELTA ? DS_OK : status;
}

static ds_fde wanted_fde(const ds_unwinding *f) {
    const ds_frame_record *record = &f->plan.table.records.items[f->plan.at];
    return (ds_fde){record->cie, record->code_size, record->start, record->lsda};
}

/* The fixed part, then the program: as guessed, or by steps. */
static ds_status make_fde(ds_unwinding *f, const ds_fde *said, const ds_guess *g, bool as_guessed, uint32_t *size) {
    unsigned unit_bits = f->table.records.items[said->cie].unit_bits;
    DS_TRY(append_fixed(f, said, size));
    f->programs = f->programs << 1 | !as_guessed;
    f->behind = said->start + said->size;
    f->last_lsda = said->lsda != 0 ? said->lsda : f->last_lsda;
    return as_guessed ? ds_unwinding_append_guess(f, g, unit_bits, size) : ds_unwinding_steps(f, g, unit_bits, size);
}

ds_status ds_unwinding_followed(ds_unwinding *f, const ds_frame_record *old_record, uint32_t *size) {
    ds_fde expected, wanted = {0}, said;
    ds_guess g;
    fields all;
    bool same = false;
    unsigned copied = ds_unwinding_copied(f, old_record);
    DS_TRY(expect(f, old_record, &expected));
    DS_TRY(ds_unwinding_guess(f, old_record, &expected, &g));
    if (is_writing(f)) {
        wanted = wanted_fde(f);
        DS_TRY(is_as_guessed(f, &expected, &g, &same));
    }
    DS_TRY(ds_unwinding_all_right(f, &g, copied, &same));
    f->rights = f->rights << 1 | !same;
    said = expected;
    if (!same) {
        DS_TRY(code_fields(f, old_record, copied, &wanted, &said, &all));
        if (all.changed)
            DS_TRY(ds_unwinding_guess(f, old_record, &said, &g));
        if (!all.all_right) {
            if (is_writing(f))
                DS_TRY(is_as_guessed(f, &said, &g, &same));
            DS_TRY(ds_unwinding_right(f, PROGRAM_RIGHT, known_of(&g), copied, &same));
        }
    }
    f->cie_of[old_record->cie] = said.cie + 1;
    DS_TRY(learn(f, old_record->start, expected.start, said.start));
    if (old_record->lsda != 0 && said.lsda != 0)
        DS_TRY(learn(f, old_record->lsda, expected.lsda, said.lsda));
    return make_fde(f, &said, &g, same, size);
}

ds_status ds_unwinding_own(ds_unwinding *f, uint32_t *size) {
    ds_fde said = {0};
    ds_guess g;
    bool same = false;
    if (f->table.cies.count == 0)
        return DS_E_DELTA;
    if (is_writing(f))
        said = wanted_fde(f);
    DS_TRY(code_cie(f, &said.cie));
    DS_TRY(code_difference(f, NUMBER_OWN + NUMBER_START, (f->behind + 15) & ~(ds_address)15, &said.start));
    DS_TRY(code_size(f, NUMBER_OWN + NUMBER_SIZE, 0, &said.size));
    if (has_lsda(f, said.cie))
        DS_TRY(code_lsda(f, NUMBER_OWN + NUMBER_LSDA, f->last_lsda, &said.lsda));
    DS_TRY(ds_unwinding_guess_own(f, &said, &g));
    if (is_writing(f))
        DS_TRY(is_as_guessed(f, &said, &g, &same));
    DS_TRY(ds_unwinding_right(f, PROGRAM_RIGHT, known_of(&g), 4, &same));
    return make_fde(f, &said, &g, same, size);
}

ds_status ds_unwinding_can_follow(ds_unwinding *f, const ds_frame_record *old_record, bool *can) {
    uint64_t work = f->work;
    ds_fde expected;
    ds_guess g;
    DS_TRY(expect(f, old_record, &expected));
    DS_TRY(ds_unwinding_guess(f, old_record, &expected, &g));
    DS_TRY(is_as_guessed(f, &expected, &g, can));
    f->work = work;
    return DS_OK;
}
