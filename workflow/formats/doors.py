"""A stranger's file at the door: bytes to text, text to values, values to the types a format states.

Text is UTF-8 with or without its mark, UTF-16 or UTF-32 by its mark, or what the file itself declares.
Numbers may stand as digits in a string, and names as numbers, where that is exact; all else is refused with
its place. No size that a file states is believed before it is compared with the image's own, and nothing
grows while it is read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from workflow.errors import FormatError
from workflow.project.text import read_text, read_xml

# A YAML file names classes and folders; PyYAML takes ten seconds for a megabyte.
MOST_YAML_BYTES = 1 << 20
# Elements within elements, lists within lists.
MOST_DEPTH = 200
# What YAML may say of a value's kind: none of it runs anything.
TAGS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "seq", "map")
NULL = ("", "~", "null", "Null", "NULL")
DECIMAL = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)


def files_below(folder: Path, suffix: str) -> list[Path]:
    """The files below a folder with that suffix, in whatever case, sorted; hidden ones are no labels."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == suffix and not path.name.startswith(".") and path.is_file()
    )


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

    text = read_xml(path)
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
    """The value of a YAML file, its scalars texts as they are written: `no` is no truth value, 007 no 7.

    FormatError for what is none, a key twice, another program's tags, and lists that stand there by an alias:
    a few lines of them can mean more than a memory holds.
    """
    import yaml

    text = read_text(path, MOST_YAML_BYTES)
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        return None if node is None else _value(node, set())
    except RecursionError:
        raise FormatError(f"{path}: not YAML of labels (nested without end)") from None
    except (yaml.YAMLError, ValueError) as error:
        raise FormatError(f"{path}: not YAML ({' '.join(str(error).split())})") from None


def _value(node: Any, before: set[int]) -> Any:
    line = node.start_mark.line + 1
    if node.tag.removeprefix("tag:yaml.org,2002:") not in TAGS:
        raise ValueError(f"in line {line} stands the tag {node.tag}")
    if isinstance(node.value, str):
        return None if node.style is None and node.value in NULL else node.value
    if id(node) in before:
        raise ValueError(f"line {line} is meant again elsewhere, by an alias: write it out")
    before.add(id(node))
    if node.id == "sequence":
        return [_value(one, before) for one in node.value]
    pairs = [(_value(key, before), _value(value, before)) for key, value in node.value]
    if any(not isinstance(key, str) for key, _ in pairs):
        raise ValueError(f"line {line} has a key that is no text")
    return _object(pairs)


# Types


def _numeric(kind: str) -> Callable[[Any], Any]:
    """Let through what pydantic makes a number of, but true, although Python takes it for one, and 1_000."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or isinstance(value, str) and not DECIMAL.fullmatch(value):
            raise PydanticCustomError(f"{kind}_type", "no number")
        return value

    return check


def plain(value: Any) -> Any:
    """A digit string as the number it is, so that ids match whichever way they are written."""
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value.strip()):
        return int(value)
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "not a whole number")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def name(value: Any) -> Any:
    """A number where a name belongs is that name: a class may be called 7."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


Number = Annotated[float, BeforeValidator(_numeric("float")), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_numeric("int")), Field(ge=0)]
Pixels = Annotated[int, BeforeValidator(_numeric("int")), Field(ge=0, le=1_000_000)]
Id = Annotated[int | str, BeforeValidator(plain)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, BeforeValidator(name), Field(min_length=1)]
Score = Annotated[float, BeforeValidator(_numeric("float")), Field(ge=0, le=1)]
# 0 or 1, or their words: COCO's iscrowd, a label's flag.
Flag = bool


def number(text: Any, field: str) -> float:
    """The finite number that a text of XML, CSV or a label file is. ValueError, with the field, else."""
    if not isinstance(text, str) or not DECIMAL.fullmatch(text):
        raise ValueError(f"{field} is {shown(text)}, not a number")
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{field} is {shown(text)}, not a finite number")
    return value


def whole(text: Any, field: str) -> int:
    """The whole number that a text is. ValueError, with the field, where it is none."""
    value = number(text, field)
    if value != int(value):
        raise ValueError(f"{field} is {shown(text)}, not a whole number")
    return int(value)


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
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _SHORT.repr(value)


def objects(value: Any, where: str) -> list[Any]:
    """A list of a file. FormatError where it is none."""
    if not isinstance(value, list):
        raise FormatError(f"{where}: is {shown(value)}, not a list")
    return value


# However deep or large a value is, few letters are made of it.
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 2, 60, 40, 40


def refuse_twice(ids: Sequence[Any], what: str, where: str, called: str = "the id") -> None:
    """FormatError where two of a file's things have one id: nobody can say which of them is meant."""
    first: dict[Any, int] = {}
    for place, one in enumerate(ids):
        if one in first:
            places = f"{what}[{first[one]}] and {what}[{place}]"
            raise FormatError(f"{where}: {places} both have {called} {one!r}", "give each its own")
        first[one] = place
