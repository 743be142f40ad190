/* Records of .eh_frame; see frame_table.h. */
#include "predict/frame_table.h"

#include "image/call_frame.h"

enum { PC_RELATIVE = 0x1b, PC_RELATIVE_8 = 0x1c, INDIRECT = 0x80 }; /* pointer encodings, of four and of eight bytes */
enum { LENGTH_BYTES = 4, ID_BYTES = 4 };

/* ---- reading bytes of one record ---- */

typedef struct cursor {
    const uint8_t *bytes;
    uint32_t at, end;
    bool bad;
} cursor;

static uint8_t take_byte(cursor *c) {
    if (c->at >= c->end) {
        c->bad = true;
        return 0;
    }
    return c->bytes[c->at++];
}

/* A LEB128 number of one byte: what toolchains write here never takes more. */
static uint8_t take_short(cursor *c) {
    uint8_t value = take_byte(c);
    c->bad |= value >= 0x80;
    return value;
}

/* ---- records ---- */

/* Bytes of a pointer relative to its place; 0: of none such. */
static uint8_t pointer_bytes(uint8_t encoding) {
    return encoding == PC_RELATIVE ? 4 : encoding == PC_RELATIVE_8 ? 8 : 0;
}

static bool read_personality(cursor *c, uint32_t at, ds_frame_record *record) {
    record->pointer_bytes = pointer_bytes(take_byte(c) & (uint8_t)~INDIRECT);
    record->personality = c->at - at;
    c->at += record->pointer_bytes;
    return record->pointer_bytes != 0 && c->at <= c->end;
}

static bool read_letter(cursor *c, char letter, uint32_t at, ds_frame_record *record, bool *is_relative) {
    switch (letter) {
    case 'R':
        *is_relative = take_byte(c) == PC_RELATIVE;
        return *is_relative;
    case 'L':
        record->lsda_bytes = pointer_bytes(take_byte(c));
        return record->lsda_bytes != 0;
    case 'P':
        return read_personality(c, at, record);
    default:
        return letter == 'S' || letter == 'B' || letter == 'G';
    }
}

/* A CIE of the usual form: augmentation with its length, functions relative to their place. */
static bool read_cie(cursor *c, uint32_t at, ds_frame_record *record) {
    uint8_t version = take_byte(c);
    bool is_relative = false;
    if ((version != 1 && version != 3) || take_byte(c) != 'z')
        return false;
    uint32_t letters = c->at;
    while (take_byte(c) != 0)
        ;
    uint8_t unit = take_short(c);
    (void)take_short(c);
    (void)take_short(c); /* data alignment, return register */
    uint32_t size = take_short(c);
    if (c->bad || size > c->end - c->at || (unit != 1 && unit != 2 && unit != 4))
        return false;
    uint32_t end = c->at + size;
    cursor data = {c->bytes, c->at, end, false};
    record->unit_bits = unit >> 1;
    for (; c->bytes[letters] != 0; letters++)
        if (!read_letter(&data, (char)c->bytes[letters], at, record, &is_relative))
            return false;
    return is_relative && !data.bad && data.at == end;
}

