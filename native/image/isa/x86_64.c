/* x86-64: a linear sweep that knows how long every instruction is, and where in it a rip-relative
 * displacement or the distance of a branch stands. Only 64-bit mode.
 *
 * Decoding starts at every entry, and ends at the next. An instruction is not one, and decoding goes on
 * one byte further, when its opcode is not in the tables, when it is longer than 15 bytes, or when it
 * does not end before the next entry. Reserved encodings of the VEX and EVEX maps and of 0F 38 and 0F 3A
 * have their regular length, so instructions of later processors decode rightly.
 * Not decoded: 3DNow!, REX2 and the extended EVEX of APX.
 * 66 does not shorten the distance of a near branch (SDM, "forced 64-bit"; AMD processors differ).
 *
 * Jump tables (sweep.h): `lea base, [rip + table]` and at most TABLE_WINDOW instructions later
 * `movsxd r, dword [base + index * 4]`. A table that lies ahead in the function itself, as Mach-O
 * compilers place them, is read when the sweep comes to it, and decoding goes on behind it.
 *
 * Sources: Intel SDM volume 2, chapter 2 (formats), appendix A (opcode maps).
 */
#include "image/isa/sweep.h"
#include "image/isa/x86_64_tables.h"

/* Limits; all part of the delta format. */
#define LONGEST 15u            /* bytes of an instruction (SDM 2.3.11) */
#define TABLE_WINDOW 40u       /* instructions from lea to movsxd */
#define TABLES_AHEAD 32u       /* tables of one function inside the function; more are decoded as code */
#define BYTES_PER_REFERENCE 13 /* of usual code; only a first guess of memory */

/* Most bytes that decode() may look at: 15 of prefixes, then opcode, ModR/M, SIB, displacement and
 * immediate before the length is judged. */
#define READ_AHEAD ((unsigned)DS_X86_64_READ)

#define OPCODE_LEA 0x8d
#define OPCODE_MOVSXD 0x63
#define REX_W 8u
#define REX_R 4u
#define REX_B 1u

typedef struct instruction {
    uint8_t length;     /* 0: not an instruction */
    uint8_t field;      /* where the displacement or distance stands; 0: none */
    uint8_t field_size; /* 1 or 4 */
    uint8_t opcode;     /* of the first map, else 0 */
    uint8_t rex;
    uint8_t modrm; /* where ModR/M stands */
    uint8_t opcode_end;
} instruction;

typedef struct prefixes {
    unsigned rex;
    unsigned operand; /* column of immediate_size */
    bool address32;
    bool sse4a;     /* 66 or F2 */
    bool mandatory; /* 66, F2, F3 or F0: neither VEX, EVEX nor XOP may follow (SDM 2.3.2 to 2.3.4) */
} prefixes;

/* Leaves *at behind the prefixes. The form of the byte there; BAD when there are too many. */
static inline unsigned read_prefixes(const uint8_t **at, prefixes *out) {
    const uint8_t *first = *at, *q = first;
    if ((*q & 0xf0) == 0x40) /* by far the most usual */
        out->rex = *q++;
    unsigned form = one_byte_map[*q];
    while (form >= LEGACY && form <= REX) {
        out->rex = form == REX ? *q : 0; /* a REX that another prefix follows has no meaning */
        if (form == OPERAND) {
            out->operand = 1;
            out->sse4a = out->mandatory = true;
        } else if (form == REPNE)
            out->sse4a = out->mandatory = true;
        else if (form == ADDRESS)
            out->address32 = true;
        else if (*q == 0xf0 || *q == 0xf3)
            out->mandatory = true;
        if (++q - first >= LONGEST)
            return BAD;
        form = one_byte_map[*q];
    }
    if (out->rex & REX_W)
        out->operand = 2;
    *at = q;
    return form;
}

