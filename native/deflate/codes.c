/* Prefix codes; see codes.h.
 *
 * Sources: RFC 1951, section 3.2; zlib's trees.c (build_tree, gen_bitlen, scan_tree, build_bl_tree), whose choices
 * among equally good codes are kept, since they can be seen in the streams.
 */
#include "deflate/codes.h"

const uint16_t ds_length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                     31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
const uint8_t ds_length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                     2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
const uint16_t ds_distance_base[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                       33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                       1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
const uint8_t ds_distance_extra[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                       6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

unsigned ds_length_symbol(unsigned length) {
    unsigned n = length - DS_MATCH_MIN;
    if (length == DS_MATCH_MAX)
        return 28;
    if (n < 8)
        return n;
    unsigned extra = 29 - (unsigned)__builtin_clz(n);
    return 4 * extra + (n >> extra);
}

unsigned ds_distance_symbol(unsigned distance) {
    unsigned n = distance - 1;
    if (n < 4)
        return n;
    unsigned extra = 30 - (unsigned)__builtin_clz(n);
    return 2 * extra + (n >> extra);
}

/* ---- lengths from counts ---- */

#define HEAP_SIZE (2 * DS_LITERAL_SYMBOLS + 1)

/* A tree under way. Leaves are symbols, inner nodes follow from `leaves` on. */
typedef struct tree {
    uint32_t freq[HEAP_SIZE];
    uint16_t parent[HEAP_SIZE], heap[HEAP_SIZE];
    uint8_t depth[HEAP_SIZE], length[HEAP_SIZE];
    unsigned leaves, heap_length, heap_max;
    int max_code;
} tree;

static bool is_smaller(const tree *t, unsigned a, unsigned b) {
    return t->freq[a] < t->freq[b] || (t->freq[a] == t->freq[b] && t->depth[a] <= t->depth[b]);
}

static void sift_down(tree *t, unsigned at) {
    uint16_t node = t->heap[at];
    for (unsigned child = 2 * at; child <= t->heap_length; child *= 2) {
        if (child < t->heap_length && is_smaller(t, t->heap[child + 1], t->heap[child]))
            child++;
        if (is_smaller(t, node, t->heap[child]))
            break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = node;
}

static void plant(tree *t, const uint32_t *counts, unsigned leaves) {
    memset(t, 0, sizeof *t);
    t->leaves = leaves;
    t->max_code = -1;
    for (unsigned n = 0; n < leaves; n++) {
        t->freq[n] = counts[n];
        if (counts[n] > 0) {
            t->heap[++t->heap_length] = (uint16_t)n;
            t->max_code = (int)n;
        }
    }
    /* A code of less than two symbols gets others that are never used. */
    while (t->heap_length < 2) {
        unsigned node = t->max_code < 2 ? (unsigned)++t->max_code : 0;
        t->heap[++t->heap_length] = (uint16_t)node;
        t->freq[node] = 1;
    }
    for (unsigned n = t->heap_length / 2; n > 0; n--)
        sift_down(t, n);
}

/* Joins the two least frequent nodes till one is left; the end of the heap then lists all, by frequency. */
static void grow(tree *t) {
    unsigned node = t->leaves;
    t->heap_max = HEAP_SIZE;
    do {
        uint16_t a = t->heap[1];
        t->heap[1] = t->heap[t->heap_length--];
        sift_down(t, 1);
        uint16_t b = t->heap[1];
        t->heap[--t->heap_max] = a;
        t->heap[--t->heap_max] = b;
        t->freq[node] = t->freq[a] + t->freq[b];
        t->depth[node] = (uint8_t)((t->depth[a] >= t->depth[b] ? t->depth[a] : t->depth[b]) + 1);
        t->parent[a] = t->parent[b] = (uint16_t)node;
        t->heap[1] = (uint16_t)node++;
        sift_down(t, 1);
    } while (t->heap_length >= 2);
    t->heap[--t->heap_max] = t->heap[1];
}

/* Where codes are too long: leaves move up from the deepest level, then lengths are given anew by frequency. */
static void cut(tree *t, unsigned *counts, unsigned max_bits, int overflow) {
    do {
        unsigned bits = max_bits - 1;
        while (counts[bits] == 0)
            bits--;
        counts[bits]--;
        counts[bits + 1] += 2;
        counts[max_bits]--;
        overflow -= 2;
    } while (overflow > 0);
    unsigned h = HEAP_SIZE;
    for (unsigned bits = max_bits; bits > 0; bits--)
        for (unsigned n = counts[bits]; n > 0;) {
            unsigned node = t->heap[--h];
            if ((int)node > t->max_code)
                continue;
            t->length[node] = (uint8_t)bits;
            n--;
        }
}

/* Returns how many lengths matter. */
static unsigned build(const uint32_t *counts, unsigned leaves, unsigned max_bits, uint8_t *lengths) {
    tree t;
    unsigned of_length[DS_CODE_BITS + 1] = {0};
    int overflow = 0;
    plant(&t, counts, leaves);
    grow(&t);
    t.length[t.heap[t.heap_max]] = 0;
    for (unsigned h = t.heap_max + 1; h < HEAP_SIZE; h++) {
        unsigned node = t.heap[h], bits = t.length[t.parent[node]] + 1u;
        overflow += bits > max_bits;
        bits = bits > max_bits ? max_bits : bits;
        t.length[node] = (uint8_t)bits;
        of_length[bits] += (int)node <= t.max_code;
    }
    if (overflow > 0)
        cut(&t, of_length, max_bits, overflow);
    memcpy(lengths, t.length, leaves);
    for (unsigned n = 0; n < leaves; n++)
        if (t.freq[n] == 0)
            lengths[n] = 0;
    return (unsigned)t.max_code + 1;
}

void ds_lengths_build(const ds_counts *counts, ds_lengths *lengths) {
    memset(lengths, 0, sizeof *lengths);
    lengths->literal_count = build(counts->literals, DS_LITERAL_SYMBOLS, DS_CODE_BITS, lengths->literals);
    lengths->distance_count = build(counts->distances, DS_DISTANCE_SYMBOLS, DS_CODE_BITS, lengths->distances);
}

void ds_lengths_fixed(ds_lengths *lengths) {
    memset(lengths->literals, 8, 144);
    memset(lengths->literals + 144, 9, 112);
    memset(lengths->literals + 256, 7, 24);
    memset(lengths->literals + 280, 8, 8);
    memset(lengths->distances, 5, sizeof lengths->distances);
    lengths->literal_count = DS_LITERAL_CODES;
    lengths->distance_count = DS_DISTANCE_CODES;
}

uint64_t ds_counts_cost(const ds_counts *counts, const ds_lengths *lengths) {
    uint64_t bits = 0;
    for (unsigned s = 0; s < DS_LITERAL_SYMBOLS; s++)
        bits += (uint64_t)counts->literals[s] *
                (lengths->literals[s] + (s > DS_END_OF_BLOCK ? ds_length_extra[s - DS_END_OF_BLOCK - 1] : 0u));
    for (unsigned s = 0; s < DS_DISTANCE_SYMBOLS; s++)
        bits += (uint64_t)counts->distances[s] * (lengths->distances[s] + (unsigned)ds_distance_extra[s]);
    return bits;
}

/* ---- the header of a dynamic block ---- */

#define LENGTH_SYMBOLS 19
#define LENGTH_CODE_BITS 7
static const uint8_t length_order[LENGTH_SYMBOLS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
enum { REPEAT = 16, ZEROS_SHORT = 17, ZEROS_LONG = 18 };

static unsigned extra_bits(unsigned symbol) {
    static const uint8_t bits[] = {2, 3, 7};
    return symbol < REPEAT ? 0 : bits[symbol - REPEAT];
}

static void add_item(ds_code_header *header, unsigned symbol, unsigned extra) {
    header->items[header->item_count++] = (uint16_t)(symbol | extra << 8);
}

/* Runs of equal lengths; none goes from one code into the next. */
static void add_runs(ds_code_header *header, const uint8_t *lengths, unsigned count) {
    int before = -1;
    for (unsigned at = 0, run; at < count; at += run) {
        uint8_t length = lengths[at];
        bool again = length == before;
        unsigned most = length == 0 ? 138 : again ? 6 : 7, least = length == 0 || again ? 3 : 4;
        run = 1;
        while (run < most && at + run < count && lengths[at + run] == length)
            run++;
        if (run < least)
            for (unsigned i = 0; i < run; i++)
                add_item(header, length, 0);
        else if (length == 0)
            add_item(header, run <= 10 ? ZEROS_SHORT : ZEROS_LONG, run - (run <= 10 ? 3 : 11));
        else {
            if (!again)
                add_item(header, length, 0);
            add_item(header, REPEAT, run - !again - 3);
        }
        before = length;
    }
}

void ds_header_build(const ds_lengths *lengths, ds_code_header *header) {
    uint32_t counts[LENGTH_SYMBOLS] = {0};
    header->of = lengths;
    header->item_count = 0;
    add_runs(header, lengths->literals, lengths->literal_count);
    add_runs(header, lengths->distances, lengths->distance_count);
    for (unsigned i = 0; i < header->item_count; i++)
        counts[header->items[i] & 0xff]++;
    build(counts, LENGTH_SYMBOLS, LENGTH_CODE_BITS, header->lengths);
    header->length_count = LENGTH_SYMBOLS;
    while (header->length_count > 4 && header->lengths[length_order[header->length_count - 1]] == 0)
        header->length_count--;
    header->cost = 5 + 5 + 4 + 3 * (uint64_t)header->length_count;
    for (unsigned s = 0; s < LENGTH_SYMBOLS; s++)
        header->cost += (uint64_t)counts[s] * (header->lengths[s] + extra_bits(s));
}

void ds_header_write(const ds_code_header *header, ds_bit_pen *pen) {
    uint16_t codes[LENGTH_SYMBOLS];
    ds_codes_assign(header->lengths, LENGTH_SYMBOLS, codes);
    ds_pen_put(pen, header->of->literal_count - 257, 5);
    ds_pen_put(pen, header->of->distance_count - 1, 5);
    ds_pen_put(pen, header->length_count - 4, 4);
    for (unsigned i = 0; i < header->length_count; i++)
        ds_pen_put(pen, header->lengths[length_order[i]], 3);
    for (unsigned i = 0; i < header->item_count; i++) {
        unsigned symbol = header->items[i] & 0xff;
        ds_pen_put(pen, codes[symbol], header->lengths[symbol]);
        ds_pen_put(pen, header->items[i] >> 8, extra_bits(symbol));
    }
}

bool ds_header_read(ds_bits *bits, ds_lengths *lengths) {
    uint8_t told[DS_LITERAL_CODES + DS_DISTANCE_CODES], code_lengths[LENGTH_SYMBOLS] = {0};
    ds_decoder decoder;
    memset(lengths, 0, sizeof *lengths);
    lengths->literal_count = ds_bits_take(bits, 5) + 257;
    lengths->distance_count = ds_bits_take(bits, 5) + 1;
    unsigned count = ds_bits_take(bits, 4) + 4, all = lengths->literal_count + lengths->distance_count;
    if (lengths->literal_count > DS_LITERAL_SYMBOLS || lengths->distance_count > DS_DISTANCE_SYMBOLS)
        return false;
    for (unsigned i = 0; i < count; i++)
        code_lengths[length_order[i]] = (uint8_t)ds_bits_take(bits, 3);
    if (!ds_decoder_build(code_lengths, LENGTH_SYMBOLS, &decoder))
        return false;
    for (unsigned at = 0; at < all;) {
        unsigned symbol = ds_decode(&decoder, bits), run = 1, length = symbol;
        if (symbol == DS_NO_SYMBOL || (symbol == REPEAT && at == 0))
            return false;
        if (symbol >= REPEAT) {
            length = symbol == REPEAT ? told[at - 1] : 0;
            run = ds_bits_take(bits, extra_bits(symbol)) + (symbol == ZEROS_LONG ? 11 : 3);
        }
        if (run > all - at)
            return false;
        memset(told + at, (int)length, run);
        at += run;
    }
    memcpy(lengths->literals, told, lengths->literal_count);
    memcpy(lengths->distances, told + lengths->literal_count, lengths->distance_count);
    return ds_bits_inside(bits) && lengths->literals[DS_END_OF_BLOCK] != 0;
}

/* ---- codes ---- */

static unsigned reverse(unsigned code, unsigned length) {
    unsigned reversed = 0;
    for (unsigned i = 0; i < length; i++)
        reversed |= (code >> i & 1) << (length - 1 - i);
    return reversed;
}

/* The first code of each length; RFC 1951, section 3.2.2. */
static void first_codes(const uint8_t *lengths, unsigned count, uint16_t *counts, unsigned *next) {
    unsigned code = 0;
    memset(counts, 0, (DS_CODE_BITS + 1) * sizeof *counts);
    for (unsigned s = 0; s < count; s++)
        counts[lengths[s]]++;
    counts[0] = 0;
    for (unsigned bits = 1; bits <= DS_CODE_BITS; bits++)
        next[bits] = code = (code + counts[bits - 1]) << 1;
}

void ds_codes_assign(const uint8_t *lengths, unsigned count, uint16_t *codes) {
    uint16_t counts[DS_CODE_BITS + 1];
    unsigned next[DS_CODE_BITS + 1];
    first_codes(lengths, count, counts, next);
    for (unsigned s = 0; s < count; s++)
        codes[s] = lengths[s] == 0 ? 0 : (uint16_t)reverse(next[lengths[s]]++, lengths[s]);
}

bool ds_decoder_build(const uint8_t *lengths, unsigned count, ds_decoder *decoder) {
    unsigned next[DS_CODE_BITS + 1], place[DS_CODE_BITS + 2] = {0};
    int left = 1;
    first_codes(lengths, count, decoder->counts, next);
    for (unsigned bits = 1; bits <= DS_CODE_BITS; bits++) {
        left = 2 * left - decoder->counts[bits];
        if (left < 0)
            return false;
        place[bits + 1] = place[bits] + decoder->counts[bits];
    }
    if (left > 0 && (place[DS_CODE_BITS + 1] > 1 || decoder->counts[1] != place[DS_CODE_BITS + 1]))
        return false;
    memset(decoder->fast, 0, sizeof decoder->fast);
    for (unsigned s = 0; s < count; s++) {
        unsigned bits = lengths[s];
        if (bits == 0)
            continue;
        decoder->symbols[place[bits]++] = (uint16_t)s;
        unsigned code = reverse(next[bits]++, bits);
        if (bits <= DS_FAST_BITS)
            for (unsigned i = code; i < 1 << DS_FAST_BITS; i += 1u << bits)
                decoder->fast[i] = (uint16_t)(s << 4 | bits);
    }
    return true;
}

unsigned ds_decode_long(const ds_decoder *decoder, ds_bits *bits) {
    uint64_t word = ds_bits_peek(bits);
    unsigned code = 0, first = 0, place = 0;
    for (unsigned length = 1; length <= DS_CODE_BITS; length++, word >>= 1) {
        unsigned count = decoder->counts[length];
        code |= word & 1;
        if (code < first + count) {
            bits->at += length;
            return decoder->symbols[place + code - first];
        }
        place += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    return DS_NO_SYMBOL;
}
