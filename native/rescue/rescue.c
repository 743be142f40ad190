/* deltaseal-rescue: brings a device back to its baseline where nothing else may work any more.
 *
 *   deltaseal-rescue STORE               at boot, before any user of a component: count this boot, and
 *                                        after the fourth that nobody confirmed, go to the baseline
 *   deltaseal-rescue --baseline STORE    go to the baseline now, because a person asks
 *
 * Statically linked, outside every component: it needs no Python, no loader and no library, which may
 * be what is broken. It reads no document and trusts no file but by its name; the updater's next run
 * verifies everything and journals what happened (docs/spec/store.md, section 9).
 *
 * Invariants
 *  1. The mark is durable before the pointer changes; the pointer is a whole link at every moment.
 *  2. It writes `unconfirmed`, `rescued`, `active` and their temporary names, removes `reserve`, and
 *     touches nothing else: no slot, no baseline, no journal.
 *  3. Doing it twice is doing it once.
 *
 * Exit codes: those of deltaseal (0 done or nothing to do, 2 usage, 22 E_IO, 23 E_LOCKED, 29 BROKEN).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOTS 4 /* the boot at which an unconfirmed slot is left; the updater gives up at as many attempts */
#define NAME 32 /* bytes: "slot-" and at most nine digits */

enum { DONE = 0, USAGE = 2, E_IO = 22, E_LOCKED = 23, BROKEN = 29 };

static int fail(int code, const char *what, const char *name) {
    fprintf(stderr, "deltaseal-rescue: %s %s%s%s\n", what, name, code == E_IO ? ": " : "",
            code == E_IO ? strerror(errno) : "");
    return code;
}

/* Puts `size` bytes under `name` at once: written aside, synced, renamed, the directory synced. */
static bool put_file(int store, const char *name, const char *data, size_t size) {
    char part[NAME];
    snprintf(part, sizeof part, ".new-%s", name);
    if (unlinkat(store, part, 0) != 0 && errno != ENOENT)
        return false;
    int file = openat(store, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (file < 0)
        return false;
    bool good = write(file, data, size) == (ssize_t)size && fsync(file) == 0;
    good = close(file) == 0 && good;
    return good && renameat(store, part, store, name) == 0 && fsync(store) == 0;
}

/* Reads a small file of the store; a missing one is empty. Returns its size, or -1. */
static ssize_t read_file(int store, const char *name, char *data, size_t most) {
    int file = openat(store, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT ? 0 : -1;
    ssize_t size = read(file, data, most);
    close(file);
    return size;
}

static bool is_slot(const char *target) {
    size_t digits = strncmp(target, "slot-", 5) == 0 ? strspn(target + 5, "0123456789") : 0;
    return digits > 0 && digits <= 9 && target[5 + digits] == '\0';
}

/* Writes the mark, gives up the reserve, and lets the pointer lead to the baseline. */
static int go_to_baseline(int store, const char *pointer, const char *why) {
    struct stat baseline;
    if (fstatat(store, "baseline", &baseline, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(baseline.st_mode))
        return fail(BROKEN, "there is no", "baseline; the pointer stays");
    if (unlinkat(store, "reserve", 0) != 0 && errno != ENOENT)
        return fail(E_IO, "cannot give up", "reserve");
    char mark[2 * NAME];
    int size = snprintf(mark, sizeof mark, "%s %s\n", pointer, why);
    if (!put_file(store, "rescued", mark, (size_t)size))
        return fail(E_IO, "cannot write", "rescued");
    if (unlinkat(store, ".new-active", 0) != 0 && errno != ENOENT)
        return fail(E_IO, "cannot remove", ".new-active");
    if (symlinkat("baseline", store, ".new-active") != 0 || renameat(store, ".new-active", store, "active") != 0 ||
        fsync(store) != 0)
        return fail(E_IO, "cannot change", "active");
    fprintf(stderr, "deltaseal-rescue: the device is on its baseline again; %s was left (%s)\n", pointer, why);
    return DONE;
}

/* Counts this boot in `unconfirmed`, which the updater wrote when it switched: the slot's name, a line
 * feed, then one dot for each boot. Returns the number of boots, 0 if the slot needs no confirmation. */
static int count_boot(int store, const char *pointer) {
    char text[NAME + BOOTS + 2];
    ssize_t size = read_file(store, "unconfirmed", text, sizeof text);
    if (size < 0)
        return -1;
    size_t name = strlen(pointer);
    if ((size_t)size <= name || memcmp(text, pointer, name) != 0 || text[name] != '\n')
        return 0;
    int boots = 1;
    for (size_t at = name + 1; at < (size_t)size && text[at] == '.'; at++)
        boots++;
    if (boots > BOOTS)
        return boots;
    memset(text + name + 1, '.', (size_t)boots);
    size_t length = name + 1 + (size_t)boots;
    bool counted = put_file(store, "unconfirmed", text, length) ||
                   (unlinkat(store, "reserve", 0) == 0 && put_file(store, "unconfirmed", text, length));
    return counted ? boots : -1;
}

int main(int count, char **arguments) {
    bool asked = count == 3 && strcmp(arguments[1], "--baseline") == 0;
    if (!asked && (count != 2 || arguments[1][0] == '-'))
        return fail(USAGE, "usage: deltaseal-rescue", "[--baseline] STORE");
    const char *path = arguments[count - 1];
    int store = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store < 0)
        return fail(E_IO, "cannot open", path);
    int lock = openat(store, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (lock < 0)
        return fail(E_IO, "this is no device: cannot open its", "lock");
    if (flock(lock, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? fail(E_LOCKED, "an updater is at work in", path)
                                    : fail(E_IO, "cannot take the", "lock");
    char pointer[NAME] = "";
    ssize_t size = readlinkat(store, "active", pointer, sizeof pointer - 1);
    if (size >= 0)
        pointer[size] = '\0';
    if (strcmp(pointer, "baseline") == 0)
        return DONE;
    if (!is_slot(pointer)) /* no pointer, or one that the updater did not make */
        strcpy(pointer, "nothing");
    if (asked)
        return go_to_baseline(store, pointer, "asked");
    int boots = count_boot(store, pointer);
    if (boots < 0)
        return fail(E_IO, "cannot count this boot in", "unconfirmed");
    return boots >= BOOTS ? go_to_baseline(store, pointer, "boots") : DONE;
}
