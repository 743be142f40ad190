/* ELF images for tests, put together by hand, and what the parser finds in them. */
#ifndef DS_ELF_BUILDER_H
#define DS_ELF_BUILDER_H

#include "image/image.h"
#include "tests/check.h"
#include "tests/find_ref.h"

#define FILE_SIZE 0x2000u
#define NAMES_AT 0x1e00u
#define SECTIONS_AT 0x1800u
#define SEGMENTS_AT 0x40u
#define LOADED 0x10000u /* address of file offset 0 */

enum { MACHINE_X86_64 = 62, MACHINE_AARCH64 = 183 };
enum {
    PROGBITS = 1,
    STRTAB = 3,
    RELA = 4,
    HASH = 5,
    DYNAMIC = 6,
    NOTE = 7,
    NOBITS = 8,
    DYNSYM = 11,
    INIT_ARRAY = 14,
    RELR = 19
};
enum { GNU_HASH = 0x6ffffff6, VERNEED = 0x6ffffffe };
enum { ALLOC = 2, CODE = 6, TLS = 0x402 };

/* --- a builder --------------------------------------------------------------------------- */

typedef struct builder {
    uint8_t bytes[FILE_SIZE];
    unsigned sections, names_size, segments;
} builder;

static inline void put16(builder *b, uint64_t at, uint64_t v) {
    memcpy(b->bytes + at, &v, 2);
}
static inline void put32(builder *b, uint64_t at, uint64_t v) {
    memcpy(b->bytes + at, &v, 4);
}
static inline void put64(builder *b, uint64_t at, uint64_t v) {
    memcpy(b->bytes + at, &v, 8);
}

/* Adds a section header; returns its number. A loaded section lies at LOADED + offset. */
static inline unsigned section(builder *b, const char *name, uint32_t type, uint64_t flags, uint64_t offset,
                               uint64_t size, uint32_t link) {
    uint64_t at = SECTIONS_AT + 64ull * b->sections;
    put32(b, at, b->names_size);
    put32(b, at + 4, type);
    put64(b, at + 8, flags);
    put64(b, at + 16, (flags & ALLOC) != 0 ? LOADED + offset : 0);
    put64(b, at + 24, offset);
    put64(b, at + 32, size);
    put32(b, at + 40, link);
    memcpy(b->bytes + NAMES_AT + b->names_size, name, strlen(name) + 1);
    b->names_size += (unsigned)strlen(name) + 1;
    put16(b, 60, ++b->sections);
    return b->sections - 1;
}

static inline void segment(builder *b, uint32_t type, uint32_t flags, uint64_t offset, uint64_t file_size,
                           uint64_t memory_size) {
    uint64_t at = SEGMENTS_AT + 56ull * b->segments;
    put32(b, at, type);
    put32(b, at + 4, flags);
    put64(b, at + 8, offset);
    put64(b, at + 16, LOADED + offset);
    put64(b, at + 24, LOADED + offset);
    put64(b, at + 32, file_size);
    put64(b, at + 40, memory_size);
    put16(b, 56, ++b->segments);
}

/* An ELF header with an empty section 0 and the section names as section 1. */
static inline void begin(builder *b, unsigned machine) {
    memset(b, 0, sizeof *b);
    memcpy(b->bytes, "\177ELF\2\1\1", 7);
    put16(b, 16, 3);
    put16(b, 18, machine);
    put16(b, 52, 64);
    put16(b, 54, 56);
    put16(b, 58, 64);
    put64(b, 32, SEGMENTS_AT);
    put64(b, 40, SECTIONS_AT);
    section(b, "", 0, 0, 0, 0, 0);
    put16(b, 62, section(b, ".shstrtab", STRTAB, 0, NAMES_AT, 0x100, 0));
}

static inline void without_sections(builder *b) {
    put64(b, 40, 0);
    put16(b, 60, 0);
    put16(b, 62, 0);
}

static inline ds_image parse(ds_arena *arena, const uint8_t *bytes, uint64_t size) {
    ds_image image;
    CHECK(ds_image_parse((ds_span){bytes, size}, arena, &image) == DS_OK);
    return image;
}

static inline const ds_ref *ref_at(const ds_image *image, uint64_t offset) {
    return find_ref(image, offset);
}

static inline bool has_ref(const ds_image *image, uint64_t offset, ds_ref_kind kind, ds_address target) {
    const ds_ref *ref = ref_at(image, offset);
    return ref != NULL && ds_ref_kind_of(ref) == kind && ref->target == target;
}

static inline bool has_slot(const ds_image *image, uint64_t offset, ds_address target) {
    for (uint64_t i = 0; i < image->slots.count; i++)
        if (image->slots.items[i].offset == offset)
            return image->slots.items[i].target == target;
    return false;
}

#endif
