"""The bundle: a folder of tarballs with their lock, index and sums.

`frames` is how a tarball's bytes are laid out, `index` is bundle.json, `writer` makes a bundle and
`walk` proves a tarball whole, `reader` reads a bundle. zstandard is used here only.
"""
