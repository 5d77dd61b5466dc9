"""What the documents say is what the code does."""

import re
from pathlib import Path

from webapp.models import DATASET_STATUSES, JOB_STATUSES
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def settings_table() -> str:
    """The table of settings as README must show it."""
    lines = ["| setting | default | meaning |", "|-|-|-|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if default is None or str(default) in ("", "**********") else f"`{default}`"
        lines.append(f"| `APP_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)


def test_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    assert settings_table() in (ROOT / "README.md").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_commands_in_the_first_screen_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in ("install", "run", "demo", "test", "check", "bench", "help"):
        assert f"\n{command}:" in makefile


def test_what_contributors_are_sent_to_is_there() -> None:
    named = re.findall(r"`((?:ml|webapp|jobs|docs)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_picture_of_states_has_every_state() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    picture = text[text.index("stateDiagram-v2") :].partition("```")[0]
    drawn = {name for edge in re.findall(r"(\w+) --> (\w+)", picture) for name in edge}
    assert drawn == {*DATASET_STATUSES, *JOB_STATUSES}
