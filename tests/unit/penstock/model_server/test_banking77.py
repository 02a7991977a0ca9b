import pytest

from penstock.local import banking77
from penstock.local.model_server.labels import cards_in


def test_the_parts_share_no_text_and_hold_every_distinct_text():
    """Each of the 10,003 distinct texts is in exactly one part."""
    parts = [{message.text for message in banking77.split(part)} for part in ("train", "calibrate", "unseen")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 10_003


@pytest.mark.parametrize(("part", "share"), [("train", 0.55), ("calibrate", 0.20), ("unseen", 0.25)])
def test_the_parts_have_their_shares(part, share):
    """The split keeps to its shares within a percentage point."""
    assert len(banking77.split(part)) / 10_003 == pytest.approx(share, abs=0.01)


def test_every_part_knows_every_label():
    """No label is missing from a part."""
    for part in ("train", "calibrate", "unseen"):
        assert {message.label for message in banking77.split(part)} == set(banking77.labels())


def test_the_described_labels_are_the_labels():
    """The list for prompts describes all 77 labels, and is a list that the model server can read."""
    cards = cards_in("Labels:\n" + banking77.described_labels())
    assert {card.name for card in cards} == set(banking77.labels())
    assert all(card.description for card in cards)
