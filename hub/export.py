"""A checkpoint as a graph of plain operators: python -m hub.export WEIGHTS --to model.onnx | model.pt2

The file maps `image` (b c h w, float32) to `scores` (b k h w). The image is RGB, or has the network's channels, in
0..1, less `mean`, over `std`, as its `config.json` says (ONNX: a property of the model; .pt2: an extra file), which
also has the classes. Batch, height and width may vary where the network lets them; for one that does not, `--size`
chooses. The written file is read back and compared with the network at two sizes before it is kept.

Attention becomes product, softmax, product: exact, but unlike here all n x m weights are stored, 4 n m bytes for each
image (n = m = h w / 64 at output stride 8: 1 GB for 1024 x 1024).

.pt2 is read by torch.export.load. ONNX needs `pip install onnx onnxscript onnxruntime`.
"""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from core.errors import door, require
from core.files import make_folder
from core.networks.blocks import part_means
from core.networks.network import Network
from core.run import WHERE
from core.values import to_json
from hub.networks import from_pretrained

ENDINGS = (".onnx", ".pt2")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

SIZE = (256, 384)
SMALLEST = 65
"""Of smaller images some maps have one row or column, which is enlarged in another way than two are."""

TOLERANCE = 1e-4
"""Of the largest score: other libraries sum in another order."""

AXES = {0: "batch", 2: "height", 3: "width"}
"""The axes of the image that may vary."""

Answer = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b k h w"]]


@dataclass(frozen=True)
class Options:
    """Export a checkpoint."""

    weights: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=WHERE)]
    to: Annotated[Path, tyro.conf.arg(help="the file to write, .onnx or .pt2")]
    size: Annotated[
        tuple[int, int] | None, tyro.conf.arg(help="height and width, for a network that takes one size only")
    ] = None
    revision: Annotated[str | None, tyro.conf.arg(help="branch, tag or commit on the Hub")] = None

    def __post_init__(self) -> None:
        require(self.to.suffix in ENDINGS, f"--to must end in {' or '.join(ENDINGS)}, got {str(self.to)!r}")
        require(
            self.size is None or min(self.size) >= SMALLEST,
            f"--size must be at least {SMALLEST} pixels, got {self.size}",
        )
        require(not self.to.exists(), f"{self.to} exists already; remove it, or pass another --to")
        if self.to.suffix == ".onnx":
            refuse_missing_packages()


def refuse_missing_packages() -> None:
    """Refuse to export to ONNX without the packages that do it.

    Raises:
        ValueError: saying what to install.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    require(not missing, f"exporting to ONNX needs {', '.join(missing)}: pip install {' '.join(PACKAGES)}")


class Scores(nn.Module):
    """A network that returns its scores alone."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores (b k h w) for an image (b 3 h w)."""
        return self.network(image).scores


def program(network: Network, size: tuple[int, int] | None = None) -> ExportedProgram:
    """Return the graph of a network, of PyTorch's own operators only.

    Args:
        network: in evaluation mode, on the CPU, in float32.
        size: height and width of the images; None leaves both free.

    Raises:
        ValueError: if the network can't be traced, or it takes one size only and none was given.
    """
    for batch in (2, 1):
        exported = _traced(Scores(network).eval(), (batch, network.in_channels, *(size or SIZE)), size is not None)
        free = free_axes(exported)
        if "batch" in free:
            break
    require(
        size is not None or {"height", "width"} <= set(free),
        f"this {type(network).__name__} can be exported for one size only; pass --size HEIGHT WIDTH",
    )
    forms = {
        torch.ops.core.attention.default: _attention,
        torch.ops.aten.adaptive_avg_pool2d.default: part_means,  # ONNX's is for sizes with the traced remainders
    }
    graph = exported.run_decompositions(forms)
    # torch 2.11 would refuse sizes with other remainders than the traced one, on which no operator depends
    graph._guards_code = [guard for guard in getattr(graph, "_guards_code", ()) if " % " not in guard]
    return graph


def _traced(network: Scores, shape: tuple[int, ...], fixed: bool) -> ExportedProgram:
    wanted = {axis: Dim.AUTO(min=SMALLEST) for axis in ((2, 3) if not fixed else ())}
    if shape[0] > 1:
        wanted[0] = Dim.AUTO
    try:
        with torch.no_grad():
            return torch.export.export(network, (torch.randn(shape),), dynamic_shapes=(wanted,))
    except Exception as error:  # the exporter names its kinds nowhere
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{type(network.network).__name__} can't be exported: {reason}") from error


