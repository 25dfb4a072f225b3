"""Stage 3: from a portrait and its posed landmarks to frames."""
