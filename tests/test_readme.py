"""The README: what it shows runs as it stands, and what it names is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_python_block_runs_as_it_stands_and_draws_its_picture(tmp_path: Path) -> None:
    (script,) = blocks("python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    strict = ["-W", "error", "-W", "ignore:there is no C compiler"]
    done = subprocess.run(
        [sys.executable, *strict, "-c", script], cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode("utf-8")
    picture = (tmp_path / "unfolded.svg").read_text("utf-8")
    assert "<svg" in picture
    drawn = [len(set(re.findall(f"{letter}[₀-₉]+", picture))) for letter in "hW"]
    assert drawn == [8, 2], "a state for each vertex, a matrix for each slot"
    assert all(f">{word}<" in picture for word in ("It", "works", "well", "or", "not"))


def test_it_has_two_commands_of_which_one_is_marked_as_the_tests() -> None:
    demo, tests = blocks("sh")
    assert demo.split(" && ")[1].split() == ["tinygrad-rnn", "demo"]
    assert tests.split(" && ")[1].split()[0] == "pytest"
    marked = re.findall(r"^<!-- test command -->\n```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert marked == [tests]


def test_its_commands_install_extras_and_start_a_script_that_the_project_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in re.findall(r"\.\[(\w+)\]", README):
        assert extra in project["optional-dependencies"], extra
    assert "tinygrad-rnn" in project["scripts"]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_a_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_page_on_cells_runs_as_it_stands_and_its_links_lead_to_files(capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "docs" / "cells.md"
    text = page.read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    exec(compile(code, str(page), "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == re.findall(r"^print.*\)  # (.*)$", code, re.MULTILINE)
    assert printed[3] == "[('start', True), ('map.weight', True), ('map.bias', True)]"
    assert all((page.parent / target).exists() for target in re.findall(r"\]\(([^)]+)\)", text))
