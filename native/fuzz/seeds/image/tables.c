/* A small library with every kind of table: imports, exports, data that is relocated, jump tables. */
extern int imported(int);
extern int imported_data;
extern __thread int imported_counter;

static int first(int x) {
    return imported(x) + 1;
}
static int second(int x) {
    return imported(x + 1) * 3;
}

__attribute__((visibility("default"))) int (*const handlers[])(int) = {first, second, imported};
__attribute__((visibility("default"))) const char *const names[] = {"first", "second", "third", "fourth"};
__attribute__((visibility("default"))) void *place = &place;
static int zeroes[64];

__attribute__((constructor)) static void start(void) {
    zeroes[3] = imported_data + imported_counter;
}

__attribute__((visibility("default"))) int choose(int which) {
    switch (which) {
    case 0:
        return first(which);
    case 1:
        return second(which);
    case 2:
        return handlers[which](zeroes[which]);
    case 3:
        return imported(7);
    case 4:
        return zeroes[3];
    case 5:
        return imported_data;
    case 6:
        return (int)(long)names[which & 3];
    default:
        return -1;
    }
}
