// Exception tables: call sites, landing pads, two caught types, a cleanup.
struct Guard {
    ~Guard();
};
void work(int);
int fallback(int);

__attribute__((visibility("default"))) int guarded(int x) {
    Guard guard;
    try {
        work(x);
        work(x + 1);
    } catch (int value) {
        return fallback(value);
    } catch (const char *) {
        return fallback(0);
    }
    return x;
}
