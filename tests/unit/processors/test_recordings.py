import tarfile
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import genai_prices
import orjson
import pytest
from recorded.readings import FOLDER, golden, recordings, second_reading

from processors.pricing import price
from processors.providers import Completion, ProviderFailure, parse
from processors.providers.event_streams import reader_of

CHAT = [one for one in recordings() if one.dialect is not None]
BY_NAME = {one.name: one for one in CHAT}
FLAVOURS = {"openai_chat": ("chat", "default"), "openai_responses": ("responses",)}
AT = datetime(2026, 9, 1, tzinfo=UTC)


@cache
def _parsed(name):
    recording = BY_NAME[name]
    return parse(recording.dialect, recording.status, recording.headers, recording.body)


def test_every_recorded_response_is_read_or_listed():
    """Of 1,520 interactions each is a completion, a failure that its provider reported, or no chat and says what."""
    found = Counter()
    for one in recordings():
        if one.dialect is None:
            found[one.why_not] += 1
            continue
        parsed = _parsed(one.name)
        refused = isinstance(parsed, ProviderFailure)
        assert not refused or parsed.error.startswith(f"HTTP {one.status}"), (one.name, parsed.error)
        found["refused" if refused else "read"] += 1
    assert sum(found.values()) == 1520
    assert found["read"] > 1340
    assert found["refused"] <= 36


def test_text_and_tool_calls_are_those_of_a_second_reading():
    """The golden file was made by plain paths into the JSON; both that reading and the parser still agree with it."""
    known = golden()
    seen = set()
    for one in CHAT:
        if one.name not in known:
            assert isinstance(_parsed(one.name), ProviderFailure), one.name
            continue
        parsed = _parsed(one.name)
        assert isinstance(parsed, Completion), one.name
        called = [[call.name, _loaded(call.arguments)] for call in parsed.tool_calls]
        assert {"name": one.name, "text": parsed.text, "tools": called} == known[one.name] == second_reading(one)
        seen.add(one.name)
    assert seen == set(known)


def _loaded(arguments):
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments


def test_usage_and_price_are_those_of_genai_prices():
    """Where that library reads a body by itself, it finds the same tokens and the same price."""
    compared = Counter()
    for one in CHAT:
        parsed = _parsed(one.name)
        if one.streamed or isinstance(parsed, ProviderFailure):
            continue
        theirs = _extracted(one)
        if theirs is None:
            continue
        assert _tokens(parsed.usage) == _tokens(theirs.usage), one.name
        compared["usage"] += 1
        expected = _priced(theirs, one)
        if expected is not None:
            cost = price(parsed.usage, one.provider, theirs.model.id, AT)
            assert abs(cost.usd - expected) < Decimal("1e-9"), one.name
            compared["price"] += 1
    assert compared["usage"] > 900
    assert compared["price"] > 800


def _extracted(recording):
    for flavour in FLAVOURS.get(recording.dialect, ("default",)):
        try:
            found = genai_prices.extract_usage(
                orjson.loads(recording.body), provider_id=recording.provider, api_flavor=flavour
            )
        except (LookupError, ValueError):
            continue
        return found if found.model is not None else None
    return None


def _priced(extracted, recording):
    try:
        found = genai_prices.calc_price(
            extracted.usage, extracted.model.id, provider_id=recording.provider, genai_request_timestamp=AT
        )
    except (LookupError, ValueError):
        return None
    return found.total_price


def _tokens(usage):
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    return tuple(getattr(usage, name) or 0 for name in names)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_stream_is_the_same_in_whatever_pieces_it_comes(step):
    """Events read from pieces of a few bytes are those read from the whole."""
    streams = [one for one in CHAT if one.streamed and len(one.body) < 5_000]
    assert len(streams) > 40
    for one in streams:
        whole, pieces = reader_of(one.headers["content-type"]), reader_of(one.headers["content-type"])
        at_once = [*whole.feed(one.body), *whole.end()]
        cut = [one.body[at : at + step] for at in range(0, len(one.body), step)]
        assert [*(event for piece in cut for event in pieces.feed(piece)), *pieces.end()] == at_once


def test_streams_of_openai_are_whole_answers():
    """Twelve streams that its own client is tested with: text or tool calls, and an end."""
    found = Counter()
    with tarfile.open(FOLDER / "openai_sse_streams.tar.gz") as archive:
        for member in archive.getmembers():
            if member.isfile() and member.name.endswith(".bin"):
                parsed = parse("openai_chat", 200, {}, archive.extractfile(member).read(), stream=True)
                assert isinstance(parsed, Completion), member.name
                assert parsed.text or parsed.tool_calls or parsed.refusal, member.name
                found[parsed.ended] += 1
    assert found.total() == 12
    assert found["other"] == 0
