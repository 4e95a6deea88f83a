"""The page of `peekaboo web`: name an object in a picture, watch its mask come, and take it away."""
