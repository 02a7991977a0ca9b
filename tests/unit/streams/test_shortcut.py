from types import SimpleNamespace

from streams.shortcut import AROUND, STALE_S, Shortcut


def envelopes(count):
    return [(b"%04d" % number, SimpleNamespace(number=number)) for number in range(count)]


def test_an_envelope_is_taken_once_by_exactly_its_bytes():
    """Whoever reads the bytes gets what they were made from; a second reading, or other bytes, must be decoded."""
    shortcut = Shortcut()
    ((written, envelope),) = envelopes(1)
    shortcut.keep(written, envelope)
    assert shortcut.take(b"0001") is None
    assert shortcut.take(bytes(bytearray(written))) is envelope
    assert shortcut.take(written) is None
    assert shortcut.held_bytes == 0


def test_what_has_no_room_is_left_out_until_something_was_read():
    """The oldest are read next, so the newest stay out when the limit is reached."""
    shortcut = Shortcut(max_bytes=3 * (4 + AROUND))
    held = envelopes(5)
    for written, envelope in held[:4]:
        shortcut.keep(written, envelope)
    assert shortcut.take(held[3][0]) is None
    assert shortcut.take(held[0][0]) is held[0][1]
    shortcut.keep(*held[4])
    assert [shortcut.take(written) for written, _ in held] == [None, held[1][1], held[2][1], None, held[4][1]]


def test_what_nobody_read_gives_way():
    """Records that went to another process hold no room for ever."""
    now = [0.0]
    shortcut = Shortcut(max_bytes=2 * (4 + AROUND), clock=lambda: now[0])
    old, young, new = envelopes(3)
    shortcut.keep(*old)
    now[0] = STALE_S
    shortcut.keep(*young)
    shortcut.keep(*new)
    assert [shortcut.take(written) for written, _ in (old, young, new)] == [None, young[1], new[1]]


def test_the_same_bytes_count_once():
    """A record that is written again takes no second room."""
    shortcut = Shortcut()
    ((written, envelope),) = envelopes(1)
    shortcut.keep(written, envelope)
    shortcut.keep(written, envelope)
    shortcut.take(written)
    assert shortcut.held_bytes == 0
