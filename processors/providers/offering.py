"""What a call may be: held to a schema how, with which tools, how free among them, and not too long. Pure."""

from enum import Enum, auto
from typing import Final

from processors.models import Capability, Dialect, Model
from processors.providers.errors import ErrorClass
from processors.providers.port import ANSWER_TOOL, CompletionRequest, Exchange, Failure, OfferedTool, Structure

MOST_CHARACTERS_PER_TOKEN: Final = 8
"""No text that people write has more (English has 4 to 6 in o200k)."""


class Choice(Enum):
    """What the model may do: give the answer's tool only, call any tool but some one, call or answer, or answer."""

    ANSWER = auto()
    ANY = auto()
    FREE = auto()
    NONE = auto()


def offered(request: CompletionRequest) -> tuple[OfferedTool, ...]:
    """The tools to name: those of the workflow, and the answer's where it is given as one."""
    if request.structure is not Structure.TOOL:
        return request.tools
    return *request.tools, OfferedTool(ANSWER_TOOL, "The answer.", request.output_schema)


def choice(request: CompletionRequest) -> Choice:
    """How free the model is among what is offered."""
    if request.structure is Structure.TOOL:
        return Choice.ANY if request.tools and not request.must_answer else Choice.ANSWER
    return Choice.NONE if request.must_answer else Choice.FREE


def structure_of(model: Model, dialect: Dialect, *, with_tools: bool = False) -> Structure:
    """How the model can be held to a schema: by its provider, by a tool that it must call, or by words alone.

    Gemini takes no schema beside tools (its documentation of function calling): there the answer is one of them.
    """
    by_provider = Capability.JSON_SCHEMA in model.capabilities
    if by_provider and not (with_tools and dialect is Dialect.GEMINI):
        return Structure.NATIVE
    return Structure.TOOL if Capability.TOOLS in model.capabilities else Structure.PROMPT


def too_long(request: CompletionRequest) -> Failure | None:
    """The failure of a call whose prompt can't fit into the model's window, however its tokens are counted.

    Between what fits for sure and this lies what only the provider can tell.
    """
    window = request.model.context_window
    if window is None:
        return None
    characters = sum(len(turn.content) for turn in request.messages)
    at_least = characters // MOST_CHARACTERS_PER_TOKEN + request.max_tokens
    if at_least <= window:
        return None
    said = (
        f"the prompt has {characters} characters: with {request.max_tokens} tokens for the answer at least {at_least} "
        f"tokens, and the window of {request.model.id} has {window}; not sent"
    )
    return Failure(Exchange(""), ErrorClass.CONTEXT_TOO_LONG, said, may_have_run=False, attempted=False)
