"""What steps there are: each rule adds one to a builder, or none if what it drew does not fit."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.generate import Builder, anything, is_bool, is_float, is_integer, is_number
from fuzz.program import FLOATS

Rule = Callable[[Builder], object]

EXACT_UNARY = "{0}.neg() {0}.abs() {0}.clone() {0}.contiguous() {0}.positive() {0}.relu()".split()
SMOOTH = """
    torch.sin({0}) torch.cos({0}) torch.tanh({0}) torch.sigmoid({0}) torch.exp({0}) torch.exp2({0}) torch.expm1({0})
    torch.log({0}.abs()+1) torch.log1p({0}.abs()) torch.log2({0}.abs()+0.5) torch.sqrt({0}.abs()+0.1) torch.log10({0})
    torch.rsqrt({0}.square()+0.1) torch.reciprocal({0}.abs()+0.5) torch.erf({0}) torch.erfc({0}) torch.atan({0})
    torch.asinh({0}) torch.sinh({0}) torch.cosh({0}) {0}.square()
    {0}.pow(3) {0}.pow(2) {0}.abs().pow(1.5) torch.sqrt({0})
    F.gelu({0}) F.gelu({0},approximate="tanh") F.silu({0}) F.mish({0}) F.elu({0}) F.selu({0}) F.leaky_relu({0},0.1)
    F.softplus({0}) F.logsigmoid({0}) F.hardtanh({0}) F.hardswish({0}) F.hardsigmoid({0}) F.softsign({0})
    torch.logit({0},eps=0.2) torch.lgamma({0}.abs()+0.5) torch.sinc({0}) torch.tan({0}.clamp(-1,1)) torch.deg2rad({0})
    torch.asin({0}.clamp(-0.9,0.9)) torch.atanh({0}.clamp(-0.9,0.9)) {0}*2.5 {0}+1 1-{0} {0}/3 {0}-0.5 2.0/({0}.abs()+1)
""".split()
JUMPS = """
    torch.floor({0}) torch.ceil({0}) torch.round({0}) torch.trunc({0}) torch.sign({0}) torch.isnan({0}) torch.isinf({0})
    torch.isfinite({0}) torch.frac({0}) torch.sgn({0})
    {0}.fmod(1.5) {0}.nan_to_num(0.5) {0}>0 {0}<=0.5
    {0}==1 {0}!=0 torch.div({0},0.5,rounding_mode="floor") torch.div({0},0.5,rounding_mode="trunc") F.hardshrink({0})
    torch.logical_not({0}) {0}.clamp(min=-0.5) {0}.clamp(-1,1) F.relu6({0}) F.threshold({0},0.1,0.2) {0}//2.0
""".split()
JUMPS_AND_ROUNDS = ["{0}.remainder(2.5)", "torch.remainder({0},{1}.abs().clamp(min=1))"]
INTEGER_UNARY = """
    {0}+3 {0}*3 {0}-1 {0}//3 {0}%5 -{0} ~{0} {0}<<2 {0}>>1 {0}.square() {0}/4 {0}*0.5 {0}.pow(2) {0}&6 {0}|1 {0}^3
    {0}.clamp(-2,2) {0}.clamp(1,5) {0}>2 {0}==1 torch.sin({0}) torch.sigmoid({0}) {0}.abs() {0}.sign() {0}-7.0 5-{0}
    torch.div({0},3,rounding_mode="trunc") torch.div({0},3,rounding_mode="floor") {0}.fmod(4) torch.exp({0}*0.1)
""".split()
BOOL_UNARY = "~{0} torch.logical_not({0}) {0}+1 {0}*2.0 {0}.sum() torch.sigmoid({0}) {0}.any() {0}.all()".split()
SMOOTH_BINARY = """
    {0}+{1} {0}-{1} {0}*{1}
    {0}/({1}.abs()+1) torch.atan2({0},{1}.abs()+0.5) torch.hypot({0},{1}) torch.logaddexp({0},{1})
    torch.add({0},{1},alpha=2) torch.sub({0},{1},alpha=0.5)
    torch.rsub({0},{1}) F.mse_loss({0},{1}) torch.xlogy({0},{1}.abs()+1)
    torch.pow({0}.abs()+0.5,{1}.clamp(-2,2)) torch.true_divide({0},{1}) F.l1_loss({0},{1}) F.smooth_l1_loss({0},{1})
    torch.lerp({0},{1},0.3)
