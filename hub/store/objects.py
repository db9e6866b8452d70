"""Bundles in an object store: S3 and what speaks like it, Google's, Azure's, by `obstore`.

Keys are `<prefix>/<blob>`. Credentials come as that library reads them: from the environment (`AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, ...) or from the Pod's identity.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from hub.store.port import StoreAway

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_TIMEOUT = timedelta(seconds=20)
_CONNECT = timedelta(seconds=5)
_RETRIES = 2
_SECRETS = re.compile(r"(?i)(secret|token|password|key|signature)\S*?[=:]\S+")


class ObjectRemote:
    """A `Remote` below a URL such as `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        self._url = url
        options: ClientConfig = {"timeout": _TIMEOUT, "connect_timeout": _CONNECT}
        if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            options["allow_http"] = True  # who writes http has chosen so
        retry: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _TIMEOUT}
        try:
            self._store: ObjectStore = from_url(url, client_options=options, retry_config=retry)
        except (BaseError, ValueError) as error:
            raise self._away(error) from None

    def put(self, name: str, data: bytes) -> None:
        try:
            obstore.put(self._store, name, data)
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def get(self, name: str) -> bytes | None:
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def names(self) -> Iterator[tuple[str, float]]:
        try:
            for chunk in obstore.list(self._store):
                for each in chunk:
                    yield each["path"], each["last_modified"].timestamp()
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def delete(self, names: Iterable[str]) -> None:
        try:
            obstore.delete(self._store, list(names))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._away(error) from None

    def close(self) -> None:
        """Nothing stays open that is not closed with the process."""

    def _away(self, error: Exception) -> StoreAway:
        """What went wrong, without what a client library may quote of a request."""
        said = _SECRETS.sub("***", (str(error).splitlines() or [""])[0])[:200]
        return StoreAway(f"bundles at {self._url}: {type(error).__name__}: {said}")
