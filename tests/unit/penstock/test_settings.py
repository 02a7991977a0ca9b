import pytest

from penstock.settings import SettingsError, load_settings
from penstock.ways_in import WAYS_IN, Permit, SourceOfJobs
from streams.topics import PRODUCERS


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project, text):
    (project / "penstock.toml").write_text(text)


def refusal(**overrides):
    with pytest.raises(SettingsError) as caught:
        load_settings(**overrides)
    return str(caught.value)


def test_defaults_point_at_the_embedded_stack(project):
    """Without file and environment, every address is the embedded stack's on the loopback."""
    settings = load_settings()
    assert settings.project == project
    assert settings.data_dir == project / ".penstock"
    assert settings.broker == f"127.0.0.1:{settings.broker_port}"
    assert settings.warehouse_url == f"http://127.0.0.1:{settings.warehouse_port}"
    assert settings.model_server_url == f"http://127.0.0.1:{settings.model_server_port}"
    assert settings.kafka_config() == {"bootstrap.servers": settings.broker}


def test_sources_are_ranked(project, monkeypatch):
    """An argument wins over the environment, that over the file, that over the default."""
    write(project, 'prefix = "file."\napplication = "file"\nbroker_port = 20001\nbroker_heap_mb = 512\n')
    monkeypatch.setenv("PENSTOCK_PREFIX", "env.")
    monkeypatch.setenv("PENSTOCK_BROKER_PORT", "20002")
    settings = load_settings(broker_port=20003)
    assert (settings.prefix, settings.application, settings.broker_port) == ("env.", "file", 20003)
    assert settings.broker == "127.0.0.1:20003"
    assert settings.broker_heap_mb == 512


def test_project_is_found_upwards(project, monkeypatch):
    """The nearest folder with a penstock.toml is the project, from anywhere inside it."""
    write(project, 'prefix = "x."')
    inner = project / "workflows" / "a"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert load_settings().project == project


def test_project_can_be_named(project, tmp_path_factory, monkeypatch):
    """PENSTOCK_PROJECT names the project's folder or its file; a wrong one is refused, not replaced by a guess."""
    write(project, 'prefix = "x."')
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    for value in (project, project / "penstock.toml"):
        monkeypatch.setenv("PENSTOCK_PROJECT", str(value))
        assert load_settings().prefix == "x."
    monkeypatch.setenv("PENSTOCK_PROJECT", str(elsewhere))
    assert "no penstock.toml" in refusal()


def test_unknown_key_in_the_file_is_refused_with_its_line(project):
    """A misspelt key in the file is named with file, line and the nearest that exists."""
    write(project, 'prefix = "x."\n\nbrokr = "h:1"\n')
    said = refusal()
    assert "penstock.toml, line 3: brokr: unknown setting" in said
    assert "did you mean broker?" in said


def test_unknown_variable_is_refused(project, monkeypatch):
    """A misspelt variable is not ignored in silence, but other programs' API keys are none of ours."""
    monkeypatch.setenv("PENSTOCK_OPENAI_API_KEY", "k")
    load_settings()
    monkeypatch.setenv("PENSTOCK_BROKER_HEAP", "512")
    assert "PENSTOCK_BROKER_HEAP is no setting; did you mean PENSTOCK_BROKER_HEAP_MB?" in refusal()


def test_wrong_values_name_their_source(project, monkeypatch):
    """What is wrong is said with where it was said, for file and environment."""
    write(project, 'application = "a b"\n')
    assert "penstock.toml, line 1: application: " in refusal()
    write(project, "")
    monkeypatch.setenv("PENSTOCK_BROKER_PORT", "eighty")
    assert "environment PENSTOCK_BROKER_PORT: broker_port: " in refusal()


def test_file_that_is_not_toml_is_refused_with_its_line(project):
    """A syntax error says the file and where in it."""
    write(project, "prefix = \n")
    assert "penstock.toml: not valid TOML" in (said := refusal())
    assert "line 1" in said


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ('warehouse_password = "hush"', "PENSTOCK_WAREHOUSE_PASSWORD"),
        ('[kafka]\nsasl.password = "hush"', "PENSTOCK_KAFKA__SASL_PASSWORD"),
        ('[kafka]\n"ssl.key.password" = "hush"', "PENSTOCK_KAFKA__SSL_KEY_PASSWORD"),
    ],
)
def test_secrets_in_the_file_are_refused(project, text, variable):
    """A secret in the file is refused without repeating it, and the variable for it is named."""
    write(project, text)
    said = refusal()
    assert variable in said
    assert "hush" not in said


