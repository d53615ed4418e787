"""Pictures of networks in the middle of their lives, as the dashboard would tell them."""

from __future__ import annotations

import hashlib
import random

from tests.browser.stage import Row

__all__ = ["STARTED", "about", "block", "chain", "coordinator", "node", "pool", "race", "told"]

STARTED = 1_790_000_000.0
"""When all of them began, Unix seconds."""

Table = dict[str, Row]
Tables = dict[str, Table]


def about(network: str, **more: object) -> Table:
    """What is watched."""
    row: dict[str, object] = {
        "network": network,
        "title": f"A {network} of the tests",
        "virtual": False,
        "speed": 1,
        "control": True,
        "started": STARTED,
        "replay": False,
        "begin": None,
        "end": None,
        "paused": False,
        "recording": False,
        "loss": 0.0,
    }
    return {"about": row | more}


def node(name: str, role: str, **more: object) -> Row:
    """One node that is up."""
    row: dict[str, object] = {
        "name": name,
        "role": role,
        "state": "up",
        "address": "127.0.0.1:8080",
        "rate": None,
        "measured": True,
        "cut": False,
        "lies": False,
        "tip": None,
        "height": None,
        "mined": 0,
        "kept": 0,
        "share": None,
        "share_low": None,
        "share_high": None,
        "share_expected": None,
        "note": "",
    }
    return row | more


def told(*sentences: tuple[float, str, str, str]) -> Table:
    """Sentences: when, of whom, what, and of which kind."""
    names = ("at", "node", "text", "kind", "until")
    return {
        str(number): dict(zip(names, (STARTED + at, *words, STARTED + at), strict=True))
        for number, (at, *words) in enumerate(sentences, 1)
    }


