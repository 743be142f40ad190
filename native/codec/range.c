/* The range coder's slow parts: bytes, carries, the end. */
#include "codec/range.h"

#define LOW_MASK ((uint64_t)0xffffffff)

void ds_range_encoder_open(ds_range_encoder *encoder, ds_arena *arena) {
    *encoder = (ds_range_encoder){.range = UINT32_MAX, .arena = arena};
}

/* A carry runs back through the bytes that stand: at most one ever does, as a carry leaves a byte below 255. */
static void carry(ds_range_encoder *e) {
    uint64_t at = e->out.count;
    while (at > 0 && ++e->out.items[at - 1] == 0)
        at--;
}

/* So many at once, but fewer as long as there are few in all: a small delta may take a second to code. */
#define RELAYED_LEAST 512
#define RELAYED_PART 32 /* of what was relayed */

static uint64_t relayed_least(const ds_range_encoder *e) {
    uint64_t part = e->relayed / RELAYED_PART + 2;
    return part < RELAYED_LEAST ? part : RELAYED_LEAST;
}

/* A carry changes the last byte that is not 255, and those behind it. */
static void relay_final(ds_range_encoder *e) {
    uint64_t last = e->out.count;
    while (last > e->relayed && e->out.items[last - 1] == 0xff)
        last--;
    if (last <= e->relayed + 1)
        return;
    e->status = ds_relay_put(e->relay, (ds_span){e->out.items + e->relayed, last - 1 - e->relayed});
    e->relayed = last - 1;
}

/* Move the top byte of low out. */
void ds_range_put_byte(ds_range_encoder *e) {
    if (e->status == DS_OK)
        e->status = DS_VEC_RESERVE(e->arena, &e->out, e->out.count + 1);
    if (e->status != DS_OK)
        return;
    if (e->low > LOW_MASK)
        carry(e);
    e->low &= LOW_MASK;
    e->out.items[e->out.count++] = (uint8_t)(e->low >> 24);
    e->low = e->low << 8 & LOW_MASK;
    if (e->relay != NULL && e->out.count >= e->relayed + relayed_least(e))
        relay_final(e);
}

/* The number in [low, low + range) with the most zeros at its end; zeros are not stored. */
ds_status ds_range_encoder_finish(ds_range_encoder *e, ds_span *coded) {
    uint64_t last = e->low + e->range - 1, value = last;
    for (unsigned bits = 32; bits > 0; bits--) {
        uint64_t rounded = last >> bits << bits;
        if (rounded >= e->low) {
            value = rounded;
            break;
        }
    }
    e->low = value;
    ds_relay *relay = e->relay;
    e->relay = NULL; /* what is put from here on may be taken back */
    for (unsigned i = 0; i < DS_RANGE_PAST_END; i++)
        ds_range_put_byte(e);
    DS_TRY(e->status);
    for (unsigned i = 0; i < DS_RANGE_PAST_END && e->out.items[e->out.count - 1] == 0; i++)
        e->out.count--;
    if (relay != NULL)
        DS_TRY(ds_relay_put(relay, (ds_span){e->out.items + e->relayed, e->out.count - e->relayed}));
    *coded = (ds_span){e->out.items, e->out.count};
    return DS_OK;
}

bool ds_range_refill(ds_range_decoder *d) {
    ds_span more;
    if (d->relay == NULL || !ds_relay_take(d->relay, &more))
        return false;
    d->at = more.data;
    d->end = more.data + more.size;
    return true;
}

void ds_range_decoder_open(ds_range_decoder *d, ds_span coded, ds_relay *relay) {
    *d = (ds_range_decoder){.range = UINT32_MAX, .at = coded.data, .end = coded.data + coded.size, .relay = relay};
    for (unsigned i = 0; i < 4; i++)
        ds_range_take_byte(d);
}
