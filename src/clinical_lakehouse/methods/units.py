"""UCUM units on the driver: is a unit valid, and which factor leads to another one."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

from lark import Lark, Token, Tree
from lark.exceptions import LarkError, VisitError
from pint.errors import PintError
from ucumvert import PintUcumRegistry, UcumToPintTransformer, get_ucum_parser

from clinical_lakehouse.methods.lab_analytes import Analyte

_ESSENCE = "{http://unitsofmeasure.org/ucum-essence}"
# UCUM calls an equivalent a mole, but its valence decides; osmoles count dissolved particles.
_OWN_KIND = frozenset({"eq", "osm"})
# Atoms whose size in pint is not the UCUM essence's (a test compares all): better none than wrong.
_DISPUTED = frozenset({"[rd_br]", "[Cal]", "[Btu]", "[in_i'H2O]", "[in_i'Hg]", "[LPF]"})
_ENZYME = frozenset({"U", "kat"})
Kinds = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Conversion:
    """value in the new unit = value * factor + offset; without a way both are null, and `rule`
    says why."""

    factor: float | None
    offset: float | None
    rule: str

    @property
    def is_known(self) -> bool:
        """Is there a factor?"""
        return self.factor is not None


@dataclass(frozen=True)
class _Unit:
    """A parsed unit: its quantity, the atoms that convert only to themselves, annotations."""

    quantity: Any
    kinds: Kinds
    annotations: frozenset[str]
    is_enzyme: bool


def is_ucum(unit: str) -> bool:
    """Is the text a valid case-sensitive UCUM unit (UCUM 2.2, section 2)?"""
    return _tree(unit) is not None


def conversion(source: str, target: str, analyte: Analyte | None = None) -> Conversion:
    """How a value in UCUM unit `source` becomes one in `target`.

    Mass and amount of substance meet only by the analyte's molar mass (g/mol), equivalents and
    moles only by its valence; arbitrary units (UCUM 2.2, section 24) only meet themselves.
    """
    if not is_ucum(source) or not is_ucum(target):
        return _none("unknown_unit")
    if source == target:
        return Conversion(1.0, 0.0, "same_unit")
    before, after = _parsed(source), _parsed(target)
    if before is None or after is None:
        return _none("no_conversion")
    if before.annotations and after.annotations and before.annotations != after.annotations:
        return _none("annotations_differ")
    if before.kinds == after.kinds:
        straight = _affine(before.quantity, after.quantity)
        return straight if straight.is_known else _by_molar_mass(before, after, analyte)
    return _by_valence(before, after, analyte)


def _by_molar_mass(before: _Unit, after: _Unit, analyte: Analyte | None) -> Conversion:
    """A unit of catalytic activity holds moles of substrate, so it is never a mass."""
    is_enzyme = before.is_enzyme or after.is_enzyme
    if is_enzyme or analyte is None or analyte.molar_mass is None:
        return _none("no_conversion")
    molar_mass = _registry().Quantity(analyte.molar_mass, "g/mol")
    for one, other, rule in ((1, molar_mass, "mass_to_molar"), (molar_mass, 1, "molar_to_mass")):
        try:
            found = (before.quantity * one / other).to(after.quantity.units)
        except PintError:
            continue
        return Conversion(_clean(found.magnitude / after.quantity.magnitude), 0.0, rule)
    return _none("no_conversion")


def _by_valence(before: _Unit, after: _Unit, analyte: Analyte | None) -> Conversion:
    """eq = mol * valence: only where equivalents are all that sets the two units apart."""
    kinds = dict(before.kinds), dict(after.kinds)
    difference = kinds[0].pop("eq", 0) - kinds[1].pop("eq", 0)
    if analyte is None or analyte.valence is None or kinds[0] != kinds[1]:
        return _none("no_conversion")
    straight = _affine(before.quantity, after.quantity)
    if straight.factor is None:
        return straight
    return Conversion(_clean(straight.factor / analyte.valence**difference), 0.0, "valence")


def _affine(before: Any, after: Any) -> Conversion:
    """Factor and offset from three points, so that a logarithmic unit is not taken for linear."""
    quantity, scale = _registry().Quantity, after.magnitude
    try:
        points = [
            quantity(before.magnitude * x, before.units).to(after.units).magnitude / scale
            for x in (0, 1, 2)
        ]
    except (PintError, ValueError, ZeroDivisionError, OverflowError):
        return _none("no_conversion")
    low, middle, high = points
    if abs((high - low) - 2 * (middle - low)) > 1e-9 * max(abs(high), abs(low), 1e-300):
        return _none("no_conversion")
    return Conversion(_clean(middle - low), _clean(low), "affine" if low else "ucum")


def _none(rule: str) -> Conversion:
    return Conversion(None, None, rule)


def _clean(number: float) -> float:
    """Twelve digits: binary dust of products of powers of ten goes."""
    return float(f"{number:.12g}")


@cache
def _parser() -> Lark:
    return get_ucum_parser()


@cache
def _registry() -> Any:
    return PintUcumRegistry()


@cache
def _arbitrary_atoms() -> frozenset[str]:
    """Atoms the UCUM essence marks as arbitrary: [IU], [arb'U], ..."""
    essence = files("ucumvert") / "vendor" / "ucum-essence.xml"
    units = ElementTree.fromstring(essence.read_bytes()).iter(f"{_ESSENCE}unit")
    return frozenset(unit.get("Code", "") for unit in units if unit.get("isArbitrary") == "yes")


@cache
def _tree(unit: str) -> Tree[Token] | None:
    """The parse tree, or None. The library lets a number carry an exponent (10+3): UCUM does not,
    it writes 10*3."""
    try:
        tree: Tree[Token] = _parser().parse(unit)
    except LarkError:
        return None
    raised = [node for node in tree.find_data("annotatable") if len(node.children) == 2]
    bases = [node.children[0] for node in raised]
    return None if any(isinstance(b, Tree) and _is_number(b) for b in bases) else tree


def _is_number(node: Tree[Token]) -> bool:
    return node.data == "simple_unit" and str(getattr(node.children[0], "type", "")) == "FACTOR"


@cache
def _parsed(unit: str) -> _Unit | None:
    """The unit with its quantity; None where UCUM's unit is no product (pH, Cel/h)."""
    tree = _tree(unit)
    if tree is None:
        return None
    try:
        made = UcumToPintTransformer(ureg=_registry()).transform(tree)
        quantity = _registry().Quantity(1 if isinstance(made, Token) else made)
    except (VisitError, PintError):
        return None
    powers: dict[str, int] = {}
    notes: set[str] = set()
    _collect(tree, 1, powers, notes)
    special = {a: n for a, n in powers.items() if n}
    atoms = {str(node.children[-1]) for node in tree.find_data("simple_unit")}
    kinds = tuple(sorted(special.items()))
    return _Unit(quantity, kinds, frozenset(notes), bool(atoms & _ENZYME))


def _collect(node: Any, sign: int, powers: dict[str, int], notes: set[str]) -> None:
    """Sum the exponents of atoms that convert only to themselves, and note the annotations."""
    if isinstance(node, Token):
        if node.type == "ANNOTATION":
            notes.add(str(node))
        return
    children = list(node.children)
    if node.data == "simple_unit":
        atom = str(children[-1])
        atom = "[IU]" if atom == "[iU]" else atom
        if atom in _arbitrary_atoms() | _OWN_KIND | _DISPUTED:
            powers[atom] = powers.get(atom, 0) + sign
        return
    power = 1
    if node.data == "annotatable" and str(getattr(children[-1], "type", "")) == "EXPONENT":
        power = int(children.pop())
    for child in children:
        if isinstance(child, Token) and child == "/":
            sign = -sign
            continue
        if isinstance(child, Token) and child.type == "OPERATOR":
            continue
        _collect(child, sign * power, powers, notes)
