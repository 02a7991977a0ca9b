"""A KafkaSource of which single partitions can be left unread for a while: the delays hold each on its own."""

import functools

from confluent_kafka import Consumer

from streams.assignment import Assignment
from streams.kafka.source import KafkaSource


class PausableKafkaSource(KafkaSource):
    """Pauses partitions on the consumer's own thread; a pause drops what was fetched of it ahead, and no more."""

    def pause(self, assignment: Assignment) -> None:
        """Deliver nothing more of this assignment; what is on its way may still come."""
        self._commands.put(functools.partial(self._pause, assignment=assignment))
        self._wake.set()

    def resume(self, assignment: Assignment) -> None:
        """Deliver it again, from where it was left."""
        self._commands.put(functools.partial(self._resume, assignment=assignment))
        self._wake.set()

    def _pause(self, consumer: Consumer, assignment: Assignment) -> None:
        if assignment.live and assignment in self._located:
            self._located.discard(assignment)  # what is not located is not resumed with the others either
            consumer.pause([self._partition(assignment)])

    def _resume(self, consumer: Consumer, assignment: Assignment) -> None:
        if assignment.live:
            self._located.add(assignment)
            if not self._paused:
                consumer.resume([self._partition(assignment)])
