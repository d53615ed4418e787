"""Nonsuch on Ray: a dozen lines make an executor of it.

    pip install nonsuch ray
    nonsuch miner POOL --engine ray_cluster:engine

Run it in this folder, or have this file where Python finds modules. It joins the cluster that
RAY_ADDRESS names, or else starts one on this machine; machines of a cluster need nonsuch too.
Whoever reaches a Ray cluster can run code on it: keep it in a network that you trust.

Seen to work with Python 3.11 and Ray 2.60.0 on one machine, started by this file: `nonsuch miner`
and `nonsuch solve`. Starting it took some ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

import ray

P = ParamSpec("P")
T = TypeVar("T")


class RayExecutor(Executor):
    """Calls as Ray's tasks, one processor each. `slots` are the processors at the start."""

    def __init__(self) -> None:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self.slots = int(ray.cluster_resources().get("CPU", 0))
        self._call = ray.remote(num_cpus=1)(_called)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Where a worker dies, Ray runs it again, three times at most."""
        return self._call.remote(fn, args, kwargs).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave, whatever is in flight."""
        ray.shutdown()


def _called(fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
    return fn(*args, **kwargs)


def engine() -> Executor:
    return RayExecutor()
