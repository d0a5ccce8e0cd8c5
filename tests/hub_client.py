"""A reader of the Hub in a process of its own, for test_hub_round_trip.py: prints what it found as JSON.

hub_client.py PLACE            loads, pushes and fails in all ways, with an empty cache
hub_client.py PLACE offline    loads from the cache that the former left
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from hub_runs import demo_network
from huggingface_hub import HfApi, constants, hf_hub_download
from seeded import image

import hub
from core.networks.network import Network
from papers.danet.model import DANet


def answer(load: Callable[[], Network]) -> str:
    """What becomes of loading: "loaded", or the error."""
    try:
        load()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


def mark(name: str) -> None:
    """Leave a line in the server's list of requests."""
    try:
        urllib.request.urlopen(f"{constants.ENDPOINT}/mark/{name}")
    except urllib.error.HTTPError as error:
        error.close()


@torch.inference_mode()
def scores(network: Network) -> torch.Tensor:
    return network(image(65, 97)).scores


def online(place: Path) -> dict[str, Any]:
    loaded = hub.from_pretrained("org/danet-demo", verify=True)
    kept = {"published": scores(loaded)}
    found = {"class": type(loaded).__name__}

    graph = onnxruntime.InferenceSession(hf_hub_download("org/danet-demo", "model.onnx"))
    kept["onnx"] = torch.from_numpy(graph.run(["scores"], {"image": image(65, 97).numpy()})[0])

    commit = HfApi().model_info("org/danet-demo").sha
    mark("pinned")
    kept["pinned"] = scores(hub.from_pretrained("org/danet-demo", revision=commit, verify=True))
    mark("pinned-end")

    demo_network(0).push_to_hub("org/mine")
    first = HfApi().model_info("org/mine").sha
    HfApi().create_tag("org/mine", tag="v1")
    demo_network(1).push_to_hub("org/mine")
    kept["first"] = scores(DANet.from_pretrained("org/mine", revision=first))
    kept["tagged"] = scores(DANet.from_pretrained("org/mine", revision="v1"))
    kept["second"] = scores(DANet.from_pretrained("org/mine"))

    demo_network(2).push_to_hub("org/secret", private=True)
    found["secret with token"] = answer(lambda: hub.from_pretrained("org/secret"))
    empty = place / "empty"
    found["secret without token"] = answer(lambda: hub.from_pretrained("org/secret", token=False, cache_dir=empty))

    found["org/danet-demo@v9"] = answer(lambda: hub.from_pretrained("org/danet-demo", revision="v9"))
    for name in ("org/nothing", "org/no-config", "org/cut", "org/interrupted", "org/unknown", "not/a/name"):
        found[name] = answer(lambda name=name: hub.from_pretrained(name))  # type: ignore[misc]
    torch.save(kept, place / "scores.pt")
    return found


def offline(place: Path) -> dict[str, Any]:
    kept = torch.load(place / "scores.pt", weights_only=True)
    kept["offline"] = scores(hub.from_pretrained("org/danet-demo", verify=True))
    torch.save(kept, place / "scores.pt")
    return {"org/nothing": answer(lambda: hub.from_pretrained("org/nothing"))}


if __name__ == "__main__":
    where = Path(sys.argv[1])
    sys.stdout.write(json.dumps((offline if sys.argv[2:] else online)(where)) + "\n")
