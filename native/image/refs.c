/* Packing and reading of references; see refs.h. */
#include "image/refs.h"

#define SHORT_GAP 0x80u
#define PAGE_BITS 12
#define PAGE_MASK ((ds_address)4095)
#define LO12_CHAIN 0 /* of the bias that all forms of LO12 share; form 0 has no other use */

static uint64_t stretches_of(const ds_image *image) {
    return (image->file.size >> DS_REF_STRETCH_BITS) + 1;
}

/* ---- what a field says ---- */

/* Bytes of a field as a number, the place counted to it where `places` says so. */
static ds_ref_form of_bytes(unsigned bytes, bool is_signed, ds_address places) {
    unsigned unused = 64 - 8 * bytes;
    return (ds_ref_form){.left = (uint8_t)unused,
                         .right = (uint8_t)unused,
                         .mask = is_signed ? UINT64_MAX : UINT64_MAX >> unused,
                         .places = places};
}

/* `count` bits from bit `from` on, signed, times 1 << scale. */
static ds_ref_form of_bits(unsigned from, unsigned count, unsigned scale, ds_address places) {
    return (ds_ref_form){.left = (uint8_t)(64 - from - count),
                         .right = (uint8_t)(64 - count - scale),
                         .mask = ~((UINT64_C(1) << scale) - 1),
                         .places = places};
}

/* Whether a number counts something longer than a byte. */
static bool is_counted(ds_ref_kind kind) {
    return kind == DS_REF_INDEX32 || kind == DS_REF_INDEX24_4 ||
           (kind >= DS_REF_INDEX32_4 && kind <= DS_REF_COUNT32_16);
}

/* How to read the fields of a form: without a question, since kinds follow each other at random, and every question
 * would be answered wrong half of the time. It need not be what ds_ref_solve says, for the bias makes up for it; but
 * where it is not, biases differ. */
static ds_ref_form reading_of(ds_ref_kind kind, uint32_t aux) {
    ds_ref_form form;
    switch (kind) {
    case DS_REF_REL8:
    case DS_REF_REL32:
    case DS_REF_PREL32:
    case DS_REF_PREL64:
        return of_bytes(ds_ref_length(kind), true, UINT64_MAX);
    case DS_REF_B26:
        return of_bits(0, 26, 2, UINT64_MAX);
    case DS_REF_IMM19:
        return of_bits(5, 19, 2, UINT64_MAX);
    case DS_REF_IMM14:
        return of_bits(5, 14, 2, UINT64_MAX);
    case DS_REF_ADRP:
        form = of_bits(5, 19, PAGE_BITS + 2, ~PAGE_MASK);
        form.low_right = 29 - PAGE_BITS;
        form.low_mask = (ds_address)3 << PAGE_BITS;
        return form;
    case DS_REF_ULEB2:
    case DS_REF_ULEB_SIZE2:
        form = of_bits(8, 7, 7, 0);
        form.mask &= 0x3fff;
        form.low_mask = 0x7f;
        return form;
    case DS_REF_STEP6:
    case DS_REF_STEP8:
        form = of_bits(0, kind == DS_REF_STEP6 ? 6 : 8, aux & 31, 0);
        form.mask &= ds_ref_mask(kind) << (aux & 31);
        return form;
    case DS_REF_LO12:
        form = of_bits(10, 12, aux & 31, 0);
        form.mask &= PAGE_MASK;
        return form;
    case DS_REF_NEXT12:
        form = of_bits(3, 12, 2, UINT64_MAX);
        form.mask &= 0x3fff;
        return form;
    case DS_REF_BASE32:
        return of_bytes(4, true, 0);
    default:
        form = of_bytes(ds_ref_length(kind), false, 0);
        form.mask = ds_ref_mask(kind);
        form.is_solved = (form.mask & (form.mask + 1)) != 0 || is_counted(kind) || ds_ref_is_step(kind);
        return form;
    }
}

static inline ds_address said(const ds_image *image, const ds_ref_form *form, ds_offset offset) {
    const uint8_t *field = image->file.data + offset;
    if (form->is_solved || image->file.size - offset < 8)
        return ds_ref_solve((ds_ref_kind)(form->kind_aux & 0xff), field, offset, form->kind_aux >> 8, 0, 0);
    uint64_t word = ds_load64(field);
    return ((uint64_t)((int64_t)(word << form->left) >> form->right) & form->mask) +
           (word >> form->low_right & form->low_mask) + (offset & form->places);
}