/* Leaves *at at the opcode behind VEX, EVEX or XOP. Its form; BAD when there is no such map. */
static inline unsigned read_vector_opcode(const uint8_t **at, unsigned prefix) {
    const uint8_t *q = *at;
    unsigned map = 1;
    bool valid = true;
    switch (prefix) {
    case VEX2:
        q += 2;
        break;
    case VEX3:
        map = q[1] & 0x1f;
        valid = map >= 1 && map <= 3;
        q += 3;
        break;
    case EVEX: /* P0: bit 3 is 0; P1: bit 2 is 1 (SDM 2.7.1) */
        map = q[1] & 7;
        valid = (q[1] & 8) == 0 && (q[2] & 4) != 0 && map != 0 && map != 4 && map != 7;
        q += 4;
        break;
    default: /* XOP (AMD64 volume 3, 1.2.8) */
        map = q[1] & 0x1f;
        valid = map >= 8 && map <= 10;
        q += 3;
    }
    *at = q;
    if (!valid)
        return BAD;
    switch (map) {
    case 1: /* shifts by a constant 70..73, compares and shuffles c2, c4..c6; vzeroupper */
        if ((*q & 0xfc) == 0x70 || *q == 0xc2 || (*q >= 0xc4 && *q <= 0xc6))
            return HAS_MODRM | IMM_8;
        return *q == 0x77 && prefix != EVEX ? PLAIN : HAS_MODRM;
    case 3:
    case 8:
        return HAS_MODRM | IMM_8;
    case 10:
        return HAS_MODRM | IMM_32;
    default:
        return HAS_MODRM;
    }
}

/* Leaves *at at an opcode of the further maps; its form. */
static inline unsigned read_escaped_opcode(const uint8_t **at) {
    const uint8_t *q = *at + 1;
    unsigned form = two_byte_map[*q];
    if (form == ESCAPE)
        form = *q++ == 0x38 ? HAS_MODRM : HAS_MODRM | IMM_8;
    *at = q;
    return form;
}

/* The form of a GROUP opcode of the first map, by its ModR/M; BAD when the reg field makes no instruction. */
static inline unsigned group_form(unsigned opcode, unsigned modrm, unsigned form, const prefixes *p) {
    unsigned reg = modrm >> 3 & 7;
    bool valid = true;
    switch (opcode) {
    case OPCODE_LEA:
        valid = modrm < 0xc0;
        break;
    case 0xc6: /* mov, xabort */
        valid = reg == 0 || modrm == 0xf8;
        break;
    case 0xc7: /* mov, xbegin */
        if (modrm == 0xf8 && p->operand != 1)
            return BRANCH | HAS_MODRM | IMM_32;
        valid = reg == 0 || modrm == 0xf8;
        break;
    case 0xf6: /* test has an immediate; not, neg, mul, ... have none */
    case 0xf7:
        return reg > 1 ? HAS_MODRM : form;
    case 0xfe: /* inc, dec */
        valid = reg <= 1;
        break;
    default: /* ff: far calls and jumps through memory only */
        valid = reg != 7 && (modrm < 0xc0 || (reg != 3 && reg != 5));
    }
    return valid ? form : BAD;
}

/* `first` has READ_AHEAD readable bytes. */
static inline instruction decode(const uint8_t *first) {
    const instruction bad = {0};
    instruction out = {0};
    prefixes p = {0};
    const uint8_t *q = first;
    unsigned form = read_prefixes(&q, &p);
    out.opcode = *q;

    switch (form & SPECIAL_MASK) {
    case GROUP:
        form = group_form(*q, q[1], form, &p);
        break;
    case ESCAPE:
        form = read_escaped_opcode(&q);
        out.opcode = 0;
        if (form == (GROUP | HAS_MODRM)) /* 0F 78: vmread; extrq and insertq have two immediate bytes */
            form = p.sse4a && q[1] >= 0xc0 ? HAS_MODRM | IMM_16 : HAS_MODRM;
        break;
    case XOP:
        if ((q[1] & 0x38) == 0) { /* pop; the map of an XOP puts other bits there */
            form = HAS_MODRM;
            break;
        } /* fall through */
    case VEX2:
    case VEX3:
    case EVEX:
        if (p.mandatory || p.rex != 0)
            return bad;
        form = read_vector_opcode(&q, form);
        out.opcode = 0;
        break;
    default:
        break;
    }
    if (form == BAD)
        return bad;
    out.rex = (uint8_t)p.rex;
    q++;
    out.opcode_end = (uint8_t)(q - first);

    if (form & HAS_MODRM) {
        unsigned shape = modrm_map[*q];
        out.modrm = (uint8_t)(q - first);
        if (shape & MODRM_RIP) {
            if (!p.address32) {
                out.field = (uint8_t)(q + 1 - first);
                out.field_size = 4;
            }
        } else if ((shape & MODRM_SIB_BASE) != 0 && (q[1] & 7) == 5)
            q += 4;
        q += shape & MODRM_LENGTH;
    }
    unsigned immediate = immediate_size[form & IMM_MASK][p.operand];
    if ((form & SPECIAL_MASK) == BRANCH) {
        out.field = (uint8_t)(q - first);
        out.field_size = (uint8_t)immediate;
    } else if (form == MOFFS)
        immediate = p.address32 ? 4 : 8;
    q += immediate;
    if (q - first > LONGEST)
        return bad;
    out.length = (uint8_t)(q - first);
    return out;
}

