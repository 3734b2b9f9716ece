"""The network with what may come before and after it: pixels made ready, probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mobilevit_fast.export.network import ExportNetwork
from mobilevit_fast.export.options import Options
from mobilevit_fast.image import Preprocessing


class EndToEnd(nn.Module):
    """Images to logits or probabilities, float32; see `Options`.

    The network computes in float16 for precision "fp16".
    """

    def __init__(self, network: ExportNetwork, preprocessing: Preprocessing, options: Options) -> None:
        super().__init__()
        self.half_precision = options.precision == "fp16"
        self.network = network.half() if self.half_precision else network
        self.raw_pixels, self.softmax = options.raw_pixels, options.softmax
        if options.raw_pixels:
            self.reverses = preprocessing.channel_order == "BGR"
            mean, std = preprocessing.mean or (0.0,) * 3, preprocessing.std or (1.0,) * 3
            scale = torch.tensor([preprocessing.rescale / deviation for deviation in std])
            offset = torch.tensor([-m / deviation for m, deviation in zip(mean, std, strict=True)])
            self.has_offset = preprocessing.mean is not None
            self.register_buffer("pixel_scale", scale.reshape(3, 1, 1))
            self.register_buffer("pixel_offset", offset.reshape(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if self.raw_pixels:
            images = self.prepare(images)
        if self.half_precision:
            images = images.half()
        answer = self.network(images).float()
        return answer.softmax(dim=-1) if self.softmax else answer

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 RGB [N, 3, H, W] to float32 in the order and range of the network."""
        pixels = images.float()
        if self.reverses:
            pixels = torch.cat((pixels[:, 2:3], pixels[:, 1:2], pixels[:, 0:1]), dim=1)
        pixels = pixels * self.pixel_scale
        return pixels + self.pixel_offset if self.has_offset else pixels
