"""A pool, its miners and its clients: real processes, real sockets, real signals."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

import msgspec
import pytest

import nonsuch
from nonsuch.networks.pool.messages import Refused
from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.networks.pool.wire import PoolWire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.processes.conftest import Network, Process

from tests.processes.conftest import answer_of, free_port

SMALL = 300_000
"""A range that any search is through with in half a second."""

CHAOS_SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))
"""How long the chaos goes on; a minute is the long form."""

pytestmark = pytest.mark.timeout(180 + 4 * CHAOS_SECONDS)


def test_a_pool_three_miners_and_a_client(network: Network) -> None:
    pool = network.pool()
    miners = [network.miner(f"miner {number}") for number in range(3)]
    for _ in miners:
        pool.wait_for("miner joined")
    answer = answer_of(network.submit("Your transaction data", SMALL))
    assert answer.nonce == nonsuch.solve("Your transaction data", SMALL).nonce
    assert answer.verified
    for miner in miners:
        miner.signal(signal.SIGINT)
        assert miner.wait() == 0
        assert miner.facts[-1]["event"] == "stopped"
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0
    assert pool.facts[-1]["event"] == "stopped"
    assert pool.errors == ""


def test_solve_with_a_pool_is_submit(network: Network) -> None:
    network.pool()
    network.miner()
    client = network.start("solve", "hello", "--upto", "9999", "--pool", network.address, "--json")
    assert answer_of(client).nonce == nonsuch.solve("hello", 9999).nonce


def test_a_target_is_met_by_the_first_nonce_that_meets_it(network: Network) -> None:
    network.pool()
    network.miner("a")
    network.miner("b")
    client = network.start("submit", network.address, "hello", "--zeros", "5", "--json")
    first = nonsuch.first("hello", nonsuch.Target.from_zero_digits(5))
    assert first is not None
    assert answer_of(client).nonce == first.nonce


def test_a_job_waits_for_miners_and_its_client_is_told(network: Network) -> None:
    pool = network.pool()
    client = network.submit("patience", SMALL)
    pool.wait_for("job accepted", miners=0)
    client.wait_for_complaint("the pool has no miners; the job waits for one")
    network.miner()
    assert answer_of(client).nonce == nonsuch.solve("patience", SMALL).nonce


def test_miners_wait_for_a_pool_that_is_not_there_yet(network: Network) -> None:
    miner = network.miner()
    miner.wait_for("connection lost")
    network.pool()
    miner.wait_for("pool reached")
    assert answer_of(network.submit("late", SMALL)).found
    # However often it tried, it complained once.
    assert len(miner.has_seen("connection lost")) == 1


def test_a_pool_that_is_killed_goes_on_where_it_was(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    upto = hash_count(2)
    pool = network.pool("--shard-seconds", "0.3")
    network.miner("a")
    network.miner("b")
    client = network.submit("kill -9", upto)
    pool.wait_for("job accepted")
    time.sleep(1)
    pool.kill()
    again = network.pool("--shard-seconds", "0.3")
    restored = again.has_seen("restored")
    assert [fact["jobs"] for fact in restored] == [1]
    answer = answer_of(client)
    assert answer.nonce == nonsuch.solve("kill -9", upto).nonce
    finished = again.wait_for("job finished")
    assert finished["nonce"] == answer.nonce


def test_a_client_leaves_and_comes_back_for_its_answer(network: Network) -> None:
    network.pool()
    client = network.submit("detached", SMALL, "--detach")
    assert client.wait() == 0
    job = client.facts[0]["job"]
    network.miner()
    back = network.start("status", network.address, job, "--wait", "--json")
    assert back.wait() == 0, back.errors
    assert back.facts[0]["nonce"] == nonsuch.solve("detached", SMALL).nonce
    # And once more, now that it is finished.
    later = network.start("status", network.address, job, "--json")
    assert later.wait() == 0
    assert later.facts[0]["nonce"] == back.facts[0]["nonce"]


def test_ctrl_c_leaves_the_job_and_cancel_ends_it(network: Network) -> None:
    pool = network.pool()
    network.miner()
    pool.wait_for("miner joined")
    client = network.submit("endless", 2**63)
    job = pool.wait_for("job accepted")["job"]
    # Another is told of it, and so the client was.
    assert network.start("status", network.address, job).wait() == 0
    client.signal(signal.SIGINT)
    assert client.wait() == 130
    assert f"job {job} goes on" in client.errors
    assert network.start("cancel", network.address, job).wait() == 0
    pool.wait_for("job ended", job=job)
    gone = network.start("status", network.address, job)
    assert gone.wait() == 2
    assert "no job of this id" in gone.errors


def test_status_and_metrics_tell_how_the_pool_stands(network: Network) -> None:
    metrics = free_port()
    pool = network.pool("--metrics", str(metrics))
    url = pool.has_seen("metrics served") or [pool.wait_for("metrics served")]
    network.miner("only")
    pool.wait_for("miner joined")
    assert answer_of(network.submit("counted", SMALL)).found
    client = network.start("status", network.address, "--json")
    assert client.wait() == 0
    now = msgspec.json.decode(client.output, type=PoolStatistics)
    assert (now.miners, now.jobs_finished, now.jobs) == (1, 1, 0)
    assert [each.name for each in now.miners_described] == ["only"]
    with urllib.request.urlopen(url[0]["url"], timeout=10) as answer:
        text = answer.read().decode()
    assert "nonsuch_pool_miners 1.0" in text
    assert "nonsuch_pool_jobs_finished_total 1.0" in text
    below = network.start("pool", "status", network.address, "--json")
    assert below.wait() == 0, below.errors
    assert msgspec.json.decode(below.output, type=PoolStatistics).jobs_finished == 1
    people = network.start("status", network.address)
    assert people.wait() == 0
    assert "1 finished" in people.output


def test_metrics_are_for_this_machine_wherever_the_pool_listens(network: Network) -> None:
    pool = network.pool("--host", "0.0.0.0", "--metrics", "0", NONSUCH_TOKEN="secret")
    url = (pool.has_seen("metrics served") or [pool.wait_for("metrics served")])[0]["url"]
    place = urllib.parse.urlsplit(url)
    assert place.hostname == "127.0.0.1"
    socket.create_connection(("127.0.0.1", place.port or 0), 10).close()
    # The same machine by another of its addresses, by which the pool itself can be reached.
    with pytest.raises(OSError, match=r"refused|unreachable|timed out|assign"):
        socket.create_connection(("127.0.0.2", place.port or 0), 10)


def test_without_json_the_logs_are_for_people(network: Network) -> None:
    network.pool("--journal", "off").kill()
    pool = network.start("pool", "--port", str(network.port), "--journal", "off")
    miner = network.start("miner", network.address, "--threads", "1", "--name", "Anna")
    network.miner().wait_for("pool reached")  # So it is there.
    assert answer_of(network.submit("people", SMALL)).found
    for process in (miner, pool):
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert "stopped" in process.errors
    assert "miner joined miner=Anna" in pool.errors
    assert "job finished" in pool.errors
    assert pool.output == ""


def test_a_pool_that_is_not_there_is_said_so_at_once(network: Network) -> None:
    client = network.submit("anybody", 10)
    assert client.wait() == 2
    assert f"cannot reach 127.0.0.1:{network.port}" in client.errors


@pytest.mark.parametrize(
    ("command", "last_word"),
    [
        (("submit", "hello", "--upto", "9"), "may have the job or not, which says: nonsuch status"),
        (("submit", "hello", "--upto", "9", "--detach"), "may have the job or not"),
        (("status",), "has not answered"),
        (("status", "a job", "--wait"), "has not answered"),
        (("cancel", "a job"), "has not said that it withdrew a job"),
    ],
)
def test_a_pool_that_lets_everybody_in_and_says_nothing_is_told_of(
    network: Network, command: tuple[str, ...], last_word: str
) -> None:
    with socket.create_server(("127.0.0.1", network.port)):
        name, *rest = command
        client = network.start(name, network.address, *rest)
        client.wait_for_complaint(f"the pool at {network.address} does not answer; waiting")
        client.signal(signal.SIGINT)
        assert client.wait() == 130
        assert last_word in client.errors
        assert "goes on" not in client.errors


def test_a_pool_that_is_stopped_and_goes_on_is_waited_for(network: Network) -> None:
    pool = network.pool()
    pool.signal(signal.SIGSTOP)
    client = network.submit("patience", SMALL)
    client.wait_for_complaint("does not answer; waiting")
    pool.signal(signal.SIGCONT)
    network.miner()
    assert answer_of(client).nonce == nonsuch.solve("patience", SMALL).nonce


def test_what_a_hostile_pool_says_cannot_move_the_cursor(network: Network) -> None:
    with socket.create_server(("127.0.0.1", network.port)) as listener:
        client = network.start("status", network.address)
        peer, _ = listener.accept()
        with peer:
            reason = "\x1bc\x9b2J you are the winner"
            peer.sendall(PoolWire(accepts_puzzles=True).encode(Refused(reason, final=True)))
            assert client.wait() == 2
    assert "·c·2J you are the winner" in client.errors


def test_a_job_whose_answer_is_none_is_1_for_whoever_asks(network: Network) -> None:
    network.pool()
    network.miner()
    impossible = ("submit", network.address, "no", "--target", "1", "--upto", "9")
    assert network.start(*impossible).wait() == 1
    client = network.start(*impossible, "--detach")
    assert client.wait() == 0
    job = client.output.strip()
    for options in (("--wait",), ()):
        assert network.start("status", network.address, job, *options).wait() == 1
    later = network.start("status", network.address, job, "--json")
    assert later.wait() == 1
    assert later.facts[0]["nonce"] is None


@pytest.mark.parametrize("job", ["", "x" * 129, "\udcff"])
def test_an_id_that_no_job_has_is_refused_here(network: Network, job: str) -> None:
    for command in ("status", "cancel"):
        client = network.start(command, network.address, job)
        assert client.wait() == 2
        assert "JOB" in client.errors


# Who is let in.


def test_a_token_is_asked_for_and_a_wrong_one_is_refused(network: Network) -> None:
    token = network.folder / "token"
    token.write_text("open sesame\n")
    pool = network.pool("--token-file", str(token))
    good = network.miner("good", "--token-file", str(token))
    wrong = network.miner("wrong", NONSUCH_TOKEN="guess")
    none = network.miner("none")
    assert wrong.wait() == 2
    assert "the token is wrong" in wrong.errors
    assert none.wait() == 2
    assert "wants a token" in none.errors
    assert pool.wait_for("miner joined")["miner"] == "good"
    answer = answer_of(network.submit("let me in", SMALL, NONSUCH_TOKEN="open sesame"))
    assert answer.found
    assert good.process.poll() is None


def test_no_pool_is_open_to_other_machines_by_accident(network: Network) -> None:
    certificate, key = _certificate(network)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    for options, complaint in [
        (("--host", "0.0.0.0"), "give a token"),
        (("--host", "0.0.0.0", "--liteminer", "1"), "leave --liteminer out"),
        (("--host", "0.0.0.0", "--liteminer", "1", *tls), "leave --liteminer out"),
    ]:
        variables = {"NONSUCH_TOKEN": "secret"} if "--liteminer" in options else {}
        pool = network.start("pool", "--journal", "off", *options, **variables)
        assert pool.wait() == 2
        assert complaint in pool.errors


def test_two_pools_do_not_share_a_journal_or_a_port(network: Network) -> None:
    network.pool()
    journal = str(network.folder / "pool.journal")
    same_journal = network.start("pool", "--port", str(free_port()), "--journal", journal)
    assert same_journal.wait() == 2
    assert "another process uses it" in same_journal.errors
    same_port = network.start("pool", "--port", str(network.port), "--journal", "off")
    assert same_port.wait() == 2
    assert "cannot listen" in same_port.errors


# LiteMiner programs.


def test_our_miner_and_client_speak_liteminer(network: Network) -> None:
    port = free_port()
    pool = network.pool("--liteminer", str(port), "--audit-liteminer", "1")
    pool_address = f"127.0.0.1:{port}"
    network.start("miner", pool_address, "--liteminer", "--threads", "1")
    assert pool.wait_for("miner joined")["miner"].startswith("miner")
    client = network.start(
        "submit", pool_address, "bradfitz", "--upto", "9999", "--liteminer", "--json"
    )
    assert answer_of(client).nonce == 9898


# Chaos.


def test_miners_and_the_pool_are_killed_and_stopped_at_random(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    """Whatever happens, the answer is that of a plain search."""
    lots = random.Random(2026)
    upto = hash_count(CHAOS_SECONDS)
    options = ("--shard-seconds", "0.5", "--lease-seconds", "1.5")
    pool = network.pool(*options)
    miners = [network.miner(f"miner {number}") for number in range(3)]
    client = network.submit("chaos", upto)
    pool.wait_for("job accepted")
    kills = [CHAOS_SECONDS * 0.4, CHAOS_SECONDS * 0.8]
    began = time.monotonic()
    while client.process.poll() is None:
        time.sleep(lots.uniform(0.2, 0.8))
        if kills and time.monotonic() - began > kills[0]:
            del kills[0]
            pool.kill()
            pool = network.pool(*options)
        if time.monotonic() - began < 2 * CHAOS_SECONDS:
            _befall(lots, network, miners)
        else:
            _mend(network, miners)
    answer = answer_of(client)
    assert answer.nonce == nonsuch.solve("chaos", upto).nonce
    assert not pool.has_seen("cheated"), "honest miners were accused"


def _befall(lots: random.Random, network: Network, miners: list[Process]) -> None:
    """Kill a miner, stop one, let one go on, or have one join."""
    which = lots.randrange(len(miners))
    match lots.choice(["kill", "stop", "go on", "join"]):
        case "kill":
            miners[which].signal(signal.SIGCONT)
            miners[which].kill()
            miners[which] = network.miner("another")
        case "stop":
            miners[which].signal(signal.SIGSTOP)
        case "go on":
            for miner in miners:
                miner.signal(signal.SIGCONT)
        case _ if len(miners) < 5:
            miners.append(network.miner("one more"))
        case _:
            pass


def _mend(network: Network, miners: list[Process]) -> None:
    for which, miner in enumerate(miners):
        if miner.process.poll() is not None:
            miners[which] = network.miner("a new one")
        miner.signal(signal.SIGCONT)


# TLS.


def test_a_pool_with_a_certificate_is_spoken_to_in_tls(network: Network) -> None:
    certificate, key = _certificate(network)
    network.pool("--tls-cert", str(certificate), "--tls-key", str(key))
    network.miner("m", "--tls-ca", str(certificate))
    client = network.submit("in private", SMALL, "--tls-ca", str(certificate))
    assert answer_of(client).nonce == nonsuch.solve("in private", SMALL).nonce
    solved = network.start(
        *("solve", "in private", "--upto", "99", "--pool", network.address, "--json"),
        *("--tls-ca", str(certificate)),
    )
    assert answer_of(solved).nonce == nonsuch.solve("in private", 99).nonce
    stranger = network.submit("no authority knows it", SMALL, "--tls")
    assert stranger.wait() == 2
    assert "certificate" in stranger.errors


def test_beside_tls_liteminer_programs_have_a_port_without_it(network: Network) -> None:
    certificate, key = _certificate(network)
    port = free_port()
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    network.pool(*tls, "--liteminer", str(port), "--audit-liteminer", "0")
    place = f"127.0.0.1:{port}"
    network.start("miner", place, "--liteminer", "--threads", "1")
    client = network.start("submit", place, "bradfitz", "--upto", "9999", "--liteminer", "--json")
    assert answer_of(client).nonce == 9898


def _certificate(network: Network) -> tuple[Path, Path]:
    certificate, key = network.folder / "pool.pem", network.folder / "pool.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=pool", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    return certificate, key
