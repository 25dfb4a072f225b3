"""Live streams: speech that arrives in pieces becomes the frames of a portrait that says it, half a second later."""
