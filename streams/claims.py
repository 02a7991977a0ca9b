"""Claim check: a large value is kept in the claim store, and a small record travels in its place.

Stages know nothing of it: what they read is the value, and what they write is exchanged before it is published. A value
that the store does not give is waited for, since a shared store may be away; then its job ends, with a dead letter that
can be redriven when the store is back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from processors.outcome import Retry
from schemas.avro import Codec, Unreadable
from schemas.claim import Claim
from schemas.envelope import Envelope, Head
from schemas.stages import Admitted, Submission
from schemas.submission import undecided_job
from streams import trace_rows
from streams.assignment import Assignment
from streams.claim_store import ClaimStore
from streams.dispatch import dead_letter, dispatch, failed
from streams.errors import ClaimAway
from streams.header_names import CLAIM, CLAIM_MISSED, header_int, header_text
from streams.ledger import Repeated, look
from streams.records import Address, Delivery, Emission, Headers, Raw, Record
from streams.sizes import MAX_CARRIED, letter_that_fits, slim, too_large
from streams.stage import Again, Moment
from streams.tiers import goes_to
from streams.topics import DEAD_LETTERS, FLOW
from streams.work import StageWork, moment_of

log = structlog.get_logger(__name__)

MAX_OPEN: Final = 64 * 1024 * 1024
"""Bytes of claimed values that a stage has in memory at once; one that is larger still runs, alone."""
LOOK_AGAIN_S: Final = 10.0
PATIENCE_S: Final = 900.0
"""Seconds that a value may be away before its job is given up."""

CLAIMS = Codec("Claim", Claim)


def claim_of(raw: Raw) -> Claim | None:
    """The claim that a record of the flow carries; None if it carries its value.

    Raises:
        Unreadable: it says that it carries a claim, and holds none.
    """
    return CLAIMS.decode(raw.value or b"") if header_text(raw.headers, CLAIM) else None


def carries_its_value(delivery: Delivery) -> bool:
    """Whether a record's value is in it, so that nothing need be waited for to read it."""
    return all(name != CLAIM for name, _ in delivery.raw.headers)


def without_claim(headers: Headers) -> Headers:
    """The headers that the record would have with its value."""
    return tuple(pair for pair in headers if pair[0] not in {CLAIM, CLAIM_MISSED})


def claimed(record: Record, store: ClaimStore) -> Record:
    """The record that travels in place of a large one. Blocks until the value is on the disk.

    Raises:
        OSError: the store did not take it.
    """
    value = record.value or b""
    sha256 = store.put(value)
    claim = Claim(sha256=sha256, size=len(value), uri=store.path(sha256).absolute().as_uri(), head=_head(record))
    return replace(record, value=CLAIMS.encode(claim), headers=(*record.headers, (CLAIM, sha256.encode())))


def _head(record: Record) -> Head | None:
    """The head of a record of the flow; no other record has one."""
    topic = goes_to(record)
    if topic not in FLOW:
        return None
    place = Delivery(Address(topic, 0, 0), 0, Raw(record.key, record.value), Assignment(topic, 0))
    return slim(FLOW[topic].decode(place).head)


