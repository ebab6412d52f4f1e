"""Checks the address of a Ray cluster before joining it."""

import os
import re
import socket

from search_spaces.errors import InputError


def check_address(address: str) -> None:
    """Raise InputError unless a Ray head answers at HOST:PORT; Ray itself would retry for minutes."""
    match = re.fullmatch(r"(.+):([0-9]{1,5})", address)
    if not match or "/" in address:
        raise InputError(f'"{address}" is not HOST:PORT of a Ray cluster, such as 10.0.0.1:6379')
    try:
        with socket.create_connection((match[1], int(match[2])), timeout=5) as connection:
            greets = os.environ.get("RAY_USE_TLS") == "1" or _speaks_http2(connection)
        error = None if greets else "the service there is not a Ray head"
    except (OSError, OverflowError, UnicodeError) as problem:
        error = str(problem)
    if error:
        hint = "start one with `ray start --head` on that machine; it prints the address"
        raise InputError(f"no Ray cluster answers at {address} ({error}); {hint}")


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether the server speaks HTTP/2, as gRPC does: its first frame has type SETTINGS (RFC 9113, 3.4)."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    return connection.recv(9)[3:4] == b"\x04"
