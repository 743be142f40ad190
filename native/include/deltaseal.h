/* deltaseal: deltas between two versions of an executable image.
 *
 * This is the whole public face of the C core. Simple use:
 *
 *   apply    ds_apply()                     old image + delta -> new image, forward, through a callback
 *   inspect  ds_inspect()                   what a delta says of itself
 *   create   ds_create(), ds_stream_at()    typed raw streams; the caller compresses them with zstd
 *   explain  ds_explain()                   what each new byte costs in a delta
 *
 * Bytes in, bytes out: no file names, no globals, no locale, no clock. All functions may be
 * called from several threads at once on different objects. Sizes are bytes. Spans given in
 * are only read and must stay mapped and unchanged during the call.
 */
#ifndef DELTASEAL_H
#define DELTASEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Outcome of every call. Each value has one meaning and one remedy. */
typedef enum ds_status {
    DS_OK = 0,
    DS_E_ARGUMENT,  /* the caller broke the contract of the function */
    DS_E_MEMORY,    /* the host, or the ceiling given in, has no more memory */
    DS_E_CANCELLED, /* a callback asked to stop */
    DS_E_DELTA,     /* the delta is damaged or not a delta of this revision */
    DS_E_LIMIT,     /* the delta asks for more than the limits allow */
    DS_E_OLD,       /* the old image is not the one the delta was made from */
    DS_E_DIGEST,    /* the bytes made are not the new image */
} ds_status;

const char *ds_status_text(ds_status status);

#define DS_DIGEST_SIZE 32
/* As a delta holds it: the first bytes of it (RFC 6920, section 9.4: sha-256-128). */
#define DS_SHORT_DIGEST_SIZE 16

/* ---- Apply ---------------------------------------------------------------------------- */

/* What a caller allows. A delta that asks for more is DS_E_LIMIT before anything is allocated. */
typedef struct ds_limits {
    uint64_t output_bytes; /* largest new image */
    uint64_t memory_bytes; /* all memory of the applier beside old, delta and what the sink keeps */
} ds_limits;

/* Takes the next bytes of the new image, in order. False stops with DS_E_CANCELLED. */
typedef bool (*ds_sink)(void *context, const uint8_t *data, size_t size);

/* Make the new image from `old` and a delta container (docs/spec/delta-format.md).
 *
 * Where the delta carries digests, old is checked before the first byte goes out (DS_E_OLD) and the
 * result after the last (DS_E_DIGEST). Where it does not (an embedded delta), the caller holds both
 * digests and must check. After an error nothing that went to the sink may be used.
 * Memory: limits->memory_bytes at most; time: linear in old + new + delta. */
ds_status ds_apply(const uint8_t *old_data, uint64_t old_size, const uint8_t *delta, uint64_t delta_size,
                   const ds_limits *limits, ds_sink sink, void *context);

/* Apply, and compare with the new image that is at hand: *same counts the bytes up to the first that differs, or is
 * missing. The delta is proved where DS_OK is returned and *same is new_size. `opened` is of these very bytes of old,
 * and serves once, or is NULL. `progress` is called now and then with bytes of a thousand; false cancels. May be NULL.
 */
typedef struct ds_opened ds_opened; /* opaque: an old image that a thread reads for the proof, ahead of the delta */
ds_status ds_prove(const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data, uint64_t new_size,
                   const uint8_t *delta, uint64_t delta_size, uint64_t memory_bytes, ds_opened *opened,
                   bool (*progress)(void *context, unsigned done), void *context, uint64_t *same);

/* ---- Inspect -------------------------------------------------------------------------- */

#define DS_STREAM_COUNT 10
#define DS_PARTS_MAX 8

typedef struct ds_stream_info {
    const char *name;
    uint64_t raw_size;
    unsigned frame; /* streams of one frame are compressed together */
} ds_stream_info;

typedef struct ds_delta_info {
    unsigned revision;
    unsigned zstd_version[3]; /* that made it */
    bool has_digests;
    bool plain;                        /* the old image is read as plain bytes */
    bool modelled;                     /* one coded string instead of streams; `frame_count` is 0 */
    uint64_t modelled_size;            /* of that string */
    unsigned table;                    /* of the model, in units of 256 KiB */
    bool has_context;                  /* code literals were compressed behind the old bytes round them */
    unsigned part_count;               /* files that old is made of, one after the other; 0: it is one */
    uint64_t part_sizes[DS_PARTS_MAX]; /* together old_size */
    uint64_t total_size, old_size, new_size;
    uint8_t old_digest[DS_SHORT_DIGEST_SIZE], new_digest[DS_SHORT_DIGEST_SIZE];
    uint64_t header_size;
    unsigned frame_count;
    uint64_t frame_sizes[DS_STREAM_COUNT]; /* as stored */
    bool frame_raw[DS_STREAM_COUNT];       /* stored as it is, not compressed */
    ds_stream_info streams[DS_STREAM_COUNT];
} ds_delta_info;

