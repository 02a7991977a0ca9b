"""Records that are made without validation behave as those that were validated, wherever pydantic looks."""

import copy
import pickle

from schemas.stages import Usage

READ = Usage(input_tokens=7, output_tokens=2)


def test_a_made_record_is_copied_pickled_and_shown_like_any_other():
    """It lacks what pydantic keeps beside the fields, and nobody can tell."""
    made = Usage.made(**READ.__dict__)
    assert (made, hash(made), repr(made)) == (READ, hash(READ), repr(READ))
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == READ
    assert made.model_copy(update={"input_tokens": 8}) == READ.but(input_tokens=8)
    assert (made.model_dump(), made.model_dump_json()) == (READ.model_dump(), READ.model_dump_json())
    assert made.model_extra is None
    assert not hasattr(made, "made_up")