""".split()
EXACT_BINARY = "torch.minimum({0},{1}) torch.maximum({0},{1}) torch.fmin({0},{1}) torch.fmax({0},{1})".split()
JUMP_BINARY = """
    {0}<{1} {0}>={1} {0}=={1} {0}!={1} torch.copysign({0},{1}) torch.logical_and({0},{1}) torch.logical_or({0},{1})
    torch.logical_xor({0},{1}) torch.fmod({0},{1}.abs().clamp(min=1))
    torch.heaviside({0},{1})
""".split()
INTEGER_BINARY = """
    {0}+{1} {0}-{1} {0}*{1} {0}&{1} {0}|{1}
    {0}^{1} {0}//({1}.abs()|1) {0}%({1}.abs()|1) {0}<{1} {0}=={1} {0}/({1}.abs()|1)
    {0}<<({1}&3) {0}>>({1}&3) torch.bitwise_and({0},{1}) torch.minimum({0},{1}) torch.maximum({0},{1})
""".split()
TERNARY = """
    torch.addcmul({0},{1},{2},value=0.5) torch.addcdiv({0},{1},{2}.abs()+1) torch.lerp({0},{1},{2}) {0}*{1}+{2}
    torch.clamp({0},{1},{2}) ({0}-{1})*{2}
