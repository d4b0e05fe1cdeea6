"""char_gpt and mlp of tests/python/models.py in JAX: the same sizes and operators, and AdamW, in one compiled step.

Weights are drawn as torch draws them, but with other numbers: losses are alike, not the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

RATE, BETA1, BETA2, EPSILON, DECAY = 1e-4, 0.9, 0.999, 1e-8, 0.01  # of AdamW
DROPOUT = 0.1
VOCABULARY, WIDTH, HEADS, LAYERS, CONTEXT = 96, 128, 4, 4, 128

Tree = Any
Array = jax.Array
generator = np.random.default_rng(0)


def uniform(bound: float, *shape: int) -> Array:
    return jnp.asarray(generator.uniform(-bound, bound, shape), jnp.float32)


def normal(*shape: int) -> Array:
    return jnp.asarray(generator.standard_normal(shape), jnp.float32)


def linear(rows: int, columns: int) -> Tree:
    bound = rows**-0.5
    return {"weight": uniform(bound, rows, columns), "bias": uniform(bound, columns)}


def norm(width: int) -> Tree:
    return {"weight": jnp.ones(width), "bias": jnp.zeros(width)}


def apply(layer: Tree, x: Array) -> Array:
    return x @ layer["weight"] + layer["bias"]


def normalize(layer: Tree, x: Array) -> Array:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * layer["weight"] + layer["bias"]


def cross_entropy(logits: Array, target: Array) -> Array:
    logs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logs, target[..., None], -1).mean()


def dropout(x: Array, key: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0.0)


# --- models --------------------------------------------------------------------------------------------


def mlp() -> tuple[Tree, tuple[Array, Array]]:
    names = {"layer1": (64, 256), "layer2": (256, 256), "layer3": (256, 256), "layer4": (256, 10)}
    parameters = {name: linear(*sizes) for name, sizes in names.items()} | {"norm": norm(256)}
    return parameters, (normal(128, 64), jnp.asarray(generator.integers(0, 10, 128)))


def mlp_loss(p: Tree, x: Array, target: Array, key: Array) -> Array:
    del key
    x = jax.nn.silu(apply(p["layer1"], x))
    x = x + jax.nn.mish(apply(p["layer2"], normalize(p["norm"], x)))
    return cross_entropy(apply(p["layer4"], jnp.tanh(apply(p["layer3"], x))), target)


def char_gpt() -> tuple[Tree, tuple[Array, Array]]:
    sizes = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
    blocks = [
        {name: linear(*size) for name, size in sizes.items()} | {"norm1": norm(WIDTH), "norm2": norm(WIDTH)}
        for _ in range(LAYERS)
    ]
    embeddings = {"tokens": normal(VOCABULARY, WIDTH), "positions": normal(CONTEXT, WIDTH)}
    rest = {"norm": norm(WIDTH), "head": uniform(WIDTH**-0.5, WIDTH, VOCABULARY)}
    text = jnp.asarray(generator.integers(0, VOCABULARY, (16, CONTEXT + 1)))
    return {"blocks": blocks, **embeddings, **rest}, (text[:, :-1], text[:, 1:])


def char_gpt_loss(p: Tree, tokens: Array, target: Array, key: Array) -> Array:
    x = p["tokens"][tokens] + p["positions"]
    keys = jax.random.split(key, 2 * LAYERS)
    for i, block in enumerate(p["blocks"]):
        parts = jnp.split(apply(block["qkv"], normalize(block["norm1"], x)), 3, axis=-1)
        q, k, v = (part.reshape(*part.shape[:2], HEADS, WIDTH // HEADS) for part in parts)
        attended = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
        x = x + dropout(apply(block["out"], attended), keys[2 * i])
        hidden = jax.nn.gelu(apply(block["up"], normalize(block["norm2"], x)), approximate=False)
        x = x + dropout(apply(block["down"], hidden), keys[2 * i + 1])
    return cross_entropy(normalize(p["norm"], x) @ p["head"], target)


MODELS = {"mlp": (mlp, mlp_loss), "char_gpt": (char_gpt, char_gpt_loss)}


# --- a step --------------------------------------------------------------------------------------------


def jax_step(model: str, way: str, device: str) -> Callable[[], Callable[[], float]]:
    """What makes the step of a model ready, without compiling it yet."""
    make, loss_of = MODELS[model]
    parameters, batch = make()
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = [parameters, zeros, jax.tree.map(jnp.zeros_like, parameters), jnp.zeros(()), jax.random.key(0)]

    def train(p: Tree, mean: Tree, square: Tree, count: Array, key: Array, x: Array, y: Array) -> tuple[Any, ...]:
        key, mine = jax.random.split(key)
        loss, gradients = jax.value_and_grad(loss_of)(p, x, y, mine)
        count = count + 1
        mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, gradients)
        square = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, square, gradients)
        scale1, scale2 = 1 - BETA1**count, 1 - BETA2**count

        def update(p: Array, m: Array, s: Array) -> Array:
            return p * (1 - RATE * DECAY) - RATE * (m / scale1) / (jnp.sqrt(s / scale2) + EPSILON)

        return loss, jax.tree.map(update, p, mean, square), mean, square, count, key

    def ready() -> Callable[[], float]:
        compiled = jax.jit(train, donate_argnums=(0, 1, 2, 3, 4))

        def step() -> float:
            loss, *state[:] = compiled(*state, *batch)
            jax.block_until_ready(state)
            return float(loss)

        return step

    return ready
