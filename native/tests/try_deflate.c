/* Takes raw streams apart and writes them back, for tests that make them with other encoders:
 *
 *   try_deflate WINDOW_BITS FILE...
 *
 * A line a file: level, memory, window, filtered of the style that was guessed, content bytes, the recipe in hex, its
 * bytes, and whether the stream came back; or the word for what went wrong.
 */
#include <stdio.h>
#include <stdlib.h>

#include "deflate/deflate.h"
#include "tests/files.h"

#define CEILING ((uint64_t)1 << 30)

static ds_status try_stream(ds_span stream, unsigned window, ds_arena *arena) {
    ds_inflated inflated = {0};
    ds_recipe recipe = {0};
    ds_deflate_style style;
    bool is_stream;
    DS_TRY(ds_inflate(stream, UINT64_MAX, true, arena, &inflated, &is_stream));
    if (!is_stream || inflated.size != stream.size) {
        printf("no stream\n");
        return DS_OK;
    }
    DS_TRY(ds_style_guess(&inflated, window, arena, &style));
    DS_TRY(ds_recipe_write(&inflated, stream, &style, arena, &recipe));
    uint8_t *out = ds_arena_alloc(arena, stream.size);
    if (out == NULL)
        return DS_E_MEMORY;
    DS_TRY(ds_deflate_make((ds_span){inflated.content.items, inflated.content.count},
                           (ds_span){recipe.bytes.items, recipe.bytes.count}, &style, arena, out, stream.size));
    printf("%u %u %u %u %llu ", style.level, style.memory, style.window, style.filtered,
           (unsigned long long)inflated.content.count);
    for (uint64_t i = 0; i < recipe.bytes.count; i++)
        printf("%02x", recipe.bytes.items[i]);
    printf("%s %llu %s\n", recipe.bytes.count == 0 ? "-" : "", (unsigned long long)recipe.bytes.count,
           memcmp(out, stream.data, stream.size) == 0 ? "same" : "other");
    return DS_OK;
}

int main(int count, char **arguments) {
    if (count < 3)
        return 2;
    for (int i = 2; i < count; i++) {
        uint64_t size;
        uint8_t *data = read_file(arguments[i], &size);
        ds_arena *arena = ds_arena_open(CEILING);
        if (data == NULL || arena == NULL)
            return 2;
        ds_status status = try_stream((ds_span){data, size}, (unsigned)strtoul(arguments[1], NULL, 10), arena);
        if (status != DS_OK)
            printf("%s\n", ds_status_text(status));
        ds_arena_close(arena);
        free(data);
    }
    return 0;
}
