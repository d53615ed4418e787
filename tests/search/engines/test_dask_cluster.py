"""Somebody's Dask cluster: schedulers and workers that come, go, die and are not to be trusted."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

import pytest

from nonsuch import LocalError, Lowest, Puzzle, presets, solve
from nonsuch.search.engines.engine import Piece, perform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("distributed", reason="Dask is an extra: nonsuch[dask]")

import dask
from distributed import Client, Security

from nonsuch.search.engines.dask import DaskEngine, open_dask
from tests.search.engines.dask_processes import (
    PATIENCE_SECONDS,
    DaskProcesses,
    Gate,
    dask_processes,
    wait_until,
)

ENDLESS = 2**60

NOWHERE = "dask://127.0.0.1:1"
"""Nobody listens at a port that takes rights to listen at."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path) as made:
        yield made


@pytest.fixture
def engines() -> Iterator[list[DaskEngine]]:
    """Engines to be closed, whatever happens."""
    opened: list[DaskEngine] = []
    yield opened
    for engine in opened:
        engine.close()


def opened(engines: list[DaskEngine], address: str) -> DaskEngine:
    engine = open_dask(address, workers=None, insecure=False)
    engines.append(engine)
    return engine


def piece(job: str, puzzle: Puzzle, upto: int = ENDLESS) -> Piece:
    return Piece(job, puzzle, 0, upto + 1, Lowest())


def test_slots_follow_the_workers_that_come_and_go(
    cluster: DaskProcesses, engines: list[DaskEngine]
) -> None:
    cluster.scheduler()
    engine = opened(engines, cluster.address)
    assert (engine.slots(), engine.workers()) == (0, 0)
    # What is wanted while nobody is there waits.
    early = engine.executor.submit(perform, piece("early", presets.plain(b"early"), 1000))
    first = cluster.worker()
    wait_until(lambda: engine.slots() == 1, "a worker is counted")
    cluster.worker()
    wait_until(lambda: (engine.slots(), engine.workers()) == (2, 2), "two are counted")
    first.kill()
    wait_until(lambda: engine.slots() == 1, "one is not counted any more")
    assert early.result(PATIENCE_SECONDS).best == solve("early", 1000).nonce


