"""The linear map from 68 face points to the whole face mesh.

    python -m space_core.training.landmark_lift CORPUS

Ridge regression over tracked faces; the input is their mesh points at the places of the 68. Writes
``weights/landmark_lift.safetensors`` and prints the error on the validation clips. Takes seconds.
"""

import numpy as np
from safetensors.numpy import save_file

from space_core.face.landmark_lift import COUNTERPARTS, USED, WEIGHTS, lift, similarity
from space_core.face.topology import NUM_SURFACE_POINTS
from space_core.measures.corpus import corpus_from_arguments

FRAMES_PER_CLIP = 60
# Other detectors place the 68 points differently from the mesh, in depth most of all.
INPUT_NOISE = np.array([0.015, 0.015, 0.04])  # standard deviation in units of the normalized face
RIDGE = 1e-4  # in addition to that noise, which acts as one
SEED = 0


def main() -> None:
    corpus = corpus_from_arguments(__doc__)
    frames = {row["id"]: _frames(corpus.seen_landmarks(row["id"])) for row in corpus.clips}
    training = np.concatenate([frames[clip] for clip in sorted(frames) if clip not in corpus.held_out])
    validation = np.concatenate([frames[clip] for clip in sorted(frames) if clip in corpus.held_out])

    meshes = np.stack([_aligned(mesh) for mesh in training]).reshape(len(training), -1)
    inputs = meshes.reshape(len(training), -1, 3)[:, list(COUNTERPARTS)]
    mean, points_mean = meshes.mean(0), inputs.mean(0)
    centred = (inputs - points_mean).reshape(len(training), -1)
    noise = np.tile(INPUT_NOISE**2, len(COUNTERPARTS)) + RIDGE
    squares = centred.T @ centred / len(centred) + np.diag(noise)
    matrix = np.linalg.solve(squares, centred.T @ (meshes - mean) / len(centred))
    weights = {"matrix": matrix, "mean": mean, "points_mean": points_mean}
    save_file({name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()}, WEIGHTS)

    print(f"{len(training)} frames to train on, {len(validation)} to validate on")
    random = np.random.default_rng(SEED)
    for name, deviation in (("exact points", 0 * INPUT_NOISE), ("points with the noise above", INPUT_NOISE)):
        error, flat = [], []
        for mesh in validation:
            points = np.zeros((68, 3))
            points[list(USED)] = mesh[list(COUNTERPARTS)]
            size = similarity(mesh[list(COUNTERPARTS)])[0]
            difference = lift(points + size * deviation * random.standard_normal(points.shape)) - mesh
            error.append(np.linalg.norm(difference[:NUM_SURFACE_POINTS], axis=1).mean() / size)
            flat.append(np.linalg.norm(difference[:NUM_SURFACE_POINTS, :2], axis=1).mean() / size)
        print(f"{name}: mean error {np.mean(error):.4f} in space, {np.mean(flat):.4f} in the image")
    print("(1 is the distance of the outer eye corners)")


def _frames(landmarks: np.ndarray) -> np.ndarray:
    """Evenly spaced frames (N, 478, 3) of a clip's landmarks."""
    chosen = np.linspace(0, len(landmarks) - 1, FRAMES_PER_CLIP if len(landmarks) else 0)
    return landmarks[np.unique(chosen.astype(int))].astype(np.float64)


def _aligned(mesh: np.ndarray) -> np.ndarray:
    scale, rotation, origin = similarity(mesh[list(COUNTERPARTS)])
    return (mesh - origin) @ rotation / scale


if __name__ == "__main__":
    main()
