/* What an executable is, to the engine: regions (which bytes lie at which
 * address), references (bytes that depend on where things lie) and the places
 * where instructions start. Knows no file format, no instruction set, no delta.
 *
 * Address space. One file may hold several images (universal slices). Each
 * image has a space number, kept in bits 56..63 of every address, so that one
 * address names one byte of the file. Space 0 is the first image. A byte that no
 * loaded region covers still has an address: DS_FILE_BASE + its file offset;
 * DS_FILE_BASE + offset is a valid second name of loaded bytes too.
 *
 * References. A kind is a pair of total functions:
 *     put(target, place, base)  -> bits of the field
 *     solve(field, place, base) -> target
 * with put(solve(field)) == field for every field of the kind's length: all
 * arithmetic wraps modulo 2^64 and truncates to the field. Whatever bytes stand
 * in a field, they are some target.
 *
 * Invariants of a parsed image
 *  - references are sorted by offset and do not overlap: no byte belongs to two;
 *  - every reference lies inside the file;
 *  - regions are sorted by address and overlap neither in address nor in the file;
 *  - the same bytes give the same image on every machine: this is part of the
 *    delta format (docs/spec/image.md), and so is every order and limit.
 */
#ifndef DS_IMAGE_H
#define DS_IMAGE_H

#include "base/base.h"

#define DS_FILE_BASE ((ds_address)1 << 55)
#define DS_SPACE_SHIFT 56
#define DS_SPACE_MASK ((ds_address)0xff << DS_SPACE_SHIFT)

typedef enum ds_arch { DS_ARCH_NONE, DS_ARCH_X86_64, DS_ARCH_AARCH64 } ds_arch;

typedef enum ds_region_class {
    DS_REGION_DATA,   /* bytes in the file, loaded, not executable */
    DS_REGION_CODE,   /* bytes in the file, loaded, executable */
    DS_REGION_NOBITS, /* addresses without bytes (.bss) */
} ds_region_class;

typedef struct ds_region {
    ds_offset offset; /* meaningless for NOBITS */
    ds_address address;
    uint64_t size;
    uint8_t class_; /* ds_region_class */
    uint8_t words;  /* code in aligned words of four bytes; steers matching, never sent */
} ds_region;

/* Reference kinds. `place` is the address of the field's first byte; `aux` is
 * the auxiliary value (24 bits, 0 where the kind has none); `base` is the address
 * that a based kind counts from (not kept: ds_ref_base); `space` is
 * DS_SPACE_MASK & place. */
