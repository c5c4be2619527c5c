"""What was named on the command line → a stock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.bundle.reader import Bundle
from airgapbuild.errors import BundleError
from airgapbuild.filling import fill
from airgapbuild.mirror.stock import Stock, referrers_in
from airgapbuild.oci.layout import Layout
from airgapbuild.progress import SILENT, Progress
from airgapbuild.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Sequence


def stocked(
    sources: Sequence[Bundle | Layout], cache: Layout, *, progress: Progress = SILENT
) -> Stock:
    """All that these hold; a tag that several have is that of the last one.

    A differential bundle takes what it leaves out from the others. The layers of compact bundles
    are put into the cache, where they are not there yet: in a tarball they lie in no form that
    could be sent.

    Raises:
        BundleError: a source is not whole, or a layout names nothing.
        UsageError: the cache cannot be written.
        IntegrityError: something is not what its sum or its digest says.
        LockError: a bundle's documents are not those of its lock.
    """
    bundles = [it for it in sources if isinstance(it, Bundle)]
    layouts = [it for it in sources if isinstance(it, Layout)]
    for bundle in bundles:
        bundle.check_files(progress=progress)
    stock = Stock([it for it in bundles if it.index.layers is None], [*layouts, cache])
    for source in sources:
        if isinstance(source, Layout):
            _add_layout(stock, source)
            continue
        bases = tuple(it for it in bundles if it is not source)
        if source.index.layers is None:
            stock.add_bundle(Supply(source, bases), progress)
        else:
            _add_compact(stock, source, bases, cache, progress)
    stock.prove(progress)
    return stock


def _add_layout(stock: Stock, layout: Layout) -> None:
    images = layout.images()
    if not images:
        raise BundleError(
            f"{layout.path}: no image in it has a name",
            hint="airgapbuild load names what it puts into a layout",
        )
    referrers = referrers_in(layout)
    for name, digest in images.items():
        stock.add_image(layout, [name], digest, referrers)


def _add_compact(
    stock: Stock, bundle: Bundle, bases: tuple[Bundle, ...], cache: Layout, progress: Progress
) -> None:
    supply = Supply.of(bundle, bases, cache.path, layout=cache)
    here = [
        image
        for image in bundle.lock.image
        if any(bundle.has(image, locked) for locked in image.platform)
    ]
    with cache.filling():
        supply.check_layout(here, cache, "serve BASE {}")
        for image in here:
            top = fill(supply, cache, image, progress).top
            stock.add_image(cache, image.registry_names, top.digest)
