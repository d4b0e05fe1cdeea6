"""The eight models that tests and benchmarks train: small, fp32, written as users write them.

Each `Case` builds a module whose forward takes a batch and returns a scalar loss.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """A model with its data: `build(p)` with dropout probability p, `batch(scale)` makes inputs."""

    name: str
    build: Callable[[float], nn.Module]
    batch: Callable[[int], Batch]
    has_dropout: bool = False
    random: bool = False  # draws random numbers even without dropout


def _example(name: str) -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# --- character-level GPT: the model of examples/train_char_gpt.py ---------------------------------


def build_char_gpt(dropout: float) -> nn.Module:
    example = _example("train_char_gpt")
    return example.CharGPT(vocabulary=96, dropout=dropout)


def char_batch(batch: int) -> Batch:
    text = torch.randint(0, 96, (batch, 129))
    return text[:, :-1].contiguous(), text[:, 1:].contiguous()


# --- MLP -------------------------------------------------------------------------------------------


class MLP(nn.Module):
    """256 wide, with SiLU, Mish, tanh and LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Linear(64, 256)
        self.layer2 = nn.Linear(256, 256)
        self.norm = nn.LayerNorm(256)
        self.layer3 = nn.Linear(256, 256)
        self.layer4 = nn.Linear(256, 10)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        x = F.silu(self.layer1(x))
        x = x + F.mish(self.layer2(self.norm(x)))
        x = torch.tanh(self.layer3(x))
        return F.cross_entropy(self.layer4(x), target)


def mlp_batch(batch: int) -> Batch:
    return torch.randn(batch, 64), torch.randint(0, 10, (batch,))