@dataclass
class Room:
    """How much may be open at once."""

    limit: int = MAX_OPEN
    used: int = 0
    _freed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Wait until there is room, and keep it."""
        async with self._freed:
            await self._freed.wait_for(lambda: self.used == 0 or self.used + size <= self.limit)
            self.used += size
        try:
            yield
        finally:
            async with self._freed:
                self.used -= size
                self._freed.notify_all()


@dataclass
class ClaimedWork:
    """A stage's work around which claims are opened and made."""

    work: StageWork
    store: ClaimStore
    room: Room = field(default_factory=Room)

    async def __call__(self, delivery: Delivery) -> Emission:
        """The emission of one delivery.

        Raises:
            TooManyBugs: the limit is reached; the process stops before the commit.
        """
        return await self._around(delivery, self.work)

    async def give_up(self, delivery: Delivery) -> Emission:
        """What is left of a record that has ended the process too often."""
        if delivery.assignment.note.only_raw:  # whatever is in its value, it has done enough
            return await self._put_away(await self.work.give_up(delivery))
        return await self._around(delivery, self.work.give_up)

    async def _around(self, delivery: Delivery, work: Callable[[Delivery], Awaitable[Emission]]) -> Emission:
        if delivery.address.topic not in FLOW:
            return await self._put_away(await work(delivery))
        try:
            claim = claim_of(delivery.raw)
        except Unreadable as unreadable:
            return dead_letter(self.work.stage.name, self.work.group, delivery, unreadable, self._moment(delivery))
        if claim is None:
            return await self._put_away(await work(delivery))
        async with self.room.of(claim.size):
            try:
                value = await asyncio.to_thread(self.store.get, claim.sha256, claim.size)
            except ClaimAway as away:
                return self._without_value(delivery, claim, away)
            raw = Raw(delivery.raw.key, value, without_claim(delivery.raw.headers))
            emission = await work(replace(delivery, raw=raw))
            # What goes on as it came (a wait, a dead letter) carries the claim that it came with.
            return await self._put_away(_restored(emission, value, delivery.raw))

    async def _put_away(self, emission: Emission) -> Emission:
        """The emission with claims in place of what is too large to travel."""
        if not any(len(record.value or b"") > MAX_CARRIED for record in emission.records):
            return emission
        return replace(emission, records=tuple([await self._claimed(record) for record in emission.records]))

    async def _claimed(self, record: Record) -> Record:
        letter = record.topic == DEAD_LETTERS.name and too_large(record) is not None
        large = len(record.value or b"") > MAX_CARRIED and goes_to(record) in FLOW
        if letter or large:
            try:
                record = await asyncio.to_thread(claimed, record, self.store)
            except OSError as error:  # its topic takes it as well, only less cheaply
                log.warning("claim store does not take a value; it travels", topic=record.topic, error=str(error))
        return letter_that_fits(record) if letter else record

    # --- a value that is away ----------------------------------------------------------------------------------------

    def _moment(self, delivery: Delivery) -> Moment:
        now = self.work.clock()
        return moment_of(delivery, now, now, 0.0, self.work.worker, self.work.control_version())

    def _without_value(self, delivery: Delivery, claim: Claim, away: ClaimAway) -> Emission:
        """Wait and look again; after a while, or at its deadline, the job ends without its value."""
        stage, moment = self.work.stage, self._moment(delivery)
        now_ms = int(moment.finished_at.timestamp() * 1000)
        missed_ms = header_int(delivery.raw.headers, CLAIM_MISSED, now_ms)
        told = ClaimAway(f"the value of this record ({claim.size} bytes) is not to be had: {away}; put at {claim.uri}")
        log.warning("claim away", stage=stage.name, address=str(delivery.address), error=str(told))
        if claim.head is None:
            return dead_letter(stage.name, self.work.group, delivery, told, moment)
        job = undecided_job(Submission(size=0), claim.head.workflow)
        envelope = Envelope[Admitted].made(head=claim.head, payload=Admitted(job=job))
        ledger_state = delivery.assignment.state
        if ledger_state is not None and isinstance(repeat := look(ledger_state, claim.head, job), Repeated):
            row = trace_rows.repeated(stage.name, delivery.address, claim.head, repeat.reason, moment)
            return Emission((), (row,))
        if now_ms - missed_ms >= PATIENCE_S * 1000:
            return failed(stage, self.work.group, delivery, envelope, told, moment)
        since = ((CLAIM_MISSED, b"%d" % missed_ms),)
        kept = tuple(pair for pair in delivery.raw.headers if pair[0] != CLAIM_MISSED)
        waiting = replace(delivery, raw=replace(delivery.raw, headers=(*kept, *since)))
        return dispatch(replace(stage, again=Again.AS_READ), waiting, envelope, Retry(str(told), LOOK_AGAIN_S), moment)


def _restored(emission: Emission, value: bytes, raw: Raw) -> Emission:
    claim: Headers = tuple(pair for pair in raw.headers if pair[0] == CLAIM)
    return replace(
        emission,
        records=tuple(
            replace(record, value=raw.value, headers=(*record.headers, *claim)) if record.value is value else record
            for record in emission.records
        ),
    )
