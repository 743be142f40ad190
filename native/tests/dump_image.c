/* What the parsers find in a file, as text, one thing a line; for tests that compare with others.
 *
 *   dump_image FILE [WHAT...]   WHAT: regions refs slots starts counts; all but counts by default
 *
 * Lines: "arch NAME", "region OFFSET ADDRESS SIZE CLASS", "ref OFFSET KIND AUX BASE TARGET",
 * "slot OFFSET TARGET", "start OFFSET", "count KIND NUMBER"; numbers are hexadecimal, counts
 * decimal.
 */
#include <stdio.h>
#include <stdlib.h>

#include "image/refs.h"
#include "tests/files.h"

#define CEILING ((uint64_t)8 << 30)

static const char *const arch_names[] = {"none", "x86_64", "aarch64"};
static const char *const class_names[] = {"data", "code", "nobits"};
static const char *const kind_names[DS_REF_KINDS] = {
    [DS_REF_NONE] = "NONE",
    [DS_REF_REL8] = "REL8",
    [DS_REF_REL32] = "REL32",
    [DS_REF_PREL32] = "PREL32",
    [DS_REF_BACK32] = "BACK32",
    [DS_REF_PREL64] = "PREL64",
    [DS_REF_ABS64] = "ABS64",
    [DS_REF_ABS32] = "ABS32",
    [DS_REF_FILE64] = "FILE64",
    [DS_REF_FILE32] = "FILE32",
    [DS_REF_BASE32] = "BASE32",
    [DS_REF_BASE64] = "BASE64",
    [DS_REF_SIZE32] = "SIZE32",
    [DS_REF_SIZE64] = "SIZE64",
    [DS_REF_INDEX32] = "INDEX32",
    [DS_REF_RELR64] = "RELR64",
    [DS_REF_ULEB1] = "ULEB1",
    [DS_REF_ULEB2] = "ULEB2",
    [DS_REF_ULEB3] = "ULEB3",
    [DS_REF_ULEB4] = "ULEB4",
    [DS_REF_ULEB_SIZE1] = "ULEB_SIZE1",
    [DS_REF_ULEB_SIZE2] = "ULEB_SIZE2",
    [DS_REF_ULEB_SIZE3] = "ULEB_SIZE3",
    [DS_REF_ULEB_SIZE4] = "ULEB_SIZE4",
    [DS_REF_B26] = "B26",
    [DS_REF_IMM19] = "IMM19",
    [DS_REF_IMM14] = "IMM14",
    [DS_REF_ADR] = "ADR",
    [DS_REF_ADRP] = "ADRP",
    [DS_REF_LO12] = "LO12",
    [DS_REF_CHAIN36] = "CHAIN36",
    [DS_REF_CHAIN43] = "CHAIN43",
    [DS_REF_CHAIN32] = "CHAIN32",
    [DS_REF_NEXT12] = "NEXT12",
    [DS_REF_NEXT11] = "NEXT11",
    [DS_REF_BASE24] = "BASE24",
    [DS_REF_PAGE24] = "PAGE24",
    [DS_REF_INDEX32_4] = "INDEX32_4",
    [DS_REF_INDEX32_8] = "INDEX32_8",
    [DS_REF_INDEX32_16] = "INDEX32_16",
    [DS_REF_COUNT32_4] = "COUNT32_4",
    [DS_REF_COUNT32_16] = "COUNT32_16",
    [DS_REF_INDEX24_4] = "INDEX24_4",
    [DS_REF_NAME23] = "NAME23",
    [DS_REF_STEP6] = "STEP6",
    [DS_REF_STEP8] = "STEP8",
    [DS_REF_STEP16] = "STEP16",
    [DS_REF_STEP32] = "STEP32",
    [DS_REF_STEP_ULEB1] = "STEP_ULEB1",
    [DS_REF_STEP_ULEB2] = "STEP_ULEB2",
    [DS_REF_STEP_ULEB3] = "STEP_ULEB3",
    [DS_REF_STEP_ULEB4] = "STEP_ULEB4",
};

static const char *kind_name(ds_ref_kind kind) {
    return kind < DS_REF_KINDS && kind_names[kind] != NULL ? kind_names[kind] : "UNNAMED";
}

static bool wanted(int argc, char **argv, const char *what) {
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], what) == 0)
            return true;
    return argc <= 2 && strcmp(what, "counts") != 0;
}

static void print_refs(const ds_image *image) {
    ds_ref_cursor cursor;
    ds_ref item;
    const ds_ref *ref = &item;
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &item)) {
        ds_ref_kind kind = ds_ref_kind_of(ref);
        uint32_t aux = ds_ref_aux(ref);
        ds_address base = ds_ref_is_based(kind) ? ds_ref_base(image, ref) : 0;
        printf("ref %x %s %x %llx %llx\n", ref->offset, kind_name(kind), aux, (unsigned long long)base,
               (unsigned long long)ref->target);
    }
}

