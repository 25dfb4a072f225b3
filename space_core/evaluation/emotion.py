"""Emotions: growth with intensity, effect on lip sync, and recognition by facial-expression classifiers.

    python -m space_core.evaluation.emotion CORPUS [--generator liveportrait]

Prints how near the displacement of each emotion at rest is to that of an actor whom it was not made from, in the mesh
and as tracked in films; the distance of each emotion from neutral by intensity; by how much it lowers the correlation
of lip opening; and the output of classifiers, see `expression_classifiers.py`, on rendered frames: by how much the
mean probability of each class increases from intensity 0 to 1 of each emotion, over portraits and frames.

The portraits DEVELOPED_ON were used to choose the amounts of action units; results on REPORTED_ON are unbiased.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from space_core.assets import example_path
from space_core.evaluation.expression_classifiers import CLASSES, classify
from space_core.evaluation.lips import predict, validation_clips
from space_core.face.detector import build_detector
from space_core.face.normalization import normalize, pose_landmarks
from space_core.face.portrait import Portrait, prepare_portrait
from space_core.face.topology import canonical_face
from space_core.generator.generator import Generator, Prepared
from space_core.measures.actors import displacements, read_clips, slopes_of, typical_displacements
from space_core.measures.corpus import Corpus
from space_core.measures.emotion_recipes import expression_of
from space_core.measures.lips import best_lag, lip_opening, recorded
from space_core.measures.rendering import corpus_and_generator_from_arguments, render_landmarks
from space_core.media.audio import load_speech
from space_core.media.images import load_photo
from space_core.motion.emotion import emotion_curve
from space_core.motion.emotion_labels import EMOTIONS
from space_core.motion.expression_limits import limit_expression
from space_core.motion.lips import keep_lips_apart, resting_face
from space_core.motion.speech2landmarks import Speech2Landmarks, load_speech2landmarks
from space_core.motion.speech_window import SpeechWindow
from space_core.timing import SAMPLE_RATE

SPEECH = example_path("english_starlight.flac")
SECONDS = 4  # of it
EVERY = 20  # frames between those that are classified
INTENSITIES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)

DEVELOPED_ON = (
    *("joyvasa_joyvasa_005", "joyvasa_joyvasa_006", "hallo_1", "hallo_3", "hallo_4", "hallo_6", "hallo_7"),
    *("musetalk_man", "musetalk_musk", "musetalk_sun", "aniportrait_aragaki", "aniportrait_solo", "memo_dicaprio"),
    *("lia_x_macron", "lia_x_portrait1", "lia_x_portrait2", "lia_x_portrait3", "lia_x_einstein", "actalker_ref"),
    *("liveportrait_s1", "liveportrait_s42", "kdtalker_wra_markwaynemullin_000", "kdtalker_wra_mikejohanns1_000"),
    *("kdtalker_wda_bencardin1_000", "hunyuanportrait_source_image"),
    # These were reported on once.
    *("aniportrait_lyl", "hallo3_0009", "lia_x_taylor", "sonic_leonnado"),
    *(f"v_express_ref{number * '_b'}" for number in (1, 6, 7, 11, 12, 14, 15, 16, 17, 18, 19, 22)),
)
# People in photographs, or in frames that look like one, with open eyes and nothing before the face. Two of them are
# people whom others of the photos above show.
REPORTED_ON = (
    *("hallo3_0001", "liveportrait_s2", "liveportrait_s11", "liveportrait_s12", "musetalk_video1", "sonic_hair"),
    *(f"v_express_ref{number * '_b'}" for number in (0, 3, 8, 13, 21)),
)
FILMED = ("liveportrait_s2", "liveportrait_s11", "v_express_ref", "v_express_ref_b_b_b")  # and tracked
# Mean displacements (478, 3) by actor and emotion.
Displacements = dict[str, dict[str, np.ndarray]]


def main() -> None:
    report(*corpus_and_generator_from_arguments(__doc__))


def report(corpus: Corpus, generator: Generator[Any]) -> None:
    """Prints the figures named at the top of this file."""
    report_actors(corpus, generator)
    report_growth()
    report_lip_sync(corpus)
    folder = os.environ.get("SPACE_CLASSIFIERS")
    if not folder:
        print("No classifiers: SPACE_CLASSIFIERS names no folder with facial-expression classifiers.")
        return
    for title, names in (("developed on", DEVELOPED_ON), ("reported on", REPORTED_ON)):
        results = classify(Path(folder), rendered(corpus, generator, names))
        if len(results) > 1:
            results["mean over the classifiers"] = np.nanmean(list(results.values()), axis=0)
        for name, probabilities in results.items():
            print(f"\n{name}, {len(names)} portraits {title}: growth of each class from intensity 0 to 1, in percent")
            report_classes(probabilities)


def report_actors(corpus: Corpus, generator: Generator[Any]) -> None:
    """Prints, for every actor, how near emotions made from the others are to the actor's mean displacements.

    Once as they displace the mesh, and once as tracked in films, as the actor's were: the tracker shows half of how
    far brows move, and hardly any frown.
    """
    clips = read_clips(corpus)
    slopes = slopes_of([clip.faces for clip in clips], [clip.poses for clip in clips])
    measured = displacements(clips, slopes)
    made = {}
    for actor in measured:
        others = typical_displacements(own for name, own in measured.items() if name != actor)
        made[actor] = {emotion: np.add(*expression_of(emotion, others[emotion])) for emotion in EMOTIONS[1:]}
    report_nearness("the mesh", made, measured)
    report_nearness("films, tracked", tracked_in_films(corpus, generator, made, slopes), measured)


def report_nearness(title: str, ours: Displacements, measured: Displacements) -> None:
    """Prints how near displacements made for every actor are to the measured ones.

    From neutral, and from the mean over all emotions, which does without the few frames of a neutral face.
    """
    figures: dict[str, list[tuple[float, float, bool]]] = {"neutral": [], "all emotions' mean": []}
    for actor, truths in measured.items():
        made = ours[actor]
        mean, true_mean = (np.mean(list(each.values()), axis=0) for each in (made, truths))
        for emotion, truth in truths.items():
            line = f"{title}: {actor[-5:-1]:5s} {emotion:10s}"
            for reference, zero, true_zero in (("neutral", 0.0, 0.0), ("all emotions' mean", mean, true_mean)):
                cosines = {label: cosine(offset - zero, truth - true_zero) for label, offset in made.items()}
                nearest = max(cosines, key=lambda label: cosines[label])
                length = float(np.linalg.norm(made[emotion] - zero) / np.linalg.norm(truth - true_zero))
                figures[reference].append((cosines[emotion], length, nearest == emotion))
                line += f" | from {reference}: cosine {cosines[emotion]:+.2f}, length {length:.2f}, nearest: {nearest}"
            print(line)
    for reference, rows in figures.items():
        mean = np.mean(rows, axis=0)
        print(
            f"{title}: mean of {len(rows)}, from {reference}: cosine {mean[0]:.2f}, length {mean[1]:.2f}, "
            f"nearest is the emotion meant: {mean[2]:.0%}"
        )


def tracked_in_films(
    corpus: Corpus, generator: Generator[Any], made: Displacements, slopes: np.ndarray
) -> Displacements:
    """Displacements as tracked in silent films of the portraits FILMED, averaged over these.

    ``slopes`` are those of ``slopes_of``.
    """
    detector = build_detector("mediapipe")
    offsets = np.stack([made[actor][emotion] for actor in made for emotion in EMOTIONS[1:]])
    offsets = np.concatenate([np.zeros_like(offsets[:1]), offsets])
    seen = []
    for name in FILMED:
        portrait = prepare_portrait(load_photo(corpus.folder / "portraits" / f"{name}.jpg"), detector)
        rest = resting_face(portrait.normalized, load_speech2landmarks().basis)
        landmarks = keep_lips_apart(rest + limit_expression(offsets, rest), rest)
        frames = still_frames(generator, generator.prepare(portrait), portrait, landmarks)
        faces, pose = normalize(np.array([detector.detect(frame)[0] for frame in frames]))
        faces -= np.tensordot(pose.rotation, slopes[:3], 1)
        seen.append(faces[1:] - faces[0])
    means = np.mean(seen, axis=0).reshape(len(made), len(EMOTIONS) - 1, *slopes.shape[1:])
    return {actor: dict(zip(EMOTIONS[1:], own, strict=True)) for actor, own in zip(made, means, strict=True)}


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine of the angle between two displacements, as vectors of all their coordinates."""
    return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))


