"""A configuration is plain YAML 1.2: what else a file can hold is an error that names the line."""

import pytest

from selfguide.core.errors import UserError
from selfguide.core.yaml12 import MAX_CHARACTERS, MAX_DEPTH, MAX_DIGITS, load_yaml

#: Eleven levels of nine: 30 thousand million values.
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 11)
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))

REFUSED = {
    "a list as key": ("a: 1\n? [a]\n: 1\n", "line 2: expected a word as key, found a list or a mapping"),
    "a mapping as key": ("? {a: 1}\n: 1\n", "line 1: expected a word as key"),
    "an alias as key": ("a: &x [1]\n? *x\n: 1\n", "expected a word as key"),
    "a number as key": ("a: 1\n1: 2\n", "line 2: expected a word as key, found 1"),
    "null as key": ("a:\n  null: 2\n", "line 2: expected a word as key, found null"),
    "truth as key": ("true: 2\n", "expected a word as key, found true"),
    "twice": ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' appears twice"),
    "twice inside": ("a:\n  - {b: 1, b: 2}\n", "line 2: the key 'b' appears twice"),
    "twice in quotes": ('a: 1\n"a": 2\n', "line 2: the key 'a' appears twice"),
    "merge": ("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", r"line 2: merge keys \(<<\) are not part of YAML 1.2"),
    "a list in itself": ("a: 1\nb: &b [*b]\n", "line 2: nested deeper than 20 levels by an alias, maybe of itself"),
    "a mapping in itself": ("&a {b: *a}\n", "by an alias, maybe of itself"),
    "two in each other": ("a: &a [&b [*a, *b]]\n", "by an alias, maybe of itself"),
    "laughs": (LAUGHS, f"all values are more than {MAX_CHARACTERS} characters, aliases written out"),
    "long laughs": (f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 5000)}]\n", "characters, aliases written out"),
    "a chain of aliases": (CHAIN, "by an alias"),
    "deep lists": ("a: " + "[" * 50_000, f"line 1: nested deeper than {MAX_DEPTH} levels"),
    "deep mappings": ("".join(" " * n + "a:\n" for n in range(1500)), "line 20: nested deeper than"),
    "deep items": ("- " * 5000 + "a", "nested deeper than"),
    "binary": ("a: 1\nb: !!binary aGk=\n", "line 2: the tag !!binary is not read here"),
    "set": ("a: !!set {x, y}\n", "the tag !!set is not read here"),
    "timestamp": ("a: !!timestamp 2001-12-14\n", "the tag !!timestamp"),
    "python": ('a: !!python/object/apply:os.system ["true"]\n', "the tag !!python/object/apply:os.system"),
    "own tag": ("a: !foo bar\n", "the tag !foo is not read here"),
    "no int": ("a: !!int abc\n", "the tag !!int is not read here"),
    "no bool": ("a: !!bool maybe\n", "the tag !!bool is not read here"),
    "no str": ("a: !!str [1]\n", "the tag !!str is not read here"),
    "digits": (f"a: {'9' * 5000}\n", "line 1: a whole number of 5000 digits; expected at most 400"),
    "half a character": ('a: "\\ud800"\n', "line 1: an escape of half a character"),
    "no character": ('a: "\\UFFFFFFFF"\n', "not valid YAML: "),
    "no version": (f"%YAML {'9' * 5000}.1\n---\na: 1\n", "not valid YAML: "),
    "tab": ("a:\n\tb: 1\n", "not valid YAML: .*line 2"),
    "NUL": ("a: 1\0\n", "not valid YAML: .*#x0000"),
    "two documents": ("a: 1\n---\nb: 1\n", "not valid YAML: .*expected a single document"),
    "no anchor": ("a: *x\n", "not valid YAML: .*undefined alias"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_configuration_has_no_use_for_is_refused(what):
    text, message = REFUSED[what]
    with pytest.raises(UserError, match=message) as error:
        load_yaml(text)
    assert len(str(error.value)) < 400


READ = {
    "\ufeffa: 1\r\nb: x\r\n": {"a": 1, "b": "x"},
    "a: &a 3\nb: *a\nc: &c [1, 2]\nd: {e: *c, f: *c}\n": {"a": 3, "b": 3, "c": [1, 2], "d": {"e": [1, 2], "f": [1, 2]}},
    "a: !!str 5\nb: !!int 5\nc: !!seq [1]\nd: !!float 5.0": {"a": "5", "b": 5, "c": [1], "d": 5.0},
    f"a: {'9' * MAX_DIGITS}": {"a": 10**MAX_DIGITS - 1},
    "on: off\nno: yes\n1e: <<\n": {"on": "off", "no": "yes", "1e": "<<"},
    "": None,
}


@pytest.mark.parametrize("text", READ, ids=repr)
def test_what_is_plain_is_read(text):
    assert load_yaml(text) == READ[text]


def test_nesting_and_aliases_up_to_the_limits_are_read():
    lists = MAX_DEPTH - 2  # inside of the mapping, around the number
    assert str(load_yaml(f"a: {'[' * lists}1{']' * lists}")["a"]) == "[" * lists + "1" + "]" * lists
    text = f"a: &a [{', '.join(['1'] * 1000)}]\nb: [{', '.join(['*a'] * 100)}]\n"
    assert sum(map(len, load_yaml(text)["b"])) == 100_000
