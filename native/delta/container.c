/* Reading and writing the container's header; docs/spec/delta-format.md, "Container".
 *
 * Limits: raw streams together at most RAW_FACTOR times the new image and RAW_EXTRA; every size is
 * checked before anything is allocated from it.
 */
#include "delta/container.h"

#define REVISION 1
#define FLAG_DIGESTS 1
#define FLAG_PLAIN 2
#define FLAG_CONTEXT 4
#define FLAG_MODELLED 8
#define FLAG_JOINED 16
#define FLAGS_KNOWN (FLAG_DIGESTS | FLAG_PLAIN | FLAG_CONTEXT | FLAG_MODELLED | FLAG_JOINED)
#define RAW_FACTOR 16
#define RAW_EXTRA ((uint64_t)1 << 16)

static const uint8_t magic[4] = {0xd5, 'd', 's', '\n'};

/* ---- writing ---- */

/* Writes what fits; `full` says that something did not. */
typedef struct pen {
    uint8_t *at, *end;
    bool full;
} pen;

static void put_bytes(pen *p, const uint8_t *bytes, size_t size) {
    p->full |= (size_t)(p->end - p->at) < size;
    if (p->full)
        return;
    memcpy(p->at, bytes, size);
    p->at += size;
}

static void put_byte(pen *p, uint64_t byte) {
    put_bytes(p, &(uint8_t){(uint8_t)byte}, 1);
}

/* In a header a number has at most 63 bits. */
static void put_number(pen *p, uint64_t value) {
    p->full |= value >> 63 != 0;
    for (; value >= 0x80; value >>= 7)
        put_byte(p, value | 0x80);
    put_byte(p, value);
}

/* How much larger the new image is, or smaller. */
static void put_growth(pen *p, const ds_delta_info *info) {
    p->full |= info->new_size >> 63 != 0;
    put_number(p, ds_zigzag(info->new_size - info->old_size));
}

static unsigned length_of_number(uint64_t value) {
    unsigned length = 1;
    while (value >>= 7)
        length++;
    return length;
}

static void put_after_total(pen *p, const ds_delta_info *info) {
    put_number(p, info->old_size);
    put_growth(p, info);
    if (info->has_digests) {
        put_bytes(p, info->old_digest, DS_SHORT_DIGEST_SIZE);
        put_bytes(p, info->new_digest, DS_SHORT_DIGEST_SIZE);
    }
    if (info->part_count > 0)
        put_number(p, info->part_count);
    for (unsigned i = 0; i + 1 < info->part_count; i++)
        put_number(p, info->part_sizes[i]);
    if (info->modelled) {
        put_byte(p, info->table);
        return;
    }
    unsigned starts = 0;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        put_number(p, info->streams[s].raw_size);
        if (s == 0 || info->streams[s].frame != info->streams[s - 1].frame)
            starts |= 1u << s;
    }
    put_byte(p, starts & 0xff);
    put_byte(p, starts >> 8);
    for (unsigned f = 0; f < info->frame_count; f++)
        put_number(p, info->frame_sizes[f] << 1 | info->frame_raw[f]);
}

size_t ds_write_header(ds_delta_info *info, uint8_t header[DS_HEADER_MAX]) {
    uint8_t rest[DS_HEADER_MAX];
    pen p = {rest, rest + sizeof rest, false};
    if (info->frame_count > DS_STREAM_COUNT || info->part_count > DS_PARTS_MAX || (info->part_count > 0 && info->plain))
        return 0;
    put_after_total(&p, info);
    uint64_t rest_size = (uint64_t)(p.at - rest), frames = info->modelled ? info->modelled_size : 0;
    for (unsigned f = 0; f < info->frame_count; f++)
        if (info->frame_sizes[f] >> 62 != 0 || !ds_add(frames, info->frame_sizes[f], &frames))
            return 0;
    p = (pen){header, header + DS_HEADER_MAX, p.full};
    put_bytes(&p, magic, sizeof magic);
    put_byte(&p, REVISION);
    put_byte(&p, (info->has_digests ? FLAG_DIGESTS : 0) | (info->plain ? FLAG_PLAIN : 0) |
                     (info->has_context ? FLAG_CONTEXT : 0) | (info->modelled ? FLAG_MODELLED : 0) |
                     (info->part_count > 0 ? FLAG_JOINED : 0));
    for (unsigned i = 0; i < 3 && !info->modelled; i++)
        put_byte(&p, info->zstd_version[i]);
    /* The total length counts itself. */
    uint64_t before = (uint64_t)(p.at - header), total;
    unsigned length = 1;
    do {
        total = before + length + rest_size + frames;
    } while (length_of_number(total) > length++);
    put_number(&p, total);
    put_bytes(&p, rest, rest_size);
    if (p.full)
        return 0;
    info->revision = REVISION;
    info->total_size = total;
    info->header_size = (uint64_t)(p.at - header);
    return (size_t)info->header_size;
}

/* ---- reading ---- */

typedef struct eye {
    const uint8_t *at, *end;
} eye;

static ds_status take_bytes(eye *e, uint8_t *bytes, size_t size) {
    if ((size_t)(e->end - e->at) < size)
        return DS_E_DELTA;
    memcpy(bytes, e->at, size);
    e->at += size;
    return DS_OK;
}

static ds_status take_number(eye *e, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t byte;
        DS_TRY(take_bytes(e, &byte, 1));
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return byte == 0 && shift > 0 ? DS_E_DELTA : DS_OK; /* only the shortest form */
    }
    return DS_E_DELTA;
}

