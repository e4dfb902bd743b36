/* SPDX-License-Identifier: MulanPSL-2.0 */
/* Entry and exception vectors. Stays at the exception level where QEMU starts it: 1, 2 or 3. */

	.section .start, "ax"
	.global _start
_start:
	mrs	x0, mpidr_el1
	tst	x0, #0xff
	b.ne	park
	ldr	x0, =__stack_end
	mov	sp, x0
	ldr	x1, =vectors
	mrs	x0, CurrentEL
	cmp	x0, #(2 << 2)
	b.hi	at_el3
	b.eq	at_el2
	msr	vbar_el1, x1
	b	clear_bss
at_el2:
	msr	vbar_el2, x1
	mov	x0, #(1 << 31)		/* HCR_EL2.RW */
	orr	x0, x0, #(1 << 4)	/* HCR_EL2.IMO: interrupts come to EL2 */
	msr	hcr_el2, x0
	b	clear_bss
at_el3:
	msr	vbar_el3, x1
	mov	x0, #(1 << 10)		/* SCR_EL3.RW */
	orr	x0, x0, #(1 << 1)	/* SCR_EL3.IRQ: interrupts come to EL3 */
	msr	scr_el3, x0
clear_bss:
	isb
	ldr	x0, =__bss_start
	ldr	x1, =__bss_end
1:	cmp	x0, x1
	b.hs	2f
	str	xzr, [x0], #8
	b	1b
2:	bl	main
park:
	wfi
	b	park

/* Everything but an interrupt at the current level is a fault. */
	.macro	fault_vector
	.balign	0x80
	b	board_fault
	.endm

	.text
	.balign	0x800
vectors:
	.rept	4			/* on SP_EL0: never used */
	fault_vector
	.endr
	fault_vector			/* synchronous */
	.balign	0x80			/* IRQ */
	stp	x29, x30, [sp, #-176]!
	stp	x0, x1, [sp, #16]
	stp	x2, x3, [sp, #32]
	stp	x4, x5, [sp, #48]
	stp	x6, x7, [sp, #64]
	stp	x8, x9, [sp, #80]
	stp	x10, x11, [sp, #96]
	stp	x12, x13, [sp, #112]
	stp	x14, x15, [sp, #128]
	stp	x16, x17, [sp, #144]
	str	x18, [sp, #160]
	bl	board_interrupt
	ldr	x18, [sp, #160]
	ldp	x16, x17, [sp, #144]
	ldp	x14, x15, [sp, #128]
	ldp	x12, x13, [sp, #112]
	ldp	x10, x11, [sp, #96]
	ldp	x8, x9, [sp, #80]
	ldp	x6, x7, [sp, #64]
	ldp	x4, x5, [sp, #48]
	ldp	x2, x3, [sp, #32]
	ldp	x0, x1, [sp, #16]
	ldp	x29, x30, [sp], #176
	eret
	.rept	10			/* FIQ, SError; lower levels: never used */
	fault_vector
	.endr
