"""Time, memory and error of `core.networks.attention` beside the usual form: product, softmax, product.

    OMP_WAIT_POLICY=passive python -m ci.bench attention
    python -m ci.bench attention --device cuda

Both run in the same process, in turns; medians are compared. Memory is what forward and backward hold beyond the
inputs. The targets, as shares of the usual form's figures, are for the sizes that are the defaults of each device:

    CPU, 1 x 9409, float32             time 0.8 forward and forward + backward, memory 1/12; with spread energies
                                       (deviation 20) 0.2 where denormal numbers are slow, else 0.8 too
    CUDA, 2 x 9216, bfloat16           time 0.8, memory 0.25 (forward + backward)
    CUDA, 2 x 9216, float32            time 1.2, memory 0.15
    CUDA, 2 x 9216, float32 with TF32  time 1.1, memory 0.25

With spread energies many weights of the usual form are denormal numbers. On processors where these are slow it takes
more than twice its own time for ordinary energies; others, AMD's Zen among them, have nothing to gain.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ci.bench.harness import Line, growth, in_new_process, on_cuda, report, seconds
from core.networks.attention import FORMS, Form, attention, forced

ORDINARY, SPREAD = 2.9, 20.0  # standard deviation of the energies
CPU_TIME, CPU_SPREAD, CPU_MEMORY = 0.8, 0.2, 1 / 12
SLOW_DENORMALS = 2.0  # from this factor on, denormal numbers count as slow

GPU_TARGETS = {  # dtype, precision of products -> time, memory
    (torch.bfloat16, "highest"): (0.8, 0.25),
    (torch.float32, "highest"): (1.2, 0.15),
    (torch.float32, "high"): (1.1, 0.25),
}


def usual(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Return softmax(Q K^T) V of Q (b d n), K (b d m), V (b c m), storing n x m weights."""
    weights = torch.bmm(Q.transpose(1, 2), K).softmax(dim=2)
    return torch.bmm(V, weights.transpose(1, 2))


