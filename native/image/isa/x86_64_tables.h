/* Form of every x86-64 opcode, as data: one byte each, see "Forms" below. Private to x86_64.c.
 *
 * Sources: Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), volume 2, appendix A
 * (opcode maps ), section 2.1 (ModR/M, SIB); AMD64 Architecture Programmer's Manual,
 * volume 3, appendix A (SSE4A, XOP and femms rows); VIA PadLock Programming Guide.
 *
 * These tables are part of the delta format: a row that changes makes another revision.
 */
#ifndef DS_X86_64_TABLES_H
#define DS_X86_64_TABLES_H

#include <stdint.h>

/* ---- Forms ----------------------------------------------------------------------------------------
 * Bits 0..2: the immediate. Bit 3: a ModR/M byte follows the opcode. Bits 4..7: what is special. */
enum {
    IMM_NONE,
    IMM_8,
    IMM_16,
    IMM_ENTER,   /* 16 + 8 bits */
    IMM_OPERAND, /* 32 bits; 16 after a 66 prefix */
    IMM_MOV,     /* the same, 64 bits with REX.W */
    IMM_32,      /* 32 bits whatever the prefixes */

    HAS_MODRM = 1 << 3,

    PLAIN = 0 << 4,
    BAD = 1 << 4, /* not an instruction */
    /* Prefixes */
    LEGACY = 2 << 4, /* segments, lock, rep: change no length */
    OPERAND = 3 << 4,
    ADDRESS = 4 << 4,
    REPNE = 5 << 4, /* matters to insertq alone */
    REX = 6 << 4,
    ESCAPE = 7 << 4, /* 0F in the first map, 38 and 3A in the second */
    VEX2 = 8 << 4,
    VEX3 = 9 << 4,
    EVEX = 10 << 4,
    /* Opcodes with more to look at */
    BRANCH = 11 << 4, /* the immediate is a distance from the end */
    MOFFS = 12 << 4,  /* an address as long as the address size */
    GROUP = 13 << 4,  /* the reg field of ModR/M decides */
    XOP = 14 << 4,    /* or pop, by the reg field */
    SPECIAL_MASK = 0xf0,
    IMM_MASK = 7,
};

#define o_ PLAIN
#define B_ (PLAIN | IMM_8)
#define W_ (PLAIN | IMM_16)
#define En (PLAIN | IMM_ENTER)
#define Z_ (PLAIN | IMM_OPERAND)
#define V_ (PLAIN | IMM_MOV)
#define m_ HAS_MODRM
#define mB (HAS_MODRM | IMM_8)
#define mZ (HAS_MODRM | IMM_OPERAND)
#define J1 (BRANCH | IMM_8)
#define J4 (BRANCH | IMM_32)
#define Of MOFFS
#define gr (GROUP | HAS_MODRM)
#define gB (GROUP | HAS_MODRM | IMM_8)
#define gZ (GROUP | HAS_MODRM | IMM_OPERAND)
#define __ BAD
#define pf LEGACY
#define pO OPERAND
#define pA ADDRESS
#define pN REPNE
#define Rx REX
#define Es ESCAPE
#define v2 VEX2
#define v3 VEX3
#define eV EVEX
#define xo XOP

/* clang-format off */

/* First opcode map (SDM table A-2). */
static const uint8_t one_byte_map[256] = {
    /*       0   1   2   3   4   5   6   7   8   9   a   b   c   d   e   f */
    /* 00 */ m_, m_, m_, m_, B_, Z_, __, __, m_, m_, m_, m_, B_, Z_, __, Es,
    /* 10 */ m_, m_, m_, m_, B_, Z_, __, __, m_, m_, m_, m_, B_, Z_, __, __,
    /* 20 */ m_, m_, m_, m_, B_, Z_, pf, __, m_, m_, m_, m_, B_, Z_, pf, __,
    /* 30 */ m_, m_, m_, m_, B_, Z_, pf, __, m_, m_, m_, m_, B_, Z_, pf, __,
    /* 40 */ Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx, Rx,
    /* 50 */ o_, o_, o_, o_, o_, o_, o_, o_, o_, o_, o_, o_, o_, o_, o_, o_,
    /* 60 */ __, __, eV, m_, pf, pf, pO, pA, Z_, mZ, B_, mB, o_, o_, o_, o_,
    /* 70 */ J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1,
    /* 80 */ mB, mZ, __, mB, m_, m_, m_, m_, m_, m_, m_, m_, m_, gr, m_, xo,
    /* 90 */ o_, o_, o_, o_, o_, o_, o_, o_, o_, o_, __, o_, o_, o_, o_, o_,
    /* a0 */ Of, Of, Of, Of, o_, o_, o_, o_, B_, Z_, o_, o_, o_, o_, o_, o_,
    /* b0 */ B_, B_, B_, B_, B_, B_, B_, B_, V_, V_, V_, V_, V_, V_, V_, V_,
    /* c0 */ mB, mB, W_, o_, v3, v2, gB, gZ, En, o_, W_, o_, o_, B_, __, o_,
    /* d0 */ m_, m_, m_, m_, __, __, __, o_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* e0 */ J1, J1, J1, J1, B_, B_, B_, B_, J4, J4, __, J1, o_, o_, o_, o_,
    /* f0 */ pf, o_, pN, pf, o_, o_, gB, gZ, o_, o_, o_, o_, o_, o_, gr, gr,
};

