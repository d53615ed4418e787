"""The engine of a cluster: pieces on the workers of a Dask scheduler.

`dask` is a cluster of this machine, a process for each processor; `dask://HOST:PORT` and
`tls://HOST:PORT` are somebody's scheduler with whatever workers it has: on Slurm, on Kubernetes, in
a cloud. From then on they are one thing, a *session*: a client of a scheduler, dressed as an
executor. A session ends when its scheduler is lost, and `Reopening` makes the next one. Pieces of a
worker that is lost are Dask's business: it gives them to another worker at once.

A worker hears that it should halt in its event loop, which is idle while its threads search. Pieces
of a halted job that had not begun then end at once; what is still out a second later (its worker is
frozen, or came after the call) is withdrawn from the scheduler.

**Whoever reaches a Dask scheduler can run code on it, on its workers and on its clients.** So what
leaves this machine is encrypted and both sides show certificates, unless somebody insists. The
cluster of this machine has a certificate of its own, made anew each time and known to its own
processes alone: other people may have accounts here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import multiprocessing
import pickle
import signal
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future, InvalidStateError
from multiprocessing import resource_tracker
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed import Future as DaskFuture
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.scheduler import KilledWorker
from distributed.security import Security
from distributed.utils import get_mp_context
from distributed.versions import VersionMismatchWarning

from nonsuch.addresses import is_loopback
from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import SLOTS_MAX, Piece, halt_here, perform
from nonsuch.search.engines.reopening import Reopening
from nonsuch.search.searcher import default_threads
from nonsuch.work import presets
from nonsuch.work.goals import Lowest

__all__ = ["DaskEngine", "SchedulerLost", "WorkersKilled", "open_dask"]

SCHEDULER_PORT = 8786
"""Where a scheduler of Dask listens unless told otherwise."""

WORKERS_MAX = 1024
"""Processes of one machine; a typing error should not exhaust it."""

CONNECT_SECONDS = 5.0
"""How long a scheduler may take to answer. Dask's own 30 s are for those who know it is there."""

CHECK_SECONDS = 10.0
"""How long all workers together may take to show that they can search. One may be frozen."""

OPEN_SECONDS = 3 * CONNECT_SECONDS + CHECK_SECONDS
"""How long all that may take, and to leave again."""

START_SECONDS = 120.0
"""How long a cluster of this machine may take to start: 1.5 s, on one that has much to do more."""

CHECKED_MAX = 64
"""Workers that are asked whether they can search; those of a cluster are mostly copies."""

LOOK_SECONDS = 0.5
"""How old the number of workers may be."""

WITHDRAW_SECONDS = 1.0
"""How long after a halt a piece may come back by itself; it takes some 20 ms."""

CLOSE_SECONDS = 5.0
"""How long a scheduler may take to say goodbye."""

HALTS_MAX = 64
"""Halts under way: one waits as long as a worker is frozen. More are withdrawn, and run on."""

HALTED_MAX = 4096
"""Halted jobs that are remembered, so that what is sent again is not of them."""

RETRIES = 3
"""How often Dask gives a piece that failed to a worker again: one of many may be out of order."""

QUIET = ("distributed", "distributed.client", "tornado", "tornado.application")
"""Loggers that Dask gives levels of their own. What they say of a lost peer is said here, once."""

SETTINGS = {
    "distributed.worker.profile.enabled": False,  # samples all threads, a hundred times a second
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Pieces wait at the scheduler and not at busy workers: so those of a lost one, which are the
    # oldest, go to the next that has time, and be it the one that comes in its place.
    "distributed.scheduler.worker-saturation": 1.0,
}
"""Of the cluster of this machine: nobody looks at it but we."""

STARTING = {"distributed.worker.multiprocessing-method": "forkserver"}
IMPORTED = ["distributed", __name__, "llvmlite.binding"]
"""Its workers, those too that come for lost ones, are copies of a process that has imported all
this: they are there in a tenth of the time that a new interpreter takes."""

P = ParamSpec("P")
T = TypeVar("T")
Connect = Callable[[], Coroutine[object, object, Client]]

_log = logging.getLogger(__name__)


class SchedulerLost(ConnectionError):
    """The connection to the scheduler is gone, and with it all that was in flight."""


