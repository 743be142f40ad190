"""Hooks of mkdocs: generated pages, links to files outside docs/, and the rest of the navigation.

- The reference is made from the commands' help, the table of exit codes, the docstrings and the C header.
- A link from a page to a file of the project that is no page leads to a page that shows that file.
- Pages of spec/ and decisions/ are listed by themselves; whatever else stands nowhere comes under "More".
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "benchmarks")]
import chart  # noqa: E402
import reference  # noqa: E402

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()([^()\s#]+)(#[^()\s]*)?(\))")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LANGUAGES = {
    ".py": "python",
    ".c": "c",
    ".h": "c",
    ".toml": "toml",
    ".sh": "sh",
    ".yml": "yaml",
    ".txt": "text",
}
SECTIONS = {"Formats": "spec", "Decisions": "decisions"}
CHART = "pictures/sizes.svg"  # made again, so that it is never older than the tables
ALWAYS = ("README.md", "CHANGELOG.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation."""
    docs = Path(config.docs_dir)
    nav: list[Any] = list(config.nav or [])
    named = set(_paths(nav))
    for title, folder in SECTIONS.items():
        pages = sorted(str(page.relative_to(docs)) for page in (docs / folder).glob("*.md"))
        nav.append({title: sorted(pages, key=lambda page: (not page.endswith("README.md"), page))})
        named.update(pages)
    every = {str(page.relative_to(docs)) for page in docs.rglob("*.md") if "_site" not in page.parts}
    if more := sorted(every - named):
        nav.append({"More": more})
    config.nav = nav
    return config


def _paths(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [path for part in parts for path in _paths(part)]  # type: ignore[attr-defined]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, and a page for every file of the project that a page links to."""
    if committed := files.get_file_from_path(CHART):
        files.remove(committed)
    made = {**reference.pages(), CHART: chart.sizes()}
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    seen: set[str] = set()
    pages = [file.src_uri for file in files.documentation_pages()]
    waiting = [*ALWAYS, *(f"docs/{page}" for page in pages if page not in made)]
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).is_file():
            continue
        seen.add(path)
        if not path.startswith("docs/"):
            files.append(File.generated(config, _page_of(path), content=_shown(path)))
        if path.endswith(".md"):
            text = CODE.sub("", (ROOT / path).read_text())
            waiting += [_target(path, found[2]) for found in LINK.finditer(text) if "://" not in found[2]]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave docs/ lead to the pages that show those files."""
    here = page.file.src_uri
    origin = _origin(here)
    parts, at = [], 0
    for code in CODE.finditer(markdown):
        parts += [_relinked(markdown[at : code.start()], here, origin), code[0]]
        at = code.end()
    return "".join([*parts, _relinked(markdown[at:], here, origin)])


def _relinked(text: str, here: str, origin: str) -> str:
    def lead(found: re.Match[str]) -> str:
        target, anchor = found[2], found[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = _target(origin, target)
        if not (ROOT / path).is_file():
            return found[0]
        page = path.removeprefix("docs/") if path.startswith("docs/") else _page_of(path)
        return f"{found[1]}{os.path.relpath(page, os.path.dirname(here) or '.')}{anchor}{found[4]}"

    return LINK.sub(lead, text)


def _target(origin: str, link: str) -> str:
    """The path in the project that a link of the page ``origin`` leads to."""
    return os.path.normpath(os.path.join(os.path.dirname(origin), link))


def _origin(page: str) -> str:
    """The file of the project that a page shows."""
    if not page.startswith("project/"):
        return f"docs/{page}"
    path = page.removeprefix("project/")
    return path if (ROOT / path).is_file() else path.removesuffix(".md")


def _page_of(path: str) -> str:
    return f"project/{path}" if path.endswith(".md") else f"project/{path}.md"


def _shown(path: str) -> str:
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        return text
    return f"# {path}\n\n````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}\n````\n"
