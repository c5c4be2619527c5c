"""Every check in turn, none of which keeps another from being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.doctor.builders import check_builder, check_chosen, check_store
from airgapbuild.doctor.buildx import check_buildx, check_environment
from airgapbuild.doctor.daemon import check_address, check_api, check_clock, check_daemon
from airgapbuild.doctor.disk import check_disk
from airgapbuild.doctor.emulators import check_emulators
from airgapbuild.doctor.finding import Examined, Finding, problem, told
from airgapbuild.doctor.holdings import check_given, check_images, check_layout
from airgapbuild.doctor.network import check_proxies
from airgapbuild.errors import AirgapbuildError, BuilderError, BundleError, DaemonError
from airgapbuild.threads import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airgapbuild.doctor.site import Site

PATIENCE: Final = 10.0
"""Seconds for what one check asks others."""


@dataclass(frozen=True)
class Check:
    """One thing to look at."""

    area: str
    error: type[AirgapbuildError]
    """What a problem of it is, and so its exit code."""
    look: Callable[[Site], Iterable[Finding]]


CHECKS: Final = (
    Check("daemon", DaemonError, check_daemon),
    Check("daemon", DaemonError, check_address),
    Check("daemon", DaemonError, check_api),
    Check("clock", DaemonError, check_clock),
    Check("buildx", BuilderError, check_buildx),
    Check("buildx", BuilderError, check_environment),
    Check("builder", BuilderError, check_store),
    Check("builder", BuilderError, check_chosen),
    Check("builder", BuilderError, check_builder),
    Check("bundle", BundleError, check_given),
    Check("images", BundleError, check_images),
    Check("layout", BundleError, check_layout),
    Check("emulator", BuilderError, check_emulators),
    Check("proxy", DaemonError, check_proxies),
    Check("disk", DaemonError, check_disk),
)
"""What lies lowest first: where the daemon does not answer, nothing above it can be right."""


def examine(site: Site) -> Iterator[Examined]:
    """What every check finds, one after the other, as it is found."""
    for check in CHECKS:
        for finding in _findings(check, site):
            yield Examined(check.area, check.error, finding)


def error_of(examined: Iterable[Examined]) -> AirgapbuildError | None:
    """All problems as one error, of the kind of the first; None where there is none."""
    problems = [it for it in examined if it.finding.state == "problem"]
    if not problems:
        return None
    return problems[0].error(*(it.finding.what for it in problems), hint=problems[0].finding.mend)


def _findings(check: Check, site: Site) -> list[Finding]:
    try:
        return within(PATIENCE, lambda: list(check.look(site)))
    except AirgapbuildError as error:
        return [told(error, "what depends on it cannot be looked at")]
    except TimeoutError:
        return [problem(f"no answer in {PATIENCE:.0f} s", "builds would wait for it, too")]
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return [problem(what, "what depends on it cannot be looked at")]
