"""Nonsuch on Parsl, by its own executor.

    pip install nonsuch parsl
    nonsuch miner POOL --engine parsl_cluster:engine

Run it in this folder, or have this file where Python finds modules. The provider below is this
machine; `parsl.providers` has others, SlurmProvider for one. Its nodes need nonsuch too.

Seen to work with Python 3.11 and Parsl 2026.10.26 on one machine: `nonsuch miner` and `nonsuch
solve`. Parsl finds its own programs by PATH, so the environment must be activated. It starts
workers when there is work: the first pieces came some fifteen seconds later.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import Executor

from parsl import Config, HighThroughputExecutor
from parsl.concurrent import ParslPoolExecutor
from parsl.providers import LocalProvider

WORKERS = os.cpu_count() or 1


def engine() -> Executor:
    nodes = HighThroughputExecutor(
        label="nonsuch",
        address="127.0.0.1",  # the nodes' way to this machine
        max_workers_per_node=WORKERS,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    executor = ParslPoolExecutor(
        config=Config(executors=[nodes], run_dir=tempfile.mkdtemp(prefix="parsl-"))
    )
    executor.slots = WORKERS
    return executor
