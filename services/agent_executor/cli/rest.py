"""A small REST client for the command line's own calls through the gateway."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOWNLOAD_CHUNK_BYTES = 65_536
_DATA = b"data: "
_PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """What a route answered.

    Attributes:
        status: The HTTP status.
        body: The body, parsed; an empty mapping if there is none.
    """

    status: int
    body: Any


class RestError(Exception):
    """A call was refused or failed; the message is a sentence for a person.

    Attributes:
        is_passing: Whether the same call may succeed later.
    """

    def __init__(self, message: str, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing


@dataclass(frozen=True, slots=True, kw_only=True)
class RestClient:
    """Calls the gateway with a token, one connection per call.

    Attributes:
        host: The gateway's host.
        port: The gateway's port.
        token: The bearer token.
        is_encrypted: Whether it is called by HTTPS.
        certificate_file: The one certificate that is accepted over HTTPS, as PEM, whatever its
            names are; None for any that the system trusts for the host.
        timeout_seconds: How long a call may be silent.
    """

    host: str
    port: int
    token: str = ""
    is_encrypted: bool = False
    certificate_file: Path | None = None
    timeout_seconds: float = 30.0

    def get(self, path: str) -> dict[str, Any]:
        """Reads a resource.

        Raises:
            RestError: If the answer is an error.
            OSError: If there is no connection.
        """
        return self._succeed("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a request with a JSON body.

        Raises:
            RestError: If the answer is an error.
            OSError: If there is no connection.
        """
        return self._succeed("POST", path, body)

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Sets a resource.

        Raises:
            RestError: If the answer is an error.
            OSError: If there is no connection.
        """
        return self._succeed("PUT", path, body)

    def delete(self, path: str) -> dict[str, Any]:
        """Deletes a resource.

        Raises:
            RestError: If the answer is an error.
            OSError: If there is no connection.
        """
        return self._succeed("DELETE", path, None)

    def download(self, path: str) -> Iterator[bytes]:
        """Reads a file piece by piece.

        Raises:
            RestError: If the answer is an error, or broke off.
            OSError: If there is no connection.
        """
        with self._response("GET", path, None) as response:
            if response.status >= http.client.BAD_REQUEST:
                raise _refused("GET", path, _answer_of(response))
            try:
                while chunk := response.read(DOWNLOAD_CHUNK_BYTES):
                    yield chunk
                # A length that was promised and not reached is not an error to http.client.
                is_whole = not response.length
            except http.client.HTTPException:
                is_whole = False
            if not is_whole:
                msg = f"The answer to GET {_without_query(path)} broke off."
                raise RestError(msg)

    def events(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Reads a stream of server-sent events as it comes. It may end without a last event.

        Raises:
            RestError: If the answer is an error.
            OSError: If there is no connection, or it broke.
        """
        with self._response(method, path, body) as response:
            if response.status >= http.client.BAD_REQUEST:
                raise _refused(method, path, _answer_of(response))
            try:
                for line in response:
                    if line.startswith(_DATA):
                        yield json.loads(line.removeprefix(_DATA))
            except http.client.HTTPException as error:
                msg = f"the gateway broke off {method} {_without_query(path)}"
                raise ConnectionError(msg) from error

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> RestAnswer:
        """Calls a route and returns the answer, also if it is an error.

        Raises:
            OSError: If there is no connection.
        """
        try:
            with self._response(method, path, body) as response:
                return _answer_of(response)
        except http.client.HTTPException as error:
            msg = f"the gateway broke off {method} {path}"
            raise ConnectionError(msg) from error

    @contextlib.contextmanager
    def _response(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(body)
        try:
            connection.request(method, path, content, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self.is_encrypted:
            return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_seconds)
        context = ssl.create_default_context(cafile=self.certificate_file)
        if self.certificate_file is not None:
            # This very certificate, which need not be an authority's nor have the host's name.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.check_hostname = False
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=self.timeout_seconds, context=context
        )

    def _succeed(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        answer = self.call(method, path, body)
        if answer.status >= http.client.BAD_REQUEST:
            raise _refused(method, path, answer)
        resource: dict[str, Any] = answer.body
        return resource


def _answer_of(response: http.client.HTTPResponse) -> RestAnswer:
    text = response.read()
    return RestAnswer(response.status, json.loads(text) if text else {})


def _refused(method: str, path: str, answer: RestAnswer) -> RestError:
    return RestError(
        f"{method} {_without_query(path)} was answered {answer.status}: {answer.body.get('error')}",
        is_passing=answer.status in _PASSING,
    )


def _without_query(path: str) -> str:
    return path.partition("?")[0]
