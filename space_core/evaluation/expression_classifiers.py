"""Classifiers of facial expressions, as judges that no part of the product uses; each runs in a program of its own.

The classifiers are installed in a folder named by the environment variable SPACE_CLASSIFIERS:

    python -m venv venv && venv/bin/pip install fer==25.10.3 "setuptools<80"
    npm install @vladmandic/face-api @vladmandic/human @tensorflow/tfjs @tensorflow/tfjs-backend-wasm

`human` runs a network of the same architecture as `fer`.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from space_core.face.crop_size import SIZE

# Of the classifiers, whose names of a class differ in the ends of the words.
CLASSES = ("angry", "disgusted", "fear", "happy", "sad", "surprised", "neutral")
STEM = 4  # letters that they have in common

FER = """
import json, sys
import cv2, numpy
from fer.fer import FER
classifier = FER()
for frame in numpy.fromfile(sys.argv[1], numpy.uint8).reshape(-1, int(sys.argv[2]), int(sys.argv[2]), 3):
    faces = classifier.detect_emotions(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    largest = max(faces, key=lambda face: face["box"][2], default=None)
    print("RESULT", json.dumps(largest and {name: float(value) for name, value in largest["emotions"].items()}))
"""

NODE = """
const fs = require('fs'), path = require('path');
const [file, side, modules, which] = process.argv.slice(1);
const load = (name) => require(path.join(modules, name));
const wasmPath = path.join(modules, '@tensorflow/tfjs-backend-wasm/dist/');

const faceApi = async () => {
  const tf = load('@tensorflow/tfjs');
  load('@tensorflow/tfjs-backend-wasm').setWasmPaths(wasmPath);
  await tf.setBackend('wasm');
  const api = load('@vladmandic/face-api/dist/face-api.node-wasm.js');
  const models = path.join(modules, '@vladmandic/face-api/model');
  await api.nets.ssdMobilenetv1.loadFromDisk(models);
  await api.nets.faceExpressionNet.loadFromDisk(models);
  return [tf, async (frame) => (await api.detectSingleFace(frame).withFaceExpressions())?.expressions];
};

const human = async () => {
  load('@tensorflow/tfjs');
  load('@tensorflow/tfjs-backend-wasm').setWasmPaths(wasmPath);
  const models = path.join(modules, '@vladmandic/human/models');
  const server = require('http').createServer((asked, answer) =>
    answer.end(fs.readFileSync(path.join(models, path.basename(asked.url)))));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const always = { skipTime: 0, skipFrames: 0 }, off = { enabled: false };
  const { Human } = load('@vladmandic/human/dist/human.node-wasm.js');
  const detector = new Human({
    backend: 'wasm', wasmPath, wasmPlatformFetch: false, cacheSensitivity: 0, cacheModels: false,
    modelBasePath: `http://127.0.0.1:${server.address().port}/`, filter: off, body: off, hand: off, object: off,
    gesture: off, segmentation: off,
    face: { detector: { maxDetected: 1, ...always }, emotion: { enabled: true, minConfidence: 0, ...always },
      iris: off, description: off, antispoof: off, liveness: off } });
  await detector.load();
  return [detector.tf, async (frame) => {
    const read = (await detector.detect(frame)).face[0]?.emotion;
    return read && Object.fromEntries(read.map((row) => [row.emotion, row.score]));
  }];
};

(async () => {
  const [tf, classify] = await (which === 'human' ? human : faceApi)();
  const pixels = fs.readFileSync(file), size = side * side * 3;
  for (let first = 0; first < pixels.length; first += size) {
    const frame = tf.tensor3d(new Uint8Array(pixels.subarray(first, first + size)), [+side, +side, 3], 'int32');
    console.log('RESULT', JSON.stringify((await classify(frame)) ?? null));
    frame.dispose();
  }
  process.exit(0);
})().catch((failure) => { console.error(failure); process.exit(1); });
"""


def classify(folder: Path, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities (portraits, emotions, classes), means over frames, by each classifier in the folder.

    NaN where no face was found in any frame.
    """
    python, modules = folder / "venv" / "bin" / "python", folder / "node_modules"
    classifiers: dict[str, tuple[Path, list[str | Path | int]]] = {
        "fer": (python, [python, "-c", FER, "{file}", SIZE]),
        "face-api": (modules / "@vladmandic" / "face-api", ["node", "-e", NODE, "{file}", SIZE, modules, "face-api"]),
        "human": (modules / "@vladmandic" / "human", ["node", "-e", NODE, "{file}", SIZE, modules, "human"]),
    }
    results = {}
    with tempfile.NamedTemporaryFile() as file:
        frames.tofile(file.name)
        for name, (installed, command) in classifiers.items():
            if not installed.exists():
                print(
                    f"{name} is absent: there is no {installed.relative_to(folder)} in the folder of the classifiers."
                )
                continue
            arguments = [file.name if part == "{file}" else str(part) for part in command]
            answer = subprocess.run(arguments, capture_output=True, text=True)
            if answer.returncode:
                print(f"{name} failed: {answer.stderr.strip()[-300:]}")
                continue
            rows = [json.loads(line[6:]) for line in answer.stdout.splitlines() if line.startswith("RESULT")]
            probabilities = np.array([in_order(row) for row in rows]).reshape(*frames.shape[:3], len(CLASSES))
            results[name] = np.nanmean(probabilities, axis=2)
    return results


def in_order(row: dict[str, float] | None) -> list[float]:
    """A classifier's probabilities of a frame, in the order of ``CLASSES``; NaN where it found no face."""
    if row is None:
        return [np.nan] * len(CLASSES)
    found = {name[:STEM]: value for name, value in row.items()}
    return [found.get(name[:STEM], 0.0) for name in CLASSES]
