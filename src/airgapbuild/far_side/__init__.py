"""What a bundle brings along for a far side that has no airgapbuild."""
