"""Live streams: frames of a talking portrait for speech that is still arriving, half a second after it."""
