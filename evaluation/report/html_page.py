"""Parts of a self-contained HTML page: tables, pictures, sections. All text is escaped."""

import base64
import hashlib
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


def html_page(title, lead, sections):
    """Returns a page that loads nothing and runs no script but its own.

    Args:
        title: str.
        lead: str, the sentence below it.
        sections: dict of heading to HTML; a section without content is left out.

    Returns:
        str.
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


def _digest(text):
    """Returns what allows exactly this style or script in a content security policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def html_table(caption, header, rows, words=False):
    """Returns a table with header cells; one that is wider than the page scrolls.

    Args:
        caption: str.
        header: sequence of str, a title for each column.
        rows: sequence of sequences of str; the first cell of each is its header.
        words: bool, True = the cells are text, not numbers.

    Returns:
        str; "" without rows.
    """
    if not rows:
        return ""
    titles = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    lines = "\n".join(_row(cells) for cells in rows)
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">\n'
        f"<table{kind}>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>\n</div>"
    )


def _row(cells):
    """Returns a row of a table's body."""
    first, *others = map(escape, cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'


def html_image(data, alt):
    """Returns an image that is part of the page.

    Args:
        data: bytes of a PNG or JPEG file.
        alt: str, what it shows, for those who do not see it.
    """
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    text = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{text}" alt="{escape(alt)}">'


def html_figure(data, caption, kind="wide"):
    """Returns an image with a caption.

    Args:
        data: bytes of a PNG or JPEG file.
        caption: str; it is the image's alternative text, too.
        kind: str, class for the style sheet.
    """
    image = html_image(data, caption)
    return f'<figure class="{kind}">{image}<figcaption>{escape(caption)}</figcaption></figure>'