def report_growth() -> None:
    """Prints each emotion's distance from neutral: root mean square, in hundredths of outer-eye-corner distances."""
    model, face = load_speech2landmarks(), canonical_face().vertices
    speech = load_speech(SPEECH)[: SECONDS * SAMPLE_RATE]
    neutral = predict(model, speech, face, "neutral", 0)
    print("distance from neutral at intensity " + ", ".join(f"{intensity:g}" for intensity in INTENSITIES))
    for emotion in EMOTIONS:
        landmarks = [predict(model, speech, face, emotion, intensity) for intensity in (0, *INTENSITIES)]
        distances = 100 * np.array([np.sqrt(((each - neutral) ** 2).sum(-1).mean(-1)) for each in landmarks])
        grows = "grows in every frame" if (np.diff(distances, axis=0) > 0).all() else "does not grow in every frame"
        print(
            f"{emotion:10s} {' '.join(f'{value:.2f}' for value in distances[1:].mean(1))}; {grows}; "
            f"largest difference at intensity 0: {np.abs(landmarks[0] - neutral).max():g}"
        )


def report_lip_sync(corpus: Corpus) -> None:
    """Prints the loss of correlation with recorded lip opening, and the amplitude of the lips relative to neutral."""
    model = load_speech2landmarks()
    losses: dict[str, list[float]] = {emotion: [] for emotion in EMOTIONS[1:]}
    amplitudes: dict[str, list[float]] = {emotion: [] for emotion in EMOTIONS[1:]}
    for clip in validation_clips(corpus):
        speech = corpus.speech(clip["id"])
        truth, portrait = recorded(corpus.landmarks(clip["id"]))
        windows = list(model.analyse(speech))
        neutral = opening_of(model, windows, portrait, "neutral")
        for emotion in losses:
            opening = opening_of(model, windows, portrait, emotion)
            correlations = [best_lag(curve, truth[:, 0], 0)[1] for curve in (neutral, opening)]
            losses[emotion].append(correlations[0] - correlations[1])
            amplitudes[emotion].append(opening.std() / neutral.std())
    for emotion, loss in losses.items():
        amplitude = amplitudes[emotion]
        print(f"{emotion:10s} correlation lost {np.mean(loss):+.3f}, at most {np.max(loss):+.3f}; ", end="")
        print(f"amplitude of the lips relative to neutral {np.mean(amplitude):.2f}")


