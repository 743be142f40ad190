/* What the parts of this room share: the tables under way, and what is kept from record to record. Private to it.
 *
 * Invariants
 *  - a reader writes no byte outside the room of the new table, whatever it reads;
 *  - work on old programs and on code is bounded: all records together spend what the table began with.
 */
#ifndef DS_UNWIND_STATE_H
#define DS_UNWIND_STATE_H

#include "delta/steps.h"
#include "delta/unwind/plan.h"

/* What the flags of a record ask. */
enum { ALL_RIGHT, CIE_RIGHT, START_RIGHT, SIZE_RIGHT, LSDA_RIGHT, PROGRAM_RIGHT };
/* What numbers say. */
enum {
    NUMBER_OLD,
    NUMBER_CIE,
    NUMBER_START,
    NUMBER_SIZE,
    NUMBER_LSDA,
    NUMBER_ADVANCE,
    NUMBER_RAW,
    NUMBER_PADDING,
    NUMBER_OWN /* added to the others of an FDE of its own */
};
/* How far a guessed program is to be trusted. */
enum { TRUST_MOVED, TRUST_CODE, TRUST_PROVED, TRUST_SAME };

/* What an FDE says beside its program. */
typedef struct ds_fde {
    uint32_t cie; /* number of its record in the new table */
    uint32_t size;
    ds_address start, lsda;
} ds_fde;

/* Records are padded; the last of each file that was linked ends at a multiple of eight of the table. Whether one is
 * such a last one, its older self may tell. */
enum { PADDED, PADDED_MORE, PADDED_LESS, PADDED_PERHAPS };
#define LAST_ALIGNMENT 8

/* A program that is likely: steps; but bytes, where there are some. */
typedef struct ds_guess {
    unsigned trust;
    unsigned padding;
    ds_span bytes; /* with padding */
} ds_guess;

typedef struct ds_unwinding {
    ds_walk *w;
    ds_frame_table old_table, table; /* of the new one, what is made */
    ds_frame_plan plan;              /* writing */
    uint8_t *bytes;
    uint32_t at;      /* end of the records made */
    uint64_t next;    /* number of the old record that is expected */
    uint32_t *cie_of; /* by the number of an old CIE: that of the new record, and one */
    ds_frame_guess *guesser;
    ds_frame_steps guessed, guessed_before, old_steps, wanted; /* before: from the old code */
    ds_offset code_end;
    uint64_t work;
    unsigned alignment;
    ds_address behind, last_lsda;           /* the end of the last function; its exception table */
    uint64_t usual;                         /* records that were, when writing; that still are, when reading */
    bool is_counting;                       /* reading: the record at hand is one of them */
    uint32_t ways, rights, programs, steps; /* latest of each kind, a bit each, ways two */
    uint32_t last[2], last_of[256];         /* hashes of the latest steps, and of the latest with each first byte */
} ds_unwinding;

static inline bool is_writing(const ds_unwinding *f) {
    return f->w->coder->writing;
}

static inline bool has_model(const ds_unwinding *f) {
    return f->w->coder->model != NULL;
}

/* Bytes that are left of the new table. */
static inline uint32_t room(const ds_unwinding *f) {
    return f->table.size - f->at;
}

static inline uint32_t round_up(uint32_t size, unsigned alignment) {
    return size + (0 - size) % alignment;
}

static inline bool has_lsda(const ds_unwinding *f, uint32_t cie) {
    return f->table.records.items[cie].lsda_bytes != 0;
}

/* ---- decisions.c: by the model; or a byte each, and numbers, in the stream of the layout ---- */

ds_status ds_unwinding_symbol(ds_unwinding *f, const ds_contexts *contexts, unsigned bits, uint8_t *value);
/* What is usual is a byte of zero. */
ds_status ds_unwinding_flag(ds_unwinding *f, const ds_contexts *contexts, bool *flag);
/* One of the flags of a record; `guess_known`: of its guess, 0 where none is asked for. */
ds_status ds_unwinding_right(ds_unwinding *f, unsigned what, unsigned guess_known, unsigned copied, bool *right);
ds_status ds_unwinding_number(ds_unwinding *f, unsigned what, uint64_t *value);
ds_status ds_unwinding_signed(ds_unwinding *f, unsigned what, uint64_t *value);
/* Records that follow the next old one, all as expected: streams count them. */
ds_status ds_unwinding_stream_way(ds_unwinding *f, uint8_t *way);
ds_status ds_unwinding_all_right(ds_unwinding *f, const ds_guess *g, unsigned copied, bool *right);
ds_status ds_unwinding_write_usual(ds_unwinding *f);

/* ---- guess.c: the program of a function, by its code ---- */

static inline unsigned known_of(const ds_guess *g) {
    return g->trust | g->padding << 2;
}

/* After an old record; or of a function that has no older self. */
ds_status ds_unwinding_guess(ds_unwinding *f, const ds_frame_record *old_record, const ds_fde *said, ds_guess *g);
ds_status ds_unwinding_guess_own(ds_unwinding *f, const ds_fde *said, ds_guess *g);
/* Appends to the record under way, of which *size bytes are there. DS_E_DELTA where there is no room. */
ds_status ds_unwinding_append(ds_unwinding *f, uint32_t *size, const uint8_t *bytes, uint32_t count);
/* Fills the record up: as little as it can be, and so many units of alignment more. */
ds_status ds_unwinding_pad(ds_unwinding *f, uint32_t *size, uint64_t more);
/* The bytes of the guess, padded. */
ds_status ds_unwinding_append_guess(ds_unwinding *f, const ds_guess *g, unsigned unit_bits, uint32_t *size);

/* ---- program.c: one that is not as guessed, token by token, then its padding ---- */

ds_status ds_unwinding_steps(ds_unwinding *f, const ds_guess *g, unsigned unit_bits, uint32_t *size);

/* ---- fde.c: *size becomes that of the record ---- */

ds_status ds_unwinding_followed(ds_unwinding *f, const ds_frame_record *old_record, uint32_t *size);
ds_status ds_unwinding_own(ds_unwinding *f, uint32_t *size);
/* Writing: whether a program that is not made of steps comes out all the same after this record. */
ds_status ds_unwinding_can_follow(ds_unwinding *f, const ds_frame_record *old_record, bool *can);
/* Whether blocks copy the first byte of a function (1), and the last (2). */
unsigned ds_unwinding_copied(const ds_unwinding *f, const ds_frame_record *old_record);

#endif
