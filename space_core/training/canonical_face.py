"""The canonical face: the average face of the corpus, to which every face is normalized, and the mesh's triangles.

    pip download --no-deps mediapipe==0.10.21 && unzip mediapipe-*.whl -d WHEEL
    python -m space_core.training.canonical_face CORPUS WHEEL

Generalized Procrustes over one mean face per clip, symmetrized, with the triangles of MediaPipe's tesselation; writes
``weights/canonical_face.safetensors``.
"""

import ast
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from space_core.face.normalization import fit_similarity
from space_core.face.topology import CANONICAL_FACE, NUM_POINTS, NUM_SURFACE_POINTS, OUTER_EYE_CORNERS, RIGID_POINTS
from space_core.measures.corpus import Corpus, corpus_arguments

FRONTAL_FRAMES = 25  # of each clip: those in which the halves of the face differ least in width
ROUNDS = 30


def main() -> None:
    parser = corpus_arguments(__doc__)
    parser.add_argument("wheel", type=Path, metavar="WHEEL", help="folder with the unpacked wheel of MediaPipe")
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus, arguments.cache)
    clips = sorted(row["id"] for row in corpus.clips)
    found = (_frontal_face(corpus.seen_landmarks(clip)) for clip in clips)
    faces = [face for face in found if face is not None]

    mean = _standardized(faces[0])
    for _ in range(ROUNDS):
        mean = _standardized(np.mean([_aligned(face, mean) for face in faces], axis=0))
    triangles = tesselation_triangles(arguments.wheel)
    mirror = _mirror(mean)
    mirrored = mean[mirror] * [-1, 1, 1]
    mean = _standardized((mean + _aligned(mirrored, mean)) / 2)
    mean = (mean + mean[mirror] * [-1, 1, 1]) / 2

    residual = np.mean([np.linalg.norm(_aligned(face, mean) - mean, axis=-1).mean() for face in faces])
    print(f"{len(faces)} faces, mean distance from the canonical face {residual:.4f} outer-eye-corner distances")
    save_file({"vertices": mean, "triangles": triangles, "mirror": mirror}, CANONICAL_FACE)


def tesselation_triangles(wheel: Path) -> np.ndarray:
    """(852, 3) int64, from MediaPipe's source, which lists the edges triangle by triangle."""
    source = ast.parse((wheel / "mediapipe" / "python" / "solutions" / "face_mesh_connections.py").read_text())
    (edges,) = (
        ast.literal_eval(statement.value.args[0])
        for statement in source.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
        if ast.unparse(statement.targets[0]) == "FACEMESH_TESSELATION"
    )
    triangles = [[edges[first][0], edges[first + 1][0], edges[first + 2][0]] for first in range(0, len(edges), 3)]
    return np.array(triangles)


def _frontal_face(landmarks: np.ndarray) -> np.ndarray | None:
    """The mean of a clip's most frontal frames (478, 3)."""
    landmarks = landmarks.astype(np.float64)
    if not len(landmarks):
        return None
    halves = np.abs(landmarks[:, [234, 454], 0] - landmarks[:, [168], 0])
    asymmetry = np.abs(np.log(halves[:, 0] / halves[:, 1]))
    frontal = landmarks[np.argsort(asymmetry)[:FRONTAL_FRAMES]]
    return np.mean([_aligned(face, frontal[0]) for face in frontal], axis=0)


def _aligned(face: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """A face (478, 3) aligned to the reference by a similarity of the points that do not move with expression."""
    rigid = list(RIGID_POINTS)
    scale, rotation, translation = fit_similarity(face[rigid], reference[None, rigid])
    return scale[0] * face @ rotation[0].T + translation[0]


def _standardized(face: np.ndarray) -> np.ndarray:
    """The face (478, 3) with outer eye corners one unit apart and level, the origin between them, and no yaw."""
    left, right = face[list(OUTER_EYE_CORNERS)]
    face = face - (left + right) / 2
    x = (right - left) / np.linalg.norm(right - left)
    z = np.array([0, 0, 1.0]) - x[2] * x
    z /= np.linalg.norm(z)
    return face @ np.stack([x, np.cross(z, x), z], axis=1) / np.linalg.norm(right - left)


def _mirror(face: np.ndarray) -> np.ndarray:
    """(478,) index of the point nearest to each point's mirror image, within the surface and within the irises."""
    mirror = np.empty(NUM_POINTS, np.int64)
    for part in (np.arange(NUM_SURFACE_POINTS), np.arange(NUM_SURFACE_POINTS, NUM_POINTS)):
        distance = np.linalg.norm(face[part][:, None] * [-1, 1, 1] - face[part][None], axis=-1)
        mirror[part] = part[distance.argmin(1)]
    if not np.array_equal(mirror[mirror], np.arange(NUM_POINTS)):
        raise ValueError("the mean face is too asymmetric to pair its points")
    return mirror


if __name__ == "__main__":
    main()