/* Read the header of a delta; DS_E_DELTA where it is not one. Checks the header and the frames' bounds,
 * not their content. */
ds_status ds_inspect(const uint8_t *delta, uint64_t delta_size, ds_delta_info *info);

/* Where a container's parts go: the caller writes `header` (at most DS_HEADER_MAX bytes), then the frames. */
#define DS_HEADER_MAX 256

/* Write the header that `info` describes (total_size and header_size are computed from the rest).
 * Returns its size; 0 when a field cannot be written. */
size_t ds_write_header(ds_delta_info *info, uint8_t header[DS_HEADER_MAX]);

/* ---- Create --------------------------------------------------------------------------- */

/* An old image that several new ones are made from: read, labelled and indexed once. It reads the bytes it was made
 * from: they must stay. Any number of creations may use it at the same time; they make the same deltas as without.
 * Memory: about 14 bytes for each of the image. */
typedef struct ds_prepared ds_prepared; /* opaque */
ds_status ds_prepare(const uint8_t *old_data, uint64_t old_size, uint64_t memory_bytes, unsigned threads,
                     ds_prepared **prepared);
void ds_prepared_free(ds_prepared *prepared); /* accepts NULL */

typedef struct ds_create_options {
    uint64_t memory_bytes; /* ceiling for everything beside the two images */
    unsigned threads;      /* at least 1; any count gives the same bytes */
    unsigned rounds;       /* of matching, 1 to 8; 0 chooses by size */
    bool plain;            /* look at the images as plain bytes, whatever they are */
    bool prove;            /* with a second thread: begin the proof while the delta is still written */
    bool modelled;         /* code with the adaptive model: the fewest bytes, slow on both sides */
    /* Old may be several files, 2 to DS_PARTS_MAX, one after the other: code that moved between them is found. */
    unsigned part_count;
    uint64_t part_sizes[DS_PARTS_MAX];
    /* For measurement, else 0: techniques (DS_WITHOUT_...) and kinds of references (bit n: kind n of
     * docs/spec/delta-format.md) to do without. Of most such deltas only the size is of use: readers do not know
     * what was left out. */
    uint32_t without;
    uint64_t without_kinds;
    const ds_prepared *prepared; /* of this very old image; NULL, with `plain` or `without` unused: prepare it anew */
    /* Called now and then from the calling thread; `done` of 1000. False cancels. May be NULL. */
    bool (*progress)(void *context, unsigned done);
    void *context;
} ds_create_options;

enum {
    DS_WITHOUT_LABELS = 1,       /* match bytes as they are, references and all, in one round */
    DS_WITHOUT_PRICES = 2,       /* choose the longest matches as blocks */
    DS_WITHOUT_DERIVATIONS = 4,  /* send what could be computed */
    DS_WITHOUT_DEFLATE = 8,      /* leave compressed streams as they are */
    DS_WITHOUT_OLD_BYTES = 16,   /* model: literals without the old bytes in their place */
    DS_WITHOUT_TEACHING = 32,    /* model: no look at old code before the first literals */
    DS_WITHOUT_LESSONS = 64,     /* learn nothing from corrected references */
    DS_WITHOUT_NEIGHBOURS = 128, /* predict branches by the address map alone, not by the block they are in */
    DS_WITHOUT_FRAMES = 256,     /* unwind tables as any other bytes */
    DS_WITHOUT_RENAMES = 512,    /* strings as they were, however often the same was changed in them */
    DS_WITHOUT_PADDINGS = 1024,  /* a block on either side of each padding that became longer or shorter */
    DS_WITHOUT_LANDMARKS = 2048, /* model: numbers that do not see where they lead */
    DS_WITHOUT_FRESH = 4096,     /* a block on either side of a build id */
};

typedef struct ds_creation ds_creation; /* opaque; owns the streams */

/* Compute the typed raw streams of a delta. The caller compresses them and writes the container. */
ds_status ds_create(const uint8_t *old_data, uint64_t old_size, const uint8_t *new_data, uint64_t new_size,
                    const ds_create_options *options, ds_creation **creation);
void ds_create_free(ds_creation *creation); /* accepts NULL */

/* Raw stream `index` below DS_STREAM_COUNT; the bytes live as long as the creation. */
const uint8_t *ds_stream_at(const ds_creation *creation, unsigned index, uint64_t *size);
const char *ds_stream_name(unsigned index);

/* Literals of code come in parts, at least one. If the caller says so in the header, each is a zstd frame behind its
 * context, the old bytes round the part's places, as raw content prefix; the frames follow each other in the one frame
 * of that stream. `code_start`: where the part begins in the stream. */
