"""The last touch on a page: a list of its contents, and whose header each header of a table is.

What begins with `<section>` and an `<h2>` is in the list, in whichever template it stands; nobody keeps a
second one.
"""

from __future__ import annotations

import re

# Where the list goes.
CONTENTS = "<nav></nav>"
_SECTION = re.compile(r"<section>(\s*<h2>(.*?)</h2>)", re.DOTALL)
_TAG = re.compile(r"<[^>]*>|&\w+;|&#\d+;")
_PART = re.compile(r"<(thead|tbody|tfoot)>.*?</\1>", re.DOTALL)
_HEADER = re.compile(r"<th(?=[\s>])(?![^>]*\bscope=)")


def finished(html: str) -> str:
    """The page with its contents, addresses of its sections, and a scope of every header of a table."""
    headings: list[tuple[str, str]] = []

    def named(match: re.Match[str]) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", _TAG.sub("", match[2]).lower()).strip("-")
        taken = {name for name, _ in headings}
        # Names of their own, which no id within a drawing has.
        name = next(n for i in range(len(headings) + 1) if (n := f"s-{words}{i or ''}") not in taken)
        headings.append((name, match[2]))
        return f'<section id="{name}">{match[1]}'

    html = _SECTION.sub(named, html)
    links = "".join(f'<li><a href="#{name}">{words}</a></li>' for name, words in headings)
    contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(headings) > 2 else ""
    return _PART.sub(_scoped, html).replace(CONTENTS, contents, 1)


def _scoped(part: re.Match[str]) -> str:
    scope = "col" if part[1] == "thead" else "row"
    return _HEADER.sub(f'<th scope="{scope}"', part[0])