def test_secrets_are_masked(project, monkeypatch):
    """Neither repr nor an error shows a secret that came from the environment."""
    monkeypatch.setenv("PENSTOCK_WAREHOUSE_PASSWORD", "hush-1")
    monkeypatch.setenv("PENSTOCK_KAFKA__SASL_PASSWORD", "hush-2")
    settings = load_settings()
    assert "hush" not in repr(settings) + str(settings) + str(settings.model_dump())
    assert settings.warehouse_password.get_secret_value() == "hush-1"
    monkeypatch.setenv("PENSTOCK_KAFKA__ACKS", "hush-3")
    assert "hush" not in refusal()


def test_kafka_settings_pass_through(project, monkeypatch):
    """Librdkafka's settings are written as librdkafka writes them; a variable replaces one key of the file's table."""
    write(project, '[kafka]\nsecurity.protocol = "SASL_SSL"\n"sasl.username" = "a"\nsocket.keepalive.enable = true\n')
    monkeypatch.setenv("PENSTOCK_KAFKA__SASL_USERNAME", "b")
    monkeypatch.setenv("PENSTOCK_KAFKA__SASL_PASSWORD", "1e5")
    monkeypatch.setenv("PENSTOCK_BROKER", "a:1, b:2")
    assert load_settings().kafka_config() == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "socket.keepalive.enable": "true",
        "sasl.username": "b",
        "sasl.password": "1e5",  # not read as a number
    }


def test_kafka_settings_that_carry_the_promises_are_refused(project):
    """What exactly-once rests on can't be set by hand."""
    write(project, "[kafka]\nenable.idempotence = false\n")
    assert "enable.idempotence can't be set here" in refusal()


def test_concurrency_is_completed_and_checked(project, monkeypatch):
    """Stages that are not named keep their default; unknown stages and impossible numbers are refused."""
    monkeypatch.setenv("PENSTOCK_CONCURRENCY__INFERENCE", "400")
    settings = load_settings()
    assert settings.concurrency["inference"] == 400
    assert settings.concurrency["routing"] > 0
    assert "'inferense' is no stage" in refusal(concurrency={"inferense": 1})
    assert "outside 1 to 1500" in refusal(concurrency={"inference": 2000})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("broker", "localhost", "must be host:port"),
        ("broker", "h:99999", "must be host:port"),
        ("warehouse_url", "127.0.0.1:8123", "must be an address like"),
        ("warehouse_url", "http://u:p@h:1", "must not hold a user or password"),
        ("warehouse_port", 19092, "must differ"),
        ("transaction_timeout_ms", 100, "greater than or equal"),
    ],
)
def test_impossible_values_are_refused(project, name, value, said):
    """Each wrong value gets a sentence that says what is expected."""
    assert said in refusal(**{name: value})


def test_who_may_send_what_is_said_by_topic(project, monkeypatch):
    """A table for each topic that jobs come in on; another topic, or a misspelt list, is refused with its place."""
    (project / "penstock.toml").write_text('[permit."jobs.high"]\ntenants = ["acme"]\nworkflows = ["sorting"]\n')
    permit = load_settings(project).permit
    assert permit == {"jobs.high": Permit(tenants=("acme",), workflows=("sorting",))}
    assert set(WAYS_IN) == set(PRODUCERS)
    (project / "penstock.toml").write_text('[permit.results]\ntenants = ["acme"]\n')
    with pytest.raises(SettingsError, match=r"'results' is no topic that jobs come in on; these are jobs\.high, jobs,"):
        load_settings(project)
    (project / "penstock.toml").write_text('[permit.jobs]\ntenant = ["acme"]\n')
    with pytest.raises(SettingsError, match=r"permit.*tenant"):
        load_settings(project)


def test_a_topic_of_others_can_be_a_source(project):
    """Pointers begin with a slash; a topic that takes jobs as they are is none."""
    write(project, '[source.orders]\nworkflow = "sorting"\ninput = "/order"\n')
    assert load_settings(project).source == {"orders": SourceOfJobs(workflow="sorting", input="/order")}
    write(project, '[source.jobs]\nworkflow = "sorting"\n')
    with pytest.raises(SettingsError, match="'jobs' takes jobs as they are"):
        load_settings(project)
    write(project, '[source.orders]\nworkflow = "sorting"\ninput = "order"\n')
    with pytest.raises(SettingsError, match=r"source.*input"):
        load_settings(project)


def test_settings_are_frozen(project):
    """Settings can't be changed after they were read."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings().broker_port = 1