class WorkersKilled(LocalError):
    """All workers that a piece was given to were killed: by a person, or because of the piece."""


class _Size(NamedTuple):
    threads: int
    workers: int


class _Loop:
    """An event loop in a thread of its own, where all that Dask does for us is done.

    Dask would start one itself, and leave it behind where there is no scheduler.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="nonsuch-dask", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # What Dask starts from here inherits it: Ctrl-C is not their business, from birth on. By
        # SIGTERM Dask itself ends those that it must not wait for.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._over.wait())

    def run(self, work: Coroutine[object, object, T], seconds: float) -> T:
        """Have it done, and wait. Raises `TimeoutError` where it takes longer."""
        future = self.start(work)
        try:
            return future.result(seconds)
        finally:
            future.cancel()

    def start(self, work: Coroutine[object, object, T]) -> Future[T]:
        """Have it done meanwhile; what is not done when the loop ends is cancelled."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # It is closed.
            work.close()
            return Future()

    def close(self) -> None:
        """Safe to call twice."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


class DaskEngine:
    """A cluster as an engine. `connect` makes clients in `loop`; `where` it is, is for the log.

    Raises `OSError` where there is no scheduler, and `LocalError` where it, or one of its workers,
    is not fit to search. `resources` are closed behind everything else.
    """

    name = "dask"

    def __init__(
        self, loop: _Loop, connect: Connect, where: str, resources: contextlib.ExitStack
    ) -> None:
        self._halted: dict[str, None] = {}
        self._resources = resources
        self._lock = threading.Lock()
        self._reopening = Reopening(
            lambda: _Session(loop, connect, self._halted),
            (SchedulerLost,),
            again=(WorkersKilled,),
            name=where,
        )
        self.executor: Executor = self._reopening

    def slots(self) -> int:
        """The threads of all workers; of more than one engine has slots, the rest stay idle."""
        return min(self._size().threads, SLOTS_MAX)

    def workers(self) -> int:
        """The processes behind them."""
        return self._size().workers

    def _size(self) -> _Size:
        session = self._session()
        if session is None:
            return _Size(0, 0)
        if not session.stands:
            # Nothing need be in flight for the loss to be noticed.
            self._reopening.lose(session, SchedulerLost("its scheduler is gone"))
            return _Size(0, 0)
        return session.size()

    def _session(self) -> _Session | None:
        session = self._reopening.executor
        return session if isinstance(session, _Session) else None

    def halt(self, job: str) -> None:
        """Stop the pieces of a job, wherever they are."""
        with self._lock:
            self._halted[job] = None
            if len(self._halted) > HALTED_MAX:
                del self._halted[next(iter(self._halted))]
        session = self._session()
        if session is not None:
            session.halt(job)

    def close(self) -> None:
        """Leave the cluster, with nothing of ours in it; end it where it is ours."""
        self._reopening.shutdown()
        self._resources.close()


class _Session(Executor):
    """A client of a scheduler, until one of them is gone; its calls then end as `SchedulerLost`."""

    def __init__(self, loop: _Loop, connect: Connect, halted: dict[str, None]) -> None:
        self._loop = loop
        self._client, self._size = loop.run(_opened(connect), OPEN_SECONDS)
        self._halted = halted
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._flying: dict[Future[object], str] = {}
        self._halting = 0
        self._look_at = time.monotonic() + LOOK_SECONDS

    @property
    def stands(self) -> bool:
        """Whether the scheduler was there when last heard."""
        return self._client.status == "running"

    # Calls.

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a worker call `fn(*args, **kwargs)`."""
        future: Future[T] = Future()
        job = args[0].job if args and isinstance(args[0], Piece) else ""
        if job in self._halted:
            future.cancel()
            return future
        theirs = self._submitted(functools.partial(fn, *args, **kwargs))
        with self._lock:
            self._flying[future] = job  # type: ignore[index]  # nobody asks a dict for its T
        future.add_done_callback(functools.partial(self._over, theirs))
        self._loop.start(self._follow(theirs, future))
        return future

    def _submitted(self, call: Callable[[], T]) -> DaskFuture[T]:
        if not self.stands:
            raise SchedulerLost("its scheduler is gone")
        # One name for all of the package, so that the scheduler learns how long a piece takes; the
        # session's, because an old one may still have pieces there.
        key = ("nonsuch", self._name, next(self._numbers))
        try:
            # Each is older than the next one, and stays so when its worker is lost.
            return self._client.submit(
                *_carried(call), key=key, pure=False, retries=RETRIES, fifo_timeout="0 ms"
            )
        except ClosedClientError as error:
            raise SchedulerLost(str(error)) from None

    async def _follow(self, theirs: DaskFuture[T], future: Future[T]) -> None:
        """Wait for what comes of a call, and hand it on."""
        with contextlib.suppress(InvalidStateError):  # It was cancelled meanwhile.
            try:
                result = await self._client.gather(theirs)
            except FutureCancelledError as error:
                future.set_exception(SchedulerLost(error.reason or "its scheduler is gone"))
            except Exception as error:  # noqa: BLE001  # told to whoever waits for the future
                future.set_exception(_told(error) if theirs.status == "error" else _lost(error))
            else:
                future.set_result(result)
        # The scheduler would keep what came of it, and have it searched again if that is lost.
        theirs.release()

    def _over(self, theirs: DaskFuture[T], future: Future[T]) -> None:
        with self._lock:
            self._flying.pop(future, None)  # type: ignore[arg-type]
        if future.cancelled() and self.stands:
            self._loop.start(self._withdraw(theirs))

    async def _withdraw(self, theirs: DaskFuture[T]) -> None:
        if self.stands:
            await self._client.cancel([theirs])

    # Halting.

    def halt(self, job: str) -> None:
        """Stop the pieces of a job; any thread may say so."""
        self._loop.start(self._halt((job,)))

    async def _halt(self, jobs: tuple[str, ...]) -> None:
        """Tell all workers; what they do not give back is withdrawn."""
        flying = self._flying_of(jobs)
        if not (flying and self.stands):
            return
        asyncio.get_running_loop().call_later(WITHDRAW_SECONDS, _cancel, flying)
        if self._halting >= HALTS_MAX:
            return
        self._halting += 1
        try:
            await self._client.run(_halt_all, jobs, on_error="ignore")
        except OSError as error:
            _log.debug("a halt did not arrive: %s", error)
        finally:
            self._halting -= 1

    def _flying_of(self, jobs: tuple[str, ...]) -> list[Future[object]]:
        with self._lock:
            return [future for future, job in self._flying.items() if job in jobs]

    # How large it is.

    def size(self) -> _Size:
        """What the scheduler had when last asked; asks again."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._loop.start(self._look())
        return self._size

    async def _look(self) -> None:
        try:
            self._size = await _size_of(self._client)
        except OSError as error:
            _log.debug("the scheduler does not say how large it is: %s", error)

    # The end.

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Halt and withdraw what is in flight, and leave. Safe to call twice."""
        with self._lock:
            flying = dict(self._flying)
        jobs = tuple(sorted(set(flying.values())))
        with contextlib.suppress(OSError):
            self._loop.run(self._halt(jobs), WITHDRAW_SECONDS)
        _cancel(list(flying))
        with contextlib.suppress(OSError):
            self._loop.run(_left(self._client), CLOSE_SECONDS)


