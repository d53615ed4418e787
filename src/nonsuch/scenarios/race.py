"""Three nodes that race for the same texts, through half a minute of everything that can go wrong.

A seed draws the network, the machines and their clocks, whether the ledger is a file that the nodes
share or behind a keeper, with some liars among its nodes, what is in it already, clients and a plan
of misfortunes. Clients send a few texts again and again, to each node in another order, in pieces.
Nodes and the keeper crash, freeze, are cut off and slow; in some seeds somebody deletes the ledger.
Then all is mended, and what must hold is checked:

* nothing that was accepted is lost: every arrival was raced for;
* every race has exactly one entry: the ledger has a text as often as the node where it arrived most
  often has had it;
* whoever watches a race hears that it is lost as soon as the ledger says so;
* every entry is right: the first nonce, its hash, and all keys in their order;
* what people were told is in the ledger is there, they were told once, and nobody loses to
  himself;
* no honest node was taken for a liar;
* every core's own `_check` held after every event (the world sees to that).

The file is a list here, and whoever has it open serves it as its owner does live: one after the
other, in a drawn time, again where it could not be written, and dead with its process.
"""

from __future__ import annotations

import functools
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import NamedTuple

from nonsuch.networks.race import facts
from nonsuch.networks.race.desk import Desk, key_of
from nonsuch.networks.race.keeper import Keeper
from nonsuch.networks.race.ledger import Entry, Ledger
from nonsuch.networks.race.link import KEEPER
from nonsuch.networks.race.messages import (
    Answer,
    Asked,
    End,
    Enter,
    Fragment,
    Leave,
    Lost,
    Question,
    Replaced,
    Reply,
    Told,
    Won,
)
from nonsuch.networks.race.node import RaceNode
from nonsuch.networks.race.settings import KeeperSettings, RaceSettings
from nonsuch.node import (
    LOCAL,
    Connected,
    Core,
    Dial,
    Disconnected,
    Effect,
    Event,
    Finish,
    Received,
    Send,
    Started,
    Tick,
)
from nonsuch.scenarios.broken import TRACE_LINES, Broken
from nonsuch.scenarios.race_cheats import CHEATS, Cheat, solved
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, Conditions
from nonsuch.sim.world import World

__all__ = ["Broken", "Client", "Story", "play"]

TROUBLE_SECONDS = 30.0
"""How long things go wrong."""

CLIENTS_SECONDS = 20.0
"""Then whoever has begun to send has sent."""

MENDED_SECONDS = 300.0
"""How long mended nodes may take to have run all their races; one takes a few seconds."""

JOINED_SECONDS = 60.0

ORIGIN_SECONDS = 1_700_000_000.0
"""The Unix time at which a world begins."""

DIFFICULTY = 1
HASH_RATE = 200.0
"""Of one node: it finds a nonce in some seconds."""

FILE_SECONDS_MAX = 0.05
"""How long the owner of a file may take for one question, and to notice that it has changed."""

FAILURE = 0.05
"""How often it cannot be written, as when a disk is full for a moment."""

PIECE_SECONDS_MAX = 0.15
"""Between two pieces of a text: less than any pause that ends it."""

BLAMELESS = ("no hello",)
"""Why an honest node may be let go: it was frozen, or the network was."""

NODES = ("Node1", "Node2", "Node3")
NETWORKS: dict[str, Conditions] = {"perfect": PERFECT, "lan": LAN, "hostile": HOSTILE}
TEXTS = (
    "Your transaction data",
    "Alice pays Bob 5",
    "Bob pays Carol 5",
    "příliš žluťoučký kůň",
    "鉱夫",
    "two\nlines",
    "x" * 2000,
)


class Story(NamedTuple):
    """A seed that ended well. `arrivals` at all nodes together, and `wins` in the ledger."""

    seed: int
    network: str
    keeper: bool
    cheats: tuple[str, ...]
    replaced: bool
    arrivals: int
    wins: int
    stopped: int
    events: int
    seconds: float
    trace_hash: str


def play(seed: int) -> Story:
    """One seed from beginning to end. Raises `Broken`, or what a core's check raises."""
    return _Play(seed).run()


