"""A small REST client, for what has to show or to probe the REST API itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    """A call was refused or failed; the message is a sentence for a person."""


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
    path = path.partition("?")[0]
    return RestError(f"{method} {path} was answered {answer.status}: {answer.body.get('error')}")
