/* From instruction to instruction; see padding.h. */
#include "image/padding.h"

ds_padding_scan ds_padding_scan_open(const ds_image *image, ds_offset from, ds_offset end, bool behind_jumps) {
    ds_offset most = image->starts != NULL ? image->file.size : 0;
    return (ds_padding_scan){.image = image,
                             .from = from,
                             .at = from,
                             .end = end < most ? end : most,
                             .function = ds_image_functions_before(image, from),
                             .behind_jumps = behind_jumps,
                             .before = UINT64_MAX};
}

/* Where the next instruction starts, from `at` on; `end`, where none does before. */
static ds_offset next_start(const ds_image *image, ds_offset at, ds_offset end) {
    while (at < end) {
        unsigned starts = image->starts[at >> 3] >> (at & 7);
        if (starts != 0) {
            at += (unsigned)__builtin_ctz(starts);
            return at < end ? at : end;
        }
        at = (at | 7) + 1;
    }
    return end;
}

#define PREFIX_WORD 0x66
#define PREFIX_CODE 0x2e

/* Whether an instruction does nothing: NOP of AArch64; NOP and INT3 of x86-64, in all lengths that assemblers use. */
static bool does_nothing(const uint8_t *bytes, uint64_t size) {
    static const uint8_t word[4] = {0x1f, 0x20, 0x03, 0xd5};
    if (size == sizeof word && memcmp(bytes, word, sizeof word) == 0)
        return true;
    if (size == 1 && bytes[0] == 0xcc)
        return true;
    for (; size > 1 && (bytes[0] == PREFIX_WORD || bytes[0] == PREFIX_CODE); size--)
        bytes++;
    return size == 1 ? bytes[0] == 0x90 : size > 2 && bytes[0] == 0x0f && bytes[1] == 0x1f;
}

#define PREFIX_NOTRACK 0x3e

/* Whether what stands behind an instruction is only reached from elsewhere: returns, and jumps without condition. */
static bool leads_away(const uint8_t *bytes, uint64_t size) {
    if (size == 4 && ((ds_load32(bytes) & 0xfc000000) == 0x14000000 || (ds_load32(bytes) & 0xffbffc1f) == 0xd61f0000))
        return true;
    if (bytes[0] == PREFIX_NOTRACK && size > 1)
        bytes++, size--;
    switch (bytes[0]) {
    case 0xc3:
        return size == 1;
    case 0xeb:
        return size == 2;
    case 0xe9:
        return size == 5;
    case 0xff:
        return size > 1 && (bytes[1] >> 3 & 7) == 4;
    default:
        return false;
    }
}

static bool is_function(ds_padding_scan *s, ds_offset at) {
    const ds_image *image = s->image;
    while (s->function < image->functions.count && image->functions.items[s->function] < at)
        s->function++;
    return s->function < image->functions.count && image->functions.items[s->function] == at;
}

bool ds_padding_next(ds_padding_scan *s, ds_padding *found) {
    const ds_image *image = s->image;
    ds_offset size = image->file.size;
    for (;;) {
        ds_offset begin = next_start(image, s->at, s->end), at = begin;
        while (at < s->end) {
            ds_offset next = next_start(image, at + 1, size);
            if (!does_nothing(image->file.data + at, next - at))
                break;
            at = next;
        }
        if (at >= s->end)
            return false;
        bool behind_jump =
            s->behind_jumps && s->before < begin && leads_away(image->file.data + s->before, begin - s->before);
        s->before = at;
        s->at = at + 1;
        *found = (ds_padding){begin, at, is_function(s, at)};
        if (begin > s->from && (begin < at || found->of_function || behind_jump))
            return true;
    }
}