static void print_lists(const ds_image *image) {
    for (uint64_t i = 0; i < image->lists.count; i++) {
        const ds_list *list = &image->lists.items[i];
        printf("list %llx", (unsigned long long)list->base);
        for (uint64_t j = 0; j < list->count; j++)
            printf(" %x", image->listed.items[list->first + j]);
        printf("\ntable %llx %llx\n", (unsigned long long)list->offset, (unsigned long long)list->size);
    }
}

static void print_unwind(const ds_image *image) {
    const ds_extent *tables[2] = {&image->frames, &image->frame_header};
    for (unsigned i = 0; i < 2; i++)
        printf("unwind %s %llx %llx %llx\n", i == 0 ? "frames" : "header", (unsigned long long)tables[i]->offset,
               (unsigned long long)tables[i]->address, (unsigned long long)tables[i]->size);
}

static void print_counts(const ds_image *image) {
    uint64_t counts[DS_REF_KINDS] = {0}, starts = 0;
    ds_ref_cursor cursor;
    ds_ref ref;
    ds_refs_all(&cursor, image);
    while (ds_refs_next(&cursor, &ref))
        counts[ds_ref_kind_of(&ref)]++;
    for (unsigned kind = 0; kind < DS_REF_KINDS; kind++)
        if (counts[kind] != 0)
            printf("count %s %llu\n", kind_name((ds_ref_kind)kind), (unsigned long long)counts[kind]);
    if (image->starts != NULL)
        for (uint64_t i = 0; i < image->file.size / 8 + 1; i++)
            starts += (uint64_t)__builtin_popcount(image->starts[i]);
    printf("count refs %llu\ncount slots %llu\ncount starts %llu\ncount peak %llu\n",
           (unsigned long long)image->refs.count, (unsigned long long)image->slots.count, (unsigned long long)starts,
           (unsigned long long)ds_arena_peak(image->arena));
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr,
                "usage: dump_image FILE [regions|refs|lists|functions|words|slots|starts|unwind|digits|counts ...]\n");
        return 2;
    }
    uint64_t size;
    uint8_t *data = read_file(argv[1], &size);
    ds_arena *arena = ds_arena_open(CEILING);
    if (data == NULL || arena == NULL) {
        fprintf(stderr, "dump_image: cannot read %s\n", argv[1]);
        return 2;
    }
    ds_image image;
    ds_status status = ds_image_parse((ds_span){data, size}, arena, &image);
    if (status != DS_OK) {
        fprintf(stderr, "dump_image: status %d\n", (int)status);
        return 1;
    }
    printf("arch %s\n", arch_names[image.arch]);
    if (wanted(argc, argv, "regions"))
        for (uint64_t i = 0; i < image.regions.count; i++) {
            const ds_region *region = &image.regions.items[i];
            printf("region %llx %llx %llx %s\n", (unsigned long long)region->offset,
                   (unsigned long long)region->address, (unsigned long long)region->size, class_names[region->class_]);
        }
    if (wanted(argc, argv, "refs"))
        print_refs(&image);
    if (wanted(argc, argv, "lists"))
        print_lists(&image);
    if (wanted(argc, argv, "words"))
        for (uint64_t i = 0; i < image.regions.count; i++)
            if (image.regions.items[i].words)
                printf("words %llu\n", (unsigned long long)i);
    if (wanted(argc, argv, "functions"))
        for (uint64_t i = 0; i < image.functions.count; i++)
            printf("function %x\n", image.functions.items[i]);
    if (wanted(argc, argv, "slots"))
        for (uint64_t i = 0; i < image.slots.count; i++)
            printf("slot %x %llx\n", image.slots.items[i].offset, (unsigned long long)image.slots.items[i].target);
    if (wanted(argc, argv, "starts") && image.starts != NULL)
        for (uint64_t i = 0; i < size; i++)
            if ((image.starts[i / 8] >> i % 8 & 1) != 0)
                printf("start %llx\n", (unsigned long long)i);
    if (wanted(argc, argv, "unwind"))
        print_unwind(&image);
    if (wanted(argc, argv, "fresh"))
        for (unsigned i = 0; i < image.fresh_count; i++)
            printf("fresh %llx %llx\n", (unsigned long long)image.fresh[i].offset,
                   (unsigned long long)image.fresh[i].size);
    if (wanted(argc, argv, "digits") && image.spellings.count > 0) {
        const ds_spelling *spelling = &image.spellings.items[0];
        printf("digits %llx %llx %llx\n", (unsigned long long)spelling->digits, (unsigned long long)spelling->spelled,
               (unsigned long long)spelling->size);
    }
    if (wanted(argc, argv, "counts"))
        print_counts(&image);
    ds_image_free(&image);
    ds_arena_close(arena);
    free(data);
    return 0;
}
