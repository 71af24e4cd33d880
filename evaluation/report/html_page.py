"""Parts of a self-contained HTML page: tables, pictures, sections. All text is escaped."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{lead}</p>
<nav aria-label="Sections">
{links}
</nav>
</header>
<main>
{bodies}
</main>
<script>{script}</script>
</body>
</html>
"""


def html_page(title: str, lead: str, sections: Mapping[str, str]) -> str:
    """Returns a page that loads no other file and runs only its own script.

    Args:
        title: of the page.
        lead: the paragraph below it.
        sections: heading to HTML; a section without content is left out.
    """
    style, script = (
        (FOLDER / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": _digest(style),
        "script-src": _digest(script),
    }
    policy = "; ".join(f"{name} {value}" for name, value in rules.items())
    filled = {f"part-{i}": pair for i, pair in enumerate(sections.items()) if pair[1]}
    links = "\n".join(f'<a href="#{key}">{escape(head)}</a>' for key, (head, _) in filled.items())
    bodies = "\n".join(
        f'<section aria-labelledby="{key}">\n<h2 id="{key}">{escape(head)}</h2>\n{body}\n</section>'
        for key, (head, body) in filled.items()
    )
    return PAGE.format(
        policy=policy,
        title=escape(title),
        style=style,
        lead=escape(lead),
        links=links,
        bodies=bodies,
        script=script,
    )


def _digest(text: str) -> str:
    """Returns the source of a content security policy that allows only this style or script."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def html_table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], words: bool = False
) -> str:
    """Returns a table; one that is wider than the page scrolls.

    Args:
        caption: above the table.
        header: the columns' titles.
        rows: the cells of each row; the first one is the row's header.
        words: True = the cells are text, not numbers.

    Returns:
        HTML; "" without rows.
    """
    if not rows:
        return ""
    titles = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    body = "\n".join(lines)
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">\n'
        f"<table{kind}>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def html_note(text: str) -> str:
    """Returns a paragraph that stands out; "" for no text."""
    return f'<p class="note">{escape(text)}</p>\n' if text else ""


def html_image(data: bytes, alt: str) -> str:
    """Returns an image that is part of the page.

    Args:
        data: PNG or JPEG file.
        alt: what the image shows, for readers who cannot see it.
    """
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    text = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{text}" alt="{escape(alt)}">'


def html_figure(data: bytes, caption: str, kind: str = "wide") -> str:
    """Returns an image with a caption.

    Args:
        data: PNG or JPEG file.
        caption: also the image's alternative text.
        kind: classes of the style sheet.
    """
    image = html_image(data, caption)
    return f'<figure class="{kind}">{image}<figcaption>{escape(caption)}</figcaption></figure>'
