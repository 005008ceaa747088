"""The guards that the other tests rely on."""

import socket
import urllib.request

import pytest
import torch


def test_a_name_look_up_fails_at_once() -> None:
    with pytest.raises(OSError, match="no network"):
        socket.getaddrinfo("example.org", 443)


def test_a_connection_to_another_machine_fails_at_once() -> None:
    with socket.socket() as client, pytest.raises(OSError, match="no network"):
        client.connect(("192.0.2.1", 80))


def test_a_download_fails_at_once() -> None:
    with pytest.raises(OSError, match="no network"):
        urllib.request.urlopen("https://example.org/weights.pth")


def test_a_connection_to_this_machine_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())


@pytest.mark.parametrize("attempt", [1, 2])
def test_every_test_draws_the_same_random_numbers(attempt: int) -> None:
    assert torch.rand(1).item() == pytest.approx(0.4963, abs=1e-4)
