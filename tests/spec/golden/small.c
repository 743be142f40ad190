/* A small library, in two versions: functions, tables, switches, strings, zeroed data. */
extern int foreign(const char *text, int value);

static int counters[512];
int limit = 17;

static int clamp(int value) {
    if (value < 0)
        return foreign("below zero", value);
#if VERSION > 1
    if (value > limit) {
        counters[7]++;
        return foreign("above the limit", limit);
    }
#endif
    return value;
}

int count(int index) {
    return ++counters[clamp(index) & 511];
}

int reset(int index) {
    counters[index & 511] = 0;
    return foreign("reset", index);
}

#if VERSION > 1
int total(void) {
    int sum = 0;
    for (int i = 0; i < 512; i++)
        sum += counters[i];
    return sum;
}
#endif

int name_length(int kind) {
    switch (kind) {
    case 0: return foreign("zero", 4);
    case 1: return foreign("one", 3);
    case 2: return foreign("two", 3) + count(2);
    case 3: return foreign("three", 5);
    case 4: return foreign("four", 4) + reset(4);
    case 5: return foreign("five", 4);
    case 6: return foreign("six", limit);
    default: return clamp(kind);
    }
}

int (*const actions[])(int) = {count, reset, name_length};

int act(int which, int value) {
    return actions[(unsigned)which % 3](value) + limit;
}