typedef enum ds_ref_kind {
    DS_REF_NONE,
    DS_REF_REL8,    /* i8:  target = place + 1 + aux + field (aux: bytes of the instruction after the field) */
    DS_REF_REL32,   /* i32: target = place + 4 + aux + field; rel32 branches, rip-relative operands */
    DS_REF_PREL32,  /* i32: target = place + field; pc-relative data (.eh_frame, relative tables) */
    DS_REF_BACK32,  /* u32: target = place - field; an FDE's distance back to its CIE */
    DS_REF_PREL64,  /* i64: target = place + field */
    DS_REF_ABS64,   /* u64: target = space + field; pointers, r_offset, addends, symbol values, headers */
    DS_REF_ABS32,   /* u32: target = space + field */
    DS_REF_FILE64,  /* u64: target = DS_FILE_BASE + field; file offsets in headers */
    DS_REF_FILE32,  /* u32: target = DS_FILE_BASE + field */
    DS_REF_BASE32,  /* i32: target = base + field; jump tables, string offsets (unsigned ones wrap the same) */
    DS_REF_BASE64,  /* u64: target = base + field */
    DS_REF_SIZE32,  /* u32: target = base + field - 1; the last byte of what starts at base */
    DS_REF_SIZE64,  /* u64: the same */
    DS_REF_INDEX32, /* u32: target = base + 24 * field; index of an ELF64 symbol */
    DS_REF_RELR64,  /* u64: an even RELR word: target = space + field */
    DS_REF_ULEB1,   /* ULEB128 of 1..4 bytes: target = base + value; continuation bits stay */
    DS_REF_ULEB2,
    DS_REF_ULEB3,
    DS_REF_ULEB4,
    DS_REF_ULEB_SIZE1, /* ULEB128 of 1..4 bytes: target = base + value - 1, base = start of the range */
    DS_REF_ULEB_SIZE2,
    DS_REF_ULEB_SIZE3,
    DS_REF_ULEB_SIZE4,
    DS_REF_B26,        /* AArch64 B, BL: imm26 at bit 0, times 4 */
    DS_REF_IMM19,      /* B.cond, CBZ, CBNZ, LDR literal: imm19 at bit 5, times 4 */
    DS_REF_IMM14,      /* TBZ, TBNZ: imm14 at bit 5, times 4 */
    DS_REF_ADR,        /* immlo at 29, immhi at 5; bytes */
    DS_REF_ADRP,       /* the same in pages of 4096; target is the full target when a LO12 partner names it */
    DS_REF_LO12,       /* imm12 at bit 10, scaled by 1 << aux: low 12 bits of the target */
    DS_REF_CHAIN36,    /* Mach-O chained pointer, formats 2 and 6: target = base + low 36 bits */
    DS_REF_CHAIN43,    /* arm64e plain pointer: target = base + low 43 bits */
    DS_REF_CHAIN32,    /* arm64e authenticated pointer: target = base + low 32 bits */
    DS_REF_NEXT12,     /* distance to the next chained pointer, in bits 3..14 of the last two bytes of its word,
                          times 4; 0 where that lies in another page of 1 << aux bytes */
    DS_REF_NEXT11,     /* the same in bits 3..13, times 8 (arm64e) */
    DS_REF_BASE24,     /* u24: target = base + field; records that __unwind_info names */
    DS_REF_PAGE24,     /* u24: the same, base = the first target of a page of such fields: the prediction
                          follows it from field to field, since pages are cut anew in each image */
    DS_REF_INDEX32_4,  /* u32: target = base + 4 * field */
    DS_REF_INDEX32_8,  /* u32: target = base + 8 * field; number of a Go function */
    DS_REF_INDEX32_16, /* u32: target = base + 16 * field; index of a Mach-O symbol */
    DS_REF_COUNT32_4,  /* u32: target = base + 4 * field - 1; the last byte of so many entries */
    DS_REF_COUNT32_16, /* the same for entries of 16 bytes */
    DS_REF_INDEX24_4,  /* u24: target = base + 4 * field; ordinal of a chained import */
    DS_REF_NAME23,     /* upper 23 bits: target = base + number; name of a chained import */
    DS_REF_STEP6,      /* low 6 bits: target = base + (field << aux) - 1; a step of DW_CFA_advance_loc */
    DS_REF_STEP8,      /* u8, u16, u32: the same, DW_CFA_advance_loc1 to 4 */
    DS_REF_STEP16,
    DS_REF_STEP32,
    DS_REF_STEP_ULEB1, /* ULEB128 of 1..4 bytes: the same, Go's tables of program counters */
    DS_REF_STEP_ULEB2,
    DS_REF_STEP_ULEB3,
    DS_REF_STEP_ULEB4,
    DS_REF_KINDS,
} ds_ref_kind;

typedef struct ds_ref {
    uint32_t offset;   /* of the field's first byte (for AArch64: of the instruction word) */
    uint32_t kind_aux; /* ds_ref_kind in the low 8 bits, aux in the upper 24 */
    ds_address target;
} ds_ref;

static inline ds_ref_kind ds_ref_kind_of(const ds_ref *ref) {
    return (ds_ref_kind)(ref->kind_aux & 0xff);
}
static inline uint32_t ds_ref_aux(const ds_ref *ref) {
    return ref->kind_aux >> 8;
}

/* The same as it is found: found.h. */
typedef struct ds_found_ref {
    uint32_t offset, low; /* low: the lower half of its target; of a wide one its number among these */
    uint16_t aux;
    uint8_t kind;
    uint8_t half; /* number of the upper half of its target */
} ds_found_ref;