static ds_status take_start(eye *e, ds_delta_info *info) {
    uint8_t start[6];
    DS_TRY(take_bytes(e, start, sizeof start));
    if (memcmp(start, magic, sizeof magic) != 0 || start[4] != REVISION || start[5] & ~FLAGS_KNOWN)
        return DS_E_DELTA;
    info->revision = start[4];
    info->has_digests = start[5] & FLAG_DIGESTS;
    info->plain = start[5] & FLAG_PLAIN;
    info->has_context = start[5] & FLAG_CONTEXT;
    info->modelled = start[5] & FLAG_MODELLED;
    info->part_count = start[5] & FLAG_JOINED ? 1 : 0; /* how many comes later */
    if (info->part_count > 0 && info->plain)
        return DS_E_DELTA;
    if (info->modelled)
        return info->has_context ? DS_E_DELTA : DS_OK;
    uint8_t version[3];
    DS_TRY(take_bytes(e, version, sizeof version));
    for (unsigned i = 0; i < 3; i++)
        info->zstd_version[i] = version[i];
    return DS_OK;
}

static ds_status take_streams(eye *e, ds_delta_info *info) {
    uint64_t raw = 0, allowed;
    if (!ds_mul(info->new_size, RAW_FACTOR, &allowed) || !ds_add(allowed, RAW_EXTRA, &allowed))
        return DS_E_LIMIT;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        DS_TRY(take_number(e, &info->streams[s].raw_size));
        info->streams[s].name = ds_stream_name(s);
        if (!ds_add(raw, info->streams[s].raw_size, &raw) || raw > allowed)
            return DS_E_LIMIT;
    }
    uint8_t starts[2];
    DS_TRY(take_bytes(e, starts, sizeof starts));
    unsigned bits = starts[0] | (unsigned)starts[1] << 8;
    if (!(bits & 1) || bits >> DS_STREAM_COUNT != 0)
        return DS_E_DELTA;
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        info->frame_count += bits >> s & 1;
        info->streams[s].frame = info->frame_count - 1;
    }
    return DS_OK;
}

static ds_status take_parts(eye *e, ds_delta_info *info) {
    uint64_t count, left = info->old_size;
    DS_TRY(take_number(e, &count));
    if (count < 2 || count > DS_PARTS_MAX)
        return count < 2 ? DS_E_DELTA : DS_E_LIMIT;
    info->part_count = (unsigned)count;
    for (unsigned i = 0; i + 1 < count; i++) {
        DS_TRY(take_number(e, &info->part_sizes[i]));
        if (info->part_sizes[i] == 0 || info->part_sizes[i] >= left)
            return DS_E_DELTA;
        left -= info->part_sizes[i];
    }
    info->part_sizes[count - 1] = left;
    return DS_OK;
}

static ds_status take_modelled(eye *e, ds_span delta, ds_delta_info *info, ds_frames *frames) {
    uint8_t table;
    DS_TRY(take_bytes(e, &table, 1));
    if (table == 0)
        return DS_E_DELTA;
    if (table > DS_TABLE_MAX)
        return DS_E_LIMIT;
    info->table = table;
    info->header_size = (uint64_t)(e->at - delta.data);
    info->modelled_size = (uint64_t)(e->end - e->at);
    frames->body = (ds_span){e->at, info->modelled_size};
    return DS_OK;
}

ds_status ds_container_read(ds_span delta, ds_delta_info *info, ds_frames *frames) {
    eye e = {delta.data, delta.data + delta.size};
    uint64_t growth;
    *info = (ds_delta_info){0};
    *frames = (ds_frames){0};
    DS_TRY(take_start(&e, info));
    DS_TRY(take_number(&e, &info->total_size));
    if (info->total_size != delta.size)
        return DS_E_DELTA;
    DS_TRY(take_number(&e, &info->old_size));
    DS_TRY(take_number(&e, &growth));
    info->new_size = info->old_size + ds_unzigzag(growth);
    if (info->new_size > INT64_MAX)
        return DS_E_DELTA;
    if (info->has_digests) {
        DS_TRY(take_bytes(&e, info->old_digest, DS_SHORT_DIGEST_SIZE));
        DS_TRY(take_bytes(&e, info->new_digest, DS_SHORT_DIGEST_SIZE));
    }
    if (info->part_count > 0)
        DS_TRY(take_parts(&e, info));
    if (info->modelled)
        return take_modelled(&e, delta, info, frames);
    DS_TRY(take_streams(&e, info));
    for (unsigned f = 0; f < info->frame_count; f++) {
        uint64_t size;
        DS_TRY(take_number(&e, &size));
        info->frame_sizes[f] = frames->sizes[f] = size >> 1;
        info->frame_raw[f] = frames->raw[f] = size & 1;
    }
    info->header_size = (uint64_t)(e.at - delta.data);
    frames->body = (ds_span){e.at, (uint64_t)(e.end - e.at)};
    frames->count = info->frame_count;
    uint64_t at = 0;
    for (unsigned f = 0; f < frames->count; f++) {
        if (!ds_within(at, frames->sizes[f], frames->body.size))
            return DS_E_DELTA;
        at += frames->sizes[f];
    }
    for (unsigned s = 0; s < DS_STREAM_COUNT; s++) {
        frames->frame_of[s] = info->streams[s].frame;
        frames->raw_sizes[s] = info->streams[s].raw_size;
    }
    return at == frames->body.size ? DS_OK : DS_E_DELTA;
}

ds_status ds_inspect(const uint8_t *delta, uint64_t delta_size, ds_delta_info *info) {
    ds_frames frames;
    return ds_container_read((ds_span){delta, delta_size}, info, &frames);
}
