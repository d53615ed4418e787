"""What metrics say of each kind of node: the names of its statistics, and what they count."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["COORDINATOR", "KEEPER", "POOL", "RACE", "Description"]


class Description(NamedTuple):
    """What metrics say of a kind of statistics: fields by name, and what they count.

    `labelled` are counters by a cause, each a mapping of numbers.
    """

    prefix: str
    gauges: Mapping[str, str]
    counters: Mapping[str, str]
    labelled: Mapping[str, str] = MappingProxyType({})


POOL = Description(
    "nonsuch_pool",
    gauges={
        "connections": "Connections, whoever is behind them",
        "miners": "Miners that said hello",
        "miners_idle": "Miners without work",
        "slots": "Shards that all miners search at once",
        "workers": "Workers that miners have, beside their own threads",
        "leases": "Leases that are out",
        "jobs": "Jobs that run or wait",
        "queue": "Shards that came back and wait to be leased again",
        "audits_waiting": "Shards that wait to be scanned again",
        "answers_kept": "Answers kept for clients that come back",
        "rate": "Hashes a second, of all miners",
        "is_relay": "1 where this pool is a relay of another, 0 where it is not",
        "upstream_reached": "1 while a relay is connected to the pool above",
    },
    counters={
        "jobs_accepted": "Jobs accepted",
        "jobs_finished": "Jobs answered",
        "results": "Shards done",
        "late_results": "Results of leases that were not open any more",
        "copies": "Shards given to a second miner because the first was slow",
        "audits_passed": "Shards scanned again without a finding",
        "audits_failed": "Shards scanned again in which something had been left out",
        "cheats": "Miners caught cheating",
        "errors": "Errors of peers",
        "dropped": "Connections ended by the pool",
    },
    labelled={"requeues": "Leases that went back, by cause"},
)

COORDINATOR = Description(
    "nonsuch_coordinator",
    gauges={
        "agents": "Agents that are connected",
        "height": "Of the tip; -1 is no block yet",
        "work": "Hashes that one expects to try for the whole chain",
        "block_work": "Hashes that one expects to try for the next block",
    },
    counters={
        "headers": "Headers sent",
        "answers": "Answers that came",
        "accepted": "Answers that are blocks now",
        "stale": "Good answers that somebody else was faster with",
        "errors": "Answers that no honest agent gives",
        "dropped": "Connections ended by the coordinator",
    },
)

RACE = Description(
    "nonsuch_race",
    gauges={
        "connections": "Clients that are connected",
        "waiting": "Races that wait or are run",
        "searching": "Races that are searched",
        "claims": "Races that wait for the ledger's word",
        "rate": "Hashes a second of one search",
    },
    counters={
        "accepted": "Transactions accepted",
        "refused": "Transactions refused",
        "won": "Races won",
        "lost": "Races lost with the nonce found",
        "stopped": "Races stopped because another node had won",
        "replaced": "How often the ledger was another one",
    },
)

KEEPER = Description(
    "nonsuch_keeper",
    gauges={"nodes": "Nodes that are connected", "races": "Races that are not decided"},
    counters={
        "written": "Entries written",
        "errors": "Errors of nodes",
        "dropped": "Connections ended by the keeper",
    },
)
