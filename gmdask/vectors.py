"""Operations on eight numbers at a time, for use in compiled functions.

The compiler does not find these by itself where sums have to keep their order. Vectors of eight
are split by it into what a processor has, so that results do not depend on the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import extending, types
from numba.core import cgutils

__all__ = ["add_multiple", "dot", "set_multiple"]

code: Any = cgutils  # has no types
ir = code.ir
intrinsic: Any = extending.intrinsic

LANES = 8
SCALAR = ir.DoubleType()
VECTOR = ir.VectorType(SCALAR, LANES)


def _flat(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Address of the first number of a contiguous array."""
    if not (isinstance(kind, types.Array) and kind.layout == "C" and kind.dtype == types.float64):
        msg = f"expected a contiguous array of float64, not {kind}"
        raise TypeError(msg)
    return context.make_array(kind)(context, builder, array).data


def _at(builder: Any, start: Any, index: Any, *, whole: bool) -> Any:
    """Address of a vector, or of a number."""
    address = builder.gep(start, [index])
    return builder.bitcast(address, VECTOR.as_pointer()) if whole else address


def _each(builder: Any, n: Any, act: Callable[[Any, bool], None]) -> None:
    """Act on the indices of vectors, then on those of the numbers that are left."""
    size = ir.Constant(n.type, LANES)
    whole = builder.sub(n, builder.srem(n, size))
    with code.for_range_slice(builder, ir.Constant(n.type, 0), whole, size) as (i, _):
        act(i, True)
    with code.for_range_slice(builder, whole, n, ir.Constant(n.type, 1)) as (i, _):
        act(i, False)


def _multiple(*, added: bool) -> Callable[..., Any]:
    """Make the code of `add_multiple` or `set_multiple`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factor, own, i, to, j, n = arguments
        kinds = signature.args
        own = builder.gep(_flat(context, builder, kinds[1], own), [i])
        to = builder.gep(_flat(context, builder, kinds[3], to), [j])
        splat = code.get_null_value(VECTOR)
        for lane in range(LANES):
            splat = builder.insert_element(splat, factor, ir.Constant(ir.IntType(32), lane))

        def act(index: Any, whole: bool) -> None:
            found = builder.load(_at(builder, own, index, whole=whole), align=8)
            found = builder.fmul(splat if whole else factor, found)
            target = _at(builder, to, index, whole=whole)
            if added:
                found = builder.fadd(builder.load(target, align=8), found)
            builder.store(found, target, align=8)

        _each(builder, n, act)
        return context.get_dummy_value()

    return generate


def _signature(own: Any, to: Any) -> Any:
    index = types.int64
    return types.void(types.float64, own, index, to, index, index)


@intrinsic  # type: ignore[untyped-decorator]
def add_multiple(context: Any, factor: Any, own: Any, i: Any, to: Any, j: Any, n: Any) -> Any:
    """Add `factor` times n numbers of `own`, from number i of the flat array on, to those of `to` from j on."""
    del context, factor, i, j, n
    return _signature(own, to), _multiple(added=True)


@intrinsic  # type: ignore[untyped-decorator]
def set_multiple(context: Any, factor: Any, own: Any, i: Any, to: Any, j: Any, n: Any) -> Any:
    """Set n numbers of `to`, from number j of the flat array on, to `factor` times those of `own` from i on."""
    del context, factor, i, j, n
    return _signature(own, to), _multiple(added=False)


@intrinsic  # type: ignore[untyped-decorator]
def dot(context: Any, a: Any, i: Any, b: Any, j: Any, n: Any) -> Any:
    """Sum of products of n numbers of two flat arrays, from numbers i and j on; eight sums, added in pairs."""
    del context, i, j, n
    index = types.int64

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, i, second, j, n = arguments
        first = builder.gep(_flat(context, builder, signature.args[0], first), [i])
        second = builder.gep(_flat(context, builder, signature.args[2], second), [j])
        sums = code.alloca_once_value(builder, code.get_null_value(VECTOR))
        rest = code.alloca_once_value(builder, ir.Constant(SCALAR, 0.0))

        def act(index: Any, whole: bool) -> None:
            x = builder.load(_at(builder, first, index, whole=whole), align=8)
            y = builder.load(_at(builder, second, index, whole=whole), align=8)
            total = sums if whole else rest
            builder.store(builder.fadd(builder.load(total), builder.fmul(x, y)), total)

        _each(builder, n, act)
        lanes = [
            builder.extract_element(builder.load(sums), ir.Constant(ir.IntType(32), lane))
            for lane in range(LANES)
        ]
        while len(lanes) > 1:
            lanes = [builder.fadd(x, y) for x, y in zip(lanes[::2], lanes[1::2], strict=True)]
        return builder.fadd(lanes[0], builder.load(rest))

    return types.float64(a, index, b, index, index), generate
