import pytest

from processors.catalog import NOT_HERE_YET_S, Catalog
from processors.outcome import Retry
from processors.problems import WorkflowError
from schemas.control import Bundle


def test_a_version_compiles_once(desk):
    """Asked again, the catalog gives the same compiled workflow."""
    assert desk.catalog.workflow("sorting", desk.version) is desk.workflow


def test_an_unknown_version_is_nothing(desk):
    """A bundle that has not arrived is no error."""
    assert desk.catalog.workflow("sorting", "f" * 16) is None
    assert desk.catalog.names == {"sorting"}


def test_a_job_whose_version_is_not_here_yet_comes_back(desk, enveloped, a_job):
    """The bundle may be on its way: the job waits."""
    found = desk.catalog.find(enveloped(a_job(), workflow_version="f" * 16).head)
    assert found == Retry(f"workflow sorting@{'f' * 16} is not known here yet", after_s=NOT_HERE_YET_S)


def test_a_bundle_that_does_not_compile_costs_no_job(models, enveloped, a_job):
    """A broken release can be rolled back, so its jobs come back later; asking for it says what is wrong."""
    catalog = Catalog(models)
    bundle = Bundle(workflow="sorting", files={"workflow.toml": "task ="})
    catalog.add(bundle)
    found = catalog.find(enveloped(a_job(), workflow_version=bundle.version).head)
    assert isinstance(found, Retry)
    assert "does not compile here: workflow.toml:1" in found.reason
    with pytest.raises(WorkflowError, match="this is not TOML"):
        catalog.workflow("sorting", bundle.version)
