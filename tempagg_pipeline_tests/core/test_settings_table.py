"""The settings as people read them."""

from pathlib import Path

import pytest

from tempagg_pipeline.core.settings_table import markdown_table, values_in_force

_PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_documentation_has_every_setting_as_it_is() -> None:
    # Else: paste what `tempagg settings --markdown` prints.
    assert markdown_table() in _PAGE.read_text(encoding="utf-8")


def test_values_in_force_tell_of_a_secret_only_that_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hush")
    values = values_in_force()
    assert "REDIS_PASSWORD=(set)" in values
    assert "hush" not in values