def _cancel(futures: list[Future[object]]) -> None:
    for future in futures:
        future.cancel()


async def _opened(connect: Connect) -> tuple[Client, _Size]:
    """A client of a scheduler that was found fit, and how large that is."""
    client = await connect()
    try:
        await _check_fit(client)
        return client, await _size_of(client)
    except BaseException:
        await _left(client)
        raise


async def _size_of(client: Client) -> _Size:
    if client.scheduler is None:
        return _Size(0, 0)
    identity = await client.scheduler.identity(n_workers=0)
    return _Size(identity["total_threads"], identity["n_workers"])


async def _left(client: Client) -> None:
    """Say goodbye, if somebody listens."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()


def _lost(error: Exception) -> SchedulerLost:
    return SchedulerLost(str(error) or type(error).__name__)


def _told(error: Exception) -> Exception:
    """What Dask or a worker says, in words that help."""
    if isinstance(error, KilledWorker):
        return WorkersKilled(
            "several workers in a row were killed with the same piece; their logs say by whom:"
            " often it is a limit on memory"
        )
    if isinstance(error, ImportError):
        return LocalError(f"a worker of the cluster cannot search: {error}. {INSTALL}")
    return error


# In workers.


def _carried(call: Callable[[], T]) -> tuple[Callable[[bytes], T], bytes]:
    """A call as a function and its argument, of which nothing is imported before it is called.

    A function without a name of its own is sent as code. So a scheduler can hand it on without this
    package, and a worker that lacks the package says so, in place of dropping its connection.
    """

    def carried(work: bytes) -> T:
        result: T = pickle.loads(work)()
        return result

    return carried, pickle.dumps(call)


def _halt_all(jobs: tuple[str, ...]) -> None:
    for job in jobs:
        halt_here(job)


def dask_setup(_worker: object) -> None:
    """A worker of this machine begins: Ctrl-C is its parent's business. The name is Dask's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# Who is fit.

