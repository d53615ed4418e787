"""What is missing is fetched: headers first, then the blocks, from one peer at a time.

    Heartbeat ──▶ it has more work ──▶ AskHeaders ──▶ checked ──▶ AskBlocks, a window of them ──▶
    checked against their headers ──▶ into the tree ──▶ more headers … or done

A header shows its work and names its parent, and takes 88 bytes; so what a liar can make us fetch,
he has paid for. A peer that claims more than it shows, or that does not send in time, has *lapsed*:
its claim is forgotten until its next heartbeat, and of all peers with a better chain the one with
the fewest lapses is asked next, a configured neighbour before a stranger. So liars cost time, a
little each, and never the chain.

A branch may be of any length; it is fetched in rounds. Each round begins behind the last block of
the round before, whether or not that is on the best chain yet. A round that brings no new header is
the last.
"""

from __future__ import annotations

from collections import deque

from nonsuch.chain.tree import Duplicate, Extended, Reorged, SideBranch
from nonsuch.chain.validation import WrongParent, check_parent
from nonsuch.errors import RemoteError
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import Block, BlockForm, Header
from nonsuch.networks.peer.links import Claim, Links, Session
from nonsuch.networks.peer.relay import Relay
from nonsuch.networks.peer.rules import check_body, check_header
from nonsuch.networks.peer.state import State

__all__ = ["Sync"]

WINDOW_BLOCKS = 2 * messages.BLOCKS_MAX
"""Blocks that are on their way at once: one message of them is read while the next is sent."""

LAPSE_COST = 100
"""What a lapse costs: ten within an hour, and the connection is ended."""

ASK_AGAIN_SECONDS = 1.0
"""How soon a peer is asked again for what waits there."""

UNASKED_COST = 10
"""A message that nobody has asked for may have been asked for a while ago."""


class Lapse(RemoteError):
    """It claims what it does not show."""

    cost = LAPSE_COST


class _Download:
    """What is being fetched from one peer.

    `plan` are headers whose blocks are still to be asked for, `asked` those whose blocks are on
    their way; while `plan` and `asked` are empty, headers are. `last` is the last header's id.
    """

    __slots__ = ("asked", "began", "blocks", "deadline", "last", "plan", "session")

    def __init__(self, session: Session, now: float) -> None:
        self.session = session
        self.began = now
        self.deadline = now
        self.blocks = 0
        self.plan: deque[Header] = deque()
        self.asked: dict[bytes, Header] = {}
        self.last: bytes | None = None


