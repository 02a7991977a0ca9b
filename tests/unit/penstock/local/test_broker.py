import stat

from penstock.local import broker
from penstock.local.broker import Broker


def properties(made):
    return dict(line.split("=", 1) for line in made.config.read_text().splitlines())


def test_config_listens_on_the_loopback_only(tmp_path):
    """Neither the clients' nor the controller's listener can be reached from another machine."""
    made = Broker(tmp_path, 20001)
    broker.write_config(made)
    listeners = properties(made)["listeners"].split(",")
    assert [listener.split("//")[1].split(":")[0] for listener in listeners] == ["127.0.0.1", "127.0.0.1"]
    assert listeners[0] == "CLIENTS://127.0.0.1:20001"


def test_given_properties_win_and_stay_private(tmp_path):
    """Properties of the caller replace ours, in a file that only its owner may read."""
    made = Broker(tmp_path, 20001, properties={"offsets.topic.num.partitions": "1", "x": "pass"})
    broker.write_config(made)
    assert properties(made)["offsets.topic.num.partitions"] == "1"
    assert stat.S_IMODE(made.config.stat().st_mode) == 0o600
    assert "pass" not in repr(made)


def test_config_is_escaped_as_java_reads_it(tmp_path):
    """A folder's name beyond ASCII survives Java's property files, which are Latin-1."""
    folder = tmp_path / "Zoë 水 \\ 🚰"
    folder.mkdir()
    made = Broker(folder, 20001)
    broker.write_config(made)
    written = properties(made)["log.dirs"]
    assert written.isascii()
    unescaped = written.replace("\\\\", "\\u005c").encode().decode("unicode_escape")
    assert unescaped.encode("utf-16", "surrogatepass").decode("utf-16") == str(made.storage)


def test_leftovers_of_a_killed_broker_are_removed(tmp_path):
    """Native libraries that Java unpacked for a broker that was killed don't pile up."""
    leftover = tmp_path / "tmp" / "libzstd.so"
    leftover.parent.mkdir()
    leftover.write_text("x")
    broker.write_config(Broker(tmp_path, 20001))
    assert not leftover.exists()
