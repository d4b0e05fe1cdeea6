"""The page about a run of all benchmarks: machine, what the bars of the project come to, tables and plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers import counted, geometric_mean, median_ratio, number, times

Data = dict[str, Any]  # of each benchmark: tables, results, errors, command, minutes

TITLES = {
    "models": "Training steps",
    "kernels": "Kernels alone",
    "optimizers": "Optimizers",
    "shapes": "Sizes that change",
    "overhead": "Cost of a call",
    "products": "Matrix products",
    "attention": "Attention",
}
PLOTS = ("models", "kernels")


# --- bars ----------------------------------------------------------------------------------------------


def mean_and_least(ratios: list[float]) -> tuple[str, str]:
    return (times(geometric_mean(ratios)), times(min(ratios))) if ratios else ("-", "-")


def bars(data: Data) -> Iterator[tuple[str, str, str]]:
    """What was compared, the geometric mean (or the figure), and the worst case."""
    results = {name: part["results"] for name, part in data.items() if part["results"]}
    yield from bars_of_models(results.get("models", {}))
    yield from bars_of_kernels(results.get("kernels", []))
    products = [row["gflops"] for row in results.get("products", [])]
    if products:
        shares = [row["fastest"] / max(row["aten"], row["onednn"]) for row in products]
        yield ("matrix products over the best of ATen (MKL) and oneDNN", *mean_and_least(shares))
    for part in ("forward", "backward"):
        seconds = [row["seconds"] for row in results.get("attention", [])]
        if seconds:
            yield (f"attention over ATen's, {part}", *mean_and_least([s[part] / s[f"our {part}"] for s in seconds]))
    for row in results.get("optimizers", []):
        if row["optimizer"] == "AdamW" and row["tensors"] >= 100 and "accelerate" in row["step"]:
            step = number(row["step"]["accelerate"]["median"] * 1e3)
            over = times(median_ratio(row["step"], "fused", "accelerate"))
            what = f"AdamW, {row['tensors']} tensors: ms a step, over fused; s until all is compiled"
            yield what, f"{step}, {over}; {row['ready']['accelerate']:.1f}", ""
    for row in results.get("overhead", []):
        if row["name"] == "3 operators":
            figures = row["figures"]
            cells = [f"{way} {number(figures[way]['median'] * 1e6)}" for way in figures if "+" not in way]
            yield f"3 operators over 16 elements, µs a call, {row['pass']}", ", ".join(cells), ""


def bars_of_models(models: Data) -> Iterator[tuple[str, str, str]]:
    def ratios(key: str, ours: str, other: str) -> list[float]:
        found = [{way: f[key] for way, f in row.items() if key in f} for row in models.values()]
        return [ratio for ratio in (median_ratio(row, other, ours) for row in found) if ratio is not None]

    for ours in ("accelerate", "train_step"):
        for other in ("eager", "eager+jemalloc", "inductor-opt", "jax"):
            found = ratios("step", ours, other)
            if found:
                yield (f"training step, {ours} over {other}", *mean_and_least(found))
    for ours in ("accelerate", "train_step"):
        for key, what in (("first_step", "first step"), ("ready", "first three steps")):
            found = ratios(key, ours, "aot_eager")
            if found:
                yield (
                    f"{what} in a fresh process, {ours} over aot_eager without its optimizer",
                    *mean_and_least(found),
                )
    found = ratios("peak_mb", "accelerate", "eager")
    if found:
        yield ("resident memory of a step, eager over accelerate", *mean_and_least(found))


def bars_of_kernels(kernels: list[Data]) -> Iterator[tuple[str, str, str]]:
    for threads in dict.fromkeys(row["threads"] for row in kernels):
        for part in ("forward", "backward"):
            for over in ("eager", "eager+jemalloc", "inductor"):
                mine = [row[part] for row in kernels if row["threads"] == threads]
                found = [ratio for ratio in (median_ratio(figures, over) for figures in mine) if ratio is not None]
                if found:
                    yield (f"kernels over {over}, {part}, {counted(threads)}", *mean_and_least(found))


# --- the page ------------------------------------------------------------------------------------------


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = [[column.replace("\n", " ") for column in columns], ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def text_of(machine: dict[str, str], data: Data, plots: dict[str, str], command: str) -> str:
    parts = [
        "# Benchmarks\n\n"
        f"Made by `{command}`; the scripts are in `benchmarks/`, and say with `--help` what exactly they measure. "
        "What is compared runs in turns in processes of its own; figures are medians, ± is half of what lies between "
        "the quartiles. Ratios are times of others over ours: above 1, ours is faster. `jemalloc` is eager with an "
        "allocator that keeps freed memory. The last column of the first table is the worst single case.\n",
        markdown(["machine", ""], [list(fact) for fact in machine.items()]),
        markdown(["compared", "geometric mean", "worst"], [list(bar) for bar in bars(data)]),
    ]
    for name, part in data.items():
        parts.append(f"## {TITLES[name]}\n\n`{part['command']}`, {part['minutes']:.0f} minutes.\n")
        if name in plots:
            parts.append(f"![{TITLES[name]}]({plots[name]})\n")
        for table in part["tables"]:
            parts.append(f"**{table['title']}**\n\n" + markdown(table["columns"], table["rows"]))
        if part["errors"]:
            parts.append("".join(f"- {what}: {text}\n" for what, text in part["errors"].items()))
    return "\n".join(parts)


def write(machine: dict[str, str], data: Data, folder: Path, command: str) -> list[Path]:
    """Writes benchmarks.md and its plots into `folder`; without matplotlib no plots."""
    folder.mkdir(parents=True, exist_ok=True)
    written, plots = [], {}
    for name in PLOTS:
        results = data.get(name, {}).get("results")
        path = folder / f"benchmarks_{name}.svg"
        if results and plot(name, results, path):
            plots[name] = path.name
            written.append(path)
    path = folder / "benchmarks.md"
    path.write_text(text_of(machine, data, plots, command), encoding="utf-8")
    return [path, *written]


# --- plots ---------------------------------------------------------------------------------------------


def plot(name: str, results: Any, path: Path) -> bool:
    """Whether it could be drawn: there is matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9})
    figure = plot_models(results) if name == "models" else plot_kernels(results)
    figure.savefig(path, metadata={"Date": None})
    return True


