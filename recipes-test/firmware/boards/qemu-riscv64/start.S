/* SPDX-License-Identifier: MulanPSL-2.0 */
/* Entry in machine mode. QEMU starts every hart here; hart 0 goes on. */

	.section .start, "ax"
	.global	_start
_start:
	csrr	t0, mhartid
	bnez	t0, park
	la	sp, __stack_end
	la	t0, board_trap
	csrw	mtvec, t0
	la	t0, __bss_start
	la	t1, __bss_end
1:	bgeu	t0, t1, 2f
	sd	zero, 0(t0)
	addi	t0, t0, 8
	j	1b
2:	call	main
park:
	wfi
	j	park
