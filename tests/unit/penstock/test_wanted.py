import pytest

from penstock import wanted
from penstock.settings import SettingsError, load_settings
from streams.topics import TOPICS


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_name(settings):
    return {topic.name: topic.settings for topic in wanted.topics(settings)}


def test_topics_are_the_map_s_unless_the_project_says_otherwise(project):
    """Partitions and retention of single topics can be set; dotted names are TOML keys."""
    assert wanted.topics(load_settings()) == TOPICS
    (project / "penstock.toml").write_text(
        "[partitions]\nrouted = 24\njobs.high = 12\n[retention_hours]\nroutd = 1\n".replace("routd", "routed")
    )
    found = by_name(load_settings())
    assert (found["routed"].partitions, found["jobs.high"].partitions, found["answered"].partitions) == (24, 12, 6)
    assert found["routed"].retention_ms == 3_600_000


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"partitions": {"admitted": 12}}, "partitions.admitted: its records lie by key"),
        ({"partitions": {"traces": 12}}, "partitions.traces: "),
        ({"partitions": {"rooted": 12}}, "partitions.rooted: there is no such topic; it can be set for "),
        ({"retention_hours": {"control": 5}}, "retention_hours.control: it keeps the last record of each key"),
    ],
)
def test_what_would_break_a_promise_is_refused(given, said):
    """Partitions of keyed topics and retention of compacted ones are no settings."""
    with pytest.raises(SettingsError) as caught:
        wanted.topics(load_settings(**given))
    assert said in str(caught.value)
