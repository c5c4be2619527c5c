"""The bundle: a folder of tarballs with their lock, index and sums.

`frames` is how a tarball's bytes are laid out, `index` is bundle.json, `parts` is how one file lies
in several, `writer` makes a bundle.
`survey` looks at a folder, `walk` proves a tarball whole, `reader` reads a bundle,
`head` a tarball without one. zstandard is used here only.
"""
