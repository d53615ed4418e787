"""Nonsuch on MPI, by mpi4py's own executor: rank 0 mines, every other rank searches.

    pip install nonsuch mpi4py mpich        # or the MPI of your cluster, in place of mpich
    mpiexec -n 9 python -m mpi4py.futures -m nonsuch miner POOL --engine mpi:engine

Run it in this folder, or have this file where Python finds modules. Ranks on other machines need
nonsuch too. A rank that dies takes the whole run with it, as is usual with MPI; the pool then gives
its shards to other miners.

Seen to work with Python 3.11, mpi4py 4.1.2 and mpich 5.0.2 on one machine: `nonsuch miner` for a
pool, ended by Ctrl-C, and `nonsuch solve`, both with the right answer.
"""

from __future__ import annotations

import signal
from concurrent.futures import Executor

from mpi4py import MPI
from mpi4py.futures import MPIPoolExecutor

IGNORED = (signal.SIGINT, signal.SIG_IGN)


def engine() -> Executor:
    ranks = MPI.COMM_WORLD.Get_size() - 1
    if ranks < 1:
        raise RuntimeError("start it with mpiexec, and with two ranks or more")
    # Ctrl-C reaches all ranks, and is the business of rank 0.
    executor = MPIPoolExecutor(ranks, initializer=signal.signal, initargs=IGNORED)
    executor.slots = ranks
    return executor
