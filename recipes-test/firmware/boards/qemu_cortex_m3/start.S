/* SPDX-License-Identifier: MulanPSL-2.0 */
/* Vector table and entry (ARMv7-M, "Exception model"): the CPU itself loads the stack pointer. */

	.syntax	unified
	.thumb

	.section .start, "a"
	.word	__stack_end
	.word	_start
	.rept	13			/* 2..14: NMI and faults; the rest is never used */
	.word	board_fault_entry
	.endr
	.word	board_tick		/* 15: SysTick */
	.rept	5			/* interrupts 0..4 */
	.word	board_fault_entry
	.endr
	.word	console_receive		/* interrupt 5: UART 0 */
	.rept	38
	.word	board_fault_entry
	.endr

	.text
	.global	_start
	.thumb_func
	.type	_start, %function
_start:
	ldr	r0, =__data_load
	ldr	r1, =__data_start
	ldr	r2, =__data_end
1:	cmp	r1, r2
	bhs	2f
	ldr	r3, [r0], #4
	str	r3, [r1], #4
	b	1b
2:	ldr	r1, =__bss_start
	ldr	r2, =__bss_end
	movs	r3, #0
3:	cmp	r1, r2
	bhs	4f
	str	r3, [r1], #4
	b	3b
4:	bl	main

	.thumb_func
	.type	board_fault_entry, %function
board_fault_entry:
	mov	r0, sp			/* the registers that the CPU has pushed */
	b	board_fault
