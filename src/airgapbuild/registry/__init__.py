"""Reading from registries: transport < auth < client.

`hosts` says who is asked and in which order, `transport` moves bytes (urllib3 is at home there and
nowhere else), `auth` logs in, `refusal` words what a registry will not give, `retries` says when to
try again, `transfer` what of a blob is still wanted, `client` is the `Source`.
"""

from airgapbuild.registry.client import RegistrySource
from airgapbuild.registry.retries import Retries
from airgapbuild.registry.transport import Timeouts

__all__ = ["RegistrySource", "Retries", "Timeouts"]
