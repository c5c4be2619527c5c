from __future__ import annotations

import inspect
import warnings

import pytest
from urllib3 import exceptions

from airgapbuild.errors import RegistryError
from airgapbuild.registry.transport import Request, translated
from airgapbuild.registry.trust import Trust

RAISED = [
    kind
    for _, kind in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(kind, Exception)
    and kind.__module__ == exceptions.__name__
    and not issubclass(kind, Warning)
]


def test_urllib3_has_the_exceptions_that_are_known_here() -> None:
    assert exceptions.HTTPError in RAISED
    assert len(RAISED) > 25


@pytest.mark.parametrize("kind", RAISED)
def test_every_exception_of_urllib3_becomes_a_registry_error(kind: type[Exception]) -> None:
    request = Request("quay.io", "https://user:secret@quay.io/v2/?token=secret", Trust())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RegistryError) as caught, translated(request):
            raise kind.__new__(kind)
    assert caught.value.message.startswith("registry quay.io: ")
    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message