# --- Llama-like ------------------------------------------------------------------------------------


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x [batch, heads, time, head width], half-split form."""
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    return torch.cat((low * cos - high * sin, low * sin + high * cos), dim=-1)


class LlamaBlock(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.RMSNorm(width, eps=1e-5)
        self.norm2 = nn.RMSNorm(width, eps=1e-5)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time, width = x.shape
        h = self.norm1(x)
        shape = (batch, time, self.heads, width // self.heads)
        q = rotate(self.query(h).view(shape).transpose(1, 2), cos, sin)
        k = rotate(self.key(h).view(shape).transpose(1, 2), cos, sin)
        v = self.value(h).view(shape).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time, width))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    """RMSNorm, rotary embedding, SwiGLU, no biases."""

    def __init__(self, vocabulary: int = 256, width: int = 192, heads: int = 6, layers: int = 4) -> None:
        super().__init__()
        self.head_width = width // heads
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads, 512) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor, target: Tensor) -> Tensor:
        half = self.head_width // 2
        frequency = 10000.0 ** (-torch.arange(half, device=tokens.device) / half)
        angle = torch.arange(tokens.shape[1], device=tokens.device)[:, None] * frequency
        cos, sin = angle.cos(), angle.sin()
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, cos, sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def llama_batch(batch: int) -> Batch:
    text = torch.randint(0, 256, (batch, 129))
    return text[:, :-1].contiguous(), text[:, 1:].contiguous()


# --- BERT-like -------------------------------------------------------------------------------------


class BertBlock(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads) + mask
        weights = self.dropout(scores.softmax(dim=-1))
        y = (weights @ v).transpose(1, 2).reshape(batch, time, width)
        x = self.norm1(x + self.dropout(self.out(y)))
        return self.norm2(x + self.dropout(self.down(F.gelu(self.up(x)))))


class Bert(nn.Module):
    """Post-norm encoder with explicit attention, padding mask, dropout and a masked-token loss."""

    def __init__(self, dropout: float, vocabulary: int = 512, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        self.positions = nn.Embedding(128, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(BertBlock(width, 4, dropout) for _ in range(layers))
        self.transform = nn.Linear(width, width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor, target: Tensor) -> Tensor:
        time = tokens.shape[1]
        mask = torch.zeros(tokens.shape, device=tokens.device)
        mask = mask.masked_fill(tokens == 0, -1e9)[:, None, None, :]
        position = torch.arange(time, device=tokens.device)
        x = self.dropout(self.norm(self.tokens(tokens) + self.positions(position)))
        for block in self.blocks:
            x = block(x, mask)
        logits = self.head(F.gelu(self.transform(x)))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), target.view(-1), ignore_index=-100)


def bert_batch(batch: int) -> Batch:
    tokens = torch.randint(1, 512, (batch, 64))
    tokens[:, 56:] = 0
    target = torch.where(torch.rand(batch, 64) < 0.3, tokens, -100)
    target[:, 0] = tokens[:, 0]
    target[:, 56:] = -100
    return tokens, target


# --- ResNet ----------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Small residual network for 32x32 images, with BatchNorm and label smoothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.layers = nn.Sequential(
            ResidualBlock(16, 16, 1),
            ResidualBlock(16, 32, 2),
            ResidualBlock(32, 64, 2),
        )
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        x = self.layers(F.relu(self.norm(self.stem(x))))
        x = self.pool(x).mean(dim=(2, 3))
        return F.cross_entropy(self.head(x), target, label_smoothing=0.1)


def image_batch(batch: int) -> Batch:
    return torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))


# --- VAE -------------------------------------------------------------------------------------------


class VAE(nn.Module):
    """Variational autoencoder of 28x28 images: Gaussian latent, Bernoulli likelihood."""

    def __init__(self, deterministic: bool = False) -> None:
        super().__init__()
        self.deterministic = deterministic
        self.encode = nn.Linear(784, 400)
        self.mean = nn.Linear(400, 20)
        self.log_variance = nn.Linear(400, 20)
        self.decode1 = nn.Linear(20, 400)
        self.decode2 = nn.Linear(400, 784)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.encode(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        std = torch.exp(0.5 * log_variance)
        noise = torch.zeros_like(std) if self.deterministic else torch.randn_like(std)
        z = mean + noise * std
        image = torch.sigmoid(self.decode2(F.relu(self.decode1(z))))
        likelihood = F.binary_cross_entropy(image, x, reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return (likelihood + divergence) / x.shape[0]


def vae_batch(batch: int) -> Batch:
    return (torch.rand(batch, 784),)


# --- capsules --------------------------------------------------------------------------------------


def squash(x: Tensor, dim: int = -1) -> Tensor:
    square = (x * x).sum(dim=dim, keepdim=True)
    return square / (1 + square) * x / torch.sqrt(square + 1e-8)


class CapsuleNet(nn.Module):
    """Capsules with three rounds of dynamic routing (Sabour et al. 2017), margin loss."""

    def __init__(self, capsules: int = 10, width: int = 16, rounds: int = 3) -> None:
        super().__init__()
        self.rounds = rounds
        self.conv1 = nn.Conv2d(1, 32, 9)
        self.conv2 = nn.Conv2d(32, 32, 9, stride=2)
        self.weight = nn.Parameter(0.05 * torch.randn(1, 144, capsules, width, 8))

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        u = squash(self.conv2(x).view(x.shape[0], 8, -1).transpose(1, 2))
        votes = (self.weight @ u[:, :, None, :, None]).squeeze(-1)
        logits = votes.new_zeros(votes.shape[:3])
        for _ in range(self.rounds - 1):
            coupling = logits.softmax(dim=2)
            v = squash((coupling[..., None] * votes.detach()).sum(dim=1))
            logits = logits + (votes.detach() * v[:, None]).sum(dim=-1)
        v = squash((logits.softmax(dim=2)[..., None] * votes).sum(dim=1))
        length = torch.sqrt((v * v).sum(dim=-1) + 1e-8)
        wanted = F.one_hot(target, 10).to(length.dtype)
        present = wanted * F.relu(0.9 - length) ** 2
        absent = 0.5 * (1 - wanted) * F.relu(length - 0.1) ** 2
        return (present + absent).sum(dim=1).mean()


def digit_batch(batch: int) -> Batch:
    return torch.rand(batch, 1, 28, 28), torch.randint(0, 10, (batch,))


# --- LSTM ------------------------------------------------------------------------------------------


class LSTM(nn.Module):
    """Hand-written cell, unrolled over the sequence."""

    def __init__(self, vocabulary: int = 64, width: int = 128) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Embedding(vocabulary, width)
        self.inputs = nn.Linear(width, 4 * width)
        self.hidden = nn.Linear(width, 4 * width, bias=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor, target: Tensor) -> Tensor:
        x = self.inputs(self.embed(tokens))
        h = x.new_zeros(tokens.shape[0], self.width)
        c = torch.zeros_like(h)
        states = []
        for t in range(tokens.shape[1]):
            i, f, g, o = (x[:, t] + self.hidden(h)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        logits = self.head(torch.stack(states, dim=1))
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def lstm_batch(batch: int) -> Batch:
    text = torch.randint(0, 64, (batch, 17))
    return text[:, :-1].contiguous(), text[:, 1:].contiguous()


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("char_gpt", build_char_gpt, lambda n: char_batch(16 * n), has_dropout=True),
        Case("mlp", lambda p: MLP(), lambda n: mlp_batch(128 * n)),
        Case("llama", lambda p: Llama(), lambda n: llama_batch(8 * n)),
        Case("bert", Bert, lambda n: bert_batch(8 * n), has_dropout=True),
        Case("resnet", lambda p: ResNet(), lambda n: image_batch(32 * n)),
        Case("vae", lambda p: VAE(deterministic=p == 0), lambda n: vae_batch(64 * n), random=True),
        Case("capsules", lambda p: CapsuleNet(), lambda n: digit_batch(16 * n)),
        Case("lstm", lambda p: LSTM(), lambda n: lstm_batch(32 * n)),
    )
}