def test_a_scheduler_that_is_killed_and_comes_back_has_everything_done(
    cluster: DaskProcesses,
    engines: list[DaskEngine],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler, worker = cluster.scheduler(), cluster.worker()
    engine = opened(engines, cluster.address)
    gate = Gate(tmp_path, engine)
    gate.runs()
    waiting = engine.executor.submit(perform, piece("later", presets.plain(b"later"), 1000))
    scheduler.kill()
    wait_until(lambda: engine.slots() == 0, "the loss is noticed")
    # A worker that runs a shell waits for it; whoever started it starts another one.
    worker.kill()
    cluster.scheduler()
    cluster.worker()
    gate.runs(2)
    assert gate.open() == 0
    assert waiting.result(PATIENCE_SECONDS).best == solve("later", 1000).nonce
    wait_until(lambda: engine.slots() == 1, "the new worker is counted")
    # One line when it was lost, one when it was back, and none of Dask's.
    assert [record.name for record in caplog.records] == ["nonsuch.search.engines.reopening"] * 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_scheduler_that_is_lost_is_noticed_though_nothing_is_in_flight(
    cluster: DaskProcesses, engines: list[DaskEngine]
) -> None:
    scheduler, worker = cluster.scheduler(), cluster.worker()
    engine = opened(engines, cluster.address)
    assert engine.slots() == 1
    scheduler.kill()
    worker.wait()  # It ends with its scheduler.
    wait_until(lambda: engine.slots() == 0, "the loss is noticed")
    cluster.scheduler()
    cluster.worker()
    wait_until(lambda: engine.slots() == 1, "it is back")


def test_what_is_halted_while_the_scheduler_is_away_is_not_begun_again(
    cluster: DaskProcesses, engines: list[DaskEngine]
) -> None:
    scheduler, worker = cluster.scheduler(), cluster.worker()
    engine = opened(engines, cluster.address)
    future = engine.executor.submit(perform, piece("away", presets.plain(b"away")))
    scheduler.kill()
    worker.kill()
    wait_until(lambda: engine.slots() == 0, "the loss is noticed")
    engine.halt("away")
    cluster.scheduler()
    cluster.worker()
    wait_until(future.done, "it is told")
    assert future.cancelled()


def test_a_cluster_that_is_not_ours_stays_with_none_of_our_pieces(
    cluster: DaskProcesses, engines: list[DaskEngine], tmp_path: Path
) -> None:
    scheduler, worker = cluster.scheduler(), cluster.worker()
    engine = opened(engines, cluster.address)
    gate = Gate(tmp_path, engine)
    gate.runs()
    endless = piece("left", presets.plain(b"left"))
    flying = [engine.executor.submit(perform, endless) for _ in range(3)]
    engine.close()
    assert all(future.cancelled() or future.result().stopped for future in flying)
    gate.let()
    assert scheduler.process.poll() is None
    assert worker.process.poll() is None
    with Client(f"tcp://127.0.0.1:{cluster.port}", set_as_default=False) as client:
        wait_until(lambda: not any(client.processing().values()), "nothing of ours is left")
        assert client.submit(sum, [1, 2]).result(PATIENCE_SECONDS) == 3


def test_a_piece_that_dask_gives_up_is_sent_again(
    cluster: DaskProcesses, engines: list[DaskEngine], tmp_path: Path
) -> None:
    cluster.scheduler(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    cluster.worker()
    cluster.worker()
    engine = opened(engines, cluster.address)
    gate = Gate(tmp_path, engine)
    os.kill(gate.runs()[0], signal.SIGKILL)
    gate.runs(2)
    assert gate.open() == 0


# Who is not fit.


@pytest.fixture
def without_nonsuch(tmp_path: Path) -> dict[str, str]:
    """What makes a process of Python without this package."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['nonsuch'] = None\n")
    return {"PYTHONPATH": str(tmp_path)}


def test_a_scheduler_needs_no_nonsuch(
    cluster: DaskProcesses, engines: list[DaskEngine], without_nonsuch: dict[str, str]
) -> None:
    cluster.scheduler(**without_nonsuch)
    cluster.worker()
    engine = opened(engines, cluster.address)
    future = engine.executor.submit(perform, piece("stock", presets.plain(b"stock"), 1000))
    assert future.result(PATIENCE_SECONDS).best == solve("stock", 1000).nonce


def test_a_worker_without_nonsuch_is_said_so(
    cluster: DaskProcesses, engines: list[DaskEngine], without_nonsuch: dict[str, str]
) -> None:
    cluster.scheduler()
    engine = opened(engines, cluster.address)
    cluster.worker(**without_nonsuch)
    # Now that one is there …
    with pytest.raises(LocalError, match=r"the worker tcp://.* cannot search.*Install"):
        open_dask(cluster.address, workers=None, insecure=False)
    # … and to who was there before it.
    future = engine.executor.submit(perform, piece("unfit", presets.plain(b""), 10))
    with pytest.raises(LocalError, match=r"a worker of the cluster cannot search.*Install"):
        future.result(PATIENCE_SECONDS)


# Who is trusted.


def test_only_this_machine_is_reached_without_encryption() -> None:
    for host in ("10.1.2.3", "scheduler", "[2001:db8::1]"):
        with pytest.raises(LocalError, match=r"could run code.*tls://.*--insecure"):
            open_dask(f"dask://{host}:8786", workers=None, insecure=False)
    for host in ("127.0.0.1", "localhost", "[::1]"):
        with pytest.raises(LocalError, match="cannot reach"):
            open_dask(f"dask://{host}:1", workers=None, insecure=False)


def test_an_address_is_a_host_and_a_port() -> None:
    for address in ("dask://", "dask://:8786", "dask://host:no", "dask://h:1/x", "tls://a@b:1"):
        with pytest.raises(LocalError, match="HOST:PORT"):
            open_dask(address, workers=None, insecure=True)
    for address in ("ucx://host:1", "", "dask", "dask://[::1", "dask://h:99999", "dask://h:0"):
        with pytest.raises(LocalError, match="HOST:PORT"):
            open_dask(address, workers=None, insecure=True)


class Certificates:
    """Those of a cluster: one for everybody, which vouches for itself."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.certificate, self.key = folder / "dask.crt", folder / "dask.key"
        made = Security.temporary()
        self.certificate.write_text(made.tls_ca_file)
        self.key.write_text(made.tls_client_key)

    @property
    def options(self) -> list[str]:
        """For `dask scheduler` and `dask worker`."""
        shown = ["--tls-ca-file", self.certificate, "--tls-cert", self.certificate]
        return [str(each) for each in [*shown, "--tls-key", self.key]]

    @property
    def settings(self) -> dict[str, str]:
        """For a client."""
        return {
            "distributed.comm.tls.ca-file": str(self.certificate),
            "distributed.comm.tls.client.cert": str(self.certificate),
            "distributed.comm.tls.client.key": str(self.key),
        }


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "ours")


def test_both_sides_show_certificates(
    tmp_path: Path, engines: list[DaskEngine], certificates: Certificates
) -> None:
    with dask_processes(tmp_path, *certificates.options, scheme="tls") as cluster:
        cluster.scheduler()
        cluster.worker()
        with dask.config.set(certificates.settings):
            engine = opened(engines, cluster.address)
            future = engine.executor.submit(perform, piece("tls", presets.plain(b"tls"), 1000))
            assert future.result(PATIENCE_SECONDS).best == solve("tls", 1000).nonce
        # Who has none is not let in, and neither is who has somebody else's.
        plain = cluster.address.replace("tls://", "dask://")
        with pytest.raises(LocalError, match="cannot reach"):
            open_dask(plain, workers=None, insecure=True)
        other = Certificates(tmp_path / "other")
        with (
            dask.config.set(other.settings),
            pytest.raises(LocalError, match=r"cannot reach.*certificate"),
        ):
            open_dask(cluster.address, workers=None, insecure=False)
        mixed = {**other.settings, "distributed.comm.tls.ca-file": str(certificates.certificate)}
        with dask.config.set(mixed), pytest.raises(LocalError, match="cannot reach"):
            open_dask(cluster.address, workers=None, insecure=False)


def test_a_certificate_that_is_missing_has_its_setting_named(certificates: Certificates) -> None:
    settings: dict[str, str | None] = {**certificates.settings}
    variables = {
        "distributed.comm.tls.ca-file": "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
        "distributed.comm.tls.client.cert": "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT",
    }
    for setting, variable in variables.items():
        with (
            dask.config.set({**settings, setting: None}),
            pytest.raises(LocalError, match=f"set {variable}, or {setting}"),
        ):
            open_dask("tls://scheduler:8786", workers=None, insecure=False)


def test_a_certificate_that_cannot_be_read_is_said_so(
    tmp_path: Path, certificates: Certificates
) -> None:
    for setting in certificates.settings:
        missing = {**certificates.settings, setting: str(tmp_path / "missing.pem")}
        with (
            dask.config.set(missing),
            pytest.raises(LocalError, match="cannot read"),
        ):
            open_dask("tls://scheduler:8786", workers=None, insecure=False)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for setting in certificates.settings:
        wrong = {**certificates.settings, setting: str(nonsense)}
        with dask.config.set(wrong), pytest.raises(LocalError, match="of no use"):
            open_dask("tls://scheduler:8786", workers=None, insecure=False)


def test_settings_that_want_encryption_are_heeded() -> None:
    with (
        dask.config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(LocalError, match="require-encryption"),
    ):
        open_dask(NOWHERE, workers=None, insecure=True)
