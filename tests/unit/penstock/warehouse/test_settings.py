import pytest

from penstock.local.warehouse.settings import read_settings


def test_defaults(tmp_path):
    """With nothing but a directory the warehouse is small, local and open."""
    settings = read_settings(["--data", str(tmp_path)], {})
    assert (settings.host, settings.port, settings.user, settings.password) == ("127.0.0.1", 0, "default", None)
    assert settings.max_memory == 2 << 30
    assert settings.max_body == 256 << 20


def test_sizes_and_secrets(tmp_path):
    """Sizes have units; user and password come from the environment only."""
    environment = {"PENSTOCK_WAREHOUSE_USER": "u", "PENSTOCK_WAREHOUSE_PASSWORD": "p"}
    told = ["--data", str(tmp_path), "--max-memory", "1gib", "--max-body", "64 MB", "--port", "1234", "--threads", "2"]
    settings = read_settings(told, environment)
    assert (settings.max_memory, settings.max_body) == (1 << 30, 64 << 20)
    assert (settings.user, settings.password) == ("u", "p")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "expected 0 to 65535"),
        (["--port", "x"], "not a port"),
        (["--max-body", "many"], "not a size"),
        (["--max-body", "0"], "not a size"),
        (["--max-memory", "1MiB"], "at least 256MiB"),
        (["--threads", "0"], "expected 1 to 256"),
        (["--data", "/tmp/a?b"], "can't have in a path"),
    ],
)
def test_mistakes_are_explained(capsys, arguments, says):
    """A setting that can't be understood ends with status 2 and says what was expected."""
    with pytest.raises(SystemExit) as caught:
        read_settings(["--data", "d", *arguments], {})
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
