#ifndef _KERNEL_VERSION_H_
#define _KERNEL_VERSION_H_
#define KERNEL_VERSION_STRING "3.5.0-rc1"
#endif
