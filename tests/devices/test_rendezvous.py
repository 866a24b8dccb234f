"""Rendezvous: a port in use and a wrong address are named before JAX meets them."""

import socket
import time

import pytest

from dgmjax.devices import rendezvous
from dgmjax.errors import DgmjaxError


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        with pytest.raises(DgmjaxError, match="`coordinator` must name a port that is free"):
            rendezvous.require_free(address)
    rendezvous.require_free(address)


@pytest.mark.parametrize("host", ["localhost", "nobody.invalid"])
def test_a_wrong_address_is_named_and_waiting_is_not_silent(host, capsys):
    started = time.monotonic()
    with pytest.raises(DgmjaxError, match="`coordinator` must be the address of process 0"):
        rendezvous.wait_for(f"{host}:{free_port()}", seconds=1.0, patience=0.3)
    assert time.monotonic() - started < 10
    assert "waiting for process 0" in capsys.readouterr().err


def test_a_listening_process_ends_the_wait():
    with socket.create_server(("localhost", 0)) as server:
        rendezvous.wait_for(f"localhost:{server.getsockname()[1]}", seconds=1.0)
