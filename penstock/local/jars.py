"""Knows which jars make up the broker, and gets them: resolved once into `kafka.lock`, fetched and verified by hash.

The lock plays the part that `requirements/*.txt` play for Python: exact coordinates with size and sha256, so that a
start never depends on what a repository serves today. `python -m penstock.local.jars` compiles it anew from ROOTS.
Neither Maven nor a Java is needed for either: Python does the resolving and the fetching.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock.local.errors import JarsUnavailableError, LocalExtraMissingError

KAFKA_VERSION: Final = "4.3.1"
# The second is the binding for the SLF4J generation that Kafka compiles against, in the version of the log4j that Kafka
# brings. Its `!` keeps its POM from managing other versions: without it log4j's BOM swaps in an old kafka-clients.
ROOTS: Final = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!")
LOCK_PATH: Final = Path(__file__).with_name("kafka.lock")
MAVEN_CENTRAL: Final = ""
"""No address of a mirror: jgo's own default, which is Maven Central."""

_ATTEMPTS: Final = 3
_PARALLEL: Final = 6
_TIMEOUT_S: Final = 30

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    coordinate: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """File name as repositories use it, e.g. `kafka-clients-4.3.1.jar`."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    def matches(self, path: Path) -> bool:
        """Whether the file at `path` is this jar, byte for byte."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def read_lock(path: Path = LOCK_PATH) -> tuple[Jar, ...]:
    """Read the jars of the broker in class path order."""
    lines = (line.split() for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Jar(coordinate, int(size), sha256) for coordinate, size, sha256 in lines)


def missing(cache: Path, jars: tuple[Jar, ...]) -> tuple[Jar, ...]:
    """Say which jars are not in the cache yet. Files get there whole and verified, so name and size suffice."""
    return tuple(jar for jar in jars if not _is_cached(cache / jar.filename, jar.size))


def fetch(
    cache: Path,
    *,
    repository: str = MAVEN_CENTRAL,
    jars: tuple[Jar, ...] | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Return the broker's class path, fetching what the cache lacks.

    A copy in Maven's own local repository (`~/.m2/repository` or `M2_REPO`) is used when its hash is right.

    Raises:
        JarsUnavailableError: a jar can't be fetched, or is not the one of the lock.
        LocalExtraMissingError: something must be fetched and jgo is not installed.
    """
    jars = read_lock() if jars is None else jars
    wanted = missing(cache, jars)
    if wanted:
        if progress:
            megabytes = sum(jar.size for jar in wanted) / 1e6
            progress(
                f"fetching Apache Kafka {KAFKA_VERSION}: {len(wanted)} jars, {megabytes:.0f} MB, from {repository}"
            )
        cache.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            tuple(pool.map(lambda jar: _fetch_one(jar, cache, repository), wanted))
    return tuple(cache / jar.filename for jar in jars)


def _is_cached(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _fetch_one(jar: Jar, cache: Path, repository: str) -> None:
    problem = ""
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
        for attempt, found in enumerate(_sources(jar, Path(scratch), repository)):
            if isinstance(found, Path) and jar.matches(found):
                staged = Path(scratch) / f"{attempt}.staged"
                shutil.copyfile(found, staged)
                staged.replace(cache / jar.filename)  # whole or not at all: another `up` may read the cache now
                return
            problem = found if isinstance(found, str) else f"what it served has another sha256 than {jar.sha256}"
    where = repository or "Maven Central"
    raise JarsUnavailableError(
        f"cannot fetch {jar.coordinate} from {where}: {problem}. The embedded broker needs the network once; "
        f"then its jars stay in {cache}. Behind a mirror, set PENSTOCK_MAVEN_REPOSITORY to its address; to use a Kafka "
        "that already runs, set PENSTOCK_BROKER to its host:port."
    )


def _sources(jar: Jar, scratch: Path, repository: str) -> Iterator[Path | str]:
    """Yield a file, or the reason why there is none, from the local Maven repository and then from the remote one."""
    try:
        from jgo.constants import default_maven_repo  # noqa: PLC0415 - costs 0.3 s and is needed once per machine
        from jgo.maven import MavenContext  # noqa: PLC0415 - as above
    except ImportError as error:
        raise LocalExtraMissingError("jgo") from error
    local = [default_maven_repo()]
    for attempt in range(_ATTEMPTS + 1):
        # jgo writes downloads in place and only warns about a wrong checksum, so each try gets a directory of its own.
        context = MavenContext(
            repo_cache=scratch / str(attempt),
            local_repos=local,
            remote_repos=_remote(repository),
            timeout=_TIMEOUT_S,
            offline=bool(local),
        )
        local = []
        try:
            yield context.create_dependency(jar.coordinate).artifact.resolve()
        except (OSError, RuntimeError) as error:
            yield str(error)


def _remote(repository: str) -> dict[str, str]:
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - as in _sources

    return {"repository": repository.rstrip("/") or MAVEN_CENTRAL_URL}


def compile_lock(repository: str = MAVEN_CENTRAL) -> str:
    """Resolve ROOTS and everything they need at run time; return the text of a new lock."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - as in _sources

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos=_remote(repository), timeout=_TIMEOUT_S)
        roots = [context.create_dependency(root) for root in ROOTS]
        inputs, transitive = context.resolver.resolve(roots)
        artifacts = [dependency.artifact for dependency in [*inputs, *transitive]]
        files = [(f"{a.groupId}:{a.artifactId}:{a.version}", a.resolve()) for a in artifacts]
        lines = [
            f"{name} {path.stat().st_size} {hashlib.sha256(path.read_bytes()).hexdigest()}" for name, path in files
        ]
    header = f"# Jars of the embedded broker: {' '.join(ROOTS)}\n# Compiled by: python -m penstock.local.jars\n"
    return header + "\n".join(lines) + "\n"


def default_cache() -> Path:
    """Return where jars are kept for all projects of this user."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "penstock" / "jars"
    mac = sys.platform == "darwin"
    return Path.home() / ("Library/Caches" if mac else ".cache") / "penstock" / "jars"


if __name__ == "__main__":
    LOCK_PATH.write_text(compile_lock())
