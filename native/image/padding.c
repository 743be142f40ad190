/* From instruction to instruction; see padding.h. */
#include "image/padding.h"

#include "image/isa/idle.h"

ds_padding_scan ds_padding_scan_open(const ds_image *image, ds_offset from, ds_offset end, bool behind_jumps) {
    ds_offset most = image->starts != NULL ? image->file.size : 0;
    return (ds_padding_scan){.image = image,
                             .from = from,
                             .at = from,
                             .end = end < most ? end : most,
                             .function = ds_image_functions_before(image, from),
                             .behind_jumps = behind_jumps};
}

/* Where the next instruction starts, from `at` on; `end`, where none does before. */
static inline ds_offset next_start(const ds_image *image, ds_offset at, ds_offset end) {
    const uint64_t most = (image->file.size + 7) / 8;
    while (at < end) {
        bool many = most - (at >> 3) >= sizeof(uint64_t);
        uint64_t starts = many ? ds_load64(image->starts + (at >> 3)) : image->starts[at >> 3];
        starts >>= at & 7;
        if (starts != 0) {
            at += (unsigned)__builtin_ctzll(starts);
            return at < end ? at : end;
        }
        at = (at | 7) + 1 + (many ? 56 : 0);
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
    const ds_span *file = &image->file;
    ds_offset begin = next_start(image, s->at, s->end);
    while (begin < s->end) {
        ds_offset at = begin, next = next_start(image, at + 1, file->size);
        while (does_nothing(file->data + at, next - at)) {
            at = next;
            if (at >= s->end)
                return false;
            next = next_start(image, at + 1, file->size);
        }
        *found = (ds_padding){begin, at, is_function(s, at)};
        bool counts = begin < at || found->of_function || s->behind_jump;
        s->behind_jump = s->behind_jumps && leads_away(file->data + at, next - at);
        s->at = next;
        if (counts && begin > s->from)
            return true;
        begin = next;
    }
    return false;
}
