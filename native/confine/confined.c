/* The confined applier: three descriptors, a ceiling of memory and time, and nothing else.
 *
 * Invariants, from the moment the first byte of a delta is read:
 *  1. no descriptor can be made: RLIMIT_NOFILE is 0, so no path can be opened and no socket made,
 *     whatever the kernel's filter can do;
 *  2. where the kernel has seccomp, every system call but the few below kills the process;
 *  3. no core file, no new privileges, no child.
 * A file that shrinks while it is mapped ends the process with SIGBUS; the parent says so.
 *
 * Sources: Linux seccomp(2), prctl(2), setrlimit(2).
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/confined.h"

#define STACK_AND_CODE ((uint64_t)64 << 20) /* of address space, beside what the applier allocates */

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

static bool limit(int resource, uint64_t value) {
    struct rlimit both = {value, value};
    return setrlimit(resource, &both) == 0;
}

#ifdef DS_SANITIZED /* a sanitizer maps terabytes and calls what it likes: this build is not for confinement */
#define LIMITED_SPACE false
#undef FILTER_ARCH
#else
#define LIMITED_SPACE true
#endif

static bool set_limits(const ds_confinement *c, uint64_t mapped) {
    uint64_t space = c->limits.memory_bytes + mapped + STACK_AND_CODE;
    return (!LIMITED_SPACE || limit(RLIMIT_AS, space)) && limit(RLIMIT_CPU, c->seconds) && limit(RLIMIT_CORE, 0) &&
           limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_NOFILE, 0);
}

#ifdef FILTER_ARCH
#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* True also where the kernel has no filter: the limits stand by themselves. */
static bool set_filter(void) {
    static const struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* write the result; memory of the allocator; end */
        ALLOW(__NR_write),
        ALLOW(__NR_brk),
        ALLOW(__NR_mmap),
        ALLOW(__NR_mremap),
        ALLOW(__NR_munmap),
        ALLOW(__NR_madvise),
        ALLOW(__NR_getrandom), /* the allocator's seed, once */
        ALLOW(__NR_exit),
        ALLOW(__NR_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], (struct sock_filter *)rules};
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    return true;
}
#else
static bool set_filter(void) {
    return true;
}
#endif

static bool map(int fd, ds_span *out) {
    static const uint8_t empty[1];
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size < 0)
        return false;
    *out = (ds_span){empty, (uint64_t)status.st_size};
    if (out->size == 0)
        return true;
    void *mapped = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
    out->data = mapped;
    return mapped != MAP_FAILED;
}

static bool write_all(void *context, const uint8_t *data, size_t size) {
    int fd = *(const int *)context;
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written <= 0)
            return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

ds_status ds_apply_confined(const ds_confinement *c) {
    ds_span old_file, file;
    int out = c->out_fd;
    if (!map(c->old_fd, &old_file) || !map(c->delta_fd, &file) || !ds_within(c->delta_offset, c->delta_size, file.size))
        return DS_E_ARGUMENT;
    close(c->old_fd);
    close(c->delta_fd);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        !set_limits(c, old_file.size + file.size) || !set_filter())
        return DS_E_ARGUMENT;
    return ds_apply(old_file.data, old_file.size, file.data + c->delta_offset, c->delta_size, &c->limits, write_all,
                    &out);
}
