"""A process beside the ranks of a machine that says which of them was the first to die. On Linux
alone.

A rank that is killed (by the system, short of memory, most often) cannot say a word, and mpiexec,
which ends the others, knows process numbers at best. `distributed` starts this file as a program of
its own, and in a session of its own, since mpiexec kills whatever is in a rank's. Each rank holds a
line to it, and says so before it ends as it should or names itself.

How it knows the first, however late it looks: of a process that dies Linux closes the files from
the highest number down. The line's is above that of mpiexec's own line, so the line has ended
before mpiexec can know and end the others; and epoll tells what happened in the order in which it
did.

    python rank_monitor.py ADDRESS RANKS
"""

from __future__ import annotations

import atexit
import os
import platform
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

JOIN_S = 60  # for all ranks to join
HIGH = 200  # the lowest number of a line, above those of what mpiexec left open


def join(here: Any, rank: int) -> socket.socket | None:
    """This rank's line to the monitor, which the first rank here starts; None on other systems.

    here    the mpi4py communicator of the ranks of this machine
    """
    if not hasattr(select, "epoll"):
        return None
    address = here.bcast(f"mvit-np {os.getpid()} {time.time_ns()}")
    if here.Get_rank() == 0:
        _start(address, here.Get_size())
    here.Barrier()
    line = _connected(address)
    line.sendall(f"rank {rank} (process {os.getpid()} on {platform.node()})".encode())
    line.recv(1)  # the name is known: what is sent from now on is no part of it
    # mpi4py's MPI_Finalize comes after it, and lets nobody go before all are there.
    atexit.register(leave, line)
    return line


def leave(line: socket.socket) -> None:
    """This rank ends as it should, or has said why not: ends of lines are no news any more."""
    with suppress(OSError):  # it is gone: another rank left before
        line.sendall(b".")


def _start(address, ranks):
    """Start the program, in a session of its own, and wait until it listens."""
    command = [sys.executable, "-I", "-S", __file__, address, str(ranks)]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    process: Any = subprocess.Popen(command, **streams, start_new_session=True)
    process.stdout.read()
    # Python complains of a program that is forgotten while it runs: this keeps it to the end.
    atexit.register(process.poll)


def _connected(address):
    import fcntl  # not on Windows

    with socket.socket(socket.AF_UNIX) as low:
        low.connect("\0" + address)
        return socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, HIGH))


# -- the program -----------------------------------------------------------------------------------


def first_to_die(address: str, ranks: int) -> str | None:
    """The name that came through the first line to end; None where its rank has left."""
    watch, names = select.epoll(), {}
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("\0" + address)
        door.listen(ranks)
        door.settimeout(JOIN_S)
        os.close(1)
        lines = [door.accept()[0] for _ in range(ranks)]
    for line in lines:
        names[line.fileno()] = line.recv(1000).decode()
        watch.register(line, select.EPOLLIN)
        line.sendall(b".")
    first = watch.poll(maxevents=1)[0][0]
    return None if os.read(first, 1) else names[first]


def main(address: str, ranks: str) -> None:
    """Writes one line to stderr, in one piece."""
    with suppress(TimeoutError):
        if name := first_to_die(address, int(ranks)):
            words = f"{name} died without a word, the first on its machine"
            os.write(2, f"{words}: killed, or out of memory? The job ends.\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
