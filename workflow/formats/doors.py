"""A stranger's file at the door: bytes to text, text to values, values to the types a format states.

Text is UTF-8 with or without its mark, UTF-16 or UTF-32 by its mark, or what the file itself declares.
Numbers may stand as digits in a string, and names as numbers, where that is exact; all else is refused with
its place. No size that a file states is believed before it is compared with the image's own, and nothing
grows while it is read.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workflow.errors import FormatError

# A file of labels larger than that is none; a YAML file names classes and folders.
MOST_BYTES, MOST_YAML_BYTES = 2 << 30, 8 << 20
# Elements within elements, lists within lists.
MOST_DEPTH = 200
# Values of a YAML document once its aliases stand for what they mean.
MOST_YAML_VALUES = 100_000
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


def files_below(folder: Path, suffix: str) -> list[Path]:
    """The files below a folder with that suffix, in whatever case, sorted; hidden ones are no labels."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == suffix and not path.name.startswith(".") and path.is_file()
    )


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file, its newlines as \\n. FormatError where it is too large, or in no known encoding."""
    try:
        size = path.stat().st_size
        if size > most:
            raise FormatError(f"{path}: {size / 1e6:.0f} MB are more than a file of labels has")
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from None
    return _decoded(path, content).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, content: bytes) -> str:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            # The two-letter encodings take their mark away themselves.
            content = content[len(mark) :] if encoding == "utf-8" else content
            return _decode(path, content, encoding)
    declared = DECLARED.match(content[:400])
    return _decode(path, content, declared[1].decode("ascii") if declared else "utf-8")


def _decode(path: Path, content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except LookupError:
        what = f"{path}: declares the encoding {encoding!r}, which is none"
        raise FormatError(what, "save it as UTF-8") from None
    except UnicodeError as error:
        line = content[: getattr(error, "start", 0)].count(b"\n") + 1
        raise FormatError(f"{path}:{line}: is not in {encoding.upper()}", "save it as UTF-8") from None
    return text


def load_json(path: Path) -> Any:
    """The value of a JSON file. FormatError for what is none, a key twice in one object, endless nesting."""
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error})") from None
    except RecursionError:
        raise FormatError(f"{path}: not JSON of labels (nested without end)") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def load_xml(path: Path) -> Any:
    """The root of an XML file. FormatError where it is broken, declares entities, or nests without end."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    text = read_text(path)
    # What it declares has been obeyed: the parser itself knows few encodings.
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)
    if _depth(text) > MOST_DEPTH:
        raise FormatError(f"{path}: not XML of labels (nested more than {MOST_DEPTH} deep)")
    try:
        return fromstring(text, forbid_dtd=True)
    except ParseError as error:
        raise FormatError(f"{path}:{error.position[0]}: not XML ({error})") from None
    except DefusedXmlException:
        raise FormatError(f"{path}: declares a document type or entities, which no label needs") from None
    except ValueError as error:
        raise FormatError(f"{path}: not XML ({error})") from None


def _depth(text: str) -> int:
    """How deep elements stand in elements, at the most; a bound where the text is no XML."""
    depth = deepest = 0
    for tag in re.finditer(r"<(/?)[A-Za-z_][^<>]*?(/?)>", text):
        depth += -1 if tag[1] else 0 if tag[2] else 1
        deepest = max(deepest, depth)
    return deepest


def load_yaml(path: Path) -> Any:
    """The value of a YAML file. FormatError for what is none, a key twice, and aliases that multiply."""
    import yaml

    text = read_text(path, MOST_YAML_BYTES)
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None:
            _weigh(path, node, {}, ())
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FormatError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise FormatError(f"{path}: not YAML ({error})") from None


