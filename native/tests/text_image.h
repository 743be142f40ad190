/* A third format, for tests alone: text in which line numbers are the references. Matching then reads like a diff.
 *
 * An image is text. "<07>" is a reference to the seventh line (from 0); where a line is put in or taken out, the
 * numbers behind it change, as addresses do. The field is the two digits with their brackets, of a kind of four bytes;
 * its target is the address of the line's first byte. The text is one region of data. */
#ifndef DS_TEXT_IMAGE_H
#define DS_TEXT_IMAGE_H

#include <string.h>

#include "image/image.h"
#include "tests/check.h"

#define TEXT_ADDRESS 0x1000u
#define TEXT_KIND DS_REF_ABS32

static ds_offset line_at(ds_span text, unsigned number) {
    ds_offset at = 0;
    while (number > 0 && at < text.size)
        number -= text.data[at++] == '\n';
    return at;
}

static bool is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

static ds_status read_text(const char *text, ds_arena *arena, ds_image *image) {
    ds_span file = {(const uint8_t *)text, strlen(text)};
    *image = (ds_image){.file = file, .arena = arena};
    DS_TRY(ds_image_add_region(image, (ds_region){.address = TEXT_ADDRESS, .size = file.size}));
    for (ds_offset at = 0; at + 4 <= file.size; at++) {
        const uint8_t *field = file.data + at;
        if (field[0] != '<' || !is_digit(field[1]) || !is_digit(field[2]) || field[3] != '>')
            continue;
        unsigned number = (unsigned)(field[1] - '0') * 10 + (unsigned)(field[2] - '0');
        DS_TRY(ds_image_add_ref(image, at, TEXT_KIND, 0, TEXT_ADDRESS + line_at(file, number)));
    }
    return ds_image_settle(image);
}

#endif
