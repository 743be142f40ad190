/* From instruction to instruction; see padding.h. */
#include "image/padding.h"

#include "image/isa/isa.h"

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

static bool does_nothing(const uint8_t *bytes, uint64_t size) {
    return ds_aarch64_does_nothing(bytes, size) || ds_x86_64_does_nothing(bytes, size);
}

static bool leads_away(const uint8_t *bytes, uint64_t size) {
    return ds_aarch64_leads_away(bytes, size) || ds_x86_64_leads_away(bytes, size);
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
