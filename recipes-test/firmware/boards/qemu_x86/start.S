/* SPDX-License-Identifier: MulanPSL-2.0 */
/* Entry in protected mode, without paging (Multiboot 0.6.96, "Machine state"), and the handlers of the IDT. */

	.set	MULTIBOOT_MAGIC, 0x1badb002
	.set	MULTIBOOT_FLAGS, 0	/* nothing is wanted; the ELF header says where to load */

	.section .start, "ax"
	.balign	4
	.long	MULTIBOOT_MAGIC
	.long	MULTIBOOT_FLAGS
	.long	-(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.global	_start
_start:
	lgdt	gdt_pointer
	ljmp	$0x08, $1f
1:	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	mov	$__stack_end, %esp
	cld
	mov	$__bss_start, %edi
	mov	$__bss_end, %ecx
	sub	%edi, %ecx
	xor	%eax, %eax
	rep stosb
	call	main

	.text
/* Exceptions, 16 bytes each. All look alike to board_fault(): those without an error code get 0. */
	.global	board_exceptions
	.balign	16
board_exceptions:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	vector != 8 && vector != 17 && vector != 21 && (vector < 10 || vector > 14)
	push	$0
	.endif
	push	$vector
	jmp	fault_entry
	.set	vector, vector + 1
	.endr

	.balign	16
fault_entry:
	cld
	push	%esp
	call	board_fault

	.global	board_uart_entry
board_uart_entry:
	pusha
	cld
	call	board_interrupt
	popa
	iret

/* An interrupt that was gone when the PIC looked; it wants no acknowledgement. */
	.global	board_spurious_entry
board_spurious_entry:
	iret

	.section .rodata
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9a000000ffff	/* 0x08: code, all 4 GiB */
	.quad	0x00cf92000000ffff	/* 0x10: data, all 4 GiB */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

/* Without this x86's linker warns of an executable stack; link.ld leaves the section out. */
	.section .note.GNU-stack, "", @progbits