static ds_ref_form form_like(uint32_t kind_aux) {
    ds_ref_kind kind = (ds_ref_kind)(kind_aux & 0xff);
    ds_ref_form form = reading_of(kind, kind_aux >> 8);
    form.kind_aux = kind_aux;
    form.length = (uint8_t)ds_ref_length(kind);
    form.is_page = kind == DS_REF_ADRP;
    return form;
}

/* ---- reading ---- */

static void enter(ds_ref_cursor *c, uint64_t stretch) {
    const ds_refs *refs = &c->image->refs;
    c->stretch = stretch;
    c->end = stretch << DS_REF_STRETCH_BITS;
    c->at = refs->bytes + refs->stretches[stretch];
    c->stop = refs->bytes + refs->stretches[stretch + 1];
    memcpy(c->biases, refs->first, refs->form_count * sizeof *c->biases);
}

/* A head and a gap, which is all that skipping needs to know. */
typedef struct head {
    unsigned form;
    bool differs;
    ds_offset offset;
} head;

static inline const uint8_t *read_head(const uint8_t *at, ds_offset end, head *h) {
    h->form = at[0] >> 1;
    h->differs = at[0] & 1;
    h->offset = end + at[1];
    if (at[1] < SHORT_GAP)
        return at + 2;
    h->offset += (uint64_t)at[2] * SHORT_GAP - SHORT_GAP;
    return at + 3;
}

static inline const uint8_t *read_difference(const uint8_t *at, ds_address *bias) {
    uint64_t value = 0;
    unsigned shift = 0;
    do {
        value |= (uint64_t)(*at & 0x7f) << shift;
        shift += 7;
    } while (*at++ & 0x80);
    *bias += value >> 1 ^ (0 - (value & 1));
    return at;
}

static inline void take(ds_ref_cursor *c, const ds_ref_form *form, ds_address bias, ds_offset offset, ds_ref *ref) {
    ref->offset = (uint32_t)offset;
    ref->kind_aux = form->kind_aux;
    ref->target = bias + said(c->image, form, offset);
    c->end = offset + form->length;
    if (form->is_page)
        c->biases[LO12_CHAIN] = ref->target & ~PAGE_MASK;
}

/* Apart, since there is hardly ever one. */
static void read_whole(ds_ref_cursor *c, const uint8_t *at, ds_offset offset, ds_ref *ref) {
    ds_ref_form form = form_like(ds_load32(at));
    c->at = at + 12;
    take(c, &form, ds_load64(at + 4), offset, ref);
}

/* What stands behind the head. */
static inline void read_rest(ds_ref_cursor *c, const uint8_t *at, const head *h, ds_ref *ref) {
    if (h->form == DS_REF_WHOLE) {
        read_whole(c, at, h->offset, ref);
        return;
    }
    const ds_ref_form *form = &c->image->refs.forms[h->form];
    ds_address *bias = &c->biases[form->chain];
    c->at = h->differs ? read_difference(at, bias) : at;
    take(c, form, *bias, h->offset, ref);
}

/* To a stretch that has more. */
static bool go_on(ds_ref_cursor *c) {
    const uint64_t *stretches = c->image->refs.stretches;
    uint64_t next = c->stretch + 1;
    while (next <= c->last && stretches[next] == stretches[next + 1])
        next++;
    if (next > c->last)
        return false;
    enter(c, next);
    return true;
}

bool ds_refs_next(ds_ref_cursor *cursor, ds_ref *ref) {
    head h;
    if (cursor->at == cursor->stop && (cursor->stretch >= cursor->last || !go_on(cursor)))
        return false;
    const uint8_t *rest = read_head(cursor->at, cursor->end, &h);
    if (h.offset >= cursor->to)
        return false;
    read_rest(cursor, rest, &h, ref);
    return true;
}

void ds_refs_between(ds_ref_cursor *cursor, const ds_image *image, ds_offset from, ds_offset to) {
    cursor->image = image;
    cursor->at = cursor->stop = NULL;
    cursor->stretch = cursor->last = 0;
    ds_refs_move(cursor, from, to);
}

