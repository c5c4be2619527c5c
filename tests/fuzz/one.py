"""One target under atheris: `python -m tests.fuzz.one NAME [libFuzzer's options] CORPUS`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["airgapbuild", "tarfile", "tomllib"]):
    from tests.fuzz.all_targets import all_targets

if __name__ == "__main__":
    target = all_targets()[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()
