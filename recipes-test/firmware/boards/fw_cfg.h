/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * QEMU's fw_cfg, as much of it as is needed to read a file by its name (QEMU, docs/specs/fw_cfg.rst): a key is
 * selected, then its bytes are read one by one. Numbers in the directory are big-endian.
 */
#ifndef FW_CFG_H
#define FW_CFG_H

#include "board.h"

#define FW_CFG_DIRECTORY 0x19u
#define FW_CFG_NAME_SIZE 56u

struct fw_cfg {
	void (*select)(uint16_t key);
	uint8_t (*next)(void);
};

static inline uint32_t fw_cfg_number(const struct fw_cfg *device, unsigned bytes)
{
	uint32_t number = 0;

	while (bytes--)
		number = number << 8 | device->next();
	return number;
}

/* True if the directory's next name is this one. Reads it to its end either way. */
static inline bool fw_cfg_is_next(const struct fw_cfg *device, const char *name)
{
	bool same = true;

	for (unsigned i = 0; i < FW_CFG_NAME_SIZE; i++) {
		same = device->next() == (uint8_t)*name && same;
		if (*name)
			name++;
	}
	return same;
}

/* Reads a file of less than `size` bytes as text. */
static inline bool fw_cfg_read(const struct fw_cfg *device, const char *name, char *text, size_t size)
{
	uint32_t files;

	device->select(FW_CFG_DIRECTORY);
	files = fw_cfg_number(device, 4);
	while (files--) {
		uint32_t length = fw_cfg_number(device, 4);
		uint16_t key = (uint16_t)fw_cfg_number(device, 2);

		(void)fw_cfg_number(device, 2);
		if (!fw_cfg_is_next(device, name))
			continue;
		if (length >= size)
			return false;
		device->select(key);
		for (uint32_t i = 0; i < length; i++)
			text[i] = (char)device->next();
		text[length] = '\0';
		return true;
	}
	return false;
}

#endif
