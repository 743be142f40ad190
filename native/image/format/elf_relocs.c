/* Relocation tables and what they fill: slots, .got, the PLT.
 *
 * Sources: System V gABI 4.1 chapter 4 ("Relocation") and its RELR addition; System V ABI
 * AMD64 supplement 1.0 sections 4.4 and 5.2; ELF for the Arm 64-bit Architecture (AAELF64)
 * section 5.7.
 */
#include "image/format/elf.h"

enum { RELA_OFFSET = 0, RELA_TYPE = 8, RELA_SYMBOL = 12, RELA_ADDEND = 16 };

/* What a type of relocation says of its addend and of the word that it fills. */
typedef struct reloc_rule {
    uint16_t type;
    bool addend_is_address; /* when no symbol is named */
    bool fills_address;     /* a word that is not zero in the file is an address for certain */
    bool fills_slot;        /* the loader writes 8 bytes there */
} reloc_rule;

static const reloc_rule x86_64_rules[] = {
    {1, true, false, true},   /* R_X86_64_64 */
    {6, true, false, true},   /* R_X86_64_GLOB_DAT */
    {7, true, true, true},    /* R_X86_64_JUMP_SLOT: the second half of the PLT entry */
    {8, true, true, true},    /* R_X86_64_RELATIVE */
    {16, false, false, true}, /* R_X86_64_DTPMOD64 */
    {17, false, false, true}, /* R_X86_64_DTPOFF64 */
    {18, false, false, true}, /* R_X86_64_TPOFF64 */
    {36, false, false, true}, /* R_X86_64_TLSDESC */
    {37, true, true, true},   /* R_X86_64_IRELATIVE */
};
static const reloc_rule aarch64_rules[] = {
    {257, true, false, true},   /* R_AARCH64_ABS64 */
    {1025, true, false, true},  /* R_AARCH64_GLOB_DAT */
    {1026, true, true, true},   /* R_AARCH64_JUMP_SLOT */
    {1027, true, true, true},   /* R_AARCH64_RELATIVE */
    {1028, false, false, true}, /* R_AARCH64_TLS_DTPMOD */
    {1029, false, false, true}, /* R_AARCH64_TLS_DTPREL */
    {1030, false, false, true}, /* R_AARCH64_TLS_TPREL */
    {1031, false, false, true}, /* R_AARCH64_TLSDESC */
    {1032, true, true, true},   /* R_AARCH64_IRELATIVE */
};
/* COPY and types of static linking: an offset and a symbol, nothing else. */
static const reloc_rule no_rule = {0, false, false, false};

static const reloc_rule *find_rule(ds_arch arch, uint32_t type) {
    const reloc_rule *rules = arch == DS_ARCH_X86_64 ? x86_64_rules : aarch64_rules;
    uint64_t count = arch == DS_ARCH_X86_64 ? DS_COUNT(x86_64_rules) : DS_COUNT(aarch64_rules);
    for (uint64_t i = 0; i < count; i++)
        if (rules[i].type == type)
            return &rules[i];
    return &no_rule;
}

/* The word that a relocation fills: `meaning` is what it will refer to, 0 if that is not known. A slot of
 * an import tells matching which import, even where the file has something else in it (a lazy PLT's way back). */
static ds_status read_slot(ds_elf *elf, ds_address address, const reloc_rule *rule, ds_address meaning, bool imported) {
    ds_offset at;
    if (!rule->fills_slot || !ds_elf_locate(elf, address, ELF_WORD_SIZE, &at))
        return DS_OK;
    uint64_t content = ds_load64(elf->image->file.data + at);
    if (meaning != 0 && (content == 0 || imported))
        DS_TRY(ds_image_add_slot(elf->image, at, meaning));
    if (content == 0)
        return DS_OK;
    if (!rule->fills_address && ds_image_region(elf->image, content) == NULL)
        return DS_OK;
    return ds_elf_field(elf, at, DS_REF_ABS64, 0);
}

static ds_status read_rela(ds_elf *elf, ds_offset at) {
    const uint8_t *entry = elf->image->file.data + at;
    const reloc_rule *rule = find_rule(elf->image->arch, ds_load32(entry + RELA_TYPE));
    uint64_t symbol = ds_load32(entry + RELA_SYMBOL);
    uint64_t addend = ds_load64(entry + RELA_ADDEND);
    ds_address meaning = 0;
    DS_TRY(ds_elf_nonzero(elf, at + RELA_OFFSET, DS_REF_ABS64, 0));
    if (symbol != 0) {
        if (elf->symbols.size != 0) {
            DS_TRY(ds_elf_field(elf, at + RELA_SYMBOL, DS_REF_INDEX32, elf->symbols.address));
            meaning = elf->symbols.address + symbol * ELF_SYMBOL_SIZE;
        }
    } else if (rule->addend_is_address && addend != 0) {
        DS_TRY(ds_elf_field(elf, at + RELA_ADDEND, DS_REF_ABS64, 0));
        meaning = addend;
    }
    return read_slot(elf, ds_load64(entry + RELA_OFFSET), rule, meaning, symbol != 0);
}

