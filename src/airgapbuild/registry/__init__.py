"""Registries: transport < auth < remote < client, upload.

`hosts` says who is asked and in which order, `transport` moves bytes (urllib3 is at home there and
nowhere else), `auth` logs in, `refusal` words what a registry will not give, `retries` says when to
try again, `transfer` what of a blob is still wanted. `remote` asks one host, `client` is the
`Source` that knows mirrors, `upload` writes to a registry.
"""

from airgapbuild.registry.client import RegistrySource
from airgapbuild.registry.remote import Remote
from airgapbuild.registry.retries import Retries
from airgapbuild.registry.transport import Timeouts
from airgapbuild.registry.upload import RegistryTarget

__all__ = ["RegistrySource", "RegistryTarget", "Remote", "Retries", "Timeouts"]
