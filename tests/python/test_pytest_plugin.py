"""The fixture `clarifai_emulator`, in suites of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import os
import pytest
import clarifai_annotations
from clarifai_annotations import Client

@pytest.mark.parametrize("n", range(4))
def test_each_test_has_an_emulator_of_its_own(clarifai_emulator, n):
    assert clarifai_emulator.annotations() == []
    clarifai_emulator.add_annotation("photo", "box")
    clarifai_annotations.delete_annotation("photo", "box")
    assert [it.method for it in clarifai_emulator.requests] == ["DeleteAnnotation"]

def test_a_client_from_the_environment_talks_to_it(clarifai_emulator):
    clarifai_emulator.add_annotation("photo", "box")
    assert Client().delete_annotations(["photo"], ["box"]).deleted == 1

@pytest.mark.clarifai_emulator(requests_per_second=1, halt=3600)
def test_the_marker_sets_its_options(clarifai_emulator):
    client = Client(requests_per_second=None, max_attempts=1)
    with pytest.raises(clarifai_annotations.ThrottledError):
        for _ in range(2):
            client.delete_annotation("photo", "missing", missing_ok=True)

@pytest.mark.clarifai_emulator(pats=["right"], apps=[("me", "cats")], tls=True)
def test_the_environment_fits_its_options(clarifai_emulator):
    clarifai_emulator.add_annotation("photo", "box", user_id="me", app_id="cats")
    clarifai_annotations.delete_annotation("photo", "box")

def test_without_it_the_environment_is_as_it_was():
    assert "CLARIFAI_API_BASE" not in os.environ
"""


def test_the_fixture_and_its_marker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:asyncio", "--strict-markers", "-W", "error"
    )
    result.assert_outcomes(passed=8)


def test_they_work_in_workers_side_by_side(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2")
    result.assert_outcomes(passed=8)


def test_a_suite_that_does_not_use_it_imports_nothing_of_ours(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing_is_imported():
            assert [name for name in sys.modules if name.startswith("clarifai_annotations")] == []
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_an_option_without_a_name_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.clarifai_emulator(15)
        def test_it(clarifai_emulator): ...
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the marker clarifai_emulator takes options by name only*"])


def test_the_marker_and_the_fixture_are_listed(pytester: pytest.Pytester) -> None:
    listed = pytester.runpytest_subprocess("--markers", "-p", "no:cacheprovider")
    listed.stdout.fnmatch_lines(["@pytest.mark.clarifai_emulator(*"])
    fixtures = pytester.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    fixtures.stdout.fnmatch_lines(["clarifai_emulator*"])


def test_clarifais_sdk_made_from_the_environment_talks_to_it(pytester: pytest.Pytester) -> None:
    from test_official_clients import SDK_MISSING

    if SDK_MISSING:
        pytest.skip(SDK_MISSING)
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_the_sdk(clarifai_emulator, n):
            from clarifai.client.input import Inputs

            clarifai_emulator.add_annotation("photo", "box")
            Inputs(user_id="emulator-user", app_id="emulator-app").delete_annotations(["photo"], ["box"])
            assert [it.method for it in clarifai_emulator.requests] == ["DeleteAnnotations"]
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
