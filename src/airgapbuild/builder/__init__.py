"""The builder on the isolated side: buildkitd.toml, the buildx instance, its first start."""
