/* Any bytes as the tables of a Go program: reading them must end, stay inside the file and keep the promises of
 * image.h, for any place that a file format may give for them.
 *
 * The front: place and size of the functions' table (size 0: it is to be found), place and size of the module data, two bytes each, and one
 * byte that bounds the work. Then the file, loaded from its 64th byte on. `test_go FOLDER` writes the seeds.
 */
#include <stdlib.h>

#include "image/format/go.h"
#include "tests/sound.h"

#define CEILING ((uint64_t)1 << 26)
#define FRONT 9
#define LOADED 0x10000u /* address of file offset 0 */
#define HEADER 0x40u
#define WORK_UNIT 0x400u
#define TEXT 0x200000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(void *context, ds_address function) {
    *(ds_address *)context ^= function;
}

static ds_extent extent_at(const uint8_t *front, uint64_t size) {
    ds_offset at = ds_load16(front);
    uint64_t length = ds_load16(front + 2);
    if (at < HEADER || !ds_within(at, length, size))
        return (ds_extent){0};
    return (ds_extent){at, LOADED + at, length};
}

static ds_status read_go(const uint8_t *front, ds_span file, ds_arena *arena) {
    ds_image image = {.file = file, .arena = arena};
    ds_address sum = 0;
    uint64_t work = front[FRONT - 1] == 0xff ? 4 * file.size : front[FRONT - 1] * (uint64_t)WORK_UNIT;
    ds_go_program program = {.image = &image,
                             .functions = extent_at(front, file.size),
                             .module = extent_at(front + 4, file.size),
                             .work_left = &work,
                             .sink = note,
                             .context = &sum};
    DS_TRY(ds_image_add_region(&image,
                               (ds_region){.offset = HEADER, .address = LOADED + HEADER, .size = file.size - HEADER}));
    ds_status status = ds_go_read(&program);
    if (status == DS_OK)
        status = ds_image_settle(&image);
    if (status == DS_OK && !ds_is_sound(&image))
        abort();
    ds_image_free(&image);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size <= FRONT + HEADER)
        return 0;
    ds_arena *arena = ds_arena_open(CEILING);
    if (arena == NULL)
        return 0;
    ds_status status = read_go(data, (ds_span){data + FRONT, size - FRONT}, arena);
    if (status != DS_OK && status != DS_E_MEMORY)
        abort();
    ds_arena_close(arena);
    return 0;
}
