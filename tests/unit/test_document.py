from __future__ import annotations

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