def opening_of(model: Speech2Landmarks, windows: list[SpeechWindow], portrait: np.ndarray, emotion: str) -> np.ndarray:
    """Lip opening (T,) of analysed speech under an emotion, for a portrait's normalized landmarks (478, 3)."""
    curve = emotion_curve(emotion, 1.0, sum(len(window.activity) for window in windows))
    landmarks = [chunk for chunk, _ in model.predict_with_closure(windows, portrait, curve)]
    return lip_opening(np.concatenate(landmarks))


def rendered(corpus: Corpus, generator: Generator[Any], names: tuple[str, ...]) -> np.ndarray:
    """Frames (portraits, 8 emotions at intensity 1, frames, 512, 512, 3) without head motion or blinks."""
    model, speech = load_speech2landmarks(), load_speech(SPEECH)[: SECONDS * SAMPLE_RATE]
    detector = build_detector("mediapipe")
    portraits = []
    for name in names:
        portrait = prepare_portrait(load_photo(corpus.folder / "portraits" / f"{name}.jpg"), detector)
        prepared = generator.prepare(portrait)
        videos = []
        for emotion in EMOTIONS:
            landmarks = predict(model, speech, portrait.normalized, emotion)[EVERY::EVERY]
            videos.append(still_frames(generator, prepared, portrait, landmarks))
        portraits.append(videos)
    return np.array(portraits)


def still_frames(
    generator: Generator[Prepared], prepared: Prepared, portrait: Portrait, landmarks: np.ndarray
) -> list[np.ndarray]:
    """Frames (512, 512, 3) of normalized landmarks (T, 478, 3), the head as in the photo."""
    return list(render_landmarks(generator, prepared, pose_landmarks(landmarks, portrait.pose.held(len(landmarks)))))


def report_classes(probabilities: np.ndarray) -> None:
    """Prints the table of one classifier, from its probabilities (portraits, emotions, classes)."""
    print(f"{'':10s} " + " ".join(f"{name[:9]:>9s}" for name in CLASSES) + "   first, in portraits")
    recognized = 0
    for index, emotion in enumerate(EMOTIONS):
        # Neutral is compared with the mean of all others.
        before = probabilities[:, 1:].mean(1) if emotion == "neutral" else probabilities[:, 0]
        growth = probabilities[:, index] - before
        row = f"{emotion:10s} " + " ".join(f"{100 * value:+9.1f}" for value in np.nanmean(growth, axis=0))
        if emotion in CLASSES:
            meant = CLASSES.index(emotion)
            first = np.nanmean(growth, axis=0).argmax() == meant
            recognized += first
            row += f"   {'yes' if first else 'no':5s} {(growth.argmax(1) == meant).sum():2d} of {len(growth)}"
        print(row)
    print(f"read as meant: {recognized} of {len(CLASSES)} classes")


if __name__ == "__main__":
    main()
