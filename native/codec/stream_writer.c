/* Typed streams as growing byte strings. */
#include "codec/streams.h"

static const char *const names[DS_STREAM_COUNT] = {
    [DS_STREAM_LAYOUT] = "layout",
    [DS_STREAM_GAPS] = "gaps",
    [DS_STREAM_LENGTHS] = "lengths",
    [DS_STREAM_PLACES] = "places",
    [DS_STREAM_CODE] = "code",
    [DS_STREAM_DATA] = "data",
    [DS_STREAM_RESIDUAL_GAPS] = "residual gaps",
    [DS_STREAM_RESIDUALS] = "residuals",
    [DS_STREAM_REF_GAPS] = "reference gaps",
    [DS_STREAM_REF_FIXES] = "reference fixes",
};

const char *ds_stream_name(unsigned index) {
    return index < DS_STREAM_COUNT ? names[index] : NULL;
}

ds_status ds_write_bytes(ds_stream_writer *writer, ds_stream stream, const uint8_t *bytes, uint64_t size) {
    uint64_t count = writer->streams[stream].count;
    if (size == 0)
        return DS_OK;
    DS_TRY(DS_VEC_RESERVE(writer->arena, &writer->streams[stream], count + size));
    memcpy(writer->streams[stream].items + count, bytes, size);
    writer->streams[stream].count = count + size;
    return DS_OK;
}

ds_status ds_write_number(ds_stream_writer *writer, ds_stream stream, uint64_t value) {
    uint8_t bytes[10];
    unsigned count = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[count++] = (uint8_t)(value | 0x80);
    bytes[count++] = (uint8_t)value;
    return ds_write_bytes(writer, stream, bytes, count);
}
