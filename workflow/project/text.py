"""Text that people or other tools wrote, read by one rule.

A mark says which Unicode it is; without one, what an XML file declares of itself counts, else it is UTF-8.
Line ends are `\\n` from here on, whoever wrote them.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from workflow.errors import FormatError

# A file of labels larger than that is none.
MOST_BYTES = 2 << 30
# The longer marks first: that of UTF-32 begins as that of UTF-16 does.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    # XML begins so, in UTF-16 without a mark; its own text begins here.
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)
DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
HEAD = re.compile(r"\A\s*<\?xml\b[^>]*\?>")
# Encodings of two bytes a letter or more: what could be read so far is in none of them, whatever it declares.
WIDE = ("utf-16", "utf_16", "utf16", "utf-32", "utf_32", "utf32", "ucs", "iso-10646-ucs")


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A file's text. FormatError where it is too large, or in no encoding that can be told."""
    try:
        size = path.stat().st_size
        if size > most:
            raise FormatError(f"{path}: {size / 1e6:.0f} MB are more than a file of labels has")
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from None
    return _decode(content, path).replace("\r\n", "\n").replace("\r", "\n")


def read_xml(path: Path) -> str:
    """The text of an XML file without its declaration, which has been obeyed; as many lines are left."""
    return HEAD.sub(lambda head: "\n" * head[0].count("\n"), read_text(path), count=1)


def _decode(content: bytes, path: Path) -> str:
    mark, encoding = next((one for one in MARKS if content.startswith(one[0])), (b"", ""))
    body = content if mark.startswith((b"<", b"\0<")) else content[len(mark) :]
    declared = DECLARED.match(body[:400])
    if not encoding:
        encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
        encoding = "utf-8" if encoding.startswith(WIDE) else encoding
    try:
        return body.decode(encoding)
    except LookupError:
        what = f"{path}: declares the encoding {encoding!r}, which is none"
        raise FormatError(what, "save it as UTF-8") from None
    except UnicodeError as error:
        line = body[: getattr(error, "start", 0)].count(b"\n") + 1
        raise FormatError(f"{path}:{line}: is not in {encoding.upper()}", "save it as UTF-8") from None