/* The same, packed: refs.h. Read through its cursors alone. */
typedef struct ds_ref_form {
    uint32_t kind_aux;
    uint8_t length;      /* of the field */
    uint8_t chain;       /* number of the bias that it takes */
    bool is_page;        /* the bias of LO12 follows it */
    bool is_solved;      /* by ds_ref_solve, else by what follows: */
    uint8_t left, right; /* shifts that leave its number of a word, with its sign */
    uint8_t low_right;
    uint64_t mask;     /* bits of the number that count */
    uint64_t low_mask; /* of a number in two parts: bits of the lower one */
    uint64_t places;   /* bits of the offset that are added */
} ds_ref_form;

typedef struct ds_refs {
    uint8_t *bytes;
    uint64_t size, count;
    uint64_t *stretches; /* where those of each stretch of the file begin in `bytes`, and where the last ends */
    ds_ref_form *forms;
    ds_address *first; /* biases where a stretch starts */
    unsigned form_count;
} ds_refs;

/* Words whose file content is zero or meaningless because a relocation fills
 * them (a .got slot of an import): matching gives them the label of `target`. */
typedef struct ds_slot {
    uint32_t offset;
    ds_address target;
} ds_slot;

/* A code signature: a structure that holds digests of the bytes from `covered` on. */
typedef struct ds_signature {
    ds_offset offset;
    uint64_t size;
    ds_offset covered;
} ds_signature;

/* Bytes that a text may spell in hexadecimal digits: a debug link, the build id. */
typedef struct ds_spelling {
    ds_offset digits;  /* of the first digit */
    ds_offset spelled; /* of the first byte, before them */
    uint64_t size;     /* in bytes: twice as many digits */
} ds_spelling;

/* Bytes that each build makes anew: a build id, the checksum in a debug link, a UUID. */
typedef struct ds_fresh {
    ds_offset offset;
    uint64_t size;
} ds_fresh;
#define DS_FRESH_MAX 64

/* A table of ascending addresses, as distances in ULEB128 from one to the next, ended by zeros. What it lists are
 * numbers first to first + count - 1 of `listed`: offsets of the bytes that are named, strictly ascending. */
typedef struct ds_list {
    ds_offset offset;
    uint64_t size;
    ds_address base; /* that the first distance counts from */
    uint64_t first, count;
} ds_list;

/* Bytes of the file that lie together: `address` is DS_FILE_BASE + offset where no region
 * covers them. Size 0: absent. */
typedef struct ds_extent {
    ds_offset offset;
    ds_address address;
    uint64_t size;
} ds_extent;

typedef struct ds_image {
    ds_span file;
    ds_span tail; /* bytes that follow the file's own, with offsets behind its end: predict/packed.h */
    ds_arena *arena;
    ds_arch arch;
    DS_VEC(ds_region) regions;
    DS_VEC(uint32_t) by_offset; /* numbers of the regions with bytes, by file offset */
    DS_VEC(ds_found_ref) found; /* references in any order, until the image is settled */
    DS_VEC(ds_ref) wide;        /* those among them that do not fit */
    uint32_t halves[16];        /* upper halves of their targets */
    unsigned half_count, last_half;
    ds_refs refs; /* from then on */
    DS_VEC(ds_slot) slots;
    DS_VEC(ds_signature) signatures;
    DS_VEC(ds_spelling) spellings;
    ds_fresh fresh[DS_FRESH_MAX];
    unsigned fresh_count;
    DS_VEC(ds_list) lists;
    DS_VEC(uint32_t) listed;
    DS_VEC(uint32_t) functions;     /* where functions start, and names of symbols; ascending */
    ds_extent frames, frame_header; /* .eh_frame where it is a section, and .eh_frame_hdr: predict/frame_table.h */
    uint8_t *starts;                /* one bit per file byte: an instruction starts here; NULL for plain bytes */
} ds_image;

/* All that has an offset. */
static inline uint64_t ds_image_size(const ds_image *image) {
    return image->file.size + image->tail.size;
}

