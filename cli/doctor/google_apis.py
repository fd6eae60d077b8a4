"""Google's REST APIs over HTTPS, with the credentials of whoever runs the command."""

from __future__ import annotations

from typing import Any, Final, Self

import requests
from google.auth import default as default_credentials
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials as UserCredentials
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cli.doctor.answers import Answer, Question, answer_of

REQUEST_SECONDS: Final = 20.0
#: Requests that change nothing may be repeated, whatever happened.
_AGAIN: Final = Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None)
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


class GoogleApis:
    """Asks over HTTPS, as the Application Default Credentials' account. A context manager."""

    def __init__(self, session: requests.Session, address: str = "https://{api}.googleapis.com") -> None:
        """`address` is that of an API, without a slash at the end."""
        self._session = session
        self._address = address
        session.mount(address.partition("{")[0], HTTPAdapter(max_retries=_AGAIN))

    @classmethod
    def connect(cls, project: str) -> GoogleApis:
        """Raises `GoogleAuthError` if there are no credentials. A person's requests are counted for `project`."""
        credentials, _ = default_credentials(scopes=_SCOPES)
        if isinstance(credentials, UserCredentials) and not credentials.quota_project_id:
            credentials = credentials.with_quota_project(project)
        return cls(AuthorizedSession(credentials))

    def ask(self, question: Question) -> Answer:
        """The answer; unclear if there is none. Raises `GoogleAuthError` if the credentials are refused."""
        url = f"{self._address.format(api=question.api)}/{question.path}"
        body = {"options": {"requestedPolicyVersion": 3}} if question.is_post else None
        method = "POST" if question.is_post else "GET"
        try:
            with self._session.request(method, url, json=body, timeout=REQUEST_SECONDS) as response:
                return answer_of(question, response.status_code, _json(response))
        except requests.RequestException as error:
            return Answer(None, f"can't tell: no answer from {question.api}.googleapis.com ({type(error).__name__})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