INSTALL = "Install the same nonsuch there as here, and the same Python"

PROBE = Piece("probe", presets.plain(b"fit to search"), 0, 10, Lowest())


async def _check_fit(client: Client) -> None:
    """Raise `LocalError` where a worker cannot do a piece and get it right.

    Those that do not answer in time are left to show later what they can.
    """
    expected = perform(PROBE).best
    for worker, answer in (await _probed(client)).items():
        if isinstance(answer, OSError):
            continue  # It is gone, and Dask will say so.
        if isinstance(answer, Exception):
            raise _unfit(worker, answer)
        if getattr(answer, "best", None) != expected:
            raise _unfit(worker, "it is of another version")


async def _probed(client: Client) -> dict[str, object]:
    """What some workers answer, by address."""
    assert client.scheduler is not None  # Until it is closed.
    identity = await client.scheduler.identity(n_workers=CHECKED_MAX)
    workers = list(identity["workers"])
    answers: dict[str, object] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CHECK_SECONDS):
            answers = await client.run(perform, PROBE, workers=workers, on_error="return")
    return answers


def _unfit(worker: str, why: object) -> LocalError:
    return LocalError(f"the worker {worker} of the cluster cannot search: {why}. {INSTALL}")


# Ways to a cluster.


def open_dask(address: str | None, *, workers: int | None, insecure: bool) -> DaskEngine:
    """The engine at `dask://HOST:PORT` or `tls://HOST:PORT`, or on this machine where that is None.

    `workers` is how many processes the latter has, None for as many as processors. `insecure` lets
    other machines be reached without encryption. Raises `LocalError` for what cannot be.
    """
    with contextlib.ExitStack() as resources:
        resources.enter_context(_quiet())
        loop = _Loop()
        resources.callback(loop.close)
        if address is None:
            where = "the cluster of this machine"
            connect = _local(loop, default_threads() if workers is None else workers, resources)
        else:
            where = f"the cluster at {address}"
            connect = _remote(address, insecure=insecure)
        kept = contextlib.ExitStack()
        try:
            engine = DaskEngine(loop, connect, where, kept)
        except OSError as error:
            # Dask's own texts begin with the connection as Python would write it.
            reason = str(error).rpartition(": ")[2] or "no answer"
            raise LocalError(f"cannot reach {where}: {reason}") from None
        kept.push(resources.pop_all())
        return engine


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in QUIET]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


