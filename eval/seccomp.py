"""A filter of system calls for `eval/sandbox.py`: what a program that only computes never needs, and attacks do.

Namespaces alone leave holes that limits of a process do not close: memory outside any process (System V shared memory,
memfd, a tmpfs in a namespace of one's own), sockets that no network namespace holds (vsock), ways into other processes,
what the kernel holds for the whole machine (its log, its supply of asynchronous I/O). A room stays one process, with
threads: limits of memory and CPU are those of a process, so they then hold for the room.
The filter is a classic BPF program, as the kernel's seccomp wants it and bubblewrap passes on.
"""

import errno
import platform
import struct

# Number of each call on (x86_64, aarch64; None where there is none): asm/unistd.h of Linux.
_DENIED = {
    "fork": (57, None),
    "vfork": (58, None),
    "socket": (41, 198),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "syslog": (103, 116),
    "userfaultfd": (323, 282),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH of linux/audit.h
_CLONE = (56, 220)
_CLONE3 = 435  # its flags lie in memory, where no filter reads; without it the C library takes clone
_X32 = 0x40000000  # calls of x86_64's second numbering
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW* of linux/sched.h
_THREAD = 0x00010000  # CLONE_THREAD

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def known() -> bool:
    """Whether there is a filter for this machine's processor."""
    return platform.machine() in _MACHINES


def filter_bytes() -> bytes:
    """The filter as an array of `struct sock_filter`: denied calls fail with EPERM, and clone3 with ENOSYS."""
    column, architecture = _MACHINES[platform.machine()]
    steps = [
        (_LOAD, 0, 0, 4),  # the architecture
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # the number of the call
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    ]
    if column == 0:
        steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _FAIL | errno.EPERM)]
    for number in (numbers[column] for numbers in _DENIED.values() if numbers[column] is not None):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | errno.EPERM)]
    steps += [
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, 16),  # its first argument: the flags
        (_ANY_BIT, 1, 0, _NEW_NAMESPACES),
        (_ANY_BIT, 1, 0, _THREAD),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