/* Bytes of ModR/M and SIB. */
static unsigned address_bytes(unsigned modrm) {
    return modrm < 0xc0 && (modrm & 7) == 4 ? 2 : 1;
}

static unsigned displacement_bytes(const uint8_t *modrm) {
    switch (*modrm >> 6) {
    case 0:
        return (*modrm & 7) == 5 || ((*modrm & 7) == 4 && (modrm[1] & 7) == 5) ? 4 : 0;
    case 1:
        return 1;
    case 2:
        return 4;
    default:
        return 0;
    }
}

ds_x86_64_parts ds_x86_64_take_apart(const uint8_t *bytes) {
    instruction in = decode(bytes);
    ds_x86_64_parts parts = {.length = in.length, .modrm = in.modrm, .field = in.field, .field_size = in.field_size};
    unsigned end = in.length;
    if (in.length == 0)
        return parts;
    if (in.modrm != 0) {
        unsigned displacement = in.modrm + address_bytes(bytes[in.modrm]), size = displacement_bytes(bytes + in.modrm);
        if (size > 0 && in.field != displacement)
            parts.displacement = (uint8_t)displacement;
        if (displacement + size < end)
            parts.immediate = (uint8_t)(displacement + size);
    } else if (in.opcode_end < end)
        parts.immediate = in.opcode_end;
    if (parts.immediate != 0 && parts.immediate == in.field)
        parts.immediate = 0;
    return parts;
}

typedef struct ahead_list {
    ds_table items[TABLES_AHEAD]; /* ascending, distinct addresses */
    unsigned count;
} ahead_list;

typedef struct sweep {
    ds_sweep_state state;
    uint64_t serial;           /* of the instruction, with a gap of TABLE_WINDOW at each entry */
    uint64_t lea_serial[16];   /* last lea reg, [rip + x] into the register */
    ds_address lea_target[16]; /* and what it named */
    ds_address chunk_end;      /* address of the next entry */
    ahead_list ahead;          /* tables between here and the next entry */
} sweep;

static void add_ahead(ahead_list *ahead, ds_table table) {
    unsigned at = ahead->count;
    while (at > 0 && ahead->items[at - 1].address > table.address)
        at--;
    if (ahead->count == TABLES_AHEAD || (at > 0 && ahead->items[at - 1].address == table.address))
        return;
    memmove(ahead->items + at + 1, ahead->items + at, (ahead->count - at) * sizeof *ahead->items);
    ahead->items[at] = table;
    ahead->count++;
}

static void note_lea(sweep *s, const uint8_t *bytes, instruction in, ds_address target) {
    unsigned reg = (bytes[in.modrm] >> 3 & 7u) | (in.rex & REX_R ? 8 : 0);
    s->lea_serial[reg] = s->serial;
    s->lea_target[reg] = target;
}

/* movsxd r, dword [base + index * 4] */
static ds_status note_load(sweep *s, const uint8_t *bytes, instruction in, ds_address place) {
    unsigned modrm = bytes[in.modrm], sib = bytes[in.modrm + 1];
    if ((modrm & 7) != 4 || sib >> 6 != 2 || !(in.rex & REX_W))
        return DS_OK;
    bool plain = modrm < 0x40 ? (sib & 7) != 5 : modrm < 0x80 && bytes[in.modrm + 2] == 0;
    unsigned base = (sib & 7u) | (in.rex & REX_B ? 8 : 0);
    if (!plain || s->serial - s->lea_serial[base] > TABLE_WINDOW)
        return DS_OK;
    ds_table table = {.address = s->lea_target[base], .site = place};
    if (table.address - s->state.code.address >= s->state.code.size)
        return ds_sweep_add_table(&s->state, table);
    if (table.address >= place + in.length && table.address < s->chunk_end)
        add_ahead(&s->ahead, table);
    return DS_OK;
}

