/* SPDX-License-Identifier: MulanPSL-2.0 */
/* For boards without network. */
#include "board.h"

const char *board_net_start(uint8_t mac[6])
{
	(void)mac;
	return "this board has no network";
}

/* Never called: the above never starts one. */
void board_net_send(const void *frame, size_t length) { (void)frame, (void)length; }
void board_net_pause(void) { }