def inputs(
    images: int,
    positions: int,
    key: int,
    value: int,
    deviation: float,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return Q, K, V and a gradient of the output, for energies of a given standard deviation."""
    generator = torch.Generator().manual_seed(0)
    scale = (deviation / key**0.5) ** 0.5
    Q, K = (torch.randn(images, key, positions, generator=generator) * scale for _ in range(2))
    V, gradient = (torch.randn(images, value, positions, generator=generator) for _ in range(2))
    return tuple(x.to(device, dtype) for x in (Q, K, V, gradient))  # type: ignore[return-value]


def forward(form: Form, Q: Tensor, K: Tensor, V: Tensor, gradient: Tensor) -> None:
    """Run a form without gradient."""
    with torch.no_grad():
        form(Q, K, V)


def training(form: Form, Q: Tensor, K: Tensor, V: Tensor, gradient: Tensor) -> list[Tensor]:
    """Run a form and its backward pass; return the output and the gradients."""
    leaves = [x.detach().requires_grad_() for x in (Q, K, V)]
    Y = form(*leaves)
    return [Y.detach(), *torch.autograd.grad(Y, leaves, gradient)]


def memory_of(name: str, positions: int, key: int, value: int) -> int:
    """Return the bytes that forward and backward add to the inputs on a CPU; call it in a new process."""
    form = {"usual": usual, "attention": attention}[name]
    training(form, *inputs(1, 64, key, value, ORDINARY))  # libraries load at their first use
    return growth(partial(training, form, *inputs(1, positions, key, value, ORDINARY)), "cpu")


def growth_in_new_process(name: str, positions: int, key: int, value: int) -> int:
    """Return `memory_of`, measured where nothing else has used memory yet."""
    return in_new_process(memory_of, name, positions, key, value)


def on_cpu(positions: int, key: int, value: int, rounds: int) -> Iterator[Line]:
    """Measure one image in float32."""
    forms: dict[str, Form] = {"usual": usual, "attention": attention}
    passes: dict[str, Callable[..., object]] = {"forward": forward, "forward + backward": training}
    runs = {
        f"{kind}, {name}, {deviation}": partial(run, form, *inputs(1, positions, key, value, deviation))
        for deviation in (ORDINARY, SPREAD)
        for name, run in passes.items()
        for kind, form in forms.items()
    }
    times = seconds(runs, rounds, "cpu")
    for name in passes:
        for deviation in (ORDINARY, SPREAD):
            ours, theirs = (1000 * times[f"{kind}, {name}, {deviation}"] for kind in ("attention", "usual"))
            slow = theirs / 1000 / times[f"usual, {name}, {ORDINARY}"] >= SLOW_DENORMALS
            target = CPU_SPREAD if deviation == SPREAD and slow else CPU_TIME
            yield Line(f"{name}, deviation {deviation:g}", ours, "ms", theirs, target)
    ours, theirs = (growth_in_new_process(kind, positions, key, value) / 2**20 for kind in ("attention", "usual"))
    yield Line("memory, forward + backward", ours, "MiB", theirs, CPU_MEMORY)


def on_gpu(device: str, images: int, positions: int, key: int, value: int, rounds: int) -> Iterator[Line]:
    """Measure forward + backward in the dtypes and precisions that have targets, and every form beside."""
    for (dtype, precision), (time_target, memory_target) in GPU_TARGETS.items():
        name = f"{str(dtype).removeprefix('torch.')}, {precision}"
        arguments = inputs(images, positions, key, value, ORDINARY, device, dtype)
        with products(precision):
            forms: dict[str, Form] = {"usual": usual, "attention": attention}
            times = seconds({kind: partial(training, form, *arguments) for kind, form in forms.items()}, rounds, device)
            memory = {kind: growth(partial(training, form, *arguments), device) for kind, form in forms.items()}
            yield Line(f"{name}: time", 1000 * times["attention"], "ms", 1000 * times["usual"], time_target)
            yield Line(f"{name}: memory", memory["attention"] / 2**20, "MiB", memory["usual"] / 2**20, memory_target)
            exact = training(usual, *(x[:1].double() for x in arguments))
            errors = {kind: error(form, arguments, exact) for kind, form in forms.items()}
            yield Line(f"{name}: error against float64", errors["attention"], "", errors["usual"])
            yield from others(name, arguments, rounds, device)


def error(form: Form, arguments: tuple[Tensor, ...], exact: list[Tensor]) -> float:
    """The largest error of the first image's output and gradients, each relative to its largest entry."""
    found = training(form, *(x[:1] for x in arguments))
    return max(float((x.double() - y).abs().max() / y.abs().max()) for x, y in zip(found, exact, strict=True))


def others(name: str, arguments: tuple[Tensor, ...], rounds: int, device: str) -> Iterator[Line]:
    """Time every form that takes such arguments, for information."""
    for kind, form in FORMS.items():
        try:
            took = seconds({kind: partial(training, forced(form)(attention), *arguments)}, rounds, device)[kind]
        except (RuntimeError, ValueError):
            continue  # no kernel takes these widths or this dtype
        yield Line(f"{name}: form {kind}", 1000 * took, "ms")


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let products of float32 have a precision for a while."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def main(
    device: str = "cpu",
    positions: int | None = None,
    key: int = 64,
    value: int = 512,
    rounds: int = 5,
    to: Path | None = None,
) -> int:
    """Compare attention with product, softmax, product; return 1 if a target is missed.

    Args:
        device: "cpu" or a CUDA device.
        positions: queries, and keys; None: 9409 = 97 x 97 on a CPU, 9216 = 96 x 96 on CUDA, which the targets are for.
        key: channels of a query and of a key.
        value: channels of a value.
        rounds: timed rounds, at least 5 for the targets to mean anything.
        to: a file for the figures, as JSON.
    """
    if on_cuda(device):
        return report(list(on_gpu(device, 2, positions or 9216, key, value, rounds)), device, to)
    return report(list(on_cpu(positions or 9409, key, value, rounds)), device, to)
