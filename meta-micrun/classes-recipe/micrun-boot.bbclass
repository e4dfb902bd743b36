# SPDX-License-Identifier: MulanPSL-2.0
#
# What Xen and Linux are told when they start, as variables. The recipes that write a boot configuration inherit this and put the
# results into their templates:
#
#   @XEN_ARGS@     MICRUN_XEN_ARGS      Xen's own command line
#   @DOM0_ARGS@    MICRUN_DOM0_ARGS     Linux as Dom0
#   @KERNEL_ARGS@  MICRUN_KERNEL_ARGS   Linux without Xen
#
# The slot's own arguments (root=, rauc.slot=) are the template's. All of these are weak: a distro, a machine or local.conf sets
# them with "=" or "?=". docs/yocto-images.md says how to choose them.

# Memory of Dom0, in Xen's own form. The rest is the guests'.
MICRUN_DOM0_MEMORY ??= "512M"

# Virtual CPUs of Dom0.
MICRUN_DOM0_CPUS ??= "1"

# "1" ties Dom0's CPU n to core n. All other cores are then free of Dom0, and a guest that gets one of them alone
# (its cpuset) runs beside nobody. "0" lets Dom0 run on every core.
MICRUN_DOM0_PINNED ??= "1"

# Xen's scheduler: credit2 (Xen's own choice when this is empty), credit, null, rtds. "null" gives each virtual CPU a core of its
# own for good: the least jitter, no weights nor limits, and no more virtual CPUs than cores.
MICRUN_XEN_SCHEDULER ??= ""

# Xen's serial port as a path of the device tree. Empty: the one that the device tree or the ACPI tables name.
MICRUN_XEN_CONSOLE ??= ""

# Anything else for Xen, such as "bootscrub=0" or "loglvl=all".
MICRUN_XEN_ARGS_EXTRA ??= ""

# Without Xen: cores that Linux keeps its tasks, timers and interrupts away from, such as "3" or "2-3".
MICRUN_ISOLATED_CPUS ??= ""

# Without Xen: how many cores Linux starts. The others stay off, for firmware that gets a core to itself.
MICRUN_LINUX_CPUS ??= ""

# Where Linux without Xen writes its messages. Empty leaves it to the firmware's tables.
MICRUN_CONSOLE ??= "${@micrun_console(d)}"

# Seconds after which a panicking kernel restarts. Without it no panic would count as a failed boot.
MICRUN_PANIC_SECONDS ??= "10"

# Anything else for Linux, with and without Xen.
MICRUN_KERNEL_ARGS_EXTRA ??= ""

MICRUN_XEN_ARGS = "${@micrun_xen_args(d)}"
MICRUN_DOM0_ARGS = "${@micrun_dom0_args(d)}"
MICRUN_KERNEL_ARGS = "${@micrun_kernel_args(d)}"

def micrun_words(words):
    """One line of what is not empty."""
    return ' '.join(' '.join(word for word in words if word).split())

def micrun_option(form, value):
    """An argument with a value, unless that is empty."""
    return form.format(value.strip()) if value and value.strip() else ''

def micrun_xen_args(d):
    return micrun_words([
        'console=dtuart',
        micrun_option('dtuart={}', d.getVar('MICRUN_XEN_CONSOLE')),
        micrun_option('dom0_mem={}', d.getVar('MICRUN_DOM0_MEMORY')),
        micrun_option('dom0_max_vcpus={}', d.getVar('MICRUN_DOM0_CPUS')),
        'dom0_vcpus_pin' if d.getVar('MICRUN_DOM0_PINNED') == '1' else '',
        micrun_option('sched={}', d.getVar('MICRUN_XEN_SCHEDULER')),
        d.getVar('MICRUN_XEN_ARGS_EXTRA'),
    ])

def micrun_dom0_args(d):
    return micrun_words([
        'console=hvc0',
        micrun_option('panic={}', d.getVar('MICRUN_PANIC_SECONDS')),
        d.getVar('MICRUN_KERNEL_ARGS_EXTRA'),
    ])

def micrun_kernel_args(d):
    return micrun_words([
        micrun_option('console={}', d.getVar('MICRUN_CONSOLE')),
        micrun_option('panic={}', d.getVar('MICRUN_PANIC_SECONDS')),
        micrun_option('isolcpus=managed_irq,domain,{0} nohz_full={0}', d.getVar('MICRUN_ISOLATED_CPUS')),
        micrun_option('maxcpus={}', d.getVar('MICRUN_LINUX_CPUS')),
        d.getVar('MICRUN_KERNEL_ARGS_EXTRA'),
    ])

def micrun_console(d):
    """The machine's first serial console; none where it lists those of many boards."""
    consoles = (d.getVar('SERIAL_CONSOLES') or '').split()
    if d.getVar('MACHINE') == 'genericarm64' or not consoles:
        return ''
    speed, name = consoles[0].split(';')[:2]
    return '%s,%s' % (name, speed)
