/* Borders between blocks that touch in the new image. Where the bytes on both sides agree with both blocks, in
 * reference-free form, the border may lie anywhere; where a function starts is told most cheaply, and most often true.
 *
 * Invariant: no block is left empty, and none grows over an end of the old image.
 */
#include "match/match.h"

#define REACH ((uint64_t)64 << 10) /* how far a border may move */

static bool is_function(const ds_image *image, ds_offset offset) {
    uint64_t at = ds_image_functions_before(image, offset);
    return at < image->functions.count && image->functions.items[at] == offset;
}

/* How many bytes the border can move down: the second block goes on before its first byte. */
static uint64_t room_before(const ds_block *a, const ds_block *b, const ds_side *old_side, const ds_side *new_side) {
    uint64_t most = a->length - 1 < b->old_offset ? a->length - 1 : b->old_offset, room = 0;
    const uint8_t *old_bytes = old_side->bytes + b->old_offset, *new_bytes = new_side->bytes + b->new_offset;
    most = most < REACH ? most : REACH;
    while (room < most && old_bytes[-1 - (int64_t)room] == new_bytes[-1 - (int64_t)room])
        room++;
    return room;
}

/* How many it can move up: the first block goes on behind its last byte. */
static uint64_t room_behind(const ds_block *a, const ds_block *b, const ds_side *old_side, const ds_side *new_side) {
    ds_offset end = a->old_offset + a->length;
    uint64_t most = b->length - 1 < old_side->size - end ? b->length - 1 : old_side->size - end, room = 0;
    const uint8_t *old_bytes = old_side->bytes + end, *new_bytes = new_side->bytes + b->new_offset;
    most = most < REACH ? most : REACH;
    while (room < most && old_bytes[room] == new_bytes[room])
        room++;
    return room;
}

/* How good a border is that moves up by `move`: both blocks know a function there, or one. */
static unsigned worth(const ds_block *a, const ds_block *b, const ds_image *old_image, int64_t move) {
    return 2 * is_function(old_image, b->old_offset + (uint64_t)move) +
           is_function(old_image, a->old_offset + a->length + (uint64_t)move);
}

/* Tries the functions that the old bytes from `from` to `to` hold, which the border meets when it moves by their
 * distance from `at`. */
static void try_functions(const ds_block *a, const ds_block *b, const ds_image *old_image, ds_offset from, ds_offset to,
                          ds_offset at, int64_t *best, unsigned *most) {
    for (uint64_t i = ds_image_functions_before(old_image, from);
         i < old_image->functions.count && old_image->functions.items[i] <= to; i++) {
        int64_t move = (int64_t)(old_image->functions.items[i] - at);
        unsigned value = worth(a, b, old_image, move);
        if (value > *most) {
            *most = value;
            *best = move;
        }
    }
}

void ds_blocks_slide(ds_blocks *blocks, const ds_side *old_side, const ds_side *new_side) {
    const ds_image *old_image = old_side->image;
    for (uint64_t i = 1; i < blocks->list.count; i++) {
        ds_block *a = &blocks->list.items[i - 1], *b = a + 1;
        if (a->new_offset + a->length != b->new_offset)
            continue;
        uint64_t before = room_before(a, b, old_side, new_side), behind = room_behind(a, b, old_side, new_side);
        ds_offset end = a->old_offset + a->length;
        int64_t move = 0;
        unsigned most = worth(a, b, old_image, 0);
        try_functions(a, b, old_image, b->old_offset - before, b->old_offset + behind, b->old_offset, &move, &most);
        try_functions(a, b, old_image, end - before, end + behind, end, &move, &most);
        a->length += (uint64_t)move;
        b->new_offset += (uint64_t)move;
        b->old_offset += (uint64_t)move;
        b->length -= (uint64_t)move;
    }
}
