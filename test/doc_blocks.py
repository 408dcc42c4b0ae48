"""The code blocks, commands and links of README and docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

_MARK = re.compile(r"<!--\s*not run:(.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block.

    `mark`: what the comment `<!-- not run: REASON -->` above it says, "" without a reason, None
    without a comment. `line` counts from 1.
    """

    path: Path
    line: int
    language: str
    text: str
    mark: str | None

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"

    @property
    def data(self) -> Any:
        """What a YAML block says."""
        return yaml.safe_load(self.text)


def pages() -> list[Path]:
    """README, every page of docs/, and the cards of the bundled models."""
    cards = (ROOT / "camss_ros" / "weights").glob("*/README.md")
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted(cards)]


def blocks_of(path: Path) -> list[Block]:
    """The code blocks of a page, in order. One without a language is taken for a shell's."""
    blocks: list[Block] = []
    mark: str | None = None
    for token in _tokens(path):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language = (token.info.split() or ["sh"])[0]
            blocks.append(Block(path, token.map[0] + 1, language, token.content, mark))
        found = _MARK.search(token.content) if token.type == "html_block" else None
        mark = found[1].strip() if found else None
    return blocks


def code_spans(path: Path) -> Iterator[str]:
    """The code within the text of a page."""
    return (token.content for token in _inline(path) if token.type == "code_inline")


def links(path: Path) -> Iterator[str]:
    """The targets of its links and pictures."""
    for token in _inline(path):
        if target := token.attrGet("href") or token.attrGet("src"):
            yield str(target)


def headings(path: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    tokens = _tokens(path)
    texts = [
        following.content for token, following in pairwise(tokens) if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def _tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text())


def _inline(path: Path) -> Iterator[Token]:
    for token in _tokens(path):
        yield from token.children or []
