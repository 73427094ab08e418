"""tensorflow_datasets' downloads, which fail at once where there is no network."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from unittest import mock
from urllib.parse import urlsplit

PATCHING = threading.RLock()  # one download at a time, or the last would not find what the first replaced
SECONDS = 3.0  # for the address of a server, and for a connection to it


@contextlib.contextmanager
def failing_at_once() -> Iterator[None]:
    """Lets a download end with its first connection that fails; tensorflow_datasets tries ten times, for minutes, and
    waits for a server that says nothing for as long as the system does."""
    import requests
    import tensorflow_datasets as tfds

    with PATCHING:
        usual = requests.adapters.HTTPAdapter.send

        def send(self, request, *arguments, timeout=None, proxies=None, **options):
            if not proxies:
                _resolve(urlsplit(request.url).hostname or "")
            self.max_retries = self.max_retries.new(connect=0)
            return usual(self, request, *arguments, timeout=timeout or (SECONDS, 60.0), proxies=proxies, **options)

        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        with mock.patch.object(requests.adapters.HTTPAdapter, "send", send):
            yield


def _resolve(host: str) -> None:
    """Raises ConnectionError where a name has no address, or none comes in time."""
    found: list[object] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, None))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not found or isinstance(found[0], OSError):
        raise ConnectionError(f"no network: {host} has no address")