async def _client(address: str | LocalCluster, security: Security) -> Client:
    """Connect. Raises `OSError` where nobody is there."""
    with warnings.catch_warnings():
        # Whether they are fit is found out by trying.
        warnings.simplefilter("ignore", VersionMismatchWarning)
        client = Client(
            address,
            name="nonsuch",
            security=security,
            timeout=CONNECT_SECONDS,
            set_as_default=False,
            direct_to_workers=False,
            asynchronous=True,
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client
        except ImportError as error:
            raise LocalError(f"the scheduler is of other versions: {error}. {INSTALL}") from None
        except BaseException:
            await _left(client)
            raise
    return client


def _local(loop: _Loop, workers: int, resources: contextlib.ExitStack) -> Connect:
    """Start a cluster of this machine, that nobody else can reach."""
    if not 1 <= workers <= WORKERS_MAX:
        raise LocalError(f"a machine has 1 to {WORKERS_MAX} workers, not {workers}")
    folder = resources.enter_context(
        tempfile.TemporaryDirectory(prefix="nonsuch-dask-", ignore_cleanup_errors=True)
    )
    resources.callback(loop.close)  # Nobody makes files any more where the folder is removed.
    # When the interpreter ends, Dask looks for the folders of a cluster that was never finished.
    logging.getLogger("distributed.diskutils").setLevel(logging.CRITICAL + 1)
    # Whoever starts it unblocks the signals of their thread, and those are blocked for a purpose.
    resource_tracker.ensure_running()
    if "forkserver" in multiprocessing.get_all_start_methods():
        resources.enter_context(dask.config.set(STARTING))
        get_mp_context().set_forkserver_preload(IMPORTED)  # Dask has a list of its own until then.
    try:
        security = Security.temporary()
        cluster = loop.run(_started(workers, folder, security), START_SECONDS)
    except ImportError as error:
        raise LocalError(f"{error}: pip install 'nonsuch[dask]'") from None
    except (OSError, RuntimeError) as error:
        raise LocalError(f"cannot start a cluster on this machine: {error}") from None
    resources.callback(_end, loop, cluster)
    return functools.partial(_client, cluster, security)


async def _started(workers: int, folder: str, security: Security) -> LocalCluster:
    with dask.config.set({**SETTINGS, "temporary-directory": folder}):
        return await LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            local_directory=folder,
            memory_limit=0,
            preload=[__name__],
            silence_logs=logging.CRITICAL,
            asynchronous=True,
        )


def _end(loop: _Loop, cluster: LocalCluster) -> None:
    with contextlib.suppress(OSError):
        loop.run(_ended(cluster), CLOSE_SECONDS)


async def _ended(cluster: LocalCluster) -> None:
    closing = cluster.close()
    if closing is not None:  # It was not closed before.
        await closing


def _remote(address: str, *, insecure: bool) -> Connect:
    """The way to somebody's scheduler, if it is safe."""
    scheme, host, port = _parsed(address)
    if scheme == "tls":
        security = _mutual_tls()
    elif dask.config.get("distributed.comm.require-encryption"):
        raise LocalError(
            f"Dask's own settings want encryption (distributed.comm.require-encryption), which"
            f" {address} has not: tls://{host}:{port}"
        )
    elif not (insecure or is_loopback(host)):
        raise LocalError(
            f"whoever is on the way to {host} could run code here and there: use"
            f" tls://{host}:{port}, or say --insecure"
        )
    else:
        security = Security(require_encryption=False)
    host = f"[{host}]" if ":" in host else host
    return functools.partial(_client, f"{scheme}://{host}:{port}", security)


def _parsed(address: str) -> tuple[str, str, int]:
    """A scheme of Dask's, a host and a port."""
    with contextlib.suppress(ValueError):  # A port or an address that is none.
        parts = urlsplit(address)
        scheme = {"dask": "tcp", "tls": "tls"}.get(parts.scheme)
        port = SCHEDULER_PORT if parts.port is None else parts.port
        more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
        if scheme and parts.hostname and port and not more:
            return scheme, parts.hostname, port
    raise LocalError(
        f"a Dask scheduler is dask://HOST:PORT or tls://HOST:PORT, not {address[:80]!r}"
    )


def _mutual_tls() -> Security:
    """Dask's own settings of TLS. Raises `LocalError` that names the one that is missing."""
    for setting, what, needed in (
        ("ca-file", "the certificate authority of the cluster", True),
        ("client.cert", "a certificate for this client", True),
        ("client.key", "the key of that certificate", False),  # it may be in the same file
    ):
        _check_file(setting, what, needed=needed)
    # With this a scheduler cannot send us to workers in the clear.
    security = Security(require_encryption=True)
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise LocalError(f"the certificates in Dask's settings are of no use: {error}") from None
    return security


def _check_file(setting: str, what: str, *, needed: bool) -> None:
    name = f"distributed.comm.tls.{setting}"
    path = dask.config.get(name, None)
    if path is None and not needed:
        return
    variable = "DASK_" + name.upper().replace(".", "__").replace("-", "_")
    if path is None:
        raise LocalError(f"tls:// needs {what}: set {variable}, or {name} in Dask's settings")
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise LocalError(f"cannot read {what} ({variable} or {name}): {error}") from None
