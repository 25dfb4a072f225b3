"""Stage 1 for speech that is still arriving: counterparts of the modules beside, a few frames at a time."""