#define DS_CONTEXT_STREAM 4
unsigned ds_code_part_count(const ds_creation *creation);
const uint8_t *ds_context_at(const ds_creation *creation, unsigned part, uint64_t *size, uint64_t *code_start);
/* What the model made of it: the body of a modelled delta. */
const uint8_t *ds_modelled_at(const ds_creation *creation, uint64_t *size, unsigned *table);
/* What each kind of the model's decisions cost, in 1/4096 bit; *name is NULL behind the last one. */
uint64_t ds_modelled_cost(const ds_creation *creation, unsigned index, const char **name);
/* Whether either image was understood, at least in part; else the delta is that of plain bytes. */
bool ds_create_has_parsed(const ds_creation *creation);
/* Whether the model's string was applied, and gave the new image: `prove`. Else ds_prove() is still to be called. */
bool ds_create_is_proved(const ds_creation *creation);
/* For ds_prove(): what `prove` began and did not end. The caller's from now on, and the old image must stay; NULL where
 * there is nothing of use. It holds at most so much memory until the proof, and its thread may still be at work. */
ds_opened *ds_create_take_opened(ds_creation *creation);
uint64_t ds_opened_memory(const ds_opened *opened);
void ds_opened_free(ds_opened *opened); /* accepts NULL; waits for the thread */
/* Copied references that changed and were predicted right; that did not change, and were predicted otherwise. Where the
 * second are many, bytes were moved without being adjusted: plain bytes may do better. */
void ds_create_balance(const ds_creation *creation, uint64_t *helped, uint64_t *harmed);
uint64_t ds_create_peak_memory(const ds_creation *creation);

/* ---- Explain -------------------------------------------------------------------------- */

typedef struct ds_explanation ds_explanation; /* opaque; owns what it found */

/* Which new bytes a delta is spent on. Applies it once more and looks on; the caller has applied it before, and so
 * knows that it is whole. The new image is cut at `bounds` (ascending, from 0; they must stay): each piece reaches to
 * the next bound, the last one has no end; bytes of compressed streams lie behind the new image. Errors: as ds_apply's.
 */
ds_status ds_explain(const uint8_t *old_data, uint64_t old_size, const uint8_t *delta, uint64_t delta_size,
                     const ds_limits *limits, const uint64_t *bounds, uint64_t bound_count, ds_explanation **out);
void ds_explain_free(ds_explanation *explanation); /* accepts NULL */

/* A kind of decision: a stream of the delta, or a row of the model; NULL behind the last. */
const char *ds_explained_kind(const ds_explanation *explanation, unsigned kind);
/* Costs in 1/4096 bit: those of every kind for the first piece, then for the next; last those of no place. */
const uint64_t *ds_explained_costs(const ds_explanation *explanation);
/* The blocks that were copied: new offset, old offset, length, each three numbers. */
const uint64_t *ds_explained_blocks(const ds_explanation *explanation, uint64_t *count);

/* The same for plain bytes that were compressed behind a prefix: adds to one cost for each piece. */
ds_status ds_explain_bytes(const uint8_t *data, uint64_t size, const uint8_t *prefix, uint64_t prefix_size,
                           uint64_t memory_bytes, const uint64_t *bounds, uint64_t bound_count, uint64_t *costs);

/* ---- Alike ---------------------------------------------------------------------------- */

/* Takes hashes, ascending, each once; called at most once. */
typedef bool (*ds_hash_sink)(void *context, const uint32_t *hashes, size_t count);

/* A sketch of the code in a file: functions give the same hashes in whatever image they lie, one for each 64
 * instructions or so. Common ones tell that two images have code in common. None of what is no image. */
ds_status ds_sketch_code(const uint8_t *data, uint64_t size, uint64_t memory_bytes, ds_hash_sink sink, void *context);

/* ---- Digests -------------------------------------------------------------------------- */

/* SHA-256 (FIPS 180-4) in the making. It may be copied; closing one leaves it of no more use. */
typedef struct ds_sha256_state {
    uint32_t h[8];
    uint64_t length;
    uint8_t block[64];
    bool fast; /* the processor has the instructions; asked once, since the question is slow */
} ds_sha256_state;

void ds_sha256_open(ds_sha256_state *state);
void ds_sha256_add(ds_sha256_state *state, const uint8_t *data, uint64_t size);
void ds_sha256_close(ds_sha256_state *state, uint8_t digest[DS_DIGEST_SIZE]);
/* All three. */
void ds_sha256(const uint8_t *data, uint64_t size, uint8_t digest[DS_DIGEST_SIZE]);

#ifdef __cplusplus
}
#endif

#endif