def _weigh(path: Path, node: Any, known: dict[int, int], above: Sequence[int]) -> int:
    """How many values a node stands for, its aliases spelled out."""
    if id(node) in above or len(above) > MOST_DEPTH:
        raise FormatError(f"{path}: not YAML of labels (nested without end)")
    if id(node) in known or isinstance(node.value, str):
        return known.get(id(node), 1)
    inner = [one for pair in node.value for one in (pair if isinstance(pair, tuple) else (pair,))]
    if node.id == "mapping":
        keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise FormatError(f"{path}:{node.start_mark.line + 1}: the key {twice!r} is there twice")
    weight = 1 + sum(_weigh(path, one, known, (*above, id(node))) for one in inner)
    if weight > MOST_YAML_VALUES:
        raise FormatError(f"{path}: its aliases stand for more than {MOST_YAML_VALUES} values")
    known[id(node)] = weight
    return weight


# Types


def _no_truth(value: Any) -> Any:
    """True is no number, although Python takes it for one."""
    if isinstance(value, bool):
        raise ValueError("is true or false, not a number")
    return value


def plain(value: Any) -> Any:
    """A digit string as the number it is, so that ids match whichever way they are written."""
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value.strip()):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else _no_truth(value)


def name(value: Any) -> Any:
    """A number where a name belongs is that name: a class may be called 7."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


Number = Annotated[float, BeforeValidator(_no_truth), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_truth), Field(ge=0)]
Pixels = Annotated[int, BeforeValidator(_no_truth), Field(ge=0, le=1_000_000)]
Id = Annotated[int | str, BeforeValidator(plain)]
Name = Annotated[str, BeforeValidator(name), Field(min_length=1)]
Score = Annotated[float, BeforeValidator(_no_truth), Field(ge=0, le=1)]
# 0 or 1, or their words: COCO's iscrowd, a label's flag.
Flag = bool


class Record(BaseModel):
    """What a reader needs of one object of a file; whatever else stands there is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


R = TypeVar("R", bound=Record)
T = TypeVar("T")


def tried(problems: list[str], load: Callable[[Path], T], path: Path) -> T | None:
    """What `load` makes of a file; None where it is refused, which is one of the source's problems."""
    try:
        return load(path)
    except FormatError as error:
        problems.append(error.problem)
        return None


def take(model: type[R], value: Any, where: str) -> R:
    """`value` as `model` states it. FormatError, with the place and every problem, where it is not."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: is {shown(value)}, not an object with {', '.join(model.model_fields)}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise FormatError(f"{where}: {'; '.join(_problems(error))}") from None


# How pydantic's types of errors begin -> what was wanted.
WORDS = {
    "int_from_float": "a whole number",
    "int_": "a whole number",
    "float_": "a number",
    "finite_": "a finite number",
    "string_too_short": "a name",
    "string_": "text",
    "tuple_type": "a list",
    "dict_type": "an object",
    "bool_": "0 or 1",
}


def _problems(error: ValidationError) -> Iterator[str]:
    done: set[str] = set()
    for one in error.errors():
        # Of a union of types each says why not: the field is told once.
        place = ".".join(str(key) for key in one["loc"] if key not in ("int", "str"))
        if place in done:
            continue
        done.add(place)
        if one["type"] == "missing":
            yield f"has no {place}"
        else:
            what = next((word for start, word in WORDS.items() if one["type"].startswith(start)), "")
            what = f", not {what}" if what else f": {one['msg'].removeprefix('Value error, ')}"
            yield f"{place} is {shown(one['input'])}{what}"


def shown(value: Any) -> str:
    """A stranger's value in an error, short."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def objects(value: Any, where: str) -> list[Any]:
    """A list of a file. FormatError where it is none."""
    if not isinstance(value, list):
        raise FormatError(f"{where}: is {shown(value)}, not a list")
    return value


def refuse_twice(ids: Sequence[Any], what: str, where: str) -> None:
    """FormatError where two of a file's things have one id: nobody can say which of them is meant."""
    first: dict[Any, int] = {}
    for number, one in enumerate(ids):
        if one in first:
            places = f"{what}[{first[one]}] and {what}[{number}]"
            raise FormatError(f"{where}: {places} both have the id {one!r}", "give each its own")
        first[one] = number
