/* What a later round matches again: windows round what changed, with borders well inside blocks. */
#include "match/watch.h"
#include "tests/check.h"

#define SIZE 20000

typedef struct watched {
    ds_arena *arena;
    ds_side side;
    ds_blocks blocks;
    ds_watch watch;
} watched;

static const ds_range all = {0, SIZE, DS_NO_DIAGONAL, DS_NO_DIAGONAL};

/* Three long blocks, with short ones between the second and the third. */
static const ds_block blocks[] = {{0, 100, 6000},   {6000, 6200, 4000},  {10000, 300, 40},
                                  {10040, 900, 50}, {10100, 4000, 1000}, {11200, 11300, 8800}};

static void open_watched(watched *w) {
    *w = (watched){.arena = ds_arena_open((uint64_t)1 << 24), .side = {.size = SIZE}};
    w->side.bytes = ds_arena_alloc(w->arena, SIZE + DS_SIDE_BEHIND);
    CHECK(DS_VEC_RESERVE(w->arena, &w->blocks.list, DS_COUNT(blocks)) == DS_OK);
    memcpy(w->blocks.list.items, blocks, sizeof blocks);
    w->blocks.list.count = DS_COUNT(blocks);
    CHECK(ds_watch_open(&w->watch, &w->side, w->arena) == DS_OK);
    ds_watch_look(&w->watch);
}

static void close_watched(watched *w) {
    ds_watch_close(&w->watch, w->arena);
    ds_arena_close(w->arena);
}

/* The window round one byte that changes. */
static ds_range change(watched *w, uint64_t at) {
    ds_range window;
    w->side.bytes[at] = 1;
    CHECK(ds_watch_look(&w->watch) == 1);
    CHECK(ds_watch_window(&w->watch, &w->blocks, all, &window));
    return window;
}

static void test_what_stays_is_left_alone(void) {
    watched w;
    ds_range window;
    open_watched(&w);
    CHECK(ds_watch_look(&w.watch) == 0);
    CHECK(!ds_watch_window(&w.watch, &w.blocks, all, &window));
    close_watched(&w);
}

static void test_a_window_knows_the_blocks_round_it(void) {
    watched w;
    open_watched(&w);
    ds_range window = change(&w, 3000);
    CHECK(window.from > 2000 && window.from < 3000 && window.before == 100);
    CHECK(window.to > 3000 && window.to < 4000 && window.behind == 100);
    CHECK(!ds_watch_window(&w.watch, &w.blocks, (ds_range){window.to, SIZE, window.behind, all.behind}, &window));
    CHECK(ds_watch_look(&w.watch) == 0);
    close_watched(&w);
}

static void test_borders_are_in_long_blocks_only(void) {
    watched w;
    open_watched(&w);
    ds_range window = change(&w, 10050);
    CHECK(window.from < 9800 && window.before == 200);
    CHECK(window.to > 10300 && window.to < 10900 && window.behind == 4000 - 10100);
    close_watched(&w);
}

static void test_what_is_near_is_one_window(void) {
    watched w;
    ds_range window;
    open_watched(&w);
    w.side.bytes[7000] = w.side.bytes[7900] = w.side.bytes[SIZE - 1] = 1;
    CHECK(ds_watch_look(&w.watch) == 3);
    CHECK(ds_watch_window(&w.watch, &w.blocks, all, &window));
    CHECK(window.from < 7000 && window.to > 7900);
    CHECK(ds_watch_window(&w.watch, &w.blocks, (ds_range){window.to, SIZE, window.behind, all.behind}, &window));
    CHECK(window.from > 19000 && window.before == 100 && window.to == SIZE && window.behind == DS_NO_DIAGONAL);
    CHECK(!ds_watch_window(&w.watch, &w.blocks, (ds_range){SIZE, SIZE, 0, 0}, &window));
    close_watched(&w);
}

static void test_without_blocks_all_is_one(void) {
    watched w;
    open_watched(&w);
    w.blocks.list.count = 0;
    ds_range window = change(&w, 1);
    CHECK(window.from == 0 && window.to == SIZE && window.before == DS_NO_DIAGONAL);
    close_watched(&w);
}

int main(void) {
    test_what_stays_is_left_alone();
    test_a_window_knows_the_blocks_round_it();
    test_borders_are_in_long_blocks_only();
    test_what_is_near_is_one_window();
    test_without_blocks_all_is_one();
    return checks_done();
}
