/* Does one thing from inside the confined applier, where a hostile delta's code would run if there ever were
 * a hole for it; for the tests that show that it cannot.
 *
 *   try_confined WHAT OLD DELTA >PIPE    WHAT: apply, or one of the tricks below
 *
 * Exit code: the ds_status of the application that follows; POSSIBLE where the trick worked.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "deltaseal.h"

static ds_status try_and_apply(const uint8_t *old_data, uint64_t old_size, const uint8_t *delta, uint64_t delta_size,
                               const ds_limits *limits, ds_sink sink, void *context);

#define ds_apply try_and_apply
#include "confine/confined.c" /* NOLINT(bugprone-suspicious-include): with another ds_apply */
#undef ds_apply

#define POSSIBLE 99
#define MUCH ((size_t)4 << 30)

static bool can_apply(void) {
    return false; /* an honest run */
}
static bool can_open(void) {
    return open("/etc/passwd", O_RDONLY) >= 0;
}
static bool can_create(void) {
    return open("/tmp/deltaseal-try-confined", O_WRONLY | O_CREAT, 0600) >= 0;
}
static bool can_connect(void) {
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}
static bool can_duplicate(void) {
    return dup(STDOUT_FILENO) >= 0;
}
static bool can_fork(void) {
    return fork() >= 0;
}
static bool can_execute(void) {
    return execl("/bin/true", "true", (char *)NULL) == 0;
}
static bool can_signal(void) {
    return kill(getppid(), 0) == 0;
}
static bool can_allocate(void) {
    return mmap(NULL, MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}
static bool can_run_on(void) {
    for (volatile uint64_t n = 0;; n++)
        if (n == UINT64_MAX)
            return true;
}

static const struct {
    const char *name;
    bool (*works)(void);
} tricks[] = {
    {"apply", can_apply},         {"open", can_open},     {"create", can_create},   {"connect", can_connect},
    {"duplicate", can_duplicate}, {"fork", can_fork},     {"execute", can_execute}, {"signal", can_signal},
    {"allocate", can_allocate},   {"run-on", can_run_on},
};

static bool (*works)(void);

static ds_status try_and_apply(const uint8_t *old_data, uint64_t old_size, const uint8_t *delta, uint64_t delta_size,
                               const ds_limits *limits, ds_sink sink, void *context) {
    if (works())
        _exit(POSSIBLE);
    return ds_apply(old_data, old_size, delta, delta_size, limits, sink, context);
}

int main(int count, char **arguments) {
    if (count != 4)
        return DS_E_ARGUMENT;
    for (size_t i = 0; i < DS_COUNT(tricks); i++)
        if (strcmp(tricks[i].name, arguments[1]) == 0)
            works = tricks[i].works;
    ds_confinement confinement = {
        .old_fd = open(arguments[2], O_RDONLY),
        .delta_fd = open(arguments[3], O_RDONLY),
        .out_fd = STDOUT_FILENO,
        .limits = {.output_bytes = (uint64_t)1 << 20, .memory_bytes = (uint64_t)1 << 26},
        .seconds = 1,
    };
    off_t size = lseek(confinement.delta_fd, 0, SEEK_END);
    if (works == NULL || size < 0)
        return DS_E_ARGUMENT;
    confinement.delta_size = (uint64_t)size;
    return (int)ds_apply_confined(&confinement);
}
