"""What deploy/azure.sh does, and does not do, before it reaches Azure."""

from pathlib import Path

import pytest

from tempagg_pipeline_tests.deploy.scripts import ROOT, STEPS, plan, run

_EXAMPLE = str(ROOT / "deploy" / "azure.env.example")


def test_every_step_is_listed_and_planned():
    listed = run("--plan", "steps").stdout
    assert [step for step in STEPS if f"  {step} " not in listed] == []


def test_all_steps_begin_with_the_group_and_end_with_the_smoke_run():
    announced = [line for line in run("--plan", "all").stdout.splitlines() if line.startswith("# --- ")]
    assert (announced[0], announced[-1]) == ("# --- group", "# --- smoke")


def test_names_of_the_environment_go_before_those_of_the_file():
    assert plan("group", RESOURCE_GROUP="mine")[0][3:5] == ["--name", "mine"]


def test_nothing_runs_before_names_are_chosen(tmp_path: Path):
    done = run("group", AZURE_ENV=str(tmp_path / "none"))
    assert done.returncode == 2
    assert "azure.env.example" in done.stderr
    assert "az group" not in done.stdout


@pytest.mark.parametrize("answer", ["", "yes\n", "other-group\n"])
def test_teardown_deletes_nothing_without_the_groups_name(answer: str):
    done = run("teardown", answer=answer, AZURE_ENV=_EXAMPLE)
    assert done.returncode == 1
    assert "az group delete" not in done.stdout


def test_an_unknown_step_is_refused():
    done = run("--plan", "destroy")
    assert done.returncode == 2
    assert "unknown step: destroy" in done.stderr


def test_no_password_is_among_the_arguments_shown():
    shown = [argument for command in plan(*STEPS, STORAGE_ACCESS="account-key") for argument in command]
    assert not [argument for argument in shown if "password=" in argument.lower() and "/dev/stdin" not in argument]
