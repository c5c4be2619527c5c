"""What a registry does not give, as an error in words that help."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import PassingError, RegistryError
from airgapbuild.registry.words import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airgapbuild.registry.transport import Answer

_MAX_BODY = 64 << 10
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})


def refusal(
    name: str,
    what: str,
    answer: Answer,
    user: str | None = None,
    *,
    secrets: Iterable[str] = (),
) -> RegistryError:
    """The error that an answer's status means; the answer is read and closed.

    `name` is the registry, `what` was asked for, `user` is whose login was shown. An answer that
    repeats one of the `secrets` is not quoted.

    Source: OCI distribution specification v1.1, "Error Codes".
    """
    words = ""
    with suppress(RegistryError):  # the status says enough
        words = words_of(answer.body(_MAX_BODY), secrets)
    said = f" ({words})" if words else ""
    message, hint = _explained(name, what, answer, user)
    message = f"registry {name}: {message}{said}"
    if answer.status not in _PASSING:
        return RegistryError(message, hint=hint, status=answer.status)
    retry_after = answer.headers.get("Retry-After")
    return PassingError(message, hint=hint, status=answer.status, retry_after=retry_after)


def _explained(name: str, what: str, answer: Answer, user: str | None) -> tuple[str, str | None]:
    """What a status means, and what to do about it."""
    if not answer.request.reads and answer.status in _NOT_TAKEN:
        words, advice = _NOT_TAKEN[answer.status]
        return words.format(what=what), advice and advice.format(name=name)
    login = f"docker login {name}"
    hint: str | None = None
    match answer.status:
        case 401 if user:
            message = f"authentication required for {what}: the login of '{user}' was refused"
            hint = login
        case 401:
            message = f"authentication required for {what}"
            hint = f"{login}; registries also answer so for a repository that does not exist"
        case 403:
            message = f"access to {what} denied"
            hint = f"{login} as a user who may pull it"
        case 404:
            message = f"not found: {what}"
            hint = f"check the name and the tag; for a private repository, {login}"
        case 407:
            message = f"the proxy wants a login before it asks for {what}"
            hint = "write it into HTTP_PROXY: http://user:password@host:port"
        case 429:
            message = f"too many requests for {what}"
            hint = f'name a mirror in [registries."{name}"]'
            hint = f"{hint}, or wait" if user else f"{login} for a higher limit, or {hint}"
        case status:
            message = f"status {status} for {what}"
    return message, hint


_NOT_TAKEN: Final = {
    400: ("{what} is refused", None),
    403: ("access to {what} denied", "docker login {name} as a user who may push it"),
    404: ("no place for {what}", "many registries want a project or repository to be made first"),
    405: ("{what} is not taken", "is {name} read-only, or a mirror that takes no pushes?"),
    413: (
        "{what} is too large",
        "a proxy before {name} may bound what it lets pass (nginx: client_max_body_size)",
    ),
    429: ("too many requests for {what}", "push again later: what is there is not sent again"),
}
"""The same for what is sent, where that is something else than for what is asked for."""
