"""LiteLLM's Router, one deployment, with the retries and cooldowns of its defaults. Runs in a Python of its own."""

import asyncio
import json
import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from calling.contestant import Told, report, told

litellm.suppress_debug_info = True


async def main(given: Told) -> None:
    """Call."""
    body = json.loads(given.body.read_bytes())
    params = {"model": "openai/local-small", "api_base": given.url, "api_key": "none"}
    router = litellm.Router(model_list=[{"model_name": "local-small", "litellm_params": params}], num_retries=2)

    async def one(_: int) -> None:
        answered = await router.acompletion(**body)
        assert answered.choices[0].message.content

    await report(given, one)


if __name__ == "__main__":
    asyncio.run(main(told()))