""".split()
REDUCTION_KIND = {"amax": "same", "amin": "same", "any": "jumps", "all": "jumps", "argmax": "jumps", "argmin": "jumps"}


def templates(table: list[str], test: Callable[..., bool], kind: str, arity: int = 1) -> Rule:
    """A rule that draws a line of a table for values that pass."""

    def rule(b: Builder) -> None:
        operands = [b.pick(test, exact="jumps" in kind)]
        operands += [b.beside(operands[0], test, exact="jumps" in kind) for _ in range(arity - 1)]
        b.add(b.rng.choice(table), *operands, kind=kind)

    return rule


def where(b: Builder) -> None:
    x = b.pick()
    if b.rng.random() < 0.3:
        b.add(
            "torch.where({0}, {1}, 0.5)" if b.rng.random() < 0.5 else "{1}.masked_fill({0}, 2)", b.beside(x, is_bool), x
        )
    else:
        b.add("torch.where({0}, {1}, {2})", b.beside(x, is_bool), x, b.beside(x))


def cast(b: Builder) -> None:
    dtype = b.rng.choice((*FLOATS, *b.floats, "int64", "int32", "uint8", "bool"))
    if dtype in FLOATS:
        name = b.pick()
        b.add(f"{{0}}.to(torch.{dtype})", name, kind="same")
    else:
        low = 0 if dtype == "uint8" else -100
        name = b.pick(exact=True)
        tamed = f".nan_to_num(0.0).clamp({low}, 100)" if is_float(b.values[name]) and dtype != "bool" else ""
        b.add(f"{{0}}{tamed}.to(torch.{dtype})", name, kind="jumps")


def reduce(b: Builder) -> None:
    op = b.rng.choice(("sum", "sum", "mean", "amax", "amin", "prod", "var", "std", "norm", *REDUCTION_KIND))
    kind = REDUCTION_KIND.get(op, "rounds")
    test = anything if op in ("any", "all", "sum", "prod") else is_number if op in REDUCTION_KIND else is_float
    name = b.pick(test, exact=kind == "jumps")
    if op == "prod" and b.values[name].requires_grad:
        return  # its gradient is left to ATen
    rank = b.values[name].dim()
    dims: object = b.dim(name)
    if op not in ("argmax", "argmin", "prod", "any", "all") and rank > 1 and b.rng.random() < 0.4:
        dims = tuple(sorted(b.rng.sample(range(rank), b.rng.randint(1, rank))))
    keep = b.rng.choice((", keepdim=True", ""))
    extra = b.rng.choice(("", ", correction=0", ", correction=1")) if op in ("var", "std") else ""
    if op == "sum" and b.rng.random() < 0.2:
        extra = f", dtype=torch.{b.rng.choice(('float32', 'float64'))}"
    whole = rank == 0 or (b.rng.random() < 0.2 and not extra)
    if whole:
        b.add(f"{{0}}.{op}()", name, kind=kind)
    elif op == "norm":
        b.add(f"torch.linalg.vector_norm({{0}}, {b.rng.choice((2, 2, 1))}, dim={dims}{keep})", name, kind=kind)
    else:
        b.add(f"{{0}}.{op}(dim={dims}{keep}{extra})", name, kind=kind)


def rows(b: Builder) -> None:
    name = b.pick(is_float)
    op = b.rng.choice(("softmax", "log_softmax", "logsumexp"))
    b.add(f"{{0}}.{op}(dim={b.dim(name)})", name, kind="rounds")


def max_dim(b: Builder) -> None:
    name = b.pick(is_number, rank=1, exact=True)
    b.add(f"{{0}}.{b.rng.choice(('max', 'min'))}(dim={b.dim(name)})[{b.rng.randrange(2)}]", name, kind="jumps")


def view(b: Builder) -> None:
    b.add(view_code(b, name := b.pick(rank=b.rng.choice((0, 1, 1, 2)))), name)


def view_code(b: Builder, name: str) -> str:
    """One of the views of a value."""
    rng, x = b.rng, b.values[name]
    rank, d, e = x.dim(), b.dim(name), b.dim(name)
    size = x.shape[d] if rank else 1
    start = rng.randint(-2, max(size - 1, 0))
    stop = rng.choice(("", size, max(size - 1, 0), -1))
    index = ", ".join([":"] * (d % rank if rank else 0) + [f"{start}:{stop}:{rng.choice((1, 1, 2, 3))}"])
    order = rng.sample(range(rank), rank)
    grown = [rng.choice((2, 3)) if s == 1 and rng.random() < 0.7 else -1 for s in x.shape]
    return rng.choice(
        (
            f"{{0}}.transpose({d}, {e})",
            f"{{0}}.permute({order})",
            f"{{0}}.reshape({new_sizes(b, list(x.shape))})",
            f"{{0}}.reshape({new_sizes(b, list(x.shape))})",
            f"{{0}}[{index}]",
            f"{{0}}[{index}]",
            f"{{0}}.flip({d})",
            f"{{0}}.unsqueeze({rng.randrange(-rank - 1, rank + 1)})",
            f"{{0}}.squeeze({d})",
            "{0}.squeeze()",
            f"{{0}}.expand({[*([2] if rng.random() < 0.3 else []), *grown]})",
            f"{{0}}.diagonal({rng.randint(-1, 1)}, {d}, {e})",
            f"{{0}}.select({d}, {rng.randrange(size) if size else 0})",
            f"{{0}}.flatten({min(d % max(rank, 1), e % max(rank, 1))}, {max(d % max(rank, 1), e % max(rank, 1))})",
            f"{{0}}.unfold({d}, {min(2, size)}, {rng.choice((1, 2))})",
            f"{{0}}.movedim({d}, {e})",
            f"{{0}}.narrow({d}, {size // 2}, {size - size // 2})",
            "{0}.detach()",
        )
    )


def new_sizes(b: Builder, sizes: list[int]) -> list[int]:
    """Other sizes for as many elements: dims that are next to each other are merged, or one is split."""
    sizes = list(sizes)
    for _ in range(b.rng.randint(1, 2)):
        at = b.rng.randrange(len(sizes)) if sizes else 0
        if len(sizes) > 1 and at + 1 < len(sizes) and b.rng.random() < 0.6:
            sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
        elif sizes:
            factor = b.rng.choice([f for f in (1, 2, 3, 4) if sizes[at] % f == 0])
            sizes[at : at + 1] = b.rng.choice(([factor, sizes[at] // factor], [sizes[at] // factor, factor]))
        else:
            sizes = [1]
    if sizes and 0 not in sizes and b.rng.random() < 0.3:
        sizes[b.rng.randrange(len(sizes))] = -1
    return sizes


def rearrange(b: Builder) -> None:
    rng, name = b.rng, b.pick(rank=1)
    x, d = b.values[name], b.dim(name)
    n, pads = rng.randint(-2, 3), [rng.randint(0, 3) for _ in range(2 * rng.randint(1, x.dim()))]
    code = rng.choice(
        (
            f"{{0}}.roll({n}, {d})",
            f"F.pad({{0}}, {pads})",
            f"F.pad({{0}}, {pads}, value=1)",
            f"{{0}}.tril({n})",
            f"{{0}}.triu({n})",
            f"{{0}}.repeat({[rng.choice((1, 1, 2)) for _ in x.shape]})",
            f"torch.diag_embed({{0}}, {n})",
            f"torch.cat([{{0}}, {{0}}], {d})",
        )
    )
    b.add(code, name)


def join(b: Builder) -> None:
    name = b.pick()
    x, dim = b.values[name], b.dim(name)
    if b.rng.random() < 0.3:
        b.add(f"torch.stack([{{0}}, {{1}}], {dim})", name, b.shaped(tuple(x.shape), b.dtype_for(anything)))
        return
    shape = list(x.shape)
    if shape:
        shape[dim] = b.rng.choice((0, 1, 3, 17))
    other = b.shaped(tuple(shape), b.dtype_for(anything))
    b.add(f"torch.cat([{{0}}, {{1}}], {dim})", *b.rng.choice(((name, other), (other, name))))


def index_value(b: Builder, size: int, shape: tuple[int, ...] | None = None) -> str:
    """A value to index `size` elements with, as code of field {1}; its operand is added by the caller."""
    return b.new_input(b.rng.choice(((1,), (3,), (2, 3), (17,))) if shape is None else shape, "int64", f"below {size}")


def read_index(b: Builder) -> None:
    rng, name = b.rng, b.pick(rank=1)
    x, d = b.values[name], b.dim(name)
    size = x.shape[d]
    if size == 0:
        return
    integers = [n for n, v in b.values.items() if is_integer(v) and v.dim() and v.numel() <= 64]
    if integers and rng.random() < 0.5:
        index, wrapped = rng.choice(integers), f"({{1}}.long() % {size})"
    else:
        index, wrapped = index_value(b, size), "{1}"
    colons = ":, " * (d % x.dim())
    code = rng.choice(
        (
            f"{{0}}.index_select({d}, {wrapped}.flatten())",
            f"{{0}}[{colons}{wrapped}]",
            f"{{0}}[{colons}{wrapped} - {size}]",
            f"{{0}}[{colons}{wrapped}, None]",
            f"F.embedding({wrapped} % {x.shape[0]}, {{0}})"
            if x.dim() == 2 and x.shape[0]
            else f"{{0}}[{colons}{wrapped}]",
            f"{{0}}.detach().flatten().take({wrapped})",
        )
    )
    b.add(code, name, index)


def gather(b: Builder) -> None:
    name = b.pick(rank=1)
    x, d = b.values[name], b.dim(name)
    shape = [b.rng.randint(1, size) if size and b.rng.random() < 0.4 else size for size in x.shape]
    shape[d] = b.rng.choice((1, 2, 5))
    if x.shape[d]:
        b.add(f"{{0}}.gather({d}, {{1}})", name, index_value(b, x.shape[d], tuple(shape)))


def scatter(b: Builder) -> None:
    name = b.pick(is_number, rank=1)
    x = b.values[name]
    size, shape, dtype = x.shape[-1], tuple(x.shape), str(x.dtype)[6:]
    if size == 0:
        return
    mark = b.rng.choice(("", "", "_"))
    if b.rng.random() < 0.4:
        # An order without duplicates
        code = f"{{0}}.scatter{mark}(-1, {{1}}, {b.rng.choice(('{2}', '{2}', '3'))})"
        index, kind = b.new_input(shape, "int64", "permutation"), "same"
    else:
        code = f"{{0}}.scatter_add{mark}(-1, {{1}}, {{2}})"
        index, kind = index_value(b, size, shape), "rounds"
    operands = [name, index, b.shaped(shape, dtype)]
    b.add(code, *operands[: 3 if "{2}" in code else 2], kind=kind)


def index_put(b: Builder) -> None:
    rng, name = b.rng, b.pick(is_number, rank=1)
    x, mark = b.values[name], b.rng.choice(("", "_"))
    size, rest, dtype = x.shape[0], tuple(x.shape[1:]), str(x.dtype)[6:]
    if size == 0:
        return
    if rng.random() < 0.5:
        index, accumulate, kind = b.new_input((size,), "int64", "permutation"), "", "same"
    else:
        index, accumulate, kind = index_value(b, size, (5,)), ", accumulate=True", "rounds"
    count = b.values[index].shape[0]
    values = b.shaped(rng.choice(((count, *rest), rest)), dtype)
    code = f"{{0}}.index_put{mark}(({{1}},), {{2}}{accumulate})"
    if accumulate and rng.random() < 0.4:
        values, code = b.shaped((count, *rest), dtype), f"{{0}}.index_add{mark}(0, {{1}}, {{2}})"
    b.add(code, name, index, values, kind=kind)


def in_place(b: Builder) -> None:
    """Writes to a value or to a view of it."""
    rng, name = b.rng, b.pick()
    if not is_float(b.values[name]) and not is_integer(b.values[name]) and rng.random() < 0.7:
        return
    target = name
    for _ in range(rng.choice((0, 0, 1, 2))):
        if not b.add(view_code(b, target), target):
            return
        target = b.steps[-1].name
    plain = "zero_() fill_(2) neg_() abs_() copy_({1}) copy_({1}) masked_fill_({2},1.0) relu_() clamp_(-1,1)".split()
    rounding = "add_({1}) add_(1) mul_({1}) mul_(0.5) sub_({1},alpha=2) sin_() sigmoid_() tanh_() div_(3)".split()
    code = rng.choice(plain + rounding)
    operands = [target]
    if "{1}" in code:
        operands.append(b.beside(target, lambda y: y.dtype == b.values[target].dtype or rng.random() < 0.2))
    if "{2}" in code:
        operands.append(b.beside(target, is_bool))
        code = code.replace("{2}", "{1}")
    b.add(f"{{0}}.{code}", *operands, kind="rounds" if code.replace("{1},1.0", "{2},1.0") in rounding else "same")


def matmul(b: Builder) -> None:
    if b.special:
        return  # a sum of infinities depends on its order
    name = b.pick(is_float, rank=2)
    x = b.values[name]
    dtype, inner, outer = str(x.dtype)[6:], x.shape[-1], b.rng.choice((1, 3, 16, 17))
    code, shapes = b.rng.choice(
        (
            ("{0} @ {1}", [(inner, outer)]),
            ("{0} @ {1}", [(*x.shape[:-2], inner, outer)]),
            ("F.linear({0}, {1})", [(outer, inner)]),
            ("F.linear({0}, {1}, {2})", [(outer, inner), (outer,)]),
            ("torch.matmul({0}, {1})", [(inner,)]),
        )
    )
    b.add(code, name, *(b.shaped(shape, dtype) for shape in shapes), kind="rounds")


def norm(b: Builder) -> None:
    name = b.pick(is_float, rank=1)
    x = b.values[name]
    last, dtype = x.shape[-1], str(x.dtype)[6:]
    code = b.rng.choice(("F.layer_norm({0}, [N])", "F.layer_norm({0}, [N], {1}, {2})", "F.rms_norm({0}, [N], {1})"))
    fields = [b.shaped((last,), dtype) for i in range(1, 3) if f"{{{i}}}" in code]
    b.add(code.replace("N", str(last)), name, *fields, kind="rounds")


def cross_entropy(b: Builder) -> None:
    name = b.pick(is_float, rank=2)
    x = b.values[name]
    if x.dim() == 2 and x.shape[1]:
        reduction = b.rng.choice(("mean", "sum", "none"))
        target = index_value(b, x.shape[1], (x.shape[0],))
        b.add(f'F.cross_entropy({{0}}, {{1}}, reduction="{reduction}")', name, target, kind="rounds")


def image(b: Builder) -> None:
    """Pools or resizes the last dims of what has dims for that, sizes, and channels in front of them."""
    name = b.pick(is_float, rank=3)
    x = b.values[name]
    if x.dim() not in (3, 4) or min(x.shape) < 2:
        return
    kernel, stride, padding = b.rng.randint(1, min(x.shape[-2:])), b.rng.randint(1, 3), b.rng.randint(0, 1)
    padding = min(padding, kernel // 2)
    windows = f"{kernel}, {stride}, {padding}, ceil_mode={b.rng.random() < 0.3}"
    target = (b.rng.randint(1, 5), b.rng.randint(1, 5))
    exact = f"F.max_pool2d({{0}}, {windows})", f"F.adaptive_max_pool2d({{0}}, {target})"
    rounded = [f"F.avg_pool2d({{0}}, {windows})", f"F.adaptive_avg_pool2d({{0}}, {target})"]
    if x.dim() == 4:
        mode = b.rng.choice(("nearest", "bilinear", "bicubic"))
        rounded.append(f'F.interpolate({{0}}, size={target}, mode="{mode}")')
    if b.rng.random() < 0.4:
        b.add(b.rng.choice(exact), name, kind="same")
    else:
        b.add(b.rng.choice(rounded), name, kind="rounds")


def create(b: Builder) -> None:
    name = b.pick()
    like = b.rng.choice(
        (
            "torch.zeros_like({0})",
            "torch.full_like({0}, 2)",
            "torch.ones_like({0})",
            "torch.arange({0}.numel())",
            "torch.arange({0}.numel(), dtype=torch.float32)",
            "{0}.new_zeros({0}.shape)",
        )
    )
    b.add(like, name)


RULES: list[tuple[Rule, float]] = [
    (templates(SMOOTH, is_float, "rounds"), 5),
    (templates(EXACT_UNARY, anything, "same"), 2),
    (templates(JUMPS, is_float, "jumps"), 3),
    (templates(JUMPS_AND_ROUNDS, is_number, "jumps and rounds", 2), 0.3),
    (templates(INTEGER_UNARY, is_integer, "rounds"), 2),
    (templates(BOOL_UNARY, is_bool, "rounds"), 1),
    (templates(SMOOTH_BINARY, is_number, "rounds", 2), 5),
    (templates(EXACT_BINARY, is_number, "same", 2), 1.5),
    (templates(JUMP_BINARY, anything, "jumps", 2), 2),
    (templates(INTEGER_BINARY, is_integer, "rounds", 2), 2),
    (templates(TERNARY, is_float, "rounds", 3), 1.5),
    (where, 2),
    (cast, 3),
    (reduce, 5),
    (rows, 1.5),
    (max_dim, 1),
    (view, 9),
    (rearrange, 2.5),
    (join, 2.5),
    (read_index, 2),
    (gather, 1.5),
    (scatter, 1.5),
    (index_put, 1.5),
    (in_place, 5),
    (matmul, 1.5),
    (norm, 1),
    (cross_entropy, 0.7),
    (image, 1),
    (create, 0.7),
]
