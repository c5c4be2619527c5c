"""The field's nouns: digest, reference, platform, descriptor, manifest, index, source, layout.

Nothing here opens a socket. Only `layout` touches the disk.
"""
