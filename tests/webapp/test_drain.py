"""A web process that is asked to stop ends what it has begun."""

import os
import signal
import socket
import subprocess
import sys
import time

from tests.jobs.processes import ROOT, environment_of
from tests.servers import free_ports
from tests.sites import is_healthy, wait_until
from webapp.settings import Settings

FORM = b"email=nobody%40example.org&password=wrong"


def test_a_request_that_has_begun_is_answered_after_the_signal_to_stop(settings: Settings) -> None:
    (port,) = free_ports(1)
    environment = os.environ | environment_of(settings) | {"APP_PORT": str(port), "APP_WEB_CONCURRENCY": "1"}
    command = [sys.executable, "-m", "gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_until(lambda: is_healthy(port))
        with socket.create_connection(("127.0.0.1", port), timeout=20) as begun:
            kind = "Content-Type: application/x-www-form-urlencoded"
            begun.sendall(f"POST /login HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {len(FORM)}\r\n\r\n".encode())
            begun.sendall(FORM[:10])
            wait_until(lambda: is_healthy(port))  # by now the first one is being read
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
            begun.sendall(FORM[10:])
            assert begun.recv(1 << 16).startswith(b"HTTP/1.1 400")  # it carries no CSRF token
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)