/* Second map, after 0F (SDM table A-3). The third (0F 38) has ModR/M throughout, the fourth (0F 3A)
 * ModR/M and an 8-bit immediate. 0F 0F (3DNow!) is not decoded. Moves to and from control and debug
 * registers (20..23) take their ModR/M as register operands whatever its mod: here a byte like an
 * immediate. a6 and a7 are VIA PadLock. */
static const uint8_t two_byte_map[256] = {
    /*       0   1   2   3   4   5   6   7   8   9   a   b   c   d   e   f */
    /* 00 */ m_, m_, m_, m_, __, o_, o_, o_, o_, o_, __, o_, __, m_, o_, __,
    /* 10 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* 20 */ B_, B_, B_, B_, __, __, __, __, m_, m_, m_, m_, m_, m_, m_, m_,
    /* 30 */ o_, o_, o_, o_, o_, o_, __, o_, Es, __, Es, __, __, __, __, __,
    /* 40 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* 50 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* 60 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* 70 */ mB, mB, mB, mB, m_, m_, m_, o_, gr, m_, __, __, m_, m_, m_, m_,
    /* 80 */ J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4,
    /* 90 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* a0 */ o_, o_, o_, m_, mB, m_, m_, m_, o_, o_, o_, m_, mB, m_, m_, m_,
    /* b0 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, mB, m_, m_, m_, m_, m_,
    /* c0 */ m_, m_, mB, m_, mB, mB, mB, m_, o_, o_, o_, o_, o_, o_, o_, o_,
    /* d0 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* e0 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
    /* f0 */ m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_, m_,
};

/* clang-format on */

#undef o_
#undef B_
#undef W_
#undef En
#undef Z_
#undef V_
#undef m_
#undef mB
#undef mZ
#undef J1
#undef J4
#undef Of
#undef gr
#undef gB
#undef gZ
#undef __
#undef pf
#undef pO
#undef pA
#undef pN
#undef Rx
#undef Es
#undef v2
#undef v3
#undef eV
#undef xo

/* ---- ModR/M (SDM table 2-2) -----------------------------------------------------------------------
 * Bits 0..2: bytes from ModR/M to the end of the displacement. Bit 3: the base field of a SIB byte may
 * add a displacement. Bit 4: a displacement from the end of the instruction. */
enum { MODRM_LENGTH = 7, MODRM_SIB_BASE = 8, MODRM_RIP = 16 };

#define ROW_MEMORY 1, 1, 1, 1, 2 | MODRM_SIB_BASE, 5 | MODRM_RIP, 1, 1
#define ROW_DISP8 2, 2, 2, 2, 3, 2, 2, 2
#define ROW_DISP32 5, 5, 5, 5, 6, 5, 5, 5
#define ROW_REGISTER 1, 1, 1, 1, 1, 1, 1, 1
#define EIGHT(row) row, row, row, row, row, row, row, row

static const uint8_t modrm_map[256] = {EIGHT(ROW_MEMORY), EIGHT(ROW_DISP8), EIGHT(ROW_DISP32), EIGHT(ROW_REGISTER)};

#undef ROW_MEMORY
#undef ROW_DISP8
#undef ROW_DISP32
#undef ROW_REGISTER
#undef EIGHT

/* Bytes of an immediate; columns: neither, 66 prefix, REX.W (which overrides 66), not used. */
static const uint8_t immediate_size[8][4] = {
    [IMM_NONE] = {0, 0, 0, 0},    [IMM_8] = {1, 1, 1, 1},   [IMM_16] = {2, 2, 2, 2}, [IMM_ENTER] = {3, 3, 3, 3},
    [IMM_OPERAND] = {4, 2, 4, 4}, [IMM_MOV] = {4, 2, 8, 8}, [IMM_32] = {4, 4, 4, 4},
};

#endif
