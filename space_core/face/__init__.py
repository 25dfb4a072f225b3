"""What a face is: detectors, mesh topology, normalization, the portrait."""
