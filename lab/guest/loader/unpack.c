/* Unpacks a kernel that repack-kernel has packed with LZ4 in its old frame format: a magic, then blocks
 * of at most 8 MiB, each a length and LZ4 sequences (lz4_Block_format.md).  Runs on the bare machine,
 * below the kernel; what it reads was made beside it. */
#include <stddef.h>
#include <stdint.h>

#define PAGE_PRESENT_WRITABLE 3U
#define PAGE_IS_LARGE         0x80U

/* Filled in by repack-kernel: it finds this table by its magic. */
struct loader_table {
    uint32_t magic[2];
    uint32_t packed, packed_end; /* addresses */
    uint32_t target, target_end; /* where the kernel goes; beyond what is unpacked it is zeroed */
    uint32_t entry;
};
volatile const struct loader_table table
    __attribute__((section(".table"))) = {.magic = {0x32766332, 0x64616f6c}};

/* One level-4 and one level-3 table, and four of level 2 that map 4 GiB in 2 MiB pages. */
uint64_t page_tables[6][512] __attribute__((aligned(4096)));
uint32_t kernel_entry;

void unpack(void);

/* An emulator spends the same time on each turn of `rep`, so turns of four bytes.  @from may lie just
 * before @to and be overwritten on the way: that is how LZ4 repeats. */
static void
copy_bytes(uint8_t **to, const uint8_t *from, size_t length)
{
    size_t words = *to - from >= 4 || *to < from ? length / 4 : 0, rest = length - words * 4;

    __asm__ volatile("rep movsl" : "+D"(*to), "+S"(from), "+c"(words) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(*to), "+S"(from), "+c"(rest) : : "memory");
}

/* The four bits of a token, and what follows when they are all set. */
static size_t
read_length(const uint8_t **from, size_t bits)
{
    size_t length = bits, more;

    if (bits == 15)
        do {
            more = *(*from)++;
            length += more;
        } while (more == 255);
    return length;
}

static uint8_t *
unpack_block(const uint8_t *from, const uint8_t *end, uint8_t *to)
{
    while (from < end) {
        uint8_t token = *from++;
        size_t literals = read_length(&from, token >> 4), distance;

        copy_bytes(&to, from, literals);
        from += literals;
        if (from >= end)
            break;
        distance = (size_t)from[0] | (size_t)from[1] << 8;
        from += 2;
        copy_bytes(&to, to - distance, read_length(&from, token & 15) + 4);
    }
    return to;
}

static void
map_memory(void)
{
    page_tables[0][0] = (uintptr_t)page_tables[1] | PAGE_PRESENT_WRITABLE;
    for (uint32_t i = 0; i < 4; i++) {
        page_tables[1][i] = (uintptr_t)page_tables[2 + i] | PAGE_PRESENT_WRITABLE;
        for (uint32_t j = 0; j < 512; j++)
            page_tables[2 + i][j] =
                ((uint64_t)i << 30 | (uint64_t)j << 21) | PAGE_PRESENT_WRITABLE | PAGE_IS_LARGE;
    }
}

void
unpack(void)
{
    const uint8_t *from = (const uint8_t *)(uintptr_t)table.packed + 4;
    const uint8_t *end = (const uint8_t *)(uintptr_t)table.packed_end;
    uint8_t *to = (uint8_t *)(uintptr_t)table.target;
    size_t left;

    while (from < end) {
        uint32_t length = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
                          (uint32_t)from[3] << 24;
        to = unpack_block(from + 4, from + 4 + length, to);
        from += 4 + length;
    }
    while ((uintptr_t)to % 4)
        *to++ = 0;
    left = (table.target_end - (uintptr_t)to) / 4; /* it ends at a page */
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(left) : "a"(0) : "memory");
    kernel_entry = table.entry;
    map_memory();
}