void ds_refs_move(ds_ref_cursor *cursor, ds_offset from, ds_offset to) {
    const ds_image *image = cursor->image;
    uint64_t stretch = from >> DS_REF_STRETCH_BITS;
    cursor->to = to < image->file.size ? to : image->file.size;
    if (image->refs.count == 0 || from >= cursor->to) {
        cursor->to = 0;
        return;
    }
    cursor->last = (cursor->to - 1) >> DS_REF_STRETCH_BITS;
    if (cursor->at == NULL || cursor->stretch != stretch || from < cursor->end)
        enter(cursor, stretch);
    while (cursor->at < cursor->stop) {
        head h;
        ds_ref skipped;
        const uint8_t *rest = read_head(cursor->at, cursor->end, &h);
        if (h.offset >= from)
            return;
        read_rest(cursor, rest, &h, &skipped);
    }
}

void ds_refs_all(ds_ref_cursor *cursor, const ds_image *image) {
    ds_refs_between(cursor, image, 0, image->file.size);
}

bool ds_refs_find(const ds_image *image, ds_offset offset, ds_ref *ref) {
    ds_ref_cursor cursor;
    ds_refs_between(&cursor, image, offset, offset + 1);
    return ds_refs_next(&cursor, ref);
}

/* The last reference before `offset` that begins in a stretch, if it reaches over it. */
static bool reaches_over(const ds_image *image, uint64_t stretch, ds_offset offset, ds_offset *begin, ds_offset *end) {
    ds_ref_cursor cursor;
    cursor.image = image;
    enter(&cursor, stretch);
    *end = 0;
    while (cursor.at < cursor.stop) {
        head h;
        ds_ref skipped;
        const uint8_t *rest = read_head(cursor.at, cursor.end, &h);
        if (h.offset >= offset)
            break;
        read_rest(&cursor, rest, &h, &skipped);
        *begin = h.offset;
        *end = cursor.end;
    }
    return *end > offset;
}

bool ds_refs_over(const ds_image *image, ds_offset offset, ds_offset *begin, ds_offset *end) {
    uint64_t stretch = offset >> DS_REF_STRETCH_BITS;
    if (image->refs.count == 0 || offset >= image->file.size)
        return false;
    return reaches_over(image, stretch, offset, begin, end) ||
           (stretch > 0 && reaches_over(image, stretch - 1, offset, begin, end));
}

ds_offset ds_refs_part(const ds_image *image, unsigned part, unsigned parts) {
    const ds_refs *refs = &image->refs;
    uint64_t low = 0, high = stretches_of(image);
    if (refs->count == 0 || part == parts)
        return part == 0 ? 0 : image->file.size;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (refs->stretches[middle] < refs->size / parts * part)
            low = middle + 1;
        else
            high = middle;
    }
    return low << DS_REF_STRETCH_BITS;
}

/* ---- packing ---- */

ds_status ds_refs_pack_open(ds_ref_packer *packer, ds_image *image, uint8_t *bytes) {
    ds_refs *refs = &image->refs;
    *refs = (ds_refs){.bytes = bytes,
                      .stretches = ds_arena_alloc(image->arena, (stretches_of(image) + 1) * sizeof *refs->stretches),
                      .forms = ds_arena_alloc(image->arena, (DS_REF_WHOLE + 1) * sizeof *refs->forms),
                      .first = ds_arena_alloc(image->arena, DS_REF_WHOLE * sizeof *refs->first)};
    if (refs->stretches == NULL || refs->forms == NULL || refs->first == NULL) {
        refs->bytes = NULL; /* still the caller's */
        return DS_E_MEMORY;
    }
    refs->form_count = LO12_CHAIN + 1;
    *packer = (ds_ref_packer){.image = image};
    return DS_OK;
}

/* All up to this one begin at what is packed so far. */
static void start_stretch(ds_ref_packer *p, uint64_t stretch) {
    ds_refs *refs = &p->image->refs;
    while (p->stretch < stretch)
        refs->stretches[++p->stretch] = refs->size;
    p->end = stretch << DS_REF_STRETCH_BITS;
    memcpy(p->biases, refs->first, refs->form_count * sizeof *p->biases);
}

/* The form of a kind and an auxiliary value, made where there is none yet; DS_REF_WHOLE where there is no room. A chain
 * begins with the bias of its first reference. */
