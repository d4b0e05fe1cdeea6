"""Trains a character-level GPT on the sources of Python's standard library: eager first, then through ourjit.

Both runs start from the same weights and see the same batches, so their losses can be compared step by step. A table
at the end has times and differences; a PNG shows both loss curves and step times.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
CONTEXT = 128
BATCH = 16


# --- data ------------------------------------------------------------------------------------------


def library_text(limit: int = 4_000_000) -> str:
    """The standard library's modules, in order of name, as printable ASCII."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts: list[str] = []
    size = 0
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace").expandtabs(4)
        texts.append("".join(c if c in CHARACTERS else "?" for c in text))
        size += len(text)
        if size > limit:
            break
    if not texts:
        sys.exit(f"no Python sources to train on in {folder}")
    return "".join(texts)


def encode(text: str) -> Tensor:
    """Indices into CHARACTERS, [len(text)]."""
    table = torch.zeros(128, dtype=torch.int64)
    for index, character in enumerate(CHARACTERS):
        table[ord(character)] = index
    return table[torch.frombuffer(bytearray(text, "ascii"), dtype=torch.uint8).long()]


def batches(text: Tensor, seed: int, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless random windows of the text: tokens and the characters that follow them, [BATCH, CONTEXT] each."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(0, len(text) - CONTEXT - 1, (BATCH, 1), generator=generator)
        window = text[starts + torch.arange(CONTEXT + 1)].to(device)
        yield window[:, :-1].contiguous(), window[:, 1:].contiguous()


# --- model -----------------------------------------------------------------------------------------


class Block(nn.Module):
    """Pre-norm transformer block: causal attention, then a GELU MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(width, dim=2)
        shape = (batch, time, self.heads, width // self.heads)
        q, k, v = (t.view(shape).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(y.transpose(1, 2).reshape(batch, time, width)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class CharGPT(nn.Module):
    """Predicts the next character; forward(tokens, target) is the mean cross-entropy."""

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        heads: int = 4,
        layers: int = 4,
        context: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def logits(self, tokens: Tensor) -> Tensor:
        """Next-character scores [batch, time, vocabulary] of tokens [batch, time]."""
        position = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(position)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def forward(self, tokens: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(tokens).flatten(0, 1), target.flatten())


# --- training --------------------------------------------------------------------------------------


@dataclass
class Run:
    """One training run: the loss and the seconds of each step."""

    name: str
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    kernels: int | None = None
    backend_seconds: float | None = None
    fallbacks: int | None = None

    @property
    def first_step(self) -> float:
        return self.seconds[0]

    @property
    def median_step(self) -> float:
        return statistics.median(self.seconds[1:] or self.seconds)

    def loss_difference(self, other: Run) -> float:
        """Largest relative difference of the losses of two runs."""
        return max(abs(a - b) / abs(b) for a, b in zip(self.losses, other.losses, strict=True))


def train(
    name: str, options: argparse.Namespace, text: Tensor, report: Callable[[float, float], None]
) -> tuple[Run, CharGPT]:
    """Trains from the seed's weights with the backend `name`; report(loss, tokens a second) after each step."""
    torch.manual_seed(options.seed)
    model = CharGPT(len(CHARACTERS), context=CONTEXT).to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step_model = model if name == "eager" else torch.compile(model, backend=name)
    run = Run(name)
    data = batches(text, options.seed, options.device)
    for _ in range(options.steps):
        tokens, target = next(data)
        start = time.perf_counter()
        loss = step_model(tokens, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        run.losses.append(loss.item())
        run.seconds.append(time.perf_counter() - start)
        report(run.losses[-1], BATCH * CONTEXT / run.seconds[-1])
    if name == "ourjit":
        import ourjit

        stats = ourjit.stats()
        run.kernels = stats["kernels_compiled"] + stats["kernels_loaded"]
        run.backend_seconds = stats["backend_seconds"]
        run.fallbacks = sum(entry["count"] for entry in stats["fallbacks"].values())
    return run, model


@torch.no_grad()
def generate(model: CharGPT, length: int, seed: int, device: str) -> str:
    """Text that the model writes, one character at a time, at temperature 0.8."""
    generator = torch.Generator().manual_seed(seed)
    written = [CHARACTERS.index("\n")]
    for _ in range(length):
        tokens = torch.tensor([written[-CONTEXT:]], device=device)
        scores = model.logits(tokens)[0, -1].float().cpu() / 0.8
        written.append(int(torch.multinomial(scores.softmax(dim=0), 1, generator=generator)))
    return "".join(CHARACTERS[index] for index in written[1:])


# --- what the user sees ----------------------------------------------------------------------------


def train_all(options: argparse.Namespace, text: Tensor) -> tuple[list[Run], CharGPT]:
    """Trains once with each backend, under a progress bar. Returns the runs and ourjit's model."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[rate]:>8,.0f} tokens/s"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    runs: list[Run] = []
    trained: CharGPT | None = None
    with Progress(*columns) as progress:
        for name in ["eager", "ourjit", *options.compare]:
            task = progress.add_task(name, total=options.steps, loss=math.nan, rate=0.0)

            def report(loss: float, rate: float, task: int = task) -> None:
                progress.update(task, advance=1, loss=loss, rate=rate)  # type: ignore[arg-type]

            run, model = train(name, options, text, report)
            runs.append(run)
            if name == "ourjit":
                trained = model
    assert trained is not None
    return runs, trained


def print_table(runs: list[Run]) -> None:
    from rich import print as show
    from rich.table import Table

    eager = runs[0]
    table = Table("", *(run.name for run in runs), title="character-level GPT")

    def row(title: str, value: Callable[[Run], str]) -> None:
        table.add_row(title, *(value(run) for run in runs))

    def known(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    row("time to first step", lambda run: f"{run.first_step:.2f} s")
    row("median step", lambda run: f"{run.median_step * 1e3:.1f} ms")
    row("speed-up", lambda run: f"{eager.median_step / run.median_step:.2f}x")
    row("tokens a second", lambda run: f"{BATCH * CONTEXT / run.median_step:,.0f}")
    row("last loss", lambda run: f"{run.losses[-1]:.4f}")
    row("largest relative loss difference", lambda run: "" if run is eager else f"{run.loss_difference(eager):.1e}")
    row("kernels compiled", lambda run: known(run.kernels, "d"))
    row("backend seconds", lambda run: known(run.backend_seconds, ".2f"))
    row("fallbacks", lambda run: known(run.fallbacks, "d"))
    show(table)


def draw(runs: list[Run], path: Path) -> None:
    """Writes a PNG with the loss curves and the step times."""
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        # Matplotlib wants a writable directory of its own; the home may be none.
        os.environ["MPLCONFIGDIR"] = cache
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for run, style in zip(runs, ("-", "--", ":"), strict=False):
            left.plot(run.losses, style, label=run.name)
            right.plot(range(1, len(run.seconds)), [s * 1e3 for s in run.seconds[1:]], style, label=run.name)
        left.set(title="loss", xlabel="step", ylabel="cross-entropy of the next character")
        right.set(title="time of a step", xlabel="step", ylabel="milliseconds")
        right.set_ylim(bottom=0, top=2.5e3 * max(run.median_step for run in runs))
        left.legend()
        right.legend()
        FigureCanvasAgg(figure).print_png(str(path))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="training steps of each run (default 300)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        choices=["inductor", "aot_eager"],
        help="another torch.compile backend to train with; may be given twice",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default 0)")
    parser.add_argument("--sample", type=int, default=300, help="characters of generated text (default 300)")
    parser.add_argument(
        "--out", type=Path, default=Path("train_char_gpt.png"), help="where to write the picture (%(default)s)"
    )
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps must be at least 2: the first step compiles")
    if options.sample < 0:
        parser.error("--sample must not be negative")
    try:
        torch.empty(1, device=options.device)
    except (RuntimeError, AssertionError) as error:
        parser.error(f"--device {options.device} is not usable here: {str(error).splitlines()[0]}")
    options.out = options.out.resolve()
    if not os.access(options.out.parent, os.W_OK):
        parser.error(f"--out: cannot write into {options.out.parent}")
    return options


def main() -> None:
    options = parse_arguments()
    text = encode(library_text())
    parameters = sum(p.numel() for p in CharGPT(len(CHARACTERS)).parameters())
    print(f"{len(text):,} characters of Python; {parameters:,} parameters; {options.steps} steps of {BATCH}x{CONTEXT}")
    runs, model = train_all(options, text)
    print_table(runs)
    draw(runs, options.out)
    print(f"loss curves and step times: {options.out}")
    if options.sample:
        print("\nwhat the model writes after this:\n")
        print(generate(model, options.sample, options.seed, options.device))


if __name__ == "__main__":
    main()
