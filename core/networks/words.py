"""Words of other libraries' `from_pretrained`, and what stands here in their place."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import unknown

_HALF = "weights are read in float32: call .to(torch.float16) on the network, or pass precision= to predict"
_DEVICE = "pass map_location, such as map_location='cuda'"
_STRICT = "leave it out: loading is always strict, and reads safetensors and JSON only"
_CLASSES = "pass num_classes, which leaves classifiers of another number out"
_ARCHITECTURE = "config.json says what the network is; build another by its class, such as papers.danet.DANet"
_PLACE = "give the folder itself"
_TRANSFER = "leave it out: HTTPS_PROXY, HF_ENDPOINT and HF_TOKEN are followed, and a download goes on where it stopped"

INSTEAD = {
    **dict.fromkeys(("dtype", "torch_dtype", "precision", "quantization_config", "load_in_8bit"), _HALF),
    **dict.fromkeys(("device", "device_map", "max_memory", "low_cpu_mem_usage"), _DEVICE),
    **dict.fromkeys(("strict", "use_safetensors", "weights_only", "variant", "from_tf", "from_flax"), _STRICT),
    "trust_remote_code": "leave it out: nothing that is downloaded is executed",
    "use_auth_token": "pass token",
    "local_dir": "pass cache_dir",
    **dict.fromkeys(("num_labels", "classes", "ignore_mismatched_sizes", "id2label", "label2id"), _CLASSES),
    **dict.fromkeys(("architecture", "backbone", "config", "in_channels", "in_chans", "state_dict"), _ARCHITECTURE),
    **dict.fromkeys(("subfolder", "filename", "weights_name"), _PLACE),
    **dict.fromkeys(("resume_download", "proxies", "etag_timeout", "endpoint"), _TRANSFER),
}
"""What to do instead, by the word that is known elsewhere."""


def refuse_foreign(given: Mapping[str, object], taker: Callable[..., Any]) -> None:
    """Refuse words that a function does not take.

    Raises:
        ValueError: naming the first of them, what the function takes, and what to do instead.
    """
    taken = [name for name, word in inspect.signature(taker).parameters.items() if word.kind is word.KEYWORD_ONLY]
    for name in given:
        instead = f"{taker.__name__} takes no {name}: {INSTEAD.get(name)}; it takes {', '.join(taken)}"
        raise ValueError(instead if name in INSTEAD else unknown(f"word of {taker.__name__}", name, taken))
