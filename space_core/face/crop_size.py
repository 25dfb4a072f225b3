"""How large a portrait's crop is."""

SIZE = 512  # side of the crop and of every frame, pixels
MARGIN = 64  # how far the surroundings reach beyond the crop, pixels: what a turning head may bring into view
