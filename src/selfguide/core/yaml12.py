"""YAML 1.2 as a configuration uses it: words as keys, scalars, lists and mappings, and nothing that a file can hide.

PyYAML reads YAML 1.1, where 1e-05 is a string and `no` is false. DVC writes and reads YAML 1.2; so do we.
"""

import re
from typing import Any, NoReturn

import yaml

from selfguide.core.errors import UserError

#: Lists and mappings inside of one another; the deepest of a configuration are three.
MAX_DEPTH = 20
#: Digits of a whole number; the largest float has 309.
MAX_DIGITS = 400
#: What all values may come to with every alias written out: characters, and _VALUE for each value.
MAX_CHARACTERS = 10_000_000
_VALUE = 10

_TAG = "tag:yaml.org,2002:"
_STR = f"{_TAG}str"


def _fail(node: yaml.Node | yaml.Event, message: str) -> NoReturn:
    assert node.start_mark is not None
    raise UserError(f"line {node.start_mark.line + 1}: {message}")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    depth = characters = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
            _fail(event, f"nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            self._check(node, 1)
        return node

    def _check(self, node: yaml.Node, depth: int) -> None:
        """Walk through all values before any is made, those behind an alias each time that they are named."""
        is_scalar = isinstance(node, yaml.ScalarNode)
        self.characters += _VALUE + (len(node.value) if is_scalar else 0)
        if depth > MAX_DEPTH:
            _fail(node, f"nested deeper than {MAX_DEPTH} levels by an alias, maybe of itself; write out what it means")
        if self.characters > MAX_CHARACTERS:
            _fail(node, f"all values are more than {MAX_CHARACTERS} characters, aliases written out; use fewer of them")
        plain = self.resolve(type(node), node.value, (True, False))  # type: ignore[no-untyped-call]
        if node.tag != plain and not (is_scalar and node.tag == _STR):
            tag = f"!!{node.tag.removeprefix(_TAG)}" if node.tag.startswith(_TAG) else node.tag
            _fail(node, f"the tag {tag[:40]} is not read here; write a plain value")
        if is_scalar and any("\ud800" <= character <= "\udfff" for character in node.value):
            _fail(node, "an escape of half a character (\\ud800 to \\udfff)")
        if isinstance(node, yaml.MappingNode):
            _check_keys([key for key, _ in node.value])
        for child in () if is_scalar else node.value:
            for each in child if isinstance(child, tuple) else (child,):
                self._check(each, depth + 1)


def _check_keys(nodes: list[yaml.Node]) -> None:
    seen: set[str] = set()
    for node in nodes:
        if not isinstance(node, yaml.ScalarNode):
            _fail(node, "expected a word as key, found a list or a mapping")
        if node.tag != _STR:
            _fail(node, f"expected a word as key, found {node.value[:40] or 'nothing'}")
        if node.value == "<<":
            _fail(node, "merge keys (<<) are not part of YAML 1.2; write out the keys")
        if node.value in seen:
            _fail(node, f"the key '{node.value[:40]}' appears twice; keep one")
        seen.add(node.value)


for _name, _pattern, _first in [
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
]:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), list(_first))


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MAX_DIGITS:
        _fail(node, f"a whole number of {len(node.value)} digits; expected at most {MAX_DIGITS}")
    return int(node.value)  # YAML 1.2: 010 is ten, not eight


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor(_TAG + "int", _construct_int)
_Loader.add_constructor(_TAG + "float", _construct_float)


def load_yaml(text: str) -> Any:
    """The value of a YAML 1.2 document, of as many characters as are read in reasonable time.

    Raises:
        UserError: not one valid document; a repeated key, or one that is no word; a tag that a configuration has no use
            for; deeper nesting, longer numbers or more values behind aliases than any configuration has.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter of escapes and versions out of range
        raise UserError(f"not valid YAML: {' '.join(str(error).split())[:300]}") from None
