"""Run a command that ends when its parent ends, optionally as another user.

Usage: python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID COMMAND…   (UID -1: stay as we are)

A separate small program rather than `preexec_fn`, which is unsafe in a process with threads. The death signal is
asked for after the change of user, because changing credentials clears it; exec keeps it.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
EX_OSERR = 71


def main(argv: list[str]) -> int:
    """Drop to the user, tie the life to the parent, become the command. Returns only on failure."""
    parent, death_signal, uid, gid = (int(a) for a in argv[:4])
    command = argv[4:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        return EX_OSERR
    if os.getppid() != parent:  # the parent ended before the signal was armed
        return EX_OSERR
    try:
        os.execv(command[0], command)  # noqa: S606 (becoming the command is the point)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
    return EX_OSERR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
