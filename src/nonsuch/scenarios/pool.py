"""A pool, its miners and its clients through a minute of everything that can go wrong.

A seed draws the network, the machines, the jobs and a plan of misfortunes: crashes with and without
disk, frozen processes, pulled cables, slow processors, miners that lie. Some miners search on many
workers, which come, go and stand still; some, and a client, speak LiteMiner's wire. Then all is
mended, a worker here and there a little later, and what must hold is checked:

* every client has the answer that a plain search gives;
* no honest miner was ever accused;
* every core's own `_check` held after every event (the world sees to that).

Where liars are about and not everything is scanned again, the answer need only be true, not the
best: that is the bargain of random audits.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import NamedTuple

from nonsuch.networks.pool import facts
from nonsuch.networks.pool.client import Client
from nonsuch.networks.pool.liteminer import (
    LiteMinerClientWire,
    LiteMinerMinerWire,
    LiteMinerPoolWire,
)
from nonsuch.networks.pool.messages import Hello, PuzzleForm, Submit, target_bytes
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.node import Core, Wire
from nonsuch.scenarios.broken import TRACE_LINES, Broken
from nonsuch.scenarios.cheats import CHEATS, Cheat
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, TORTURE, Conditions, Wires
from nonsuch.sim.world import Ranks, World
from nonsuch.work.presets import liteminer, plain
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

__all__ = ["Broken", "Play", "Story", "play"]

TROUBLE_SECONDS = 40.0
"""How long things go wrong."""

MENDED_SECONDS = 600.0
"""How long a mended pool may take to answer; a job takes some ten seconds of honest work, and four
times as long where a pool and its relays have all of it searched twice, beside liars."""

NETWORKS: dict[str, Conditions] = {
    "perfect": PERFECT,
    "lan": LAN,
    "hostile": HOSTILE,
    "torture": TORTURE,
}

MESSAGES = 8
"""Different messages to be mined: few, so that many seeds share what is hashed."""

CLUSTER_PART = 0.4
"""How many miners search on workers."""

WORKERS = (2, 3, 8, 16)
"""How many workers such a miner has."""

LITEMINER_PART = 0.3
"""How many pools have programs of LiteMiner's wire, and how many of these have one that lies."""

LITEMINER_CLIENT = "client-liteminer"

SHARD_NONCES = 500
"""Shards of theirs, in some pools: of miners that have shown no rate one would have a whole job."""

STUCK_PART = 0.3
STUCK_SECONDS = 60.0
"""How many of them have one that is mended so much later than all else."""

MENDED_RATES = (2.0, 3.5)
"""What a mended machine does, as powers of ten: so unequal are they as they were before."""

WORKER_RATE = 200.0
"""What a mended worker does, in hashes a second."""

LAST_MAX = 20_000
"""The last nonce of the longest jobs: some ten seconds of honest work."""


class Story(NamedTuple):
    """A seed that ended well."""

    seed: int
    network: str
    cheats: tuple[str, ...]
    events: int
    seconds: float
    trace_hash: str
    clusters: tuple[str, ...]
    given_up: int


class _Job(NamedTuple):
    """What one client wants, and what the answer is."""

    client: str
    submit: Submit
    puzzle: Puzzle
    answer: int | None


def play(seed: int, ranks: Ranks | None = None) -> Story:
    """One seed from beginning to end. Raises `Broken`, or what a core's check raises."""
    return Play(seed, Ranks() if ranks is None else ranks).run()


@functools.cache
def _ranks(puzzle: Puzzle) -> list[int]:
    """By plain hashing, and none of what is on trial."""
    return [puzzle.rank(puzzle.digest(nonce)) for nonce in range(LAST_MAX + 1)]