class Client:
    """A client that sends these pieces, each after a wait, and then waits for its reply."""

    def __init__(self, pieces: Sequence[tuple[float, object]]) -> None:
        self._pieces = list(pieces)
        self._peer = 0
        self._next_at: float | None = None
        self.reply = ""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Started():
                return [Dial()]
            case Connected(peer=peer):
                self._peer = peer
                self._wait(now)
            case Tick() if self._next_at is not None and now >= self._next_at:
                _, piece = self._pieces.pop(0)
                self._wait(now)
                return [Send(self._peer, piece)]
            case Received(message=Reply(text=text)):
                self.reply = text
            case Disconnected():
                self._next_at = None
                return [Finish()]
            case _:
                pass
        return []

    def _wait(self, now: float) -> None:
        self._next_at = now + self._pieces[0][0] if self._pieces else None

    def deadline(self) -> float | None:
        """When to send more."""
        return self._next_at

    def _check(self) -> None:
        pass


class _Watched:
    """What somebody has entered, and must hear of: kept apart from the desk."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, bytes, int], Enter] = {}

    def asked(self, request: Question | Asked) -> None:
        """This was served."""
        seat, question = LOCAL, request
        if isinstance(request, Asked):
            seat, question = request.seat, request.question
        if isinstance(question, Enter):
            self._open[seat, key_of(question.text), question.number] = question
        elif isinstance(question, Leave):
            self._open = {race: each for race, each in self._open.items() if race[0] != seat}

    def told(self, answer: Answer | Told) -> None:
        """This was answered."""
        seat, said = (answer.seat, answer.answer) if isinstance(answer, Told) else (LOCAL, answer)
        if isinstance(said, Won | Lost):
            self._open.pop((seat, said.key, said.number), None)
        elif isinstance(said, Replaced):
            self._open = {
                race: each
                for race, each in self._open.items()
                if race[0] != seat or each.epoch > said.epoch
            }

    def forgotten(self, ledger: Ledger) -> Enter | None:
        """One that is decided, and whose watcher was not told."""
        return next((each for each in self._open.values() if _is_decided(each, ledger)), None)


def _is_decided(enter: Enter, ledger: Ledger) -> bool:
    place = ledger.place(enter.text, enter.number, enter.since)
    return not ledger.is_known(enter.generation, enter.since) or ledger.count(enter.text) >= place


class _Owner:
    """Who serves the file to one process: what it knows dies with that, and the entries do not."""

    def __init__(self, play: _Play, name: str) -> None:
        self._play = play
        self._world = play.world
        self._name = name
        self._begin(None)
        self._busy_until = 0.0

    def _begin(self, core: Core | None) -> None:
        self._core = core
        self._desk, self._ledger, self._watched = Desk(), Ledger(), _Watched()
        self._questions: deque[Question | Asked] = deque()

    def __call__(self, message: object) -> None:
        """The core has a question."""
        core = self._world.core(self._name)
        if core is not self._core:
            self._begin(core)
        assert isinstance(message, Question | Asked)
        self._questions.append(message)
        self._later(self._serve)

    def look_later(self) -> None:
        """The file has changed."""
        if self._core is not None:
            self._later(self._look)

    def _later(self, action: Callable[[], None]) -> None:
        """Do this in its turn, unless the process has died by then."""
        wait = self._world.lots.uniform(0, FILE_SECONDS_MAX)
        self._busy_until = max(self._busy_until, self._world.seconds) + wait
        core = self._core

        def act() -> None:
            if self._world.is_up(self._name) and self._world.core(self._name) is core:
                action()

        when_awake = functools.partial(self._world.when_awake, self._name, act)
        self._world.at(self._busy_until, when_awake)

    def _serve(self) -> None:
        """The question that has waited longest."""
        self._look()
        desk = self._desk.copy()
        entries, answers = desk.handle(self._questions[0], self._ledger)
        if self._world.lots.random() < FAILURE:
            self._ledger = Ledger()
            self._later(self._serve)
            return
        self._desk = desk
        self._watched.asked(self._questions.popleft())
        self._play.write(self, entries)
        self._tell(answers)

    def _look(self) -> None:
        self._ledger.update(self._play.entries)
        self._tell(self._desk.look(self._ledger))

    def _tell(self, answers: Sequence[Answer | Told]) -> None:
        for answer in answers:
            self._watched.told(answer)
            event = Received(LOCAL, answer)
            self._later(functools.partial(self._world.deliver, self._name, event))
        if (enter := self._watched.forgotten(self._ledger)) is not None:
            self._play.fail(f"{self._name} is never told that it has lost {enter}")


class _Play:
    """One run of the scenario."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        plan = self._plan = random.Random(f"race {seed}")
        self._network = plan.choice(list(NETWORKS))
        self._keeper = plan.random() < 0.5
        cheats = plan.sample(CHEATS, plan.choice([0, 0, 1, 2]))
        self._cheats = tuple(cheats) if self._keeper else ()
        self._replaced = plan.random() < 0.2
        self._texts = plan.sample(TEXTS, plan.randint(1, 4))
        self._clients: dict[str, tuple[str, str]] = {}
        self._owners: list[_Owner] = []
        self.world = World(seed, NETWORKS[self._network], trace_lines=TRACE_LINES)
        self._old = [_old_entry(plan.choice(self._texts)) for _ in range(plan.choice([0, 0, 1, 3]))]
        self.entries: list[dict[str, object]] = list(self._old)
        if self._keeper:
            settings = KeeperSettings(difficulty=DIFFICULTY)
            self._add(KEEPER, lambda: Keeper(settings), has_file=True)
        for name in NODES:
            self._add(name, functools.partial(self._node, name), has_file=not self._keeper)

        for kind in self._cheats:
            self.world.add(kind, functools.partial(self._cheat, kind), dials=KEEPER)

    def run(self) -> Story:
        """Trouble, then peace, then the reckoning."""
        world, plan = self.world, self._plan
        if not world.run_until(self._all_joined, JOINED_SECONDS):
            raise self._broken("the nodes do not find the ledger")
        begins = world.seconds
        for number in range(plan.randint(3, 20)):
            self._customer(number, begins)
        for _ in range(plan.randint(0, 8)):
            world.at(begins + plan.uniform(0.5, TROUBLE_SECONDS), self._misfortune())
        if self._replaced:
            world.at(begins + plan.uniform(1, TROUBLE_SECONDS), self._replace)
        world.run(begins + TROUBLE_SECONDS)
        self._mend()
        world.run(world.seconds + CLIENTS_SECONDS)
        if not world.run_until(self._all_done, MENDED_SECONDS):
            raise self._broken(f"races that do not end: {self._stands()}")
        world.run(world.seconds + 1)
        self._judge()
        return Story(
            self._seed,
            self._network,
            self._keeper,
            self._cheats,
            self._replaced,
            sum(self._arrivals().values()),
            len(self.entries),
            sum(isinstance(told.fact, facts.RaceStopped) for told in world.facts),
            world.events,
            world.seconds,
            world.trace_hash,
        )

    # Who there is.

    def _add(self, name: str, factory: Callable[[], Core], *, has_file: bool) -> None:
        lots = self.world.lots
        owner = _Owner(self, name) if has_file else None
        if owner is not None:
            self._owners.append(owner)
        self.world.add(
            name,
            factory,
            hash_rate=HASH_RATE * lots.uniform(0.3, 1.5),
            listens=True,
            dials={KEEPER: KEEPER},
            clock_rate=lots.uniform(0.98, 1.02),
            clock_offset_seconds=lots.uniform(-1000, 1000),
            local=owner,
        )

    def _node(self, name: str) -> RaceNode:
        settings = RaceSettings(
            name=name,
            difficulty=DIFFICULTY,
            has_keeper=self._keeper,
            finishes=self._seed % 4 == 0,
            zone=UTC,
        )
        lots = random.Random(self.world.lots.getrandbits(64))
        return RaceNode(settings, lots, ORIGIN_SECONDS)

    def _cheat(self, kind: str) -> Cheat:
        lots = random.Random(self.world.lots.getrandbits(64))
        return Cheat(kind, self._texts, DIFFICULTY, lots)

    def _customer(self, number: int, begins: float) -> None:
        """Somebody feeds a text to the nodes, as `tee` does, or to some, or late."""
        plan = self._plan
        text = plan.choice(self._texts)
        whom = plan.sample(NODES, plan.choice([1, 2, 3, 3, 3]))
        at = begins + plan.uniform(0, TROUBLE_SECONDS)
        for name in whom:
            client = f"client-{number}-{name}"
            pieces = self._pieces(text)
            self._clients[client] = name, text
            late = plan.choice([0, 0, plan.uniform(0, 0.01), plan.uniform(0, 10)])
            begin = functools.partial(self._client, client, name, pieces)
            self.world.at(at + late, begin)

    def _client(self, client: str, name: str, pieces: list[tuple[float, object]]) -> None:
        self.world.add(client, lambda: Client(pieces), dials=name, storage=False)

    def _pieces(self, text: str) -> list[tuple[float, object]]:
        plan = self._plan
        data = plan.choice(["", " ", "\n"]).encode() + text.encode()
        # A newline in the middle would end it: it comes with what is behind it.
        cuts = sorted(plan.sample(range(1, len(data)), plan.randint(0, 3)))
        bounds = zip([0, *cuts], [*cuts, len(data)], strict=True)
        wait = functools.partial(plan.uniform, 0, PIECE_SECONDS_MAX)
        pieces: list[tuple[float, object]] = [
            (wait(), Fragment(data[start:stop])) for start, stop in bounds
        ]
        match plan.choice(["end", "newline", "both", "pause"]):
            case "end":
                pieces.append((wait(), End()))
            case "newline":
                pieces.append((wait(), Fragment(b"\n")))
            case "both":
                pieces += [(wait(), Fragment(b"\n")), (0.0, End())]
            case _:
                pass
        return pieces

    def fail(self, what: str) -> None:
        """What must hold does not. Raises `Broken`."""
        raise self._broken(what)

    # The file.

    def write(self, owner: _Owner, entries: list[dict[str, object]]) -> None:
        """An owner appends; all others notice."""
        if not entries:
            return
        self.world.note("file", entries)
        self.entries += entries
        self._changed(owner)

    def _changed(self, but: _Owner | None = None) -> None:
        for owner in self._owners:
            if owner is not but:
                owner.look_later()

    def _replace(self) -> None:
        """Somebody deletes the ledger, or has another one."""
        self.entries = self._plan.choice([[], [_old_entry(self._texts[0])]])
        self.world.note("file", self.entries)
        self._changed()

    # What befalls them.

    def _misfortune(self) -> Callable[[], object]:
        world, plan = self.world, self._plan
        everybody = [*NODES, KEEPER] if self._keeper else [*NODES]
        victim = plan.choice(everybody)
        seconds = plan.uniform(0.1, 15)
        rate = plan.choice([0.0, HASH_RATE / 10, HASH_RATE * 10])

        def crash() -> None:
            world.crash(victim, silent=seconds > 12)
            world.at(world.seconds + seconds, lambda: self._restart(victim))

        def freeze() -> None:
            world.freeze(victim)
            world.at(world.seconds + seconds, lambda: world.thaw(victim))

        def partition() -> None:
            rest = set(everybody) - {victim}
            world.partition({victim}, rest, seconds=seconds, silent=seconds > 5)

        def speed() -> None:
            world.set_hash_rate(victim, rate)

        return plan.choice([crash, crash, freeze, partition, speed])

    def _restart(self, name: str) -> None:
        if not self.world.is_up(name):
            self.world.restart(name)

    def _mend(self) -> None:
        self.world.heal()
        for name in (*NODES, KEEPER) if self._keeper else NODES:
            self._restart(name)
            self.world.thaw(name)
        for name in NODES:
            self.world.set_hash_rate(name, HASH_RATE)

    # What must hold.

    def _core(self, name: str) -> RaceNode:
        core = self.world.core(name)
        assert isinstance(core, RaceNode)
        return core

    def _all_joined(self) -> bool:
        told = {each.node for each in self.world.facts if isinstance(each.fact, facts.LedgerJoined)}
        return told == set(NODES)

    def _all_done(self) -> bool:
        return all(self._core(name).races.waiting == 0 for name in NODES)

    def _stands(self) -> str:
        return str({name: self._core(name).statistics(0.0) for name in NODES})

    def _arrivals(self) -> Counter[tuple[str, str]]:
        """How often each node has said that it received each text."""
        return Counter(
            (told.node, told.fact.text)
            for told in self.world.facts
            if isinstance(told.fact, facts.TransactionReceived)
        )

    def _judge(self) -> None:
        for entry in self.entries:
            if entry["node"] != "old":
                self._judge_entry(entry)
        claims = Counter((e["node"], e["start_time"], e["end_time"]) for e in self.entries)
        if any(count > 1 for (node, _, _), count in claims.items() if node != "old"):
            raise self._broken("one claim is in the ledger twice")
        arrivals = self._arrivals()
        texts = {text for _, text in arrivals}
        if self._network != "hostile" and not texts <= set(self._texts):
            raise self._broken(f"a text that nobody has sent: {texts - set(self._texts)}")
        for text in sorted(texts):
            self._judge_text(text, [arrivals[name, text] for name in NODES])
        self._judge_told()
        for told in self.world.facts:
            fact = told.fact
            if (
                isinstance(fact, facts.PeerDropped)
                and fact.address in NODES
                and not fact.reason.startswith(BLAMELESS)
            ):
                raise self._broken(f"{fact.address} is honest, and was dropped: {fact.reason}")

    def _judge_told(self) -> None:
        """What people were told is in the ledger, and they were told once."""
        facts_told = (told.fact for told in self.world.facts)
        entries = [fact.entry for fact in facts_told if isinstance(fact, facts.LedgerUpdated)]
        if len(set(entries)) < len(entries):
            raise self._broken("somebody was told twice that he has won a race")
        if not self._replaced and any(entry.plain() not in self.entries for entry in entries):
            raise self._broken("somebody was told that he has won, and has not")
        for _, name, fact in self.world.facts:
            lost = isinstance(fact, facts.RaceLost | facts.RaceStopped) and fact.winner == name
            if lost and not self._replaced:
                raise self._broken(f"{name} has lost to itself")

    def _judge_text(self, text: str, arrived: list[int]) -> None:
        """`arrived` is how often each node told a client that the text was taken.

        A node may have taken one more: it crashed behind the disk and before the reply.
        """
        wins = sum(entry["transaction_data"] == text for entry in self.entries)
        finished = [self._core(name).races.finished(text) for name in NODES]
        stands = f"{text[:40]!r}: taken {arrived}, finished {finished}, {wins} in the ledger"
        if self._replaced:
            sent = Counter(name for name, said in self._clients.values() if said == text)
            if text in self._texts and wins - 1 > max(sent.values(), default=0):
                raise self._broken(f"more winners than races: {stands}")
            return
        if any(done < taken for done, taken in zip(finished, arrived, strict=True)):
            raise self._broken(f"an arrival is lost: {stands}")
        old = sum(entry["transaction_data"] == text for entry in self._old)
        if wins - old != max(finished):
            raise self._broken(f"not one winner a race: {stands}")

    def _judge_entry(self, entry: dict[str, object]) -> None:
        text = entry["transaction_data"]
        assert isinstance(text, str)
        if (entry["nonce"], entry["hash"]) != solved(text, "00" * DIFFICULTY):
            raise self._broken(f"a wrong entry: {entry}")
        if tuple(entry) != Entry.__struct_fields__ or entry["node"] not in NODES:
            raise self._broken(f"no entry: {entry}")

    def _broken(self, what: str) -> Broken:
        story = "\n".join(self.world.trace())
        return Broken(
            f"{what}\n(network {self._network}, keeper {self._keeper})\n{story}\n"
            f"again with: nonsuch simulate --network race --first {self._seed} --seeds 1"
        )


def _old_entry(text: str) -> dict[str, object]:
    """One that was there before, with a key that nobody here knows."""
    return {"node": "old", "transaction_data": text, "nonce": 1, "remark": ["kept"]} | {
        "start_time": "then",
        "end_time": "then",
    }
