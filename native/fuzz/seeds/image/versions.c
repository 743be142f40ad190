/* Two versions of symbols, a probe of systemtap, two tables of jumps. */
#define CASES(x) case 0: return x; case 1: return x * 3; case 2: return x ^ 5; case 3: return x - 7; \
    case 4: return x / 9; case 5: return x << 3; case 6: return x | 12; case 7: return x & 77;
#define SHOWN __attribute__((visibility("default")))

SHOWN int first(int n, int x) {
    switch (n) { CASES(x) default: return 0; }
}

SHOWN int second(int n, int x) {
    __asm__ volatile("990: nop\n"
                     ".pushsection .note.stapsdt,\"\",\"note\"\n"
                     ".balign 4\n.4byte 992f-991f, 994f-993f, 3\n"
                     "991: .asciz \"stapsdt\"\n992: .balign 4\n"
                     "993: .8byte 990b, _.stapsdt.base, 0\n.asciz \"seed\"\n.asciz \"second\"\n.asciz \"-4@%edi\"\n"
                     "994: .balign 4\n.popsection\n"
                     ".ifndef _.stapsdt.base\n"
                     ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"
                     ".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n"
                     ".size _.stapsdt.base, 1\n.popsection\n.endif\n");
    switch (n + x) { CASES(x * 31) default: return 1; }
}
