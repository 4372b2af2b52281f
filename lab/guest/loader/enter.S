/* Where GRUB enters (Documentation/x86/boot.rst, "32-bit boot protocol"): flat 32-bit mode, no paging,
 * esi = boot_params.  Unpacks the kernel to its own address and enters it by the 64-bit protocol: long
 * mode, everything below 4 GiB mapped to itself, code selector 0x10, data selector 0x18, rsi =
 * boot_params. */
    .section .text.enter, "ax"
    .code32
    .globl enter
enter:
    cli
    cld
    movl $stack_end, %esp
    pushl %esi
    call unpack
    popl %esi

    lgdt gdt_pointer
    movl %cr4, %eax
    orl $0x20, %eax             /* PAE */
    movl %eax, %cr4
    movl $page_tables, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      /* EFER */
    rdmsr
    orl $0x100, %eax            /* long mode */
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax       /* paging, protection */
    movl %eax, %cr0
    movl kernel_entry, %edi
    ljmp $0x10, $enter_long

    .code64
enter_long:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %esi, %esi             /* clears the upper half, as below */
    movl %edi, %edi
    jmp *%rdi

    .balign 16
gdt:
    .quad 0, 0
    .quad 0x00af9a000000ffff    /* 0x10: 64-bit code */
    .quad 0x00cf92000000ffff    /* 0x18: data */
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

    .section .note.GNU-stack, "", @progbits
