"""How a large picture is shrunk before it is compared: part of a ScaleInv figure's meaning.

    antialiased   a bilinear filter as wide as the shrinking asks: every pixel counts
    reference     bilinear sampling at the pixel grid, as the paper's own program did: of a picture
                  shrunk by more than 2 most pixels are never read, so fine detail aliases

Shapes: pictures uint8 [N,H,W,3].
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from infinite_render.errors import UsageError, nearest

Pictures = npt.NDArray[np.uint8]  # [N,H,W,3]
Protocol = Literal["antialiased", "reference"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


def check_protocol(name: str) -> Protocol:
    """UsageError for a protocol that is none of ours."""
    for protocol in PROTOCOLS:
        if name == protocol:
            return protocol
    known = " or ".join(PROTOCOLS)
    raise UsageError(f"--protocol {name} is unknown; use {known}{nearest(name, PROTOCOLS)}")


@torch.inference_mode()
def shrink(
    pictures: Pictures, height: int, width: int, protocol: Protocol = "antialiased"
) -> Pictures:
    """Resize uint8 [N,H,W,3] to [N,height,width,3]; the same pictures where nothing changes."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, (height, width), mode="bilinear", antialias=protocol == "antialiased")
    levels = x.round_().clamp_(0, 255).to(torch.uint8)
    shrunk: Pictures = levels.permute(0, 2, 3, 1).contiguous().numpy()
    return shrunk