def proof(name: str, bits: float) -> str:
    """A hash with about that many leading zero bits, always the same for a name."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1 | 1 << 254
    return f"{number >> int(bits):064x}"


def pool() -> Tables:
    """Three miners at work on a job, with a shard of every state; one job is answered."""
    total, cut = 1_000_000_000, 8_000_000
    draw = random.Random(7)
    miners = ["miner-1", "miner-2", "miner-3", "miner-4"]
    shards: Table = {}
    special = {12: "redone", 13: "redone", 23: "audited", 31: "audited", 47: "returned"}
    for index in range(67):
        state = special.get(index, "done" if index < 59 else "leased")
        shards[f"a:{index * cut}"] = {
            "job": "a",
            "start": index * cut,
            "stop": (index + 1) * cut,
            "state": "failed" if index == 40 else state,
            "node": draw.choice(miners[:3]),
            "at": STARTED + index / 2,
        }
    bits = [3.2, 9.1, 14.4, 18.0, 21.3, 22.9, 25.2, 28.4]
    best: Table = {
        f"a:{index}": {
            "job": "a",
            "at": STARTED + 0.02 * 3**index * (1 if index < 7 else 0.55),
            "nonce": 977 * 13**index,
            "hash": proof(f"best {index}", value),
        }
        for index, value in enumerate(bits)
    }
    rates: Table = {
        f"{name}:{second}": {
            "node": name,
            "at": STARTED + second,
            "rate": draw.gauss(9e6 + 3e6 * number, 4e5) * (0 if number == 3 and second > 20 else 1),
        }
        for number, name in enumerate(miners)
        for second in range(33)
    }
    jobs: Table = {
        "b": _job("b", "The first transaction of the day", 200_000_000, 200_000_000)
        | {
            "state": "done",
            "nonce": 117_201_913,
            "hash": proof("answer", 27),
            "verified": True,
            "submitted": STARTED - 30,
            "finished": STARTED - 21.25,
            "seconds_left": 0,
        },
        "a": _job("a", "Alice pays Bob 5; Bob pays Carol 3", 59 * cut, total)
        | {"best_nonce": 445_120_077, "best_hash": best["a:7"]["hash"], "seconds_left": 12.9},
    }
    audits: Table = {
        str(number): {
            "at": STARTED + 4 * number,
            "node": miners[number % 3],
            "auditor": miners[(number + 1) % 3],
            "passed": number != 5,
            "text": "the same nonces under the limit" if number != 5 else "2 of 31 were left out",
        }
        for number in range(1, 8)
    }
    return {
        "about": about("pool"),
        "nodes": {
            "pool": node("pool", "pool", note="job a is leased out"),
            "miner-1": node("miner-1", "miner", rate=9.1e6),
            "miner-2": node("miner-2", "miner", rate=12.2e6, note="holds 3 leases"),
            "miner-3": node("miner-3", "miner", rate=15.3e6, lies=True),
            "miner-4": node("miner-4", "miner", state="dead", note="was killed"),
        },
        "told": told(
            (0, "", "The pool is up with 4 miners.", "good"),
            (1, "pool", "Job a: “Alice pays Bob 5”, nonces 0 to 999,999,999.", "info"),
            (20, "", "miner-4 was killed: its 2 leases went back into the queue.", "fault"),
            (24, "pool", "An audit found that miner-3 left out 2 of 31 shares.", "bad"),
        ),
        "jobs": jobs,
        "shards": shards,
        "best": best,
        "rates": rates,
        "audits": audits,
    }


def _job(job: str, message: str, done: int, total: int) -> dict[str, object]:
    return {
        "job": job,
        "message": message,
        "first": 0,
        "last": total - 1,
        "state": "running",
        "done": done,
        "total": total,
        "rate": 36.6e6,
        "best_nonce": None,
        "best_hash": None,
        "nonce": None,
        "hash": None,
        "verified": False,
        "submitted": STARTED,
        "finished": None,
        "seconds_left": None,
    }


def block(name: str, parent: str, height: int, miner: str, **more: object) -> Row:
    """A block; its id comes from its name."""
    row: dict[str, object] = {
        "id": proof(name, 20),
        "parent": parent,
        "height": height,
        "miner": miner,
        "at": STARTED + height,
        "best": True,
        "seen": 5,
        "t50": 0.004 + (height * 37 % 11) / 3000,
        "t90": 0.009 + (height * 53 % 17) / 1500,
        "data": f"block {height}",
    }
    return row | more


def chain(
    network: str = "gossip", *, nodes: int = 5, blocks: int = 40, watched: Row | None = None
) -> Tables:
    """A chain with a few side branches; each node stands on one of the last blocks."""
    draw = random.Random(11)
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    tree: Table = {}
    tip = ""
    for height in range(blocks):
        found = block(f"best {height}", tip, height, draw.choice(names), seen=nodes)
        side = block(
            f"side {height}", tip, height, draw.choice(names), best=False, seen=2, t90=None
        )
        for row in [found] + [side] * (height % 7 == 5):
            tree[str(row["id"])] = row
        if height % 14 == 12:
            twice = block(f"twice {height}", str(side["id"]), height + 1, names[0], best=False)
            tree[str(twice["id"])] = twice
        tip = str(found["id"])
    best = [row for row in tree.values() if row["best"]]
    rows: Table = {}
    for number, name in enumerate(names):
        kept = sum(row["miner"] == name for row in best)
        stand = tree[tip] if number % 4 else best[-2]
        share = kept / len(best)
        rows[name] = node(
            name,
            network,
            tip=stand["id"],
            height=stand["height"],
            mined=kept + number % 2,
            kept=kept,
            share=share,
            share_low=max(0.0, share - 0.11),
            share_high=share + 0.13,
            share_expected=1 / nodes,
            rate=2.5e6,
        )
    undone: Table = {
        str(number): {
            "at": STARTED + 12 + number,
            "node": names[number],
            "left": 1,
            "joined": 2,
            "fork_height": 11 + number,
            "height": 13 + number,
        }
        for number in range(min(3, nodes))
    }
    return {
        "about": about(network, **(watched or {})),
        "nodes": rows,
        "told": told(
            (0, "", f"{nodes} nodes are up.", "good"),
            (13, names[0], "node-1 left 1 block for a longer branch of 2.", "bad"),
            (20, names[-1], f"{names[-1]} found block 20.", "info"),
        ),
        "blocks": tree,
        "block_totals": {
            "totals": {"blocks": len(tree), "stale": sum(not row["best"] for row in tree.values())}
        },
        "reorgs": undone,
    }


def race() -> Tables:
    """Two races won, a third under way."""
    names = ["node-1", "node-2", "node-3"]
    races: Table = {}
    for number, winner in enumerate([1, 0, None]):
        begin = STARTED + 10 * number
        lanes = {
            name: {
                "received": begin + 0.000_31 * (place + 1),
                "started": begin + 0.000_9 + 0.000_17 * place,
                "completed": None
                if winner is None
                else begin + 0.0141 + 0.000_6 * (place != winner),
                "state": "searching"
                if winner is None
                else ("won" if place == winner else "stopped"),
                "seconds": None,
            }
            for place, name in enumerate(names)
        }
        races[f"pay {number}#1"] = {
            "text": f"Alice pays Bob {number + 4}",
            "k": 1,
            "at": begin,
            "winner": None if winner is None else names[winner],
            "nonce": None if winner is None else 48_113 * (number + 1),
            "hash": None if winner is None else proof(f"race {number}", 18),
            "lanes": lanes,
        }
    ledger: Table = {
        str(number): {
            "node": names[1 - number],
            "transaction_data": f"Alice pays Bob {number + 4}",
            "nonce": 48_113 * (number + 1),
            "hash": proof(f"race {number}", 18),
            "time_taken": 0.0138,
            "start_time": f"2026-09-21 14:13:{20 + number}.000900",
            "end_time": f"2026-09-21 14:13:{20 + number}.014700",
        }
        for number in range(2)
    }
    return {
        "about": about("race"),
        "nodes": {name: node(name, "race", rate=1.1e6) for name in names},
        "told": told(
            (0, "", "Three nodes are up.", "good"),
            (0.02, "node-2", "node-2 won the race for “Alice pays Bob 4” after 13.8 ms.", "good"),
        ),
        "races": races,
        "race_totals": {"totals": {"races": len(races), "entries": len(ledger)}},
        "ledger": ledger,
    }


def coordinator() -> Tables:
    """Rounds of three agents, one of which answers what is refused."""
    draw = random.Random(3)
    agents = ["agent-1", "agent-2", "agent-3"]
    rounds: Table = {}
    for height in range(1, 41):
        open_ = height == 40
        rounds[str(height)] = {
            "height": height,
            "header": proof(f"header {height}", 16),
            "at": STARTED + 2.0 * height,
            "sent": 3,
            "answers": 0 if open_ else 1 + height % 3,
            "stale": 0 if open_ else height % 3 // 2,
            "refused": int(height % 13 == 4),
            "winner": None if open_ else draw.choice(agents),
            "solved": None if open_ else STARTED + 2.0 * height + draw.expovariate(1 / 1.2),
            "nonce": None if open_ else draw.randrange(2**32),
            "hash": None if open_ else proof(f"round {height}", 20),
        }
    return {
        "about": about("coordinator"),
        "nodes": {
            "coordinator": node("coordinator", "coordinator", height=40),
            "agent-1": node("agent-1", "agent", rate=3.4e6),
            "agent-2": node("agent-2", "agent", rate=3.4e6),
            "agent-3": node("agent-3", "agent", rate=3.4e6),
        },
        "told": told(
            (0, "", "The coordinator is up with 3 agents.", "good"),
            (34, "coordinator", "agent-3 was refused at height 17: above the target.", "bad"),
        ),
        "rounds": rounds,
        "round_totals": {
            "totals": {"solved": 39, "answers": 75, "stale": 12, "refused": 3, "agents": 3}
        },
        "agents": {
            name: {
                "address": f"127.0.0.1:5000{number}",
                "answers": 20 + number,
                "accepted": 13,
                "stale": 6,
                "errors": 3 if number == 2 else 0,
            }
            for number, name in enumerate(agents)
        },
    }
