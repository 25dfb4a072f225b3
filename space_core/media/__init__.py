"""Files in and out: audio, images, video."""
