"""Glasses: found in a photo, cut out of it, and drawn over the moving face."""