def plot_models(results: Data) -> Any:
    """Bars: how many times as fast as eager each way of a training step is."""
    from matplotlib.figure import Figure

    ways = [way for way in ("eager+jemalloc", "inductor-opt", "jax", "accelerate", "train_step")]
    ways = [way for way in ways if any("step" in row.get(way, {}) for row in results.values())]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(ways))
    for i, way in enumerate(ways):
        figures = [{w: f["step"] for w, f in row.items() if "step" in f} for row in results.values()]
        heights = [median_ratio(row, "eager", way) or 0.0 for row in figures]
        axes.bar([j + (i - (len(ways) - 1) / 2) * width for j in range(len(heights))], heights, width, label=way)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(results)), list(results))
    axes.set_ylabel("times as fast as eager")
    axes.set_title("training step, optimizer included")
    axes.legend(ncols=len(ways), frameon=False)
    return figure


def plot_kernels(rows: list[Data]) -> Any:
    """Lines over the number of elements: each kernel's time in others over ours, forward above backward."""
    from matplotlib.figure import Figure

    others = [over for over in ("eager", "eager+jemalloc", "inductor") if any(over in row["forward"] for row in rows)]
    threads = max(row["threads"] for row in rows)
    figure = Figure(figsize=(3.2 * len(others) + 1, 5.5), layout="constrained")
    axes = figure.subplots(2, len(others), sharex=True, sharey=True, squeeze=False)
    for i, part in enumerate(("forward", "backward")):
        for j, over in enumerate(others):
            for case in dict.fromkeys(row["case"] for row in rows):
                mine = [row for row in rows if row["case"] == case and row["threads"] == threads]
                points = [(row["elements"], median_ratio(row[part], over)) for row in mine]
                known = [point for point in points if point[1] is not None]
                axes[i][j].plot(*zip(*known, strict=True), marker=".", label=case) if known else None
            axes[i][j].axhline(1, color="black", linewidth=0.8)
            axes[i][j].set(xscale="log", yscale="log", title=f"{part}, over {over}")
        axes[i][0].set_ylabel("times as fast")
    figure.suptitle(f"kernels alone by elements, {counted(threads)}")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure
