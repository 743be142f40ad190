/* Predicted call frame programs: worked functions of both instruction sets, and any bytes at all. */
#include <inttypes.h>
#include <stdlib.h>

#include "check.h"
#include "predict/frame_program.h"

typedef struct worked {
    const char *name;
    ds_arch arch;
    const char *code;  /* hexadecimal; of AArch64 words as they are written, else bytes */
    const char *steps; /* "place:bytes", both hexadecimal */
} worked;

/* clang-format off */
static const worked examples[] = {
    {"a branch over a first epilogue", DS_ARCH_X86_64,
     "55 53 4883ec08 85ff 7407"    /* push rbp, rbx; sub rsp, 8; test; je 11 */
     "4883c408 5b 5d c3"           /* add rsp, 8; pop rbx, rbp; ret */
     "31c0 4883c408 5b 5d c3",     /* 11: the same again */
     "1:0e10 1:8602 2:0e18 2:8303 6:0e20 e:0a e:0e18 f:0e10 10:0e08 11:0b 17:0e18 18:0e10 19:0e08"},
    {"arguments on the stack", DS_ARCH_X86_64,
     "53 6a01 50 e800000000"       /* push rbx, 1, rax; call */
     "4883c410 5b c3",             /* add rsp, 16; pop rbx; ret */
     "1:0e10 1:8302 3:0e18 4:0e20 d:0e10 e:0e08"},
    {"a frame pointer", DS_ARCH_X86_64,
     "55 4889e5 4154 53 85c0 7407" /* push rbp; mov rbp, rsp; push r12, rbx; test; je f+2 */
     "5b 415c 5d c3 6690"          /* pop rbx, r12, rbp; ret; nop */
     "90 488d65f0 5b 415c c9 c3",  /* nop; lea rsp, [rbp - 16]; pop; pop; leave; ret */
     "1:0e10 1:8602 4:0d06 7:8c03 7:8304 f:0a f:0c0708 12:0b 1b:0c0708"},
    {"saves with a frame pointer that wait", DS_ARCH_X86_64,
     "55 4889e5 4157 4156 4989fe"  /* push rbp; mov rbp, rsp; push r15, r14; mov r14, rdi */
     "53 4883ec18 e800000000"      /* push rbx; sub rsp, 24; call */
     "c9 c3",
     "1:0e10 1:8602 4:0d06 8:8f03 8:8e04 10:8305 16:0c0708"},
    {"another way back to the frame", DS_ARCH_X86_64,
     "53 4883ec10 4889e3"          /* push rbx; sub rsp, 16; mov rbx, rsp */
     "7500 4883ec20 4889dc"        /* jne; sub rsp, 32; mov rsp, rbx */
     "4883c410 5b c3",
     "1:0e10 1:8302 5:0e20 e:0e40 11:0e20 15:0e10 16:0e08"},
    {"a frame for a part, left by a tail call", DS_ARCH_X86_64,
     "85ff 7407 53 5b e900010000"  /* test; je b; push rbx; pop rbx; jmp away */
     "c3",                         /* b: ret */
     "5:0e10 5:8302 6:c3 6:0e08"},
    {"padding behind a return", DS_ARCH_X86_64,
     "53 7402 5b c3"               /* push rbx; je 5; pop rbx; ret */
     "0f1f00 5b c3",               /* 5: nop, a target for all that */
     "1:0e10 1:8302 4:0a 4:0e08 5:0b 9:0e08"},
    {"saves that wait", DS_ARCH_AARCH64,
     "a9bd7bfd 910003fd"           /* stp x29, x30, [sp, #-48]!; mov x29, sp */
     "a90153f3 aa0003f3"           /* stp x19, x20, [sp, #16]; mov x19, x0 */
     "f90013f5 94000000"           /* str x21, [sp, #32]; bl */
     "34000080"                    /* cbz w0, 28 */
     "a94153f3 a8c37bfd d65f03c0"  /* ldp x19, x20, [sp, #16]; ldp x29, x30, [sp], #48; ret */
     "17fffffb",                   /* 28: b 14 */
     "4:0e30 4:9d06 4:9e05 c:9304 c:9403 14:9502"
     " 24:0a 24:de 24:dd 24:d5 24:d3 24:d4 24:0e00 28:0b"},
    {"a component", DS_ARCH_AARCH64,
     "d10083ff a9007bfd 340000a0"  /* sub sp, sp, #32; stp x29, x30, [sp]; cbz w0, 1c */
     "a90153f3 94000000 a94153f3"  /* stp x19, x20, [sp, #16]; bl; ldp x19, x20, [sp, #16] */
     "14000001"                    /* b 1c */
     "a9407bfd 910083ff d65f03c0", /* 1c: ldp x29, x30, [sp]; add sp, sp, #32; ret */
     "4:0e20 8:9d04 8:9e03 10:9401 10:9302 18:d4 18:d3 24:dd 24:de 24:0e00"},
    {"the CFA from x29", DS_ARCH_AARCH64,
     "a9be7bfd 910003fd cb2063ff"  /* stp x29, x30, [sp, #-32]!; mov x29, sp; sub sp, sp, x0 */
     "94000000 910003bf a8c27bfd"  /* bl; mov sp, x29; ldp x29, x30, [sp], #32 */
     "d65f03c0",
     "4:0e20 4:9d04 4:9e03 8:0d1d 18:de 18:dd 18:0c1f00"},
    {"a signed address, and registers of both kinds", DS_ARCH_AARCH64,
     "d503233f 6dbe23e9 fd000be8"  /* paciasp; stp d9, d8, [sp, #-32]!; str d8, [sp, #16] */
     "f9000ff3 94000000 6cc223e9"  /* str x19, [sp, #24]; bl; ldp d9, d8, [sp], #32 */
     "d50323bf d65f03c0",          /* autiasp; ret */
     "4:2d 8:0e20 8:054904 8:054803 10:9301 18:0648 18:0649 18:d3 18:0e00 1c:2d"},
};
/* clang-format on */

static uint64_t unhex(const char *text, ds_arch arch, uint8_t *out) {
    uint64_t count = 0;
    for (; *text != 0; text += 2) {
        while (*text == ' ')
            text++;
        char pair[3] = {text[0], text[1], 0};
        out[arch == DS_ARCH_AARCH64 ? count ^ 3 : count] = (uint8_t)strtoul(pair, NULL, 16);
        count++;
    }
    return count;
}

static void print_steps(const ds_frame_steps *steps, char *out, size_t room) {
    size_t used = 0;
    out[0] = 0;
    for (uint64_t i = 0; i < steps->list.count && used + 64 < room; i++) {
        const ds_frame_step *step = &steps->list.items[i];
        used += (size_t)snprintf(out + used, room - used, "%s%" PRIx32 ":", i > 0 ? " " : "", step->place);
        for (unsigned k = 0; k < step->size; k++)
            used += (size_t)snprintf(out + used, room - used, "%02x", step->bytes[k]);
    }
}

static void test_examples(ds_frame_guess *guess, ds_frame_steps *steps) {
    for (unsigned i = 0; i < DS_COUNT(examples); i++) {
        const worked *w = &examples[i];
        uint8_t code[256];
        char text[2048];
        uint64_t size = unhex(w->code, w->arch, code);
        CHECK(ds_frame_guess_make(guess, w->arch, (ds_span){code, size}, steps) == DS_OK);
        print_steps(steps, text, sizeof text);
        if (strcmp(text, w->steps) != 0)
            fprintf(stderr, "%s:\n  is       %s\n  expected %s\n", w->name, text, w->steps);
        CHECK(strcmp(text, w->steps) == 0);
    }
}

static uint32_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* Bytes that the rules know, among others, so that rows change often. */
static void fill(uint8_t *code, uint64_t size, ds_arch arch, uint64_t seed) {
    static const uint32_t words[] = {0xa9bd7bfd, 0x910003fd, 0xa90153f3, 0xaa0003f3, 0xf90013f5, 0x94000000, 0x34000080,
                                     0xa94153f3, 0xa8c37bfd, 0xd65f03c0, 0x17fffffb, 0xd10083ff, 0x910083ff, 0xd503233f,
                                     0x910003bf, 0xf94013f5, 0x6d0123e9, 0xfd4003e8, 0xd2800209, 0xcb2963ff, 0x8b2963ff,
                                     0xd503201f, 0xd53bd053, 0x54ffff80, 0xf81f0ffe, 0xf84107fe, 0xd157ffff};
    static const uint8_t bytes[] = {0x55, 0x53, 0x41, 0x54, 0x5b, 0x5d, 0x48, 0x83, 0xec, 0xc4, 0x08, 0xc3, 0xc9, 0x89,
                                    0xe5, 0x74, 0xeb, 0xe8, 0xe9, 0xff, 0x8d, 0x65, 0x64, 0x24, 0x81, 0x90, 0x0f, 0x1f};
    for (uint64_t i = 0; i < size; i++)
        code[i] = next_random(&seed) % 8 == 0 ? (uint8_t)next_random(&seed) : bytes[next_random(&seed) % sizeof bytes];
    if (arch == DS_ARCH_AARCH64)
        for (uint64_t i = 0; i + 4 <= size; i += 4)
            ds_store32(code + i, words[next_random(&seed) % DS_COUNT(words)] ^
                                     (next_random(&seed) % 4 == 0 ? UINT32_C(1) << next_random(&seed) % 32 : 0));
}