class Play:
    """One run of the scenario. `network` is what `nonsuch simulate` knows it by."""

    network = "pool"

    def __init__(self, seed: int, ranks: Ranks) -> None:
        self._seed = seed
        plan = self._plan = random.Random(f"{self.network} {seed}")
        self._network = plan.choice(list(NETWORKS))
        self._world = World(seed, NETWORKS[self._network], ranks=ranks, trace_lines=TRACE_LINES)
        # Two of a kind lie alike: neither may vouch for the other.
        self._cheats = tuple(plan.choices(list(CHEATS), k=plan.choice([0, 0, 1, 2])))
        self._liars = {f"{kind}-{place}": kind for place, kind in enumerate(self._cheats)}
        audit = plan.choice([0.02, 0.2, 1.0])
        # Two that keep the same share back agree, and may be all the auditors that there are.
        self._thorough = audit == 1.0 and self._cheats != ("withholds", "withholds")
        self._answers: dict[str, int | None] = {}
        self._accused: list[facts.Cheated] = []
        self._jobs = [self._job(f"client-{number}") for number in range(plan.randint(1, 3))]
        self._has_liteminer = plan.random() < LITEMINER_PART
        few = plan.choice([None, SHARD_NONCES]) if self._has_liteminer else None
        self._settings = PoolSettings(
            shard_nonces=few, audit_fraction=audit, blind_audit_fraction=audit, jobs_max=10
        )
        if self._has_liteminer:
            self._jobs.append(self._liteminer_job())
        self._above: dict[str, str] = {"pool": ""}
        self._clusters: dict[str, list[float]] = {}
        self._people()

    def run(self) -> Story:
        """Trouble, then peace, then the reckoning."""
        world = self._world
        for _ in range(self._plan.randint(0, 12)):
            world.at(self._plan.uniform(0.5, TROUBLE_SECONDS), self._misfortune())
        world.run(TROUBLE_SECONDS)
        self._mend()
        done = world.run_until(self._all_answered, TROUBLE_SECONDS + MENDED_SECONDS)
        if not done:
            missing = [job.client for job in self._jobs if self._client(job).answer is None]
            raise self._broken(f"no answer for {', '.join(missing)}")
        self._judge()
        return Story(
            self._seed,
            self._network,
            self._cheats,
            world.events,
            world.seconds,
            world.trace_hash,
            tuple(self._clusters),
            sum(isinstance(told.fact, facts.SearchGivenUp) for told in world.facts),
        )

    # The people.

    def _job(self, client: str) -> _Job:
        plan = self._plan
        puzzle = plain(b"message %d " % plan.randrange(MESSAGES))
        ranks = _ranks(puzzle)
        last = self._last()
        first = plan.choice([0, 0, plan.randint(0, last)])
        target = Target.from_work(plan.randint(50, 5000)) if plan.random() < 0.3 else None
        nonces = range(first, last + 1)
        if target is None:
            answer: int | None = min(nonces, key=ranks.__getitem__)
        else:
            answer = next((nonce for nonce in nonces if target.admits(ranks[nonce])), None)
        data = None if target is None else target_bytes(target)
        submit = Submit(f"job-{client}", PuzzleForm.of(puzzle), first, last, data)
        return _Job(client, submit, puzzle, answer)

    def _last(self) -> int:
        """The last nonce of a job."""
        plan = self._plan
        return plan.choice([0, 1, 40, plan.randint(100, 3000), plan.randint(3000, LAST_MAX)])

    def _liteminer_job(self) -> _Job:
        """One that the older wire has words for: from 0 on, and without a target."""
        puzzle, last = liteminer(b"message %d" % self._plan.randrange(MESSAGES)), self._last()
        ranks = _ranks(puzzle)
        submit = Submit("job", PuzzleForm.of(puzzle), 0, last)
        return _Job(LITEMINER_CLIENT, submit, puzzle, min(range(last + 1), key=ranks.__getitem__))

    def _people(self) -> None:
        world, plan = self._world, self._plan
        world.add("pool", self._pool, listens=True, hash_rate=500)
        self._honest: list[str] = []
        self._miners()
        if self._has_liteminer:
            self._liteminers()
        for job in self._jobs:
            factory = self._client_factory(job)
            begins = plan.choice([0.0, plan.uniform(0, TROUBLE_SECONDS / 2)])
            is_older = job.client == LITEMINER_CLIENT
            wires = self._wires(LiteMinerClientWire) if is_older else None
            world.at(begins, functools.partial(self._add, job.client, factory, 0.0, wires=wires))

    def _miners(self) -> None:
        plan = self._plan
        self._honest += [f"miner-{number}" for number in range(plan.randint(2, 4))]
        for name in self._honest:
            rate = 10 ** plan.uniform(2, 3.5)
            self._add(name, self._miner(name, rate), rate)
            self._perhaps_workers(name, rate)
        for name, kind in self._liars.items():
            self._add(name, self._cheat(kind), 1000.0)
            self._perhaps_workers(name, 1000.0)

    def _liteminers(self) -> None:
        """Honest ones, and perhaps one that names what comes to its mind."""
        plan, wires = self._plan, self._wires(LiteMinerMinerWire)
        for number in range(plan.randint(1, 3)):
            name, rate = f"liteminer-{number}", 10 ** plan.uniform(2, 3.5)
            self._honest.append(name)
            self._add(name, self._miner(name, rate), rate, wires=wires)
        if plan.random() < LITEMINER_PART:
            name, kind = "liteminer-liar", "guesses"
            self._liars[name] = kind
            self._cheats += (kind,)
            # What these leave out when they audit, nothing else speaks for.
            self._thorough &= not {"skips", "withholds"}.intersection(self._cheats)
            self._add(name, self._cheat(kind), 1000.0, wires=wires)

    def _wires(self, dialler: Callable[[], Wire]) -> Wires:
        lots = self._world.lots
        return dialler, lambda: LiteMinerPoolWire(f"{lots.getrandbits(64):x}")

    def _add(
        self,
        name: str,
        factory: Callable[[], Core],
        rate: float,
        *,
        above: str = "pool",
        listens: bool = False,
        wires: Wires | None = None,
    ) -> None:
        """A machine whose clock is off, and a little fast or slow."""
        lots = self._world.lots
        self._above[name] = above
        self._world.add(
            name,
            factory,
            hash_rate=rate,
            listens=listens,
            dials=above,
            wires=wires,
            clock_rate=lots.uniform(0.98, 1.02),
            clock_offset_seconds=lots.uniform(-1000, 1000),
        )

    def _perhaps_workers(self, name: str, rate: float) -> None:
        """Workers of different speeds, which do `rate` together, more or less."""
        plan = self._plan
        if plan.random() < CLUSTER_PART:
            count = plan.choice(WORKERS)
            self._clusters[name] = [rate / count * 2 ** plan.uniform(-1, 1) for _ in range(count)]
            self._world.set_workers(name, self._clusters[name])

    def _lots(self) -> random.Random:
        return random.Random(self._world.lots.getrandbits(64))

    def _pool(self) -> Core:
        return Pool(self._settings, self._lots())

    def _miner(self, name: str, rate: float) -> Callable[[], Core]:
        hint = self._plan.choice([0.0, rate, 10 * rate])
        return lambda: Miner(Hello("miner", name=name, rate=hint), self._lots())

    def _cheat(self, kind: str) -> Callable[[], Core]:
        def made() -> Core:
            return Cheat(Miner(Hello("miner", name=kind), self._lots()), kind, self._lots())

        return made

    def _client_factory(self, job: _Job) -> Callable[[], Core]:
        return lambda: Client(Hello("client"), job.submit, self._lots(), patient=True)

    # What befalls them.

    def _misfortune(self) -> Callable[[], object]:
        world, plan = self._world, self._plan
        victim = plan.choice(
            [*self._honest, *self._honest, "pool", *(j.client for j in self._jobs)]
        )
        others = [*self._honest, *self._liars, *(job.client for job in self._jobs), "pool"]
        seconds = plan.uniform(0.1, 12)
        kind = plan.choice(["crash", "freeze", "slow", "partition", "cut"])
        keep_disk = plan.random() < 0.8
        if victim in self._clusters and plan.random() < 0.5:
            return self._workers_change(victim, seconds)

        def befall(what: Callable[[], object]) -> None:
            if self._exists(victim):
                what()

        def crash() -> None:
            world.crash(victim, silent=seconds > 9)
            world.at(world.seconds + seconds, lambda: self._restart(victim, keep_disk))

        def freeze() -> None:
            world.freeze(victim)
            world.at(world.seconds + seconds, lambda: world.thaw(victim))

        def slow() -> None:
            world.set_hash_rate(victim, 10)

        def partition() -> None:
            alone = {victim}
            rest = {name for name in others if name != victim and self._exists(name)}
            world.partition(alone, rest, seconds=seconds, silent=seconds > 3)

        def cut() -> None:
            world.cut(victim, self._above[victim])

        actions = {
            "crash": crash,
            "freeze": freeze,
            "slow": slow,
            "partition": partition,
            "cut": cut if victim != "pool" else crash,
        }
        return functools.partial(befall, actions[kind])

    def _workers_change(self, name: str, seconds: float) -> Callable[[], object]:
        """For a while a worker stands still, or there are others, fewer, or none."""
        world, plan, rates = self._world, self._plan, self._clusters[name]
        stuck = [0.0, *rates[1:]]
        changed = plan.choice([stuck, stuck, rates[: len(rates) // 2], [*rates, *rates], []])

        def change() -> None:
            world.set_workers(name, changed)
            world.at(world.seconds + 2 * seconds, lambda: world.set_workers(name, rates))

        return change

    def _restart(self, name: str, keep_disk: bool) -> None:
        if self._exists(name) and not self._world.is_up(name):
            self._world.restart(name, keep_disk=keep_disk)

    def _exists(self, name: str) -> bool:
        """Clients come when they come."""
        return name in self._above

    def _mend(self) -> None:
        """Nothing is wrong any more, but that a worker here and there still stands still."""
        world = self._world
        world.heal()
        for name in (*self._honest, *self._liars, "pool", *(job.client for job in self._jobs)):
            if self._exists(name):
                self._restart(name, keep_disk=True)
                world.thaw(name)
        for name in (*self._honest, "pool"):
            world.set_hash_rate(name, 10 ** self._plan.uniform(*MENDED_RATES))
        for name, rates in self._clusters.items():
            mended = [WORKER_RATE] * len(rates)
            world.set_workers(name, mended)
            if self._plan.random() < STUCK_PART:
                world.set_workers(name, [0.0, *mended[1:]])
            change = functools.partial(world.set_workers, name, mended)
            world.at(TROUBLE_SECONDS + STUCK_SECONDS, change)

    # What must hold.

    def _client(self, job: _Job) -> Client:
        core = self._world.core(job.client)
        assert isinstance(core, Client)
        return core

    def _all_answered(self) -> bool:
        return all(self._client(job).answer is not None for job in self._jobs)

    def _judge(self) -> None:
        for told in self._world.facts:
            if isinstance(told.fact, facts.Cheated) and self._is_honest(told.fact.address):
                raise self._broken(f"{told.fact.address} is honest, and was accused: {told.fact}")
        exact = self._thorough or not self._cheats
        for job in self._jobs:
            answer = self._client(job).answer
            assert answer is not None
            if exact and answer.nonce != job.answer:
                raise self._broken(
                    f"{job.client} was told {answer.nonce}, and it is {job.answer}: {job.submit}"
                )

    def _is_honest(self, name: str) -> bool:
        """Whether this miner can have done nothing that it is to be accused of."""
        return name in self._honest

    def _broken(self, what: str) -> Broken:
        story = "\n".join(self._world.trace())
        return Broken(
            f"{what}\n(network {self._network}, cheats {self._cheats})\n{story}\n"
            f"again with: nonsuch simulate --network {self.network} --first {self._seed} --seeds 1"
        )
