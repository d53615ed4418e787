"""`nonsuch verify`: one hash, by hashlib, and a verdict as an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tests.cli.conftest import Run

GENESIS = (
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac7"
    "2c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
GENESIS_HASH = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
RACE = ("Your transaction data", "--preset", "race", "--nonce")
RACE_HASH = "0000bf0a77edb0125687c4925f616e5e80fdf9dc83320c99067f650ed58a52c0"


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """What `--json` promises."""

    nonce: int
    hash: str
    compared: int
    hash_matches: bool | None
    meets_target: bool | None
    target: str | None
    valid: bool


def test_the_first_bitcoin_block_is_valid(run: Run) -> None:
    arguments = ("verify", GENESIS, "--hex", "-p", "bitcoin", "--nonce", "2083236893")
    answer = run(*arguments, "--hash", GENESIS_HASH.upper())
    assert (answer.code, answer.errors) == (0, "")
    assert answer.facts["hash"] == GENESIS_HASH
    assert answer.facts["claimed"] == "the same"
    assert answer.facts["meets"] == "it yes"
    assert answer.facts["target"] == f"{0xFFFF << 208:064x}"


def test_a_nonce_beside_it_is_not(run: Run) -> None:
    answer = run("verify", *RACE, "4118", "--hash", RACE_HASH)
    assert answer.code == 1
    assert answer.facts["claimed"] == "a different hash"
    assert answer.facts["meets"] == "it no"


def test_a_target_given_outranks_the_preset_s_own(run: Run) -> None:
    assert run("verify", *RACE, "4117").code == 0
    assert run("verify", *RACE, "4117", "--zeros", "5").code == 1
    assert run("verify", *RACE, "4118", "--zeros", "0").code == 0


def test_equal_to_the_target_is_enough(run: Run) -> None:
    assert run("verify", *RACE, "4117", "--target", RACE_HASH).code == 0
    below = f"{int(RACE_HASH, 16) - 1:064x}"
    assert run("verify", *RACE, "4117", "--target", below).code == 1


def test_json_holds_every_fact(run: Run) -> None:
    answer = run("verify", *RACE, "4117", "--hash", "0" * 64, "--json")
    assert msgspec.json.decode(answer.output, type=Report) == Report(
        nonce=4117,
        hash=RACE_HASH,
        compared=int(RACE_HASH, 16),
        hash_matches=False,
        meets_target=True,
        target="0000" + 60 * "f",
        valid=False,
    )
    assert answer.code == 1


def test_without_hash_or_target_there_is_nothing_to_refuse(run: Run) -> None:
    answer = run("verify", "--nonce", "1", "--json", stdin=b"x\n")
    report = msgspec.json.decode(answer.output, type=Report)
    assert (report.hash_matches, report.meets_target, report.valid) == (None, None, True)
    assert answer.code == 0


def test_the_short_number_of_liteminer_s_wire(run: Run) -> None:
    path = Path(__file__).parents[1] / "data" / "vectors" / "pool.json"
    vector = json.loads(path.read_text())["vectors"][-1]
    nonce = str(vector["nonce"])
    answer = run("verify", vector["message"], "-p", "liteminer", "--nonce", nonce, "--json")
    assert msgspec.json.decode(answer.output, type=Report).compared == vector["value"]
