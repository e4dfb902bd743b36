/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * An OpenAMP resource table (Linux, include/linux/remoteproc.h): one RPMsg device with two vrings, and mcs's own entry
 * in which its daemon tells a domain of Xen where they are (mcs, mica_rsc.h). The mica daemon starts no firmware without
 * such a table. Nothing here speaks RPMsg: the table is there to be found.
 */
#include "board.h"

#define RSC_VDEV 3u
#define RSC_VENDOR_VRING_OFFSET 130u
#define VIRTIO_ID_RPMSG 7u
#define FEATURE_NAME_SERVICE 1u
#define ANY_ADDRESS 0xffffffffu /* the host chooses */

struct vring {
	uint32_t address, align, count, notify, reserved;
};

__attribute__((section(".resource_table"), used)) static struct {
	uint32_t version, count, reserved[2], offsets[2];
	struct {
		uint32_t type, id, notify, features, accepted, config_size;
		uint8_t status, vring_count, reserved[2];
		struct vring vrings[2];
	} rpmsg;
	struct {
		uint32_t type, offsets[8];
	} places;
} table = {
	.version = 1,
	.count = 2,
	.offsets = { 24, 92 },
	.rpmsg = {
		.type = RSC_VDEV,
		.id = VIRTIO_ID_RPMSG,
		.features = FEATURE_NAME_SERVICE,
		.vring_count = 2,
		.vrings = {
			{ .address = ANY_ADDRESS, .align = 16, .count = 16, .notify = 1 },
			{ .address = ANY_ADDRESS, .align = 16, .count = 16, .notify = 2 },
		},
	},
	.places = { .type = RSC_VENDOR_VRING_OFFSET },
};

_Static_assert(offsetof(typeof(table), rpmsg) == 24 && offsetof(typeof(table), places) == 92, "as .offsets says");
