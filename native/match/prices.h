/* What a new byte costs by what it is: next to nothing where a block gives it, a residual where the block is wrong
 * there, a literal outside blocks.
 *
 * Prices are integers in 1/64 bit, found by trial on nine pairs of both formats: the optimum is
 * flat, each of them moves the total by less than 1 % for a fifth of its value.
 */
#ifndef DS_PRICES_H
#define DS_PRICES_H

#include "match/match.h"

#define DS_BIT 64 /* of price */

/* What a new byte is, which decides its prices. */
enum {
    DS_DATA_BYTE,
    DS_CODE_BYTE,
    DS_WORD_BYTE,
    DS_WORD_REF_BYTE,
    DS_REF1_BYTE,
    DS_REF2_BYTE,
    DS_REF3_BYTE,
    DS_REF4_BYTE,
    DS_REF8_BYTE,
    DS_BYTE_CLASSES
};
#define DS_IN_INSTRUCTION 0x80 /* beside the class, of bytes of code but words that start no instruction */
#define DS_CLASS_MASK 0x7f

typedef struct ds_price_list {
    uint16_t change;   /* of a new block, its distance apart */
    uint16_t distance; /* each doubling of its distance */
    uint16_t broken;   /* of a block that begins or ends in an instruction */
    uint16_t miss[DS_BYTE_CLASSES];
    uint16_t literal[DS_BYTE_CLASSES];
} ds_price_list;

const ds_price_list *ds_prices_of(ds_price_coding coding);

/* The class of each new byte of the range. Freed by the caller. */
ds_status ds_classes_open(uint8_t **classes, const ds_image *new_image, ds_range range, ds_arena *arena);

#endif
