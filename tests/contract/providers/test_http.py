import asyncio
import gc
import socket

import pytest

from processors.models import ProviderSettings, read_models
from processors.problems import CredentialError
from processors.providers import http
from processors.providers.errors import ErrorClass
from processors.providers.http import HttpProvider, connect
from processors.providers.port import Failure, Reply
from processors.providers.scripted import Canned, answer

MODELS = """
[providers.p]
base_url = "http://127.0.0.1:1/v1"
api_key_env = "SOME_KEY"
[models.m]
provider = "p"
id = "m"
tier = "A"
"""


async def test_the_attempts_id_and_the_key_travel_as_headers(server, ask):
    """The server can compare what it was asked with what was recorded; an id beyond ASCII is percent-encoded."""
    server.canned = answer("Hi")
    provider = HttpProvider(ProviderSettings(base_url=server.base_url), api_key="secret")
    await provider.complete(ask())
    await provider.complete(ask(attempt_id="café/job/0/0/1"))
    await provider.aclose()
    first, second = (headers for headers, _ in server.seen)
    assert first["X-Penstock-Attempt"] == "acme/job-1/0/0/1"
    assert second["X-Penstock-Attempt"] == "caf%C3%A9/job/0/0/1"
    assert first["Authorization"] == "Bearer secret"
    assert first["Content-Type"] == "application/json"


def test_a_key_does_not_show():
    """Neither a log line nor a traceback gives it away."""
    provider = HttpProvider(ProviderSettings(base_url="http://127.0.0.1:1/v1"), api_key="secret")
    assert "secret" not in repr(provider)


async def test_nobody_listening_is_a_failure_that_cost_nothing(ask):
    """A refused connection never reached a model."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        provider = HttpProvider(ProviderSettings(base_url=f"http://127.0.0.1:{port}/v1"))
        failure = await provider.complete(ask())
        await provider.aclose()
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.may_have_run) == (ErrorClass.RETRYABLE_HERE, False)
    assert "not connected" in failure.error


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:99999/v1", "http:///v1"])
async def test_a_wrong_address_is_ours_to_fix(ask, base_url):
    """Waiting mends no URL."""
    try:
        provider = HttpProvider(ProviderSettings(base_url=base_url))
    except ValueError:
        return
    failure = await provider.complete(ask())
    await provider.aclose()
    assert failure.error_class is ErrorClass.OURS_TO_FIX


async def test_calls_in_flight_are_bounded(server, ask):
    """max_in_flight calls at once, the others wait their turn and all are answered."""
    server.canned = Canned(answer("Hi").body, after_s=0.01)
    provider = HttpProvider(ProviderSettings(base_url=server.base_url, max_in_flight=3))
    replies = await asyncio.gather(*(provider.complete(ask()) for _ in range(20)))
    await provider.aclose()
    assert all(isinstance(reply, Reply) for reply in replies)
    assert server.most_in_flight == 3


async def test_waiting_for_a_slot_ends_with_the_deadline(server, ask):
    """A job that can't get a slot in time fails without a call and without cost."""
    server.canned = Canned(answer("Hi").body, after_s=0.5)
    provider = HttpProvider(ProviderSettings(base_url=server.base_url, max_in_flight=1))
    first = asyncio.create_task(provider.complete(ask()))
    await server.called.wait()
    failure = await provider.complete(ask(left_s=0.05))
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.may_have_run) == (ErrorClass.RETRYABLE_ELSEWHERE, False)
    assert isinstance(await first, Reply)
    assert len(server.seen) == 1
    await provider.aclose()


async def test_what_is_asked_before_a_call_may_prevent_it(server, ask):
    """It is asked when the call has its slot; a refusal makes no request and gives the slot back."""
    server.canned = answer("Hi")
    ours = iter([True, False, True])

    async def before_call():
        if not next(ours):
            raise LookupError

    provider = HttpProvider(ProviderSettings(base_url=server.base_url, max_in_flight=1), before_call=before_call)
    assert isinstance(await provider.complete(ask()), Reply)
    with pytest.raises(LookupError):
        await provider.complete(ask())
    assert isinstance(await provider.complete(ask()), Reply)
    await provider.aclose()
    assert len(server.seen) == 2


async def test_a_response_beyond_all_bounds_is_dropped(server, ask, monkeypatch):
    """Memory is not at the mercy of a server."""
    monkeypatch.setattr(http, "MAX_RESPONSE_BYTES", 1000)
    server.canned = Canned(b"x" * 5000)
    provider = HttpProvider(ProviderSettings(base_url=server.base_url))
    failure = await provider.complete(ask())
    await provider.aclose()
    assert "exceeds 1000 bytes" in failure.error


async def test_closing_leaves_nothing_open(server, ask):
    """A provider that never called closes too; after closing no connection is left to warn about."""
    await HttpProvider(ProviderSettings(base_url=server.base_url)).aclose()
    server.canned = answer("Hi")
    provider = HttpProvider(ProviderSettings(base_url=server.base_url))
    assert isinstance(await provider.complete(ask()), Reply)
    await provider.aclose()
    del provider
    gc.collect()


async def test_providers_are_made_from_models_with_their_keys_from_the_environment():
    """A key that is named and missing is said before the first job."""
    models = read_models("models.toml", MODELS, {}, {})
    with pytest.raises(CredentialError, match="provider p wants SOME_KEY"):
        connect(models, {})
    made = connect(models, {"SOME_KEY": "secret"})
    assert list(made) == ["p"]
    await made["p"].aclose()