class Sync:
    """Fetches what other peers have."""

    def __init__(self, state: State, links: Links, relay: Relay) -> None:
        self._state = state
        self._ledger = state.ledger
        self._links = links
        self._relay = relay
        self._download: _Download | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being fetched."""
        return self._download is not None

    def deadline(self) -> float | None:
        """When a peer that was asked has lapsed."""
        return None if self._download is None else self._download.deadline

    def tick(self, now: float) -> None:
        """Has it lapsed?"""
        download = self._download
        if download is not None and now >= download.deadline:
            self._lapse(Lapse("it does not send what it claims to have"), now)

    # What others say of themselves.

    def heartbeat(self, session: Session, message: messages.Heartbeat, now: float) -> None:
        """A peer says where it stands."""
        self._links.settled(session, now)
        session.claim = Claim(int.from_bytes(message.work, "big"), message.tip)
        if self._is_ahead(session):
            self._choose(now)
        elif message.digest != self._ledger.digest and now >= session.asks_at:
            session.asks_at = now + ASK_AGAIN_SECONDS
            self._relay.ask_transactions(session)

    def announced(self, session: Session, form: BlockForm, now: float) -> None:
        """A peer has a new block. Raises `InvalidBlock`."""
        header = Header(form.header)
        tree = self._ledger.tree
        if header.id in tree:
            return
        check_header(header, self._ledger.bits)
        block = Block.of(header, form.transactions)
        if header.parent not in tree:
            # Whose parent is not here has more work than we know of, or so it seems.
            work = self._ledger.tip.chainwork + block.work
            if session.claim is None or session.claim.work < work:
                session.claim = Claim(work, block.id)
            self._choose(now)
            return
        check_body(block)
        changes = self._relay.take_block(block, session, now)
        if isinstance(changes[0], SideBranch):
            # It is behind, and may not know.
            self._relay.tell([session], self._relay.heartbeat())

    def settle(self, now: float) -> None:
        """Behind every event: is the peer that is fetched from still there?"""
        if self._download is not None and self._download.session.role != "peer":
            self._download = None
            self._choose(now)

    def _is_ahead(self, session: Session) -> bool:
        claim = session.claim
        if claim is None or claim.tip in self._ledger.tree:
            return False
        return self._ledger.is_better(claim.work, claim.tip)

    def _choose(self, now: float) -> None:
        """Begin to fetch from the best of those who are ahead, unless one is being fetched from."""
        if self._download is not None:
            return
        ahead = [each for each in self._links.peers() if self._is_ahead(each)]
        if ahead:
            session = min(ahead, key=lambda each: (each.stalls, each.neighbour is None))
            self._download = _Download(session, now)
            self._ask_headers(self._download, now)

    # Headers.

    def _ask_headers(self, download: _Download, now: float) -> None:
        locator = self._ledger.tree.locator()
        if download.last is not None:
            locator.insert(0, download.last)
        download.deadline = now + self._state.settings.sync_seconds
        self._state.send(download.session.number, messages.AskHeaders(tuple(locator)))

    def answer_headers(self, session: Session, message: messages.AskHeaders, now: float) -> None:
        """A peer lacks something."""
        blocks = self._ledger.tree.after(message.locator, messages.HEADERS_MAX)
        # One for the question: an empty answer is not free either.
        if session.blocks.spend(now, 1 + len(blocks)):
            headers = tuple(block.header_data for block in blocks)
            self._state.send(session.number, messages.Headers(headers))

    def headers(self, session: Session, message: messages.Headers, now: float) -> None:
        """Headers that were asked for. Raises `InvalidBlock`, or `Lapse` for none."""
        download = self._download_from(session)
        if download is None or download.plan or download.asked:
            self._links.charge(session, UNASKED_COST, "headers that nobody asked for", now)
            return
        headers = [Header(data) for data in message.headers]
        self._check(headers)
        new = [header for header in headers if header.id not in self._ledger.tree]
        if new:
            download.plan.extend(new)
            download.last = new[-1].id
            self._ask_blocks(download, now)
        elif len(headers) == messages.HEADERS_MAX and self._is_further(download, headers[-1]):
            download.last = headers[-1].id
            self._ask_headers(download, now)
        else:
            self._lapse(Lapse("it claims a better chain than it has"), now)

    def _check(self, headers: list[Header]) -> None:
        """Each shows its work and follows the one before, the first a block that is here."""
        if headers and headers[0].parent not in self._ledger.tree:
            raise WrongParent("headers that follow no block of ours")
        previous = None
        for header in headers:
            check_header(header, self._ledger.bits)
            if previous is not None:
                check_parent(header.parent, previous.id)
            previous = header

    def _is_further(self, download: _Download, header: Header) -> bool:
        """Whether known headers at least lead on: else they could lead round for ever."""
        tree = self._ledger.tree
        last = None if download.last is None else tree.entry(download.last)
        entry = tree.entry(header.id)
        return entry is not None and (last is None or entry.height > last.height)

    # Blocks.

    def _ask_blocks(self, download: _Download, now: float) -> None:
        """Keep the window full."""
        while download.plan and len(download.asked) <= WINDOW_BLOCKS - messages.BLOCKS_MAX:
            count = min(messages.BLOCKS_MAX, len(download.plan))
            batch = [download.plan.popleft() for _ in range(count)]
            download.asked.update((header.id, header) for header in batch)
            ids = tuple(header.id for header in batch)
            self._state.send(download.session.number, messages.AskBlocks(ids))
            download.deadline = now + self._state.settings.sync_seconds

    def answer_blocks(self, session: Session, message: messages.AskBlocks, now: float) -> None:
        """A peer asks for blocks."""
        if session.blocks.spend(now, 1 + len(message.ids)):
            entries = map(self._ledger.tree.entry, message.ids)
            forms = tuple(entry.block.unchecked_form for entry in entries if entry is not None)
            self._state.send(session.number, messages.Blocks(forms))

    def blocks(self, session: Session, message: messages.Blocks, now: float) -> None:
        """Blocks that were asked for. Raises `InvalidBlock`."""
        unasked = False
        began = self._download_from(session)
        for form in message.blocks:
            header = Header(form.header)
            download = self._download_from(session)
            if began is not None and download is None:
                break  # It has lapsed with one of these; the others were asked for.
            if download is None or download.asked.pop(header.id, None) is None:
                unasked = True
                continue
            block = Block.of(header, form.transactions)
            check_body(block)
            self._connect(download, block, now)
        if unasked:
            self._links.charge(session, UNASKED_COST, "blocks that nobody asked for", now)
        if (download := self._download_from(session)) is not None:
            self._go_on(download, now)

    def _download_from(self, session: Session) -> _Download | None:
        download = self._download
        return download if download is not None and download.session is session else None

    def _connect(self, download: _Download, block: Block, now: float) -> None:
        changes = self._relay.take_block(block, download.session, now, announces=False)
        if isinstance(changes[0], Extended | Reorged | SideBranch | Duplicate):
            download.blocks += 1
        else:
            # What is wrong with it was charged. If it was the clock, it may be right another time.
            self._lapse(None, now)

    def _go_on(self, download: _Download, now: float) -> None:
        """Ask for more blocks, for more headers, or be done."""
        self._ask_blocks(download, now)
        if download.asked:
            return
        if self._is_ahead(download.session):
            self._ask_headers(download, now)
        else:
            self._done(download, now)

    def _done(self, download: _Download, now: float) -> None:
        self._download = None
        download.session.stalls = 0
        height, seconds = self._ledger.tip.height, now - download.began
        address = download.session.address
        self._state.emit(facts.Synchronised(download.blocks, height, seconds, address))
        self._relay.tell(self._links.peers(), self._relay.heartbeat())
        self._choose(now)

    def _lapse(self, lapse: Lapse | None, now: float) -> None:
        """Nothing more is expected of this peer until its next heartbeat."""
        download = self._download
        assert download is not None
        self._download = None
        session = download.session
        session.claim = None
        session.stalls += 1
        if lapse is not None:
            self._links.charge(session, lapse.cost, str(lapse), now)
        self._choose(now)

    def check(self) -> None:
        """Assert every invariant."""
        download = self._download
        if download is not None:
            assert self._links.sessions.get(download.session.number) is download.session
            assert download.session.role == "peer"
            assert len(download.asked) <= WINDOW_BLOCKS
            assert len(download.plan) <= messages.HEADERS_MAX