static void check_sound(const ds_frame_steps *steps, uint64_t size) {
    bool sound = steps->list.count <= DS_FRAME_STEPS_MAX;
    uint32_t last = 0;
    for (uint64_t i = 0; i < steps->list.count; i++) {
        const ds_frame_step *step = &steps->list.items[i];
        sound =
            sound && step->place >= last && step->place <= size && step->size > 0 && step->size <= DS_FRAME_STEP_BYTES;
        last = step->place;
    }
    CHECK(sound);
}

static void test_chance(ds_frame_guess *guess, ds_frame_steps *steps, ds_arch arch) {
    uint64_t total = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t size = seed % 300 == 0 ? 65537 : seed * 7 % 701;
        uint8_t *code = malloc(size + 1); /* of its own: a sanitizer sees what is read beyond */
        fill(code, size, arch, seed);
        CHECK(ds_frame_guess_make(guess, arch, (ds_span){code, size}, steps) == DS_OK);
        check_sound(steps, size);
        total += steps->list.count;
        free(code);
    }
    CHECK(total > 3000);
}

static void test_limits(ds_frame_guess *guess, ds_frame_steps *steps) {
    uint64_t size = DS_FRAME_CODE_MAX + 1;
    uint8_t *code = malloc(size);
    memset(code, 0x53, size); /* push rbx */
    CHECK(ds_frame_guess_make(guess, DS_ARCH_X86_64, (ds_span){code, size}, steps) == DS_OK && steps->list.count == 0);
    size--;
    CHECK(ds_frame_guess_make(guess, DS_ARCH_X86_64, (ds_span){code, size}, steps) == DS_OK);
    CHECK(steps->list.count == DS_FRAME_STEPS_MAX && steps->list.items[DS_FRAME_STEPS_MAX - 1].place == 4095);
    CHECK(ds_frame_guess_make(guess, DS_ARCH_NONE, (ds_span){code, size}, steps) == DS_OK && steps->list.count == 0);
    CHECK(ds_frame_guess_make(guess, DS_ARCH_AARCH64, (ds_span){code, 3}, steps) == DS_OK && steps->list.count == 0);
    CHECK(ds_frame_guess_make(guess, DS_ARCH_X86_64, (ds_span){NULL, 0}, steps) == DS_OK && steps->list.count == 0);
    free(code);
}

static void test_little_memory(void) {
    ds_arena *arena = ds_arena_open(1 << 14);
    ds_frame_guess *guess = NULL;
    ds_frame_steps steps = {0};
    uint8_t code[8192];
    memset(code, 0x53, sizeof code);
    CHECK(ds_frame_guess_open(&guess, arena) == DS_OK);
    CHECK(ds_frame_guess_make(guess, DS_ARCH_X86_64, (ds_span){code, sizeof code}, &steps) == DS_E_MEMORY);
    ds_frame_guess_close(guess);
    ds_arena_close(arena);
}

int main(void) {
    ds_arena *arena = ds_arena_open(UINT64_C(1) << 26);
    ds_frame_guess *guess = NULL;
    ds_frame_steps steps = {0};
    CHECK(ds_frame_guess_open(&guess, arena) == DS_OK);
    test_examples(guess, &steps);
    test_chance(guess, &steps, DS_ARCH_X86_64);
    test_chance(guess, &steps, DS_ARCH_AARCH64);
    test_limits(guess, &steps);
    ds_frame_guess_close(guess);
    ds_arena_close(arena);
    test_little_memory();
    return checks_done();
}
