"""Compositing: a film's frames out of the photo's person, warped, in front of a background that stands still."""