static ds_status note_field(sweep *s, const uint8_t *bytes, instruction in, ds_offset offset, ds_address place) {
    ds_address end = place + in.length;
    if (in.field_size == 1) {
        ds_address target = end + ((bytes[in.field] ^ 0x80u) - UINT64_C(0x80));
        if (target - s->state.code.address >= s->state.code.size)
            return DS_OK;
        return ds_image_add_ref(s->state.image, offset + in.field, DS_REF_REL8, 0, target);
    }
    ds_address target = end + ((ds_load32(bytes + in.field) ^ UINT64_C(0x80000000)) - UINT64_C(0x80000000));
    if (!ds_sweep_known(&s->state, target))
        return DS_OK;
    if (in.opcode == OPCODE_LEA && (in.rex & REX_W))
        note_lea(s, bytes, in, target);
    return ds_image_add_ref(s->state.image, offset + in.field, DS_REF_REL32, in.length - in.field - 4u, target);
}

/* Decode [offset, end), which no table interrupts. */
static ds_status sweep_run(sweep *s, ds_offset *from, ds_offset end) {
    const ds_span file = s->state.image->file;
    ds_offset offset = *from;
    const ds_address bias = s->state.code.address - s->state.code.offset;
    unsigned tables = s->ahead.count;
    uint8_t tail[READ_AHEAD];
    ds_status status = DS_OK;
    while (offset < end && status == DS_OK && tables == s->ahead.count) {
        const uint8_t *bytes = file.data + offset;
        if (file.size - offset < READ_AHEAD) {
            memset(tail, 0, sizeof tail);
            bytes = memcpy(tail, bytes, (size_t)(file.size - offset));
        }
        instruction in = decode(bytes);
        if (in.length == 0 || in.length > end - offset) {
            offset++;
            continue;
        }
        s->serial++;
        ds_sweep_mark(&s->state, offset);
        if (in.field != 0)
            status = note_field(s, bytes, in, offset, bias + offset);
        else if (in.opcode == OPCODE_MOVSXD)
            status = note_load(s, bytes, in, bias + offset);
        offset += in.length;
    }
    *from = offset;
    return status;
}

/* Decode from one entry to the next, and jump over the tables between. */
static ds_status sweep_chunk(sweep *s, ds_offset offset, ds_offset end) {
    const ds_address bias = s->state.code.address - s->state.code.offset;
    s->serial += TABLE_WINDOW + 1;
    s->ahead.count = 0;
    s->chunk_end = bias + end;
    while (offset < end) {
        ahead_list *ahead = &s->ahead;
        DS_TRY(sweep_run(s, &offset, ahead->count > 0 ? ahead->items[0].address - bias : end));
        if (ahead->count == 0 || offset != ahead->items[0].address - bias)
            continue;
        ds_table table = ahead->items[0];
        memmove(ahead->items, ahead->items + 1, --ahead->count * sizeof *ahead->items);
        ds_address behind;
        DS_TRY(
            ds_sweep_read_table(&s->state, table, ahead->count > 0 ? ahead->items[0].address : s->chunk_end, &behind));
        offset = behind - bias;
    }
    return DS_OK;
}

static ds_status sweep_entries(sweep *s, const ds_offset *entries, uint64_t entry_count) {
    ds_offset start = s->state.code.offset, end = start + s->state.code.size;
    for (uint64_t i = 0; i < entry_count; i++) {
        if (entries[i] <= start || entries[i] >= end)
            continue;
        DS_TRY(sweep_chunk(s, start, entries[i]));
        start = entries[i];
    }
    return sweep_chunk(s, start, end);
}

ds_status ds_x86_64_sweep(ds_image *image, ds_code code, const ds_offset *entries, uint64_t entry_count) {
    sweep s = {.serial = TABLE_WINDOW + 1};
    DS_TRY(ds_sweep_open(&s.state, image, code, BYTES_PER_REFERENCE));
    return ds_sweep_close(&s.state, sweep_entries(&s, entries, entry_count));
}
