from __future__ import annotations

import pytest

from airgapbuild.document import parse_document

TEXT = '''
# a comment
top = [
  1,
  2,
]
text = """
[not.a.table]
key = 3
"""
"quoted key" = 1
dotted.key = { inner = 1 }

[a."b.c"]
x = 1

[[many]]
y = 1
[many.sub]
z = 1
[[many]]
y = 2
[[many.deep]]
w = 1
[many.sub]
z = 2
'''


def test_every_key_has_its_line() -> None:
    document = parse_document(TEXT.encode(), "f")
    lines = {".".join(map(str, path)): line for path, line in document.lines.items()}
    assert lines == {
        "top": 3,
        "text": 7,
        "quoted key": 11,
        "dotted": 12,
        "dotted.key": 12,
        "dotted.key.inner": 12,
        "a.b.c": 14,
        "a.b.c.x": 15,
        "many.0": 17,
        "many.0.y": 18,
        "many.0.sub": 19,
        "many.0.sub.z": 20,
        "many.1": 21,
        "many.1.y": 22,
        "many.1.deep.0": 23,
        "many.1.deep.0.w": 24,
        "many.1.sub": 25,
        "many.1.sub.z": 26,
    }


def test_a_key_that_is_not_there_has_the_place_of_the_table_above() -> None:
    document = parse_document(b'[a."b.c"]\nx = 1\n', "f")
    assert document.place(("a", "b.c", "y")) == 'f:1: a."b.c".y'
    assert document.place(("z",)) == "f: z"
    assert document.place(()) == "f"


MANY = (
    "[first] # ]",
    "'a]#\"' = 'b[\"'",
    "c = [ # [",
    ' "]", [\'"\', "[\\"", """',
    ']""\\"["""], \'\'\'[',
    "''''' ]",
    'd = """x\\""""" # two of these quotes are its own',
    "e = {f = [{g = 1}], h.i = 2}",
)


def test_brackets_and_quotes_in_strings_and_comments_end_nothing() -> None:
    document = parse_document("\n".join(MANY).encode(), "f")
    lines = {path[-1]: line for path, line in document.lines.items() if len(path) <= 2}
    assert lines == {"first": 1, 'a]#"': 2, "c": 3, "d": 7, "e": 8}


@pytest.mark.parametrize(
    "text",
    ["a." * 1000 + "a = 1", "[" + '"a" . ' * 1000 + "a]", "x = {" + "a." * 1000 + "a = 1}"],
    ids=["key", "header", "inline"],
)
def test_a_key_of_a_thousand_parts_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"^f: not TOML that anybody wrote: nested too deeply"):
        parse_document(text.encode(), "f")


def test_values_of_many_lines_are_read_once() -> None:
    """Whoever reads them anew for each line would need an hour for these."""
    text = "x = [\n" + "1,\n" * 200_000 + "]\ny = 1\n"
    assert parse_document(text.encode(), "f").lines[("y",)] == 200_003


def test_a_byte_order_mark_is_told_in_words() -> None:
    with pytest.raises(ValueError, match=r"^f:1: begins with a byte-order mark: save it as UTF-8 "):
        parse_document(b"\xef\xbb\xbfversion = 1\n", "f")
