"""The workflow versions that a process knows: bundles come in as they are published, and compile when first needed."""

import threading

from processors.models import Models
from processors.outcome import Retry
from processors.problems import WorkflowError
from processors.workflow import Workflow, compile_workflow
from schemas.control import Bundle
from schemas.envelope import Head

NOT_HERE_YET_S = 10.0
"""Seconds after which a job whose workflow version is not known here is looked at again."""


class Catalog:
    """Workflow versions by name and version. Safe to fill from one thread and to read from others."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._bundles: dict[tuple[str, str], Bundle] = {}
        self._compiled: dict[tuple[str, str], Workflow | WorkflowError] = {}
        self._lock = threading.Lock()

    def add(self, bundle: Bundle) -> None:
        """Take in a bundle; a version that is already here is left as it is."""
        self._bundles.setdefault((bundle.workflow, bundle.version), bundle)

    @property
    def names(self) -> frozenset[str]:
        """The names of all workflows that have a version here."""
        return frozenset(name for name, _ in tuple(self._bundles))

    def workflow(self, name: str, version: str) -> Workflow | None:
        """The compiled version; nothing if its bundle is not here.

        Raises:
            WorkflowError: its bundle does not compile.
        """
        found = self._compiled.get((name, version)) or self._compile((name, version))
        if isinstance(found, WorkflowError):
            raise found
        return found

    def find(self, head: Head) -> Workflow | Retry:
        """The version that a job runs under; or, where it can't run here now, to come back later.

        A bundle that is not here yet may arrive, and one that does not compile may be rolled back: neither loses jobs.
        """
        found = self._compiled.get((head.workflow, head.workflow_version))
        if isinstance(found, Workflow):
            return found
        named = f"workflow {head.workflow}@{head.workflow_version}"
        try:
            found = self.workflow(head.workflow, head.workflow_version)
        except WorkflowError as error:
            return Retry(f"{named} does not compile here: {error.problems[0]}", after_s=NOT_HERE_YET_S)
        return found or Retry(f"{named} is not known here yet", after_s=NOT_HERE_YET_S)

    def _compile(self, key: tuple[str, str]) -> Workflow | WorkflowError | None:
        bundle = self._bundles.get(key)
        if bundle is None:
            return None
        with self._lock:
            if key not in self._compiled:
                try:
                    self._compiled[key] = compile_workflow(bundle)
                except WorkflowError as error:
                    self._compiled[key] = error
            return self._compiled[key]