/* The byte at an offset; what follows it up to the end of the file, or of the tail. */
static inline const uint8_t *ds_image_bytes(const ds_image *image, ds_offset offset) {
    return offset < image->file.size ? image->file.data + offset : image->tail.data + (offset - image->file.size);
}

/* Whether an instruction starts at the byte. Tails hold none. */
static inline bool ds_image_is_start(const ds_image *image, ds_offset offset) {
    return image->starts != NULL && offset < image->file.size && image->starts[offset >> 3] >> (offset & 7) & 1;
}

/* Parse `file` (at most DS_IMAGE_LIMIT bytes) as far as it can be parsed; what
 * is not understood is plain bytes, never an error. Errors: DS_E_MEMORY only. */
#define DS_IMAGE_LIMIT ((uint64_t)0xffff0000)
ds_status ds_image_parse(ds_span file, ds_arena *arena, ds_image *out);
/* The same for several files, one after the other in `file`, of these sizes (together file.size); see joined.c. What
 * only a new image needs, signatures and spellings, is not told. */
ds_status ds_image_parse_joined(ds_span file, const uint64_t *sizes, unsigned count, ds_arena *arena, ds_image *out);
void ds_image_free(ds_image *image);

/* An image with more regions than this is read without the rest: looking up stays cheap. */
#define DS_REGIONS_MAX 4096

/* For parsers: append; offsets and lengths must lie in the file (checked: a reference
 * outside is dropped). Order does not matter until ds_image_settle sorts by offset,
 * drops every reference that overlaps an earlier-sorted one and packs the rest; of equal offsets the one
 * added first wins, so parsers add the most certain kind first. */
ds_status ds_image_add_region(ds_image *image, ds_region region);
ds_status ds_image_add_ref(ds_image *image, ds_offset offset, ds_ref_kind kind, uint32_t aux, ds_address target);
/* Adds with the target solved from the bytes in the file, for kinds without auxiliary value. `base` matters to
 * based kinds alone, `place` to kinds that count from it (or from its space). */
ds_status ds_image_add_field(ds_image *image, ds_offset offset, ds_address place, ds_ref_kind kind, ds_address base);
void ds_image_add_fresh(ds_image *image, ds_offset offset, uint64_t size); /* of those beyond DS_FRESH_MAX, nothing */
ds_status ds_image_add_slot(ds_image *image, ds_offset offset, ds_address target);
/* Append to the list that was opened last; what names no byte behind the last one is left out. */
ds_status ds_image_open_list(ds_image *image, ds_list list);
ds_status ds_image_add_listed(ds_image *image, ds_address address);
ds_status ds_image_settle(ds_image *image);

/* Address of a file byte, file byte of an address. The second is false for NOBITS and unmapped addresses. */
ds_address ds_image_address(const ds_image *image, ds_offset offset);
bool ds_image_offset(const ds_image *image, ds_address address, ds_offset *offset);
/* How many functions start before the offset: the number of the first that does not. */
uint64_t ds_image_functions_before(const ds_image *image, ds_offset offset);
/* NULL when no region holds the address. */
const ds_region *ds_image_region(const ds_image *image, ds_address address);

/* Reference kinds as functions. `length` bytes at `field`; `base` as above. */
unsigned ds_ref_length(ds_ref_kind kind);
ds_address ds_ref_solve(ds_ref_kind kind, const uint8_t *field, ds_address place, uint32_t aux, ds_address base,
                        ds_address expected);
void ds_ref_put(ds_ref_kind kind, uint8_t *field, ds_address place, uint32_t aux, ds_address base, ds_address target);
/* Bits of the field that hold the reference, as a little-endian mask of ds_ref_length bytes. */
uint64_t ds_ref_mask(ds_ref_kind kind);
bool ds_ref_is_based(ds_ref_kind kind);
/* Kinds of small numbers that follow each other: STEP6 to STEP_ULEB4. */
bool ds_ref_is_step(ds_ref_kind kind);
/* Of a reference of a based kind: the address that the field counts from. */
ds_address ds_ref_base(const ds_image *image, const ds_ref *ref);

#endif
