"""Networks in TensorFlow Lite's files: which operators they have, and their numbers as torch lays them out."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# TensorFlow Lite's numbers of the operators that have weights, and of those that only convert them.
CONVOLUTION, DEPTHWISE, CUSTOM, PRELU = 3, 4, 32, 54
DEQUANTIZE, DENSIFY = 6, 124
TENSOR_TYPES = {0: np.float32, 1: np.float16, 2: np.int32}
INDEX_TYPES = {1: np.int32, 2: np.uint16, 3: np.uint8}  # of sparse tensors


@dataclass(frozen=True)
class Operator:
    """A node of a graph: what it computes, and the indices of its tensors."""

    code: int
    name: str  # of custom ones
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: bytes  # of custom ones


@dataclass(frozen=True)
class Graph:
    """A network as TensorFlow Lite stores it: operators in the order in which they run, and constant tensors."""

    operators: tuple[Operator, ...]
    constants: dict[int, np.ndarray]
    outputs: dict[str, int]

    def parameters(self, outputs: Iterable[str] | None = None, known: Iterable[np.ndarray] = ()) -> list[np.ndarray]:
        """Weights, biases and slopes in the order in which they are used, laid out as torch does.

        Only of what leads to some outputs, if these are named, and without those ``known``.
        """
        needed = self._needed(outputs) if outputs is not None else set(self.operators)
        arrays = [array for operator in self.operators if operator in needed for array in self._parameters_of(operator)]
        return [array for array in arrays if not any(array is other for other in known)]

    def _parameters_of(self, operator: Operator) -> list[np.ndarray]:
        if operator.code not in (CONVOLUTION, DEPTHWISE, PRELU) and operator.name != "Convolution2DTransposeBias":
            return []
        return [self.constants[index] for index in operator.inputs[1:]]

    def _needed(self, outputs: Iterable[str]) -> set[Operator]:
        tensors, needed = {self.outputs[name] for name in outputs}, set()
        for operator in reversed(self.operators):
            if tensors & set(operator.outputs):
                needed.add(operator)
                tensors |= set(operator.inputs)
        return needed


def read_graph(file: Path) -> Graph:
    """The network in a tflite file; constants as torch lays them out: (out, in, height, width)."""
    data = file.read_bytes()
    model = Table(data, struct.unpack_from("<I", data)[0])
    kinds = [(max(code.number(0, "b"), code.number(3, "i")), bytes(code.array(1)).decode()) for code in model.tables(1)]
    buffers = [buffer.array(0) for buffer in model.tables(4)]
    (graph,) = model.tables(2)
    tensors = graph.tables(0)
    constants = {
        index: _dense(tensor, buffers[tensor.number(2, "I")])
        for index, tensor in enumerate(tensors)
        if len(buffers[tensor.number(2, "I")])
    }
    operators = []
    for node in graph.tables(3):
        inputs, outputs = (tuple(node.array(slot, np.int32).tolist()) for slot in (1, 2))
        code, name = kinds[node.number(0, "I")]
        if code in (DEQUANTIZE, DENSIFY):
            constants[outputs[0]] = constants[inputs[0]]
            continue
        operators.append(Operator(code, name, inputs, outputs, bytes(node.array(5))))
    for operator in operators:
        if len(operator.inputs) > 1 and operator.inputs[1] in constants:
            constants[operator.inputs[1]] = _as_torch(operator, constants[operator.inputs[1]])
    names = {bytes(tensors[index].array(3)).decode(): index for index in graph.array(2, np.int32).tolist()}
    return Graph(tuple(operators), constants, names)


class Table:
    """A table of a FlatBuffers file, its fields by their place in TensorFlow Lite's schema."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._start = data, start
        self._fields = start - struct.unpack_from("<i", data, start)[0]
        self._size = struct.unpack_from("<H", data, self._fields)[0]

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        offset = struct.unpack_from("<H", self._data, self._fields + entry)[0] if entry < self._size else 0
        return self._start + offset if offset else None

    def _target(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else place + struct.unpack_from("<I", self._data, place)[0]

    def number(self, field: int, code: str) -> int:
        """A scalar with the struct module's code; 0 where it is left out."""
        place = self._place(field)
        return 0 if place is None else struct.unpack_from(f"<{code}", self._data, place)[0]

    def array(self, field: int, dtype: type = np.uint8) -> np.ndarray:
        """A vector of numbers; empty where it is left out."""
        place = self._target(field)
        if place is None:
            return np.array([], dtype)
        return np.frombuffer(self._data, dtype, struct.unpack_from("<I", self._data, place)[0], place + 4)

    def table(self, field: int) -> "Table | None":
        """The table in a field; None if there is none."""
        place = self._target(field)
        return None if place is None else Table(self._data, place)

    def tables(self, field: int) -> list["Table"]:
        """A vector of tables."""
        place = self._target(field)
        places = [] if place is None else [place + 4 + 4 * n for n in range(len(self.array(field, np.uint32)))]
        return [Table(self._data, place + struct.unpack_from("<I", self._data, place)[0]) for place in places]


def _dense(tensor: Table, buffer: np.ndarray) -> np.ndarray:
    """A constant tensor; a sparse one has its last axis stored as compressed rows."""
    shape = tensor.array(0, np.int32)
    values = np.frombuffer(buffer.tobytes(), TENSOR_TYPES[tensor.number(1, "b")])
    sparsity = tensor.table(6)
    if sparsity is None:
        return values.reshape(shape)
    rows = sparsity.tables(2)[-1]
    ends, columns = (
        Table.array(table, 0, INDEX_TYPES[rows.number(field - 1, "b")]).astype(int)
        for field in (3, 5)
        if (table := rows.table(field)) is not None
    )
    dense = np.zeros((int(np.prod(shape[:-1])), shape[-1]), values.dtype)
    dense[np.repeat(np.arange(len(dense)), np.diff(ends)), columns] = values
    return dense.reshape(shape)


def _as_torch(operator: Operator, weights: np.ndarray) -> np.ndarray:
    if operator.code == CONVOLUTION:  # out, height, width, in
        return weights.transpose(0, 3, 1, 2)
    # Depthwise: 1, height, width, channels; the custom transposed one: out, height, width, in.
    if operator.code in (DEPTHWISE, CUSTOM):
        return weights.transpose(3, 0, 1, 2)
    return weights.ravel() if operator.code == PRELU else weights
