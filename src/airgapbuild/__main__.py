"""`python -m airgapbuild`."""

from airgapbuild.cli import main

main()
