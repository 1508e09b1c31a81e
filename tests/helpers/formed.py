"""A module that counts how often it forms its weight."""

import torch

from mtpeft.adapters.formed_once import FormedOnce


class Doubled(FormedOnce):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.times = 0

    def forward(self, x=1):
        return x * self.formed([self.weight], self.make)

    def make(self):
        self.times += 1
        return 2 * self.weight
