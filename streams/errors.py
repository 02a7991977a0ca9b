"""Everything that can go wrong in this room, as one tree; each text says what to do."""


class StreamsError(Exception):
    """The root of this room's errors.

    StreamsError
      SlotTaken         another process writes under the same transactional id
      PositionLost      the committed offset lies outside the log: someone must choose where to go on
      TopicMismatch     a topic is missing or has settings that break a promise
      BrokerAway        the broker does not answer
      TooManyBugs       processors raise again and again: stopped before the commit
      RecordTooLarge    a record that the broker would refuse: its job fails instead of holding up every commit
    """


class SlotTaken(StreamsError):  # noqa: N818 -- names what is the case
    """Fenced again within one transaction time-out: the slot has another owner."""


class PositionLost(StreamsError):  # noqa: N818 -- names what is the case
    """A committed offset is out of the log's range."""


class TopicMismatch(StreamsError):  # noqa: N818 -- names what is the case
    """A topic is not as the map needs it."""


class BrokerAway(StreamsError):  # noqa: N818 -- names what is the case
    """The broker does not answer."""


class TooManyBugs(StreamsError):  # noqa: N818 -- names what is the case
    """More records of one stage failed by a bug than its limit allows."""


class RecordTooLarge(StreamsError):  # noqa: N818 -- names what is the case
    """A stage made a record that is larger than its topic takes."""
