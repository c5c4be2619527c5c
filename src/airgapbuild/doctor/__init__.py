"""What stands in the way at a site, and the line that mends it: looked at, never changed."""
