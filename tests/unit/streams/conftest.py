import pytest


@pytest.fixture
def at_once():
    """Give a function that says whether a coroutine ends without waiting for anything."""

    def ends(coroutine):
        try:
            coroutine.send(None)
        except StopIteration:
            return True
        coroutine.close()
        return False

    return ends