ds_status ds_elf_rela(ds_elf *elf, ds_extent table) {
    if (!ds_elf_charge(elf, table.size))
        return DS_OK;
    for (uint64_t i = 0; i < table.size / ELF_RELA_SIZE; i++)
        DS_TRY(read_rela(elf, table.offset + i * ELF_RELA_SIZE));
    return DS_OK;
}

/* --- RELR -------------------------------------------------------------------------------- */

#define RELR_BITMAP_WORDS 63 /* an odd word: bit i + 1 stands for the word i after the last one */

static ds_status read_relr_location(ds_elf *elf, ds_address address) {
    ds_offset at;
    if (!ds_elf_charge(elf, ELF_WORD_SIZE) || !ds_elf_locate(elf, address, ELF_WORD_SIZE, &at))
        return DS_OK;
    return ds_elf_nonzero(elf, at, DS_REF_ABS64, 0);
}

ds_status ds_elf_relr(ds_elf *elf, ds_extent table) {
    if (!ds_elf_charge(elf, table.size))
        return DS_OK;
    ds_address next = 0;
    for (uint64_t i = 0; i < table.size / ELF_WORD_SIZE; i++) {
        ds_offset at = table.offset + i * ELF_WORD_SIZE;
        uint64_t word = ds_load64(elf->image->file.data + at);
        if ((word & 1) == 0) {
            DS_TRY(ds_elf_field(elf, at, DS_REF_RELR64, 0));
            DS_TRY(read_relr_location(elf, word));
            next = word + ELF_WORD_SIZE;
            continue;
        }
        for (uint64_t bits = word >> 1; bits != 0; bits &= bits - 1)
            DS_TRY(read_relr_location(elf, next + ELF_WORD_SIZE * (unsigned)__builtin_ctzll(bits)));
        next += RELR_BITMAP_WORDS * ELF_WORD_SIZE;
    }
    return DS_OK;
}

/* --- words and the PLT ------------------------------------------------------------------- */

ds_status ds_elf_words(ds_elf *elf, ds_extent table) {
    if (!ds_elf_charge(elf, table.size))
        return DS_OK;
    for (uint64_t i = 0; i < table.size / ELF_WORD_SIZE; i++) {
        ds_offset at = table.offset + i * ELF_WORD_SIZE;
        uint64_t word = ds_load64(elf->image->file.data + at);
        if (word != 0 && ds_image_region(elf->image, word) != NULL)
            DS_TRY(ds_elf_field(elf, at, DS_REF_ABS64, 0));
    }
    return DS_OK;
}

#define PLT_ENTRY 16
#define PUSH_IMM32 0x68

/* Where the immediate of the push may be in an entry, by what stands before it:
 * jmp *slot(%rip); push | endbr64; push. */
static const struct {
    uint8_t prefix[4];
    uint8_t prefix_size, push_at;
} plt_forms[] = {
    {{0xff, 0x25}, 2, 6},
    {{0xf3, 0x0f, 0x1e, 0xfa}, 4, 4},
};

ds_status ds_elf_plt(ds_elf *elf, ds_extent table) {
    uint64_t count = elf->calls.size / ELF_RELA_SIZE;
    if (elf->image->arch != DS_ARCH_X86_64 || !ds_elf_charge(elf, table.size))
        return DS_OK;
    for (uint64_t i = 0; i < table.size / PLT_ENTRY; i++) {
        ds_offset at = table.offset + i * PLT_ENTRY;
        const uint8_t *entry = elf->image->file.data + at;
        ds_elf_function(elf, table.address + i * PLT_ENTRY);
        for (uint64_t form = 0; form < DS_COUNT(plt_forms); form++) {
            unsigned push_at = plt_forms[form].push_at;
            if (memcmp(entry, plt_forms[form].prefix, plt_forms[form].prefix_size) != 0 ||
                entry[push_at] != PUSH_IMM32 || ds_load32(entry + push_at + 1) >= count)
                continue;
            DS_TRY(ds_elf_field(elf, at + push_at + 1, DS_REF_INDEX32, elf->calls.address));
        }
    }
    return DS_OK;
}
