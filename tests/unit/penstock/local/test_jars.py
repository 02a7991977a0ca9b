import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.local import jars
from penstock.local.errors import JarsUnavailableError
from penstock.local.ports import free_port

CONTENT = b"a jar, as far as the fetching can tell"
JAR = jars.Jar("org.example:thing:1.2", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Repository(ThreadingHTTPServer):
    """A Maven repository with one file, and a list of what it was asked for."""

    def __init__(self, content):
        self.content, self.asked = content, []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        found = self.path == "/org/example/thing/1.2/thing-1.2.jar"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(self.server.content if found else b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def repository():
    with Repository(CONTENT) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch, tmp_path):
    """Neither Maven, nor a Java, nor Maven's local repository."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))


def test_jar_is_fetched_once_without_maven_or_java(repository, tmp_path):
    """A jar comes from the repository the first time and from the cache from then on."""
    for _ in range(2):
        (path,) = jars.fetch(tmp_path / "cache", repository=repository.url, jars=(JAR,))
        assert path.read_bytes() == CONTENT
    assert repository.asked.count("/org/example/thing/1.2/thing-1.2.jar") == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["thing-1.2.jar"]


def test_jar_with_another_hash_is_refused(repository, tmp_path):
    """What is not the locked jar byte for byte never gets into the cache, whatever its size."""
    repository.content = b"A" + CONTENT[1:]
    with pytest.raises(JarsUnavailableError, match=r"org\.example:thing:1\.2.*another sha256"):
        jars.fetch(tmp_path / "cache", repository=repository.url, jars=(JAR,))
    assert list((tmp_path / "cache").iterdir()) == []


def test_maven_local_repository_is_used_if_its_jar_is_right(repository, tmp_path):
    """A copy that Maven has already is taken; a broken one is passed over."""
    local = tmp_path / "m2" / "org" / "example" / "thing" / "1.2" / "thing-1.2.jar"
    local.parent.mkdir(parents=True)
    local.write_bytes(CONTENT)
    jars.fetch(tmp_path / "one", repository=repository.url, jars=(JAR,))
    assert repository.asked == []
    local.write_bytes(CONTENT[:-1])
    (path,) = jars.fetch(tmp_path / "two", repository=repository.url, jars=(JAR,))
    assert path.read_bytes() == CONTENT


def test_no_network_names_jar_and_ways_out(tmp_path):
    """Without the repository the error says which jar, from where, and what can be done."""
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(JarsUnavailableError) as caught:
        jars.fetch(tmp_path / "cache", repository=address, jars=(JAR,))
    for part in ("org.example:thing:1.2", address, "PENSTOCK_MAVEN_REPOSITORY", "PENSTOCK_BROKER"):
        assert part in str(caught.value)


def test_lock_holds_kafka_of_one_version():
    """The lock names Kafka's own jars in the version that the code states, each with size and hash."""
    locked = jars.read_lock()
    kafka = [jar.coordinate for jar in locked if jar.coordinate.startswith("org.apache.kafka:")]
    assert f"org.apache.kafka:kafka-clients:{jars.KAFKA_VERSION}" in kafka
    assert all(coordinate.endswith(f":{jars.KAFKA_VERSION}") for coordinate in kafka)
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in locked)
    assert len({jar.filename for jar in locked}) == len(locked)
