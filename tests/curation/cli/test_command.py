"""The options of a command are documented and validated, and their former names still work."""

from __future__ import annotations

import logging
from typing import ClassVar, Literal

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from curation.cli.command import Command, CommandOptions
from curation.errors import UsageError


class Keys(BaseSettings):
    model_config = SettingsConfigDict(extra="forbid", env_prefix="WORLDCURATE_")

    other_variables: ClassVar[tuple[str, ...]] = ("COMPILED",)
    lake: str | None = Field(None, description="the lake")


class Options(CommandOptions):
    former_flags: ClassVar[dict[str, str]] = {"--of": "from_recipe", "--image-id": "image_id"}

    from_recipe: str | None = Field(None, description="the old recipe")
    image_id: str | None = Field(None, description="an image")
    top: int = Field(20, ge=0, description="number of rows")
    origin: Literal["title", "unigram"] | None = Field(None, description="origin of entries")
    json_: bool = Field(False, alias="json", description="print JSON")


COMMAND = Command("python -m jobs.x", "Does x.", Options, Keys, required=("lake",))


def test_options_and_keys_are_read_from_one_command_line():
    options, config = COMMAND.parse(["--json", "--lake", "/l", "--top", "3", "--origin=title"])
    assert (options.json_, options.top, options.origin, options.from_recipe) == (True, 3, "title", None)
    assert config.lake == "/l"


def test_a_former_flag_still_works_and_the_warning_names_the_new_one(caplog):
    with caplog.at_level(logging.WARNING):
        options, _ = COMMAND.parse(["--lake", "/l", "--of", "default", "--image-id=0f"])
    assert (options.from_recipe, options.image_id) == ("default", "0f")
    assert [record.message for record in caplog.records] == [
        "--of is now called --from_recipe",
        "--image-id is now called --image_id",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lake", "/l", "--top", "many"], "option `--top`: Input should be a valid integer"),
        (["--lake", "/l", "--top", "-1"], "option `--top`: Input should be greater than or equal to 0"),
        (["--lake", "/l", "--origin", "x"], "--origin: invalid choice: 'x'"),
        (["--lake", "/l", "--nothing", "x"], "--nothing"),
        (["--top", "1"], "key `lake` is missing"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(argv, message):
    with pytest.raises(UsageError) as caught:
        COMMAND.parse(argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_lists_the_options_of_the_command_first_with_their_defaults(capsys):
    with pytest.raises(SystemExit) as ended:
        COMMAND.parse(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.index("--from_recipe") < text.index("--config FILE  ")
    for expected in ("the old recipe", "number of rows (default: 20)", "{title,unigram}", "print JSON"):
        assert expected in text


def test_variables_of_other_components_are_not_reported_as_unknown_keys(monkeypatch):
    monkeypatch.setenv("WORLDCURATE_COMPILED", "/opt/compiled")
    assert COMMAND.parse(["--lake", "/l"])[1].lake == "/l"
    monkeypatch.setenv("WORLDCURATE_LAKES", "/l")
    with pytest.raises(UsageError, match="WORLDCURATE_LAKES"):
        COMMAND.parse(["--lake", "/l"])


def test_other_variables_are_whole_names_unless_they_end_with_an_underscore(monkeypatch):
    monkeypatch.setattr(Keys, "other_variables", ("COMPILED", "API_"))
    monkeypatch.setenv("WORLDCURATE_API_LANGUAGE", "tpi")
    assert COMMAND.parse(["--lake", "/l"])[1].lake == "/l"
    monkeypatch.setenv("WORLDCURATE_COMPILED_FOLDER", "/opt/compiled")
    with pytest.raises(UsageError, match="WORLDCURATE_COMPILED_FOLDER: unknown key"):
        COMMAND.parse(["--lake", "/l"])