/* Number of the CIE's record that begins at `at`; UINT32_MAX: none. */
static uint32_t find_cie(const ds_frame_table *table, uint32_t at) {
    uint64_t low = 0, high = table->cies.count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (table->records.items[table->cies.items[middle]].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->cies.count && table->records.items[table->cies.items[low]].at == at ? table->cies.items[low]
                                                                                            : UINT32_MAX;
}

static ds_address pointer_at(const ds_frame_table *table, uint32_t at, unsigned bytes) {
    return ds_ref_solve(ds_frame_pointer(bytes), table->bytes + at, table->address + at, 0, 0, 0);
}

static bool read_fde(const ds_frame_table *table, uint32_t at, uint32_t end, uint32_t id, ds_frame_record *record) {
    record->cie = id <= at + LENGTH_BYTES ? find_cie(table, at + LENGTH_BYTES - id) : UINT32_MAX;
    if (record->cie == UINT32_MAX)
        return false;
    static const uint8_t none[8];
    unsigned lsda_bytes = table->records.items[record->cie].lsda_bytes;
    uint32_t fixed = ds_frame_fixed_size(lsda_bytes);
    if (end - at < fixed || table->bytes[at + 16] != lsda_bytes)
        return false;
    record->start = pointer_at(table, at + 8, 4);
    record->code_size = ds_load32(table->bytes + at + 12);
    record->program = at + fixed;
    if (memcmp(table->bytes + at + DS_FRAME_LSDA_AT, none, lsda_bytes) != 0)
        record->lsda = pointer_at(table, at + DS_FRAME_LSDA_AT, lsda_bytes);
    return true;
}

static ds_frame_record read_record(const ds_frame_table *table, uint32_t at, uint32_t end) {
    ds_frame_record other = {.at = at, .size = end - at, .kind = DS_FRAME_OTHER}, record = other;
    if (end - at < LENGTH_BYTES)
        return other;
    uint32_t length = ds_load32(table->bytes + at);
    if (length == 0)
        return (ds_frame_record){.at = at, .size = LENGTH_BYTES, .kind = DS_FRAME_END};
    if (length < ID_BYTES || length > end - at - LENGTH_BYTES)
        return other;
    other.size = record.size = LENGTH_BYTES + length;
    end = at + record.size;
    uint32_t id = ds_load32(table->bytes + at + LENGTH_BYTES);
    cursor c = {table->bytes, at + LENGTH_BYTES + ID_BYTES, end, false};
    record.kind = id == 0 ? DS_FRAME_CIE : DS_FRAME_FDE;
    return (id == 0 ? read_cie(&c, at, &record) : read_fde(table, at, end, id, &record)) ? record : other;
}

ds_status ds_frame_take(ds_frame_table *table, uint32_t at, uint32_t end, ds_arena *arena) {
    ds_frame_record record = read_record(table, at, end);
    DS_TRY(DS_VEC_RESERVE(arena, &table->records, table->records.count + 1));
    if (record.kind == DS_FRAME_CIE) {
        DS_TRY(DS_VEC_RESERVE(arena, &table->cies, table->cies.count + 1));
        table->cies.items[table->cies.count++] = (uint32_t)table->records.count;
    }
    table->records.items[table->records.count++] = record;
    return DS_OK;
}

ds_status ds_frame_table_read(ds_frame_table *table, ds_arena *arena) {
    for (uint32_t at = 0; at < table->size; at += table->records.items[table->records.count - 1].size)
        DS_TRY(ds_frame_take(table, at, table->size, arena));
    return DS_OK;
}

void ds_frame_table_free(ds_frame_table *table, ds_arena *arena) {
    DS_VEC_FREE(arena, &table->records);
    DS_VEC_FREE(arena, &table->cies);
}

unsigned ds_frame_alignment(const ds_frame_table *table) {
    for (uint64_t i = 0; i < table->records.count; i++)
        if (table->records.items[i].kind != DS_FRAME_END && table->records.items[i].size % 8 != 0)
            return 4;
    return 8;
}

/* ---- programs ---- */

enum { NOP = 0x00, ADVANCE_1 = 0x02, ADVANCE_2 = 0x03, ADVANCE_4 = 0x04, ADVANCE = 1, OFFSET = 2, RESTORE = 3 };

enum { NO_STEP = 0xff };

/* LEB128 numbers behind the first byte of a step; NO_STEP: it is none, or none that a list of steps can hold. */
static uint8_t operands_of(uint8_t opcode) {
    switch (opcode >> 6) {
    case 0:
        if (opcode == NOP || opcode >= DS_CALL_FRAME_OPCODES || ds_call_frame_operands[opcode] >= DS_OPERANDS_BLOCK)
            return NO_STEP;
        return ds_call_frame_operands[opcode];
    case ADVANCE:
        return NO_STEP;
    default:
        return opcode >> 6 == OFFSET ? 1 : 0;
    }
}

bool ds_frame_step_wants(const uint8_t *bytes, unsigned known, bool *more) {
    uint8_t wanted = operands_of(bytes[0]), ended = 0;
    for (unsigned i = 1; i < known; i++)
        ended += bytes[i] < 0x80;
    *more = ended < wanted;
    return wanted != NO_STEP && (!*more || known < DS_FRAME_STEP_BYTES);
}

unsigned ds_frame_advance(uint64_t distance, unsigned unit_bits, uint8_t *bytes) {
    uint64_t units = distance >> unit_bits;
    if (units << unit_bits != distance || units > UINT32_MAX)
        return 0;
    unsigned size = units < 0x40 ? 0 : units < 0x100 ? 1 : units < 0x10000 ? 2 : 4;
    bytes[0] = size == 0 ? (uint8_t)(ADVANCE << 6 | units) : size == 1 ? ADVANCE_1 : size == 2 ? ADVANCE_2 : ADVANCE_4;
    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (uint8_t)(units >> 8 * i);
    return 1 + size;
}

/* The number of an advance at c->at; 0 where none stands there. */
static uint64_t read_advance(cursor *c, unsigned unit_bits) {
    uint8_t opcode = c->bytes[c->at], again[DS_FRAME_ADVANCE_BYTES];
    unsigned size = opcode == ADVANCE_1 ? 1 : opcode == ADVANCE_2 ? 2 : opcode == ADVANCE_4 ? 4 : 0;
    uint64_t units = opcode >> 6 == ADVANCE ? opcode & 0x3f : 0;
    if (c->end - c->at < 1 + size || (opcode >> 6 != ADVANCE && size == 0))
        return 0;
    for (unsigned i = 0; i < size; i++)
        units |= (uint64_t)c->bytes[c->at + 1 + i] << 8 * i;
    /* One to nowhere, or that a shorter form could say, is none that we would write. */
    if (units == 0 || ds_frame_advance(units << unit_bits, unit_bits, again) != 1 + size)
        return 0;
    c->at += 1 + size;
    return units << unit_bits;
}

static bool read_step(cursor *c, ds_frame_step *step) {
    bool more = true;
    step->size = 0;
    while (more) {
        if (c->at == c->end || step->size == DS_FRAME_STEP_BYTES)
            return false;
        step->bytes[step->size++] = c->bytes[c->at++];
        if (!ds_frame_step_wants(step->bytes, step->size, &more))
            return false;
    }
    return true;
}

uint64_t ds_frame_steps_size(const ds_frame_steps *steps, unsigned unit_bits) {
    uint64_t size = 0;
    uint32_t place = 0;
    for (uint64_t i = 0; i < steps->list.count; i++) {
        const ds_frame_step *step = &steps->list.items[i];
        uint8_t bytes[DS_FRAME_ADVANCE_BYTES];
        size += step->size + (step->place != place ? ds_frame_advance(step->place - place, unit_bits, bytes) : 0);
        place = step->place;
    }
    return size;
}

ds_status ds_frame_steps_read(const uint8_t *program, uint32_t size, unsigned unit_bits, ds_arena *arena,
                              ds_frame_steps *steps, bool *exact) {
    cursor c = {program, 0, size, false};
    uint64_t place = 0;
    *exact = false;
    steps->list.count = 0;
    while (c.end > 0 && program[c.end - 1] == NOP)
        c.end--;
    /* An operand may be zero: what is cut off too much does not come out as a step. */
    while (c.at < c.end) {
        uint64_t distance = read_advance(&c, unit_bits);
        if (distance > UINT32_MAX - place)
            return DS_OK;
        place += distance;
        if (distance > 0 && c.at == c.end)
            return DS_OK;
        ds_frame_step step = {.place = (uint32_t)place};
        cursor all = {program, c.at, size, false};
        if (!read_step(&all, &step))
            return DS_OK;
        c.at = all.at;
        if (c.end < c.at)
            c.end = c.at;
        if (steps->list.count == DS_FRAME_STEPS_MAX)
            return DS_OK;
        DS_TRY(DS_VEC_RESERVE(arena, &steps->list, steps->list.count + 1));
        steps->list.items[steps->list.count++] = step;
    }
    *exact = true;
    return DS_OK;
}

/* ---- the sorted table ---- */

static const uint8_t header_form[4] = {1, PC_RELATIVE, 0x03, 0x3b}; /* version, encodings of what follows */

ds_status ds_frame_header_make(const ds_frame_table *table, ds_address address, uint8_t *bytes, uint64_t size,
                               ds_arena *arena) {
    uint64_t count = 0;
    ds_pair *rows = ds_arena_alloc(arena, (table->records.count + 1) * sizeof *rows);
    if (rows == NULL)
        return DS_E_MEMORY;
    for (uint64_t i = 0; i < table->records.count; i++)
        if (table->records.items[i].kind == DS_FRAME_FDE)
            rows[count++] = (ds_pair){table->records.items[i].start, table->records.items[i].at};
    bool fits = size == DS_FRAME_HEADER_SIZE + count * DS_FRAME_HEADER_ROW;
    if (fits) {
        ds_sort_pairs(rows, count);
        memcpy(bytes, header_form, sizeof header_form);
        ds_store32(bytes + 4, (uint32_t)(table->address - (address + 4)));
        ds_store32(bytes + 8, (uint32_t)count);
    }
    for (uint64_t i = 0; fits && i < count; i++) {
        uint8_t *row = bytes + DS_FRAME_HEADER_SIZE + i * DS_FRAME_HEADER_ROW;
        ds_store32(row, (uint32_t)(rows[i].key - address));
        ds_store32(row + 4, (uint32_t)(table->address + rows[i].value - address));
    }
    ds_arena_free(arena, rows);
    return fits ? DS_OK : DS_E_DELTA;
}
