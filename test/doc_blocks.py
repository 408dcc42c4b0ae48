"""The code blocks of README and docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

_MARK = re.compile(r"<!--\s*not run:(.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block.

    `mark`: what the comment `<!-- not run: REASON -->` above it says, "" for an empty reason, None
    without one. `line` counts from 1.
    """

    path: Path
    line: int
    language: str
    text: str
    mark: str | None

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def data(self) -> Any:
        """What a YAML block says."""
        return yaml.safe_load(self.text)


def pages() -> list[Path]:
    """README and every page of docs/."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks_of(path: Path) -> list[Block]:
    """The code blocks of a page, in order. One without a language is taken for a shell's."""
    blocks: list[Block] = []
    mark: str | None = None
    for token in MarkdownIt().parse(path.read_text()):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language = (token.info.split() or ["sh"])[0]
            blocks.append(Block(path, token.map[0] + 1, language, token.content, mark))
        found = _MARK.search(token.content) if token.type == "html_block" else None
        mark = found[1].strip() if found else None
    return blocks


def code_spans(path: Path) -> list[str]:
    """The inline code of a page."""
    inline = [
        t.children or [] for t in MarkdownIt("commonmark").enable("table").parse(path.read_text())
    ]
    return [
        c.content.replace("\n", " ")
        for children in inline
        for c in children
        if c.type == "code_inline"
    ]
