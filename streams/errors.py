"""Everything that can go wrong in this room, as one tree; each text says what to do."""


class StreamsError(Exception):
    """The root of this room's errors.

    StreamsError
      SlotTaken         another process writes under the same transactional id
      PositionLost      the committed offset lies outside the log: someone must choose where to go on
      StateLost         what an ordered stage remembers does not agree with its changelog: someone must choose
      StateInUse        what a stage remembers can't be mended while a worker runs it
      TopicMismatch     a topic is missing or has settings that break a promise
      BrokerAway        the broker does not answer
      TooManyBugs       processors raise again and again: stopped before the commit
      ProcessKilled     a record has ended its process again and again: it becomes a dead letter
      RecordTooLarge    a record that the broker would refuse: its job fails instead of holding up every commit
      RecordRefused     a record that the broker refuses for good: nothing can be committed until someone mends it
      ClaimAway         the claim store does not give a value that a record refers to
      LetterUnfit       a dead letter that can't be found, or not be redriven as asked
      NoLongerOurs      a job that went to another process while this one worked on it: nothing of it counts here
    """


class SlotTaken(StreamsError):  # noqa: N818 -- names what is the case
    """Fenced again within one transaction time-out: the slot has another owner."""


class PositionLost(StreamsError):  # noqa: N818 -- names what is the case
    """A committed offset is out of the log's range."""


class StateLost(StreamsError):  # noqa: N818 -- names what is the case
    """State and changelog disagree, or the changelog is gone."""


class StateInUse(StreamsError):  # noqa: N818 -- names what is the case
    """A worker runs the stage."""


class TopicMismatch(StreamsError):  # noqa: N818 -- names what is the case
    """A topic is not as the map needs it."""


class BrokerAway(StreamsError):  # noqa: N818 -- names what is the case
    """The broker does not answer."""


class TooManyBugs(StreamsError):  # noqa: N818 -- names what is the case
    """More records of one stage failed by a bug than its limit allows."""


class RecordTooLarge(StreamsError):  # noqa: N818 -- names what is the case
    """A stage made a record that is larger than its topic takes."""


class ProcessKilled(StreamsError):  # noqa: N818 -- names what is the case
    """A record that ran alone when its process ended, too often to be chance."""


class RecordRefused(StreamsError):  # noqa: N818 -- names what is the case
    """The broker refuses a record, and would refuse it again: too large, no such topic, not permitted."""


class ClaimAway(StreamsError):  # noqa: N818 -- names what is the case
    """A claimed value is missing, unreadable or changed; the store may come back."""


class LetterUnfit(StreamsError):  # noqa: N818 -- names what is the case
    """A dead letter is not there, or nothing can be made of it."""


class NoLongerOurs(StreamsError):  # noqa: N818 -- names what is the case
    """A partition was lost while a record of it was in work."""
