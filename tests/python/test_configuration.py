"""Where a client's settings come from, and what is said when they will not do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import clarifai_annotations
from clarifai_annotations import Client, ConfigurationError
from conftest import KEY, client_of
from official_service import OfficialService, official_service

GIVEN: dict[str, Any] = {"user_id": "me", "app_id": "cats", "pat": KEY}

CONTEXT = """
current_context: work
contexts:
  default:
    CLARIFAI_PAT: other
  work:
    CLARIFAI_PAT: file-key
    CLARIFAI_USER_ID: file-user
    CLARIFAI_APP_ID: file-app
    CLARIFAI_API_BASE: {base}
"""


def write_context(home: Path, text: str) -> None:
    """Put a file where `clarifai login` puts it."""
    path = home / ".config/clarifai/config"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_the_current_context_of_clarifai_login_is_enough(service: OfficialService, home: Path) -> None:
    write_context(home, CONTEXT.format(base=service.base_url))
    clarifai_annotations.delete_annotation("photo", "box")
    call = service.calls[0]
    assert call.message.user_app_id.user_id == "file-user"
    assert call.message.user_app_id.app_id == "file-app"
    assert call.metadata["authorization"] == "Key file-key"


def test_settings_that_the_sdk_keeps_under_env_are_found(home: Path) -> None:
    text = (
        "current_context: c\ncontexts: {c: {env: {CLARIFAI_PAT: k, CLARIFAI_USER_ID: u, CLARIFAI_APP_ID: a}}}"
    )
    write_context(home, text)
    assert Client().user_id == "u"


def test_a_context_that_defers_to_the_environment_sets_nothing(home: Path) -> None:
    write_context(home, "current_context: c\ncontexts: {c: {CLARIFAI_PAT: ENVVAR}}")
    with pytest.raises(ConfigurationError, match="no key is set"):
        Client(user_id="me", app_id="cats")


def test_the_environment_comes_before_the_context(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_context(home, CONTEXT.format(base="https://file.example"))
    monkeypatch.setenv("CLARIFAI_APP_ID", "environment-app")
    client = Client()
    assert (client.user_id, client.app_id) == ("file-user", "environment-app")


def test_an_argument_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFAI_APP_ID", "environment-app")
    assert Client(**GIVEN).app_id == "cats"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFAI_APP_ID", "")
    with pytest.raises(ConfigurationError, match="app_id is not set"):
        Client(user_id="me", pat=KEY)


def test_the_functions_share_one_client_made_from_the_environment(
    service: OfficialService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"USER_ID": "me", "APP_ID": "cats", "PAT": KEY, "API_BASE": service.base_url}.items():
        monkeypatch.setenv(f"CLARIFAI_{name}", value)
    clarifai_annotations.delete_annotation("photo", "box")
    clarifai_annotations.delete_annotations(["photo"], ["box"])
    clarifai_annotations.delete_input_annotations(["photo"])
    assert len(service.calls) == 3


def test_the_shared_client_follows_a_changed_environment(
    service: OfficialService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"USER_ID": "me", "APP_ID": "cats", "PAT": KEY, "API_BASE": service.base_url}.items():
        monkeypatch.setenv(f"CLARIFAI_{name}", value)
    clarifai_annotations.delete_annotation("photo", "box")
    monkeypatch.setenv("CLARIFAI_APP_ID", "dogs")
    clarifai_annotations.delete_annotation("photo", "box")
    assert [call.message.user_app_id.app_id for call in service.calls] == ["cats", "dogs"]


def test_a_function_uses_the_client_that_it_is_given(service: OfficialService, client: Client) -> None:
    clarifai_annotations.delete_annotation("photo", "box", client=client)
    assert len(service.calls) == 1


def test_two_clients_of_two_services_keep_apart(service: OfficialService, client: Client) -> None:
    with official_service() as other, client_of(other) as other_client:
        client.delete_annotation("photo", "box")
        other_client.delete_annotation("photo", "box")
        assert (len(service.calls), len(other.calls)) == (1, 1)


MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "an empty key": ({"pat": ""}, "the personal access token is empty"),
    "no host": ({"base_url": "https://"}, "base_url"),
    "pace of 0": ({"requests_per_second": 0}, "requests_per_second is 0: give a number from 0.001 to 100000, \"auto\", or None for no limit"),
    "a rate that is no word": ({"requests_per_second": "fast"}, "requests_per_second is \"fast\": give a number, \"auto\", or None for no limit"),
    "batch of 129": ({"batch_size": 129}, "batch_size is 129: give 1 to 128"),
    "batch of 0": ({"batch_size": 0}, "batch_size is 0: give 1 to 128"),
    "a rate that is hardly one": ({"requests_per_second": 1e-20}, "requests_per_second is 0.00000000000000000001: give"),
    "nothing in flight": ({"max_in_flight": 0}, "max_in_flight is 0: give 1 to 10000"),
    "more in flight than any": ({"max_in_flight": sys.maxsize}, f"max_in_flight is {sys.maxsize}: give 1 to 10000"),
    "no end of time": ({"request_timeout": 1e12}, "request_timeout is 1000000000000: give at most 31536000 seconds"),
    "a grace of less than nothing": ({"cancel_grace": -1}, "cancel_grace is -1: give a number of seconds above 0"),
    "no time": ({"request_timeout": 0}, "request_timeout is 0: give a number of seconds above 0"),
    "no attempt": ({"max_attempts": 0}, "max_attempts is 0: give 1 or more"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), MESSAGES.values(), ids=MESSAGES)
def test_a_setting_that_will_not_do_is_refused_with_what_to_do(change: dict[str, Any], message: str) -> None:
    settings = {**GIVEN, "base_url": "https://host", **change}
    with pytest.raises(ConfigurationError, match=message) as raised:
        Client(**settings)
    assert KEY not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_that_holds_no_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    path.write_text("not a certificate")
    with pytest.raises(ConfigurationError, match="holds no certificate in PEM form"):
        Client(**GIVEN, base_url="https://host", root_certificates_path=path)


def test_a_context_file_that_cannot_be_understood_is_named_and_not_quoted(home: Path) -> None:
    write_context(home, f"current_context: work\ncontexts:\n  work: [{KEY}\n")
    with pytest.raises(ConfigurationError, match=r"the context file .*config: is not what") as raised:
        Client(user_id="me", app_id="cats")
    assert KEY not in str(raised.value)


def test_a_current_context_that_is_not_there_is_named(home: Path) -> None:
    write_context(home, "current_context: gone\ncontexts: {work: {CLARIFAI_PAT: k}}")
    with pytest.raises(ConfigurationError, match='its current_context "gone" is not among its contexts'):
        Client(**GIVEN)


def test_the_repr_shows_every_setting_but_the_credential() -> None:
    client = Client(**GIVEN, base_url="http://localhost:1", requests_per_second=None, request_timeout=2.5)
    assert repr(client) == (
        'Client(user_id="me", app_id="cats", pat=\'***\', base_url="http://localhost:1", '
        "root_certificates_path=None, requests_per_second=None, shared_rate_limit=True, batch_size=128, max_in_flight=32, "
        "request_timeout=2.5, max_attempts=10, cancel_grace=2)"
    )


def test_another_app_must_have_a_name() -> None:
    with pytest.raises(ConfigurationError, match="app_id is empty"):
        Client(**GIVEN, base_url="http://localhost:1").for_app("")