static unsigned find_form(ds_ref_packer *p, const ds_ref *ref) {
    ds_refs *refs = &p->image->refs;
    unsigned number = LO12_CHAIN + 1;
    while (number < refs->form_count && refs->forms[number].kind_aux != ref->kind_aux)
        number++;
    if (number < refs->form_count || number == DS_REF_WHOLE)
        return number;
    ds_ref_form *form = &refs->forms[number];
    *form = form_like(ref->kind_aux);
    form->chain = (uint8_t)(ds_ref_kind_of(ref) == DS_REF_LO12 ? LO12_CHAIN : number);
    p->biases[number] = refs->first[number] = ref->target - said(p->image, form, ref->offset);
    refs->form_count++;
    return number;
}

static unsigned form_of(ds_ref_packer *p, const ds_ref *ref) {
    uint32_t aux = ds_ref_aux(ref);
    if (aux >= DS_COUNT(p->known[0]))
        return find_form(p, ref);
    uint8_t *known = &p->known[ds_ref_kind_of(ref)][aux];
    if (*known == 0)
        *known = (uint8_t)find_form(p, ref);
    return *known;
}

static uint8_t *write_difference(uint8_t *at, uint64_t difference) {
    uint64_t value = difference << 1 ^ (0 - (difference >> 63));
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *write_gap(uint8_t *at, uint64_t gap) {
    if (gap < SHORT_GAP) {
        *at = (uint8_t)gap;
        return at + 1;
    }
    at[0] = (uint8_t)(SHORT_GAP | (gap & (SHORT_GAP - 1)));
    at[1] = (uint8_t)(gap / SHORT_GAP);
    return at + 2;
}

/* Behind the head and the gap; returns the end. */
static uint8_t *write_bias(ds_ref_packer *p, const ds_ref_form *form, const ds_ref *ref, uint8_t *head, uint8_t *at) {
    ds_address bias = ref->target - said(p->image, form, ref->offset), *before = &p->biases[form->chain];
    if (*before == bias)
        return at;
    *head |= 1;
    at = write_difference(at, bias - *before);
    *before = bias;
    return at;
}

static uint8_t *write_whole(const ds_ref_packer *p, const ds_ref *ref, uint8_t *at) {
    ds_ref_form form = form_like(ref->kind_aux);
    ds_store32(at, ref->kind_aux);
    ds_store64(at + 4, ref->target - said(p->image, &form, ref->offset));
    return at + 12;
}

ds_offset ds_refs_pack(ds_ref_packer *p, const ds_ref *ref) {
    ds_refs *refs = &p->image->refs;
    uint64_t stretch = ref->offset >> DS_REF_STRETCH_BITS;
    uint8_t *head = refs->bytes + refs->size;
    if (stretch > p->stretch)
        start_stretch(p, stretch);
    unsigned form = form_of(p, ref);
    *head = (uint8_t)(form << 1);
    uint8_t *at = write_gap(head + 1, ref->offset - p->end);
    at = form == DS_REF_WHOLE ? write_whole(p, ref, at) : write_bias(p, &refs->forms[form], ref, head, at);
    ds_ref_kind kind = ds_ref_kind_of(ref);
    if (kind == DS_REF_ADRP)
        p->biases[LO12_CHAIN] = ref->target & ~PAGE_MASK;
    refs->size = (uint64_t)(at - refs->bytes);
    refs->count++;
    return p->end = ref->offset + (ds_offset)ds_ref_length(kind);
}

ds_status ds_refs_pack_close(ds_ref_packer *packer) {
    ds_refs *refs = &packer->image->refs;
    start_stretch(packer, stretches_of(packer->image));
    uint8_t *fitting = ds_arena_resize(packer->image->arena, refs->bytes, refs->size);
    if (fitting == NULL)
        return DS_E_MEMORY;
    refs->bytes = fitting;
    return DS_OK;
}

void ds_refs_free(ds_image *image) {
    ds_arena_free(image->arena, image->refs.bytes);
    ds_arena_free(image->arena, image->refs.stretches);
    ds_arena_free(image->arena, image->refs.forms);
    ds_arena_free(image->arena, image->refs.first);
    image->refs = (ds_refs){0};
}
