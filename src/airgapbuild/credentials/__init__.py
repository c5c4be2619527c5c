"""As whom a registry is asked: the logins that docker, podman and CI keep.

`credential` is one login, `authfile` a document of them, `helper` a program that keeps them
elsewhere, `logins` all of these in one order of precedence. No daemon has a part in it.
"""

from airgapbuild.credentials.credential import ANONYMOUS, Credential, Credentials
from airgapbuild.credentials.logins import Logins

__all__ = ["ANONYMOUS", "Credential", "Credentials", "Logins"]
