import os
import socket

import pytest

from penstock.local.errors import PortTakenError
from penstock.local.ports import free_ports, is_free, require_free


def test_taken_port_is_named_with_its_setting_and_holder():
    """The error says which port, who holds it, and which setting chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            require_free({"warehouse_port": port})
    said = str(caught.value)
    assert f"port {port} is taken by" in said
    assert f"pid {os.getpid()}" in said
    assert "PENSTOCK_WAREHOUSE_PORT" in said
    require_free({"warehouse_port": port})


def test_listener_on_all_addresses_counts():
    """A process that listens on every address holds the loopback's port too."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_free_ports_are_different_and_free():
    """Several ports asked for at once differ, and can be listened on."""
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(is_free(port) for port in ports)
