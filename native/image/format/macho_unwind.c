/* __unwind_info: compact unwind encodings by function, in pages.
 *
 * Source: mach-o/compact_unwind_encoding.h (libunwind).
 *
 * The table: common encodings; personalities; an index with a row per page: first function, page, list of
 * exception tables; pages, regular (function, encoding) or compressed (24 bits: function as distance from
 * the page's first, 8 bits: number of the encoding, common ones first). An encoding of mode "DWARF" holds
 * the place of a record in __eh_frame. All places count from the section, all functions and exception
 * tables from the Mach header.
 *
 * Invariant: pages and lists are charged, so those that a hostile index names twice cost no more.
 */
#include "image/format/macho.h"

enum { HEADER = 28, INDEX_ROW = 12, LSDA_ROW = 8, PAGE_HEADER = 8, COMPRESSED_HEADER = 12 };
enum { PAGE_REGULAR = 2, PAGE_COMPRESSED = 3 };
enum { MODE_MASK = 0x0f, MODE_DWARF_X86_64 = 0x04, MODE_DWARF_ARM64 = 0x03 };

typedef struct unwind_info {
    ds_macho *macho;
    ds_extent table;
    ds_address frames; /* of __eh_frame */
    bool has_frames;
} unwind_info;

static uint32_t load_at(const unwind_info *u, uint64_t at) {
    return ds_load32(u->macho->image->file.data + u->table.offset + at);
}

static ds_status field(unwind_info *u, uint64_t at, ds_ref_kind kind, ds_address base) {
    return ds_macho_field(u->macho, u->table.offset + at, kind, base);
}

/* Encodings of 4 bytes each: those that name a record of __eh_frame. */
static ds_status read_encodings(unwind_info *u, uint64_t at, uint64_t count, uint64_t stride) {
    uint32_t dwarf = u->macho->arch == DS_ARCH_X86_64 ? MODE_DWARF_X86_64 : MODE_DWARF_ARM64;
    for (uint64_t i = 0; i < count && u->has_frames && ds_within(at, 4, u->table.size); i++, at += stride)
        if ((load_at(u, at) >> 24 & MODE_MASK) == dwarf)
            DS_TRY(field(u, at, DS_REF_BASE24, u->frames));
    return DS_OK;
}

static ds_status read_regular(unwind_info *u, uint64_t page, uint64_t entries, uint64_t count) {
    uint64_t at = page + entries;
    if (!ds_within(at, count * 8, u->table.size) || !ds_macho_charge(u->macho, count * 8))
        return DS_OK;
    DS_TRY(read_encodings(u, at + 4, count, 8));
    for (uint64_t i = 0; i < count; i++) {
        DS_TRY(field(u, at + 8 * i, DS_REF_BASE32, u->macho->header));
        ds_macho_function(u->macho, u->macho->header + load_at(u, at + 8 * i));
    }
    return DS_OK;
}

static ds_status read_compressed(unwind_info *u, uint64_t page, uint64_t entries, uint64_t count, uint32_t first) {
    uint64_t at = page + entries;
    const uint8_t *p = u->macho->image->file.data + u->table.offset + page;
    uint64_t encodings = ds_load16(p + 8), encoding_count = ds_load16(p + 10);
    if (!ds_within(at, count * 4, u->table.size) || !ds_macho_charge(u->macho, (count + encoding_count) * 4))
        return DS_OK;
    DS_TRY(read_encodings(u, page + encodings, encoding_count, 4));
    for (uint64_t i = 0; i < count; i++) {
        DS_TRY(field(u, at + 4 * i, DS_REF_PAGE24, u->macho->header + first));
        ds_macho_function(u->macho, u->macho->header + first + (load_at(u, at + 4 * i) & 0xffffff));
    }
    return DS_OK;
}

static ds_status read_page(unwind_info *u, uint64_t page, uint32_t first) {
    if (page == 0 || !ds_within(page, COMPRESSED_HEADER, u->table.size) ||
        !ds_macho_charge(u->macho, COMPRESSED_HEADER))
        return DS_OK;
    const uint8_t *p = u->macho->image->file.data + u->table.offset + page;
    uint64_t entries = ds_load16(p + 4), count = ds_load16(p + 6);
    switch (ds_load32(p)) {
    case PAGE_REGULAR:
        return read_regular(u, page, entries, count);
    case PAGE_COMPRESSED:
        return read_compressed(u, page, entries, count, first);
    default:
        return DS_OK;
    }
}

static ds_status read_exceptions(unwind_info *u, uint64_t at, uint64_t end) {
    ds_macho *macho = u->macho;
    if (end < at || !ds_within(at, end - at, u->table.size) || !ds_macho_charge(macho, end - at))
        return DS_OK;
    for (; ds_within(at, LSDA_ROW, end); at += LSDA_ROW) {
        DS_TRY(field(u, at, DS_REF_BASE32, macho->header));
        DS_TRY(field(u, at + 4, DS_REF_BASE32, macho->header));
        DS_TRY(DS_VEC_RESERVE(macho->image->arena, &macho->unwind, macho->unwind.count + 1));
        macho->unwind.items[macho->unwind.count++] =
            (ds_unwind_function){.start = macho->header + load_at(u, at), .lsda = macho->header + load_at(u, at + 4)};
    }
    return DS_OK;
}

static ds_status read_index(unwind_info *u, uint64_t at, uint64_t rows) {
    for (uint64_t i = 0; i < rows; i++, at += INDEX_ROW) {
        DS_TRY(field(u, at, DS_REF_BASE32, u->macho->header));
        if (load_at(u, at + 4) != 0)
            DS_TRY(field(u, at + 4, DS_REF_BASE32, u->table.address));
        DS_TRY(field(u, at + 8, DS_REF_BASE32, u->table.address));
        DS_TRY(read_page(u, load_at(u, at + 4), load_at(u, at)));
    }
    return DS_OK;
}

static void find_frames(unwind_info *u) {
    for (uint64_t i = 0; i < u->macho->sections.count && !u->has_frames; i++) {
        const ds_macho_section *section = &u->macho->sections.items[i];
        if (strcmp(section->name, "__eh_frame") != 0 || section->bytes.size == 0)
            continue;
        u->has_frames = true;
        u->frames = section->bytes.address;
    }
}

ds_status ds_macho_unwind_info(ds_macho *macho, ds_extent table) {
    enum { VERSION = 1 };
    unwind_info u = {.macho = macho, .table = table};
    if (table.size < HEADER || !ds_macho_charge(macho, table.size) || load_at(&u, 0) != VERSION)
        return DS_OK;
    uint64_t common = load_at(&u, 4), common_count = load_at(&u, 8);
    uint64_t personalities = load_at(&u, 12), personality_count = load_at(&u, 16);
    uint64_t index = load_at(&u, 20), rows = load_at(&u, 24);
    find_frames(&u);
    for (unsigned at = 4; at < HEADER; at += 8)
        DS_TRY(field(&u, at, DS_REF_BASE32, table.address));
    if (ds_within(common, common_count * 4, table.size))
        DS_TRY(read_encodings(&u, common, common_count, 4));
    if (ds_within(personalities, personality_count * 4, table.size))
        for (uint64_t i = 0; i < personality_count; i++)
            DS_TRY(field(&u, personalities + 4 * i, DS_REF_BASE32, macho->header));
    if (rows == 0 || !ds_within(index, rows * INDEX_ROW, table.size))
        return DS_OK;
    DS_TRY(read_index(&u, index, rows));
    return read_exceptions(&u, load_at(&u, index + 8), load_at(&u, index + (rows - 1) * INDEX_ROW + 8));
}
