"""How a model is held to a schema, which tools a call offers, and how free the model is among them. Pure."""

from enum import Enum, auto

from processors.models import Capability, Dialect, Model
from processors.providers.port import ANSWER_TOOL, CompletionRequest, OfferedTool, Structure


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