def free_axes(exported: ExportedProgram) -> tuple[str, ...]:
    """Return which of batch, height and width may vary."""
    (name,) = exported.graph_signature.user_inputs
    image = next(node for node in exported.graph.nodes if node.name == name).meta["val"]
    sizes = {label: image.shape[axis] for axis, label in AXES.items()}
    symbols = {label: size for label, size in sizes.items() if isinstance(size, torch.SymInt)}
    return tuple(label for label, size in symbols.items() if size.node.maybe_as_int() is None)  # else found constant


def _attention(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """What `core.networks.attention` computes, Y and Z, with all n x m weights at once."""
    S = torch.bmm(Q.transpose(1, 2), K)
    return torch.bmm(V, S.softmax(dim=2).transpose(1, 2)), S.logsumexp(dim=2)


def description(network: Network) -> str:
    """Return as JSON what anyone who uses the file must know: the network, its input and its classes."""
    about = network.about
    classes = None if about is None else to_json(about.classes)
    channels = "RGB" if network.in_channels == 3 else f"{network.in_channels} channels"
    facts = {
        "architecture": type(network).__name__,
        "input": f"{channels} in 0..1, less mean, over std",
        **to_json(network.normalisation),
        "num_classes": network.num_classes,
        "classes": classes,
    }
    return json.dumps(facts, indent=2)


def write(exported: ExportedProgram, path: Path, facts: str) -> Answer:
    """Write a graph, and return what answers from the written file."""
    if path.suffix == ".onnx":
        return _write_onnx(exported, path, facts)
    torch.export.save(exported, path, extra_files={"config.json": facts})
    return torch.export.load(path).module()


def _write_onnx(exported: ExportedProgram, path: Path, facts: str) -> Answer:
    import onnxruntime  # an optional package; its presence was asked for at the door

    names = {axis: label for axis, label in AXES.items() if label in free_axes(exported)}
    written = torch.onnx.export(
        exported,
        dynamo=True,
        verbose=False,
        input_names=["image"],
        output_names=["scores"],
        dynamic_shapes=(names,) if names else None,
    )
    assert written is not None  # for dynamo
    written.model.metadata_props["config.json"] = facts
    written.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def answer(image: Tensor) -> Tensor:
        (scores,) = session.run(["scores"], {"image": image.numpy()})
        return torch.from_numpy(np.asarray(scores))

    return answer


@torch.no_grad()
def difference(network: Network, answer: Answer, shape: tuple[int, ...]) -> float:
    """Return how far the answer to noise is from the network's own, as a share of the largest score."""
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours = network(image).scores
    return float((answer(image) - ours).abs().max() / ours.abs().max())


def export(network: Network, to: Path, size: tuple[int, int] | None = None) -> str:
    """Write a network as a graph, and return what to say about it.

    Nothing is left behind unless the written file answers as the network does: at the size it was traced at, and, where
    it may vary, at another one.

    Raises:
        ValueError: if it can't be exported, or answers otherwise.
    """
    why = network.why_no_graph()
    require(why is None, why or "")
    make_folder(to.parent)  # now, and not after the tracing
    exported = program(network, size)
    free = free_axes(exported)
    height, width = size or SIZE
    shapes = [(2 if "batch" in free else 1, network.in_channels, height, width)]
    if size is None:
        shapes.append((1, network.in_channels, height + 25, width - 30))

    with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as aside:
        path = Path(aside) / to.name
        answer = write(exported, path, description(network))
        lines = []
        for shape in shapes:
            far = difference(network, answer, shape)
            require(
                far <= TOLERANCE, f"the exported graph is off by {far:.1e} of the largest score at {shape}; not kept"
            )
            lines.append(f"at {' x '.join(map(str, shape))} it differs by {far:.1e} of the largest score")
        path.replace(to)
    fixed = [label for label in AXES.values() if label not in free]
    lines.append(
        f"wrote {to}; {', '.join(free) or 'nothing'} may vary" + (f", not {', '.join(fixed)}" if fixed else "")
    )
    return "\n".join(lines)


def main() -> None:
    """Export what the command line says."""
    with door():
        options = tyro.cli(Options, description=__doc__)
        network = from_pretrained(options.weights, revision=options.revision)
        sys.stdout.write(export(network, options.to, options.size) + "\n")


if __name__ == "__main__":
    main()
