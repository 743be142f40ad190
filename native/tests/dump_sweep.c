/* Prints what the sweep of one instruction set finds in raw code, for tests that compare it with others:
 *
 *   dump_sweep x86_64|aarch64 FILE CODE_OFFSET CODE_SIZE CODE_ADDRESS [REGION ...] [@ENTRY ...] [%STEP]
 *
 * REGION is OFFSET:SIZE:ADDRESS; without any, every address belongs to the image. ENTRY is an offset;
 * with STEP decoding starts anew every so many bytes.
 * Numbers as strtoull base 0 reads them. Lines, offsets ascending:
 *   S offset                          an instruction starts here
 *   R offset kind aux target base     a reference
 * With -t as the first argument: the best time of five sweeps in milliseconds instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "image/isa/isa.h"
#include "image/refs.h"
#include "tests/files.h"

#define REGIONS 64

static const char *const kind_names[DS_REF_KINDS] = {
    [DS_REF_REL8] = "REL8", [DS_REF_REL32] = "REL32", [DS_REF_BASE32] = "BASE32",
    [DS_REF_B26] = "B26",   [DS_REF_IMM19] = "IMM19", [DS_REF_IMM14] = "IMM14",
    [DS_REF_ADR] = "ADR",   [DS_REF_ADRP] = "ADRP",   [DS_REF_LO12] = "LO12",
};

static void print(const ds_image *image) {
    for (uint64_t i = 0; i < image->file.size; i++)
        if (image->starts[i >> 3] >> (i & 7) & 1)
            printf("S %llu\n", (unsigned long long)i);
    ds_ref_cursor cursor;
    ds_ref item;
    const ds_ref *ref = &item;
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &item)) {
        uint32_t aux = ds_ref_aux(ref);
        ds_address base = ds_ref_is_based(ds_ref_kind_of(ref)) ? ds_ref_base(image, ref) : 0;
        printf("R %u %s %u %llu %llu\n", ref->offset, kind_names[ds_ref_kind_of(ref)], aux,
               (unsigned long long)ref->target, (unsigned long long)base);
    }
}

typedef struct request {
    ds_sweep sweep;
    ds_span file;
    ds_code code;
    ds_region regions[REGIONS];
    unsigned region_count;
    ds_offset *entries;
    uint64_t entry_count;
} request;

static int run(const request *r, double *milliseconds) {
    ds_arena *arena = ds_arena_open(UINT64_MAX);
    ds_image image = {.file = r->file, .arena = arena};
    image.starts = ds_arena_alloc(arena, r->file.size / 8 + 1);
    ds_status status = DS_OK;
    for (unsigned i = 0; i < r->region_count && status == DS_OK; i++)
        status = ds_image_add_region(&image, r->regions[i]);
    clock_t from = clock();
    if (status == DS_OK)
        status = r->sweep(&image, r->code, r->entries, r->entry_count);
    double took = (double)(clock() - from) * 1e3 / CLOCKS_PER_SEC;
    if (milliseconds == NULL && status == DS_OK)
        status = ds_image_settle(&image);
    if (milliseconds == NULL && status == DS_OK)
        print(&image);
    else if (milliseconds != NULL && took < *milliseconds)
        *milliseconds = took;
    ds_image_free(&image);
    ds_arena_close(arena);
    return status == DS_OK ? 0 : 1;
}

static uint64_t number(const char *text, char **end) {
    return strtoull(text, end, 0);
}

int main(int argc, char **argv) {
    bool timing = argc > 1 && strcmp(argv[1], "-t") == 0;
    if (timing)
        argc--, argv++;
    if (argc < 6)
        return 2;
    request r = {.sweep = strcmp(argv[1], "aarch64") == 0 ? ds_aarch64_sweep : ds_x86_64_sweep};
    uint8_t *data = read_file(argv[2], &r.file.size);
    if (data == NULL)
        return 2;
    r.file.data = data;
    char *end;
    r.code = (ds_code){number(argv[3], &end), number(argv[5], &end), number(argv[4], &end)};
    uint64_t step = 0;
    r.entries = calloc((size_t)(r.file.size + (uint64_t)argc), sizeof *r.entries);
    for (int i = 6; i < argc; i++) {
        if (argv[i][0] == '%') {
            step = number(argv[i] + 1, &end);
        } else if (argv[i][0] == '@') {
            r.entries[r.entry_count++] = number(argv[i] + 1, &end);
        } else if (r.region_count < REGIONS) {
            ds_region region = {.offset = number(argv[i], &end), .class_ = DS_REGION_DATA};
            region.size = number(end + 1, &end);
            region.address = number(end + 1, &end);
            r.regions[r.region_count++] = region;
        }
    }
    for (uint64_t at = step; step > 0 && at < r.code.size; at += step)
        r.entries[r.entry_count++] = r.code.offset + at;
    if (r.region_count == 0) {
        ds_address after = r.code.address + r.code.size;
        r.regions[0] = (ds_region){0, 0, r.code.address, DS_REGION_NOBITS, 0};
        r.regions[1] = (ds_region){r.code.offset, r.code.address, r.code.size, DS_REGION_CODE, 0};
        r.regions[2] = (ds_region){0, after, UINT64_MAX - after, DS_REGION_NOBITS, 0};
        r.region_count = 3;
    }
    double best = 1e9;
    int failed = 0;
    for (int i = 0; i < (timing ? 5 : 1) && failed == 0; i++)
        failed = run(&r, timing ? &best : NULL);
    if (timing)
        printf("%.2f\n", best);
    free(r.entries);
    free(data);
    return failed;
}
