"""The layers of the package: a module imports downwards only. A "part" is a subpackage or a module beside them."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "space_core"

FOUNDATION = {
    "arrays",
    "assets",
    "errors",
    "generators",
    "option_fields",
    "processes",
    "progress",
    "shallow_json",
    "timing",
    "version",
}  # modules that every part may import
STAGES = {"media", "face", "motion", "latents", "generator"}
# What assembles the stages, and what users meet.
PIPELINE = {
    "animation",
    "comparison",
    "device",
    "fault_reasons",
    "frame_iterator",
    "inputs",
    "live",
    "output",
    "neural",
    "pipeline",
    "portrait_cache",
    "published_weights",
    "stages",
}
INTERFACES = {"__init__", "__main__", "cli", "terminal", "web", "cluster"}
LABORATORY = {"measures", "training", "evaluation"}

# By part, what it must not import.
FORBIDDEN = {
    "media": {"face", "motion", "latents", "generator", "options"},
    "face": {"media", "motion", "latents", "generator", "options"},
    "motion": {"generator", "latents"},
    "latents": {"media", "motion", "generator", "options"},
    "generator": {"media", "motion", "latents"},
    "options": STAGES - {"face", "motion"},
    "cli": {"latents", "generator"},
    "web": {"latents", "generator"},
    "cluster": {"motion", "latents", "generator", "web"},
    "measures": {"training", "evaluation"},
    "training": {"evaluation"},
    "evaluation": {"training"},
}


def _modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, ``space_core`` left out."""
    modules = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return modules


def _imports(path: Path) -> set[str]:
    """The dotted names that a module imports from the package, also within functions, without ``space_core``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("space_core.") for name in names if name.startswith("space_core.")}
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _part(name: str) -> str:
    return name.split(".")[0]


@pytest.fixture(scope="module")
def imports() -> dict[str, dict[str, set[str]]]:
    """By part, the parts that it imports, each with the modules that do."""
    parts = defaultdict(lambda: defaultdict(set))
    for name, path in _modules().items():
        for imported in _imports(path):
            if _part(imported) != _part(name):
                parts[_part(name)][_part(imported)].add(name)
    return parts


def test_every_part_has_its_layer():
    layers = [FOUNDATION, {"options"}, STAGES, PIPELINE, INTERFACES, LABORATORY]
    assert sorted(part for layer in layers for part in layer) == sorted({_part(name) for name in _modules()})


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_a_part_does_not_import_what_lies_beside_or_above_it(imports, part):
    assert {other: imports[part][other] for other in FORBIDDEN[part] if other in imports[part]} == {}


def test_the_product_imports_neither_training_nor_evaluation_nor_what_they_share(imports):
    product = set(imports) - LABORATORY
    assert {part: set(imports[part]) & LABORATORY for part in product if set(imports[part]) & LABORATORY} == {}


@pytest.mark.parametrize("part", sorted(FOUNDATION | STAGES | {"options"}))
def test_nothing_below_imports_the_pipeline_or_an_interface(imports, part):
    assert set(imports[part]) & (PIPELINE | INTERFACES) == set()


@pytest.mark.parametrize("part", sorted(PIPELINE))
def test_the_pipeline_imports_no_interface(imports, part):
    assert set(imports[part]) & INTERFACES == set()


@pytest.mark.parametrize("part", sorted(FOUNDATION))
def test_the_foundation_imports_nothing_above_it(imports, part):
    assert set(imports[part]) <= FOUNDATION


def test_of_stage_1_the_planner_alone_imports_what_streams_need():
    importing = {
        name
        for name, path in _modules().items()
        if _part(name) == "motion" and not name.startswith("motion.live")
        if any(imported.startswith("motion.live") for imported in _imports(path))
    }
    assert importing == {"motion.planner"}


def test_no_part_uses_the_private_names_of_another():
    private = {
        f"{name}: {imported}"
        for name, path in _modules().items()
        for imported in _imports(path)
        if _part(imported) != _part(name) and any(map(_is_private, imported.split(".")))
    }
    assert private == set()


def test_modules_import_each_other_without_cycles():
    modules = _modules()
    graph = {}
    for name, path in modules.items():
        # ``from package import module`` names the module, ``from module import thing`` the module and a thing.
        imported = {target if target in modules else target.rpartition(".")[0] for target in _imports(path)}
        graph[name] = imported & set(modules) - {name}
    while leaves := {name for name, imported in graph.items() if not imported}:
        graph = {name: imported - leaves for name, imported in graph.items() if name not in leaves}
    assert graph == {}, f"each of these imports, directly or not, itself or a module of such a cycle: {sorted(graph)}"
