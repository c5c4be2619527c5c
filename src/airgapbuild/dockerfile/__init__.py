"""Dockerfiles, read as BuildKit reads them, as far as it takes to know the images they need."""
