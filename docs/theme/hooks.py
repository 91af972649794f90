"""What the site does to the pages: files of the repository beside them, pictures of cards, formulas.

mkdocs calls the functions named `on_...`.
"""

import html
import pathlib
import posixpath
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).resolve().parents[2]
CARDS = "tfqkd/models/weights/"
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"} | {
    CARDS + card.name: f"zoo/{card.name}" for card in sorted((ROOT / CARDS).glob("*.md"))
}
"""Pages of the site that lie elsewhere in the repository, and their place in the site."""

_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_INLINE = re.compile(r"(?<!</span>)<code>([^<]*)</code>")
_FLAG = re.compile(r"(?<!\S)-[\w.-]+")
_CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def place(path: str) -> str | None:
    """Returns where the site has a file of the repository, or None for what it shows no link to.

    Args:
        path: Relative to the root of the repository, with `/`.
    """
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in PAGES:
        return PAGES[path]
    return f"files/{path}" if (ROOT / path).is_file() else None


def relinked(text: str, source: str) -> str:
    """Returns a page whose links out of its own folder lead to the same files in the site.

    Args:
        text: Markdown.
        source: The page's path in the repository.
    """
    return "".join(
        part if part.startswith("```") else _LINK.sub(lambda link: _relinked(link, source), part)
        for part in _CODE.split(text)
    )


def with_picture(text: str, source: str) -> str:
    """Returns a page with its picture behind its first paragraph, if it is a card that has one."""
    name = posixpath.basename(source).removesuffix(".md")
    if not source.startswith(CARDS) or not (ROOT / f"docs/pictures/{name}.svg").exists():
        return text
    title, first, rest = text.split("\n\n", 2)
    picture = f"![{name} among the others, and class by class](../../../docs/pictures/{name}.svg)"
    return "\n\n".join((title, first, picture, rest))


def _relinked(link: re.Match[str], source: str) -> str:
    words, target = link.groups()
    if re.match(r"[a-z]+:|#|/", target):
        return link.group()
    path, anchor, name = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    here, there = place(source), place(path)
    if there is None:
        # A folder: the site has no page for it.
        return words.strip("[]") if (ROOT / path).is_dir() else link.group()
    return (
        f"{words}({posixpath.relpath(there, posixpath.dirname(here or '') or '.')}{anchor}{name})"
    )


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie elsewhere, and the files that pages link to."""
    for path, uri in PAGES.items():
        text = _HEADER.sub("", (ROOT / path).read_text(encoding="utf-8"))
        text = with_picture(text, path)
        files.append(File.generated(config, uri, content=relinked(text, path)))
    texts = {f"docs/{page.src_uri}": page.content_string for page in files.documentation_pages()}
    texts |= {path: (ROOT / path).read_text(encoding="utf-8") for path in PAGES}
    for source, text in texts.items():
        for link in _LINK.finditer(_CODE.sub("", text)):
            path = posixpath.normpath(
                posixpath.join(posixpath.dirname(source), link.group(2).partition("#")[0])
            )
            uri = place(path) if not path.startswith("docs/") else None
            if uri and path not in PAGES and uri not in files.src_uris:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links to files of the repository into links to the site's copies."""
    if page.file.src_uri in PAGES.values():
        return markdown
    return relinked(markdown, f"docs/{page.file.src_uri}")


def on_page_content(content: str, **_: Any) -> str:
    """Makes MathML of formulas, which browsers draw by themselves; no line ends within a flag's name."""

    def formula(found: re.Match[str]) -> str:
        display = "block" if found.group(2) == "[" else "inline"
        return convert(html.unescape(found.group(3)).strip(), display=display)

    def whole(code: re.Match[str]) -> str:
        flags = _FLAG.sub(r'<span class="flag">\g<0></span>', code.group(1))
        return f"<code>{flags}</code>"

    return _INLINE.sub(whole, _FORMULA.sub(formula, content))
