"""The optimizers in `optimizers/`, written by hand in float64: apart from every line of nlc.

Most are for one tensor: each takes the tensor and gives a function from its gradient to the tensor after a step. The numbers are the
defaults of the specs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]
"""A gradient in, the weights after one more step out."""

Steps = Callable[[list[Tensor]], list[Tensor]]
"""The same for several tensors."""


class Adam:
    """The two moments that many share."""

    def __init__(self, weights: Tensor, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.weights, self.beta1, self.beta2, self.step = weights, beta1, beta2, 0
        self.first, self.second = torch.zeros_like(weights), torch.zeros_like(weights)

    def moments(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the mean square so far, without the bias of their start."""
        self.step += 1
        self.first = self.beta1 * self.first + (1 - self.beta1) * gradient
        self.second = self.beta2 * self.second + (1 - self.beta2) * gradient**2
        return self.first / (1 - self.beta1**self.step), self.second / (1 - self.beta2**self.step)


def lion(weights: Tensor) -> Step:
    momentum = torch.zeros_like(weights)

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, momentum
        weights = (1 - 1e-2 * 0.1) * weights - 1e-2 * (0.9 * momentum + 0.1 * gradient).sign()
        momentum = 0.99 * momentum + 0.01 * gradient
        return weights

    return step


def adafactor(weights: Tensor) -> Step:
    rows, columns, count = torch.zeros(weights.shape[0]).double(), torch.zeros(weights.shape[1]).double(), 0

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, rows, columns, count
        count += 1
        rate = (count + 1) ** -0.8
        squares = gradient**2 + 1e-30
        rows, columns = rows + rate * (squares.mean(1) - rows), columns + rate * (squares.mean(0) - columns)
        direction = gradient / (torch.outer(rows, columns) / rows.mean()).sqrt()
        weights = weights - 1e-2 * direction / max(1.0, float((direction**2).mean().sqrt()))
        return weights

    return step


def shampoo(weights: Tensor) -> Step:
    left, right = torch.eye(weights.shape[0]).double(), torch.eye(weights.shape[1]).double()

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, left, right
        left, right = left + gradient @ gradient.T, right + gradient.T @ gradient
        weights = weights - 1e-2 * torch.linalg.inv(left) @ gradient @ torch.linalg.inv(right)
        return weights

    return step


def fourth_root(matrix: Tensor) -> Tensor:
    """The inverse fourth root by eight coupled Newton steps."""
    eye = torch.eye(len(matrix)).double()
    root, rest = matrix.norm() ** -0.25 * eye, matrix / matrix.norm()
    for _ in range(8):
        factor = (5 * eye - rest) / 4
        root, rest = root @ factor, torch.linalg.matrix_power(factor, 4) @ rest
    return root


def shampoo_roots(weights: Tensor) -> Step:
    left, right = (torch.zeros(size, size).double() for size in weights.shape)

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, left, right
        left = 0.9 * left + 0.1 * (gradient @ gradient.T + 1e-3 * torch.eye(len(left)).double())
        right = 0.9 * right + 0.1 * (gradient.T @ gradient + 1e-3 * torch.eye(len(right)).double())
        weights = weights - 1e-2 * fourth_root(left) @ gradient @ fourth_root(right)
        return weights

    return step


def schedule_free(weights: Tensor) -> Step:
    iterate, average, count = weights, weights, 0

    def step(gradient: Tensor) -> Tensor:
        nonlocal iterate, average, count
        count += 1
        iterate = iterate - 0.1 * gradient
        average = (1 - 1 / count) * average + iterate / count
        return 0.9 * average + 0.1 * iterate

    return step


def lookahead(weights: Tensor) -> Step:
    slow, count = weights, 0

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, slow, count
        count += 1
        weights = weights - 0.1 * gradient
        if count % 5 == 0:
            slow = slow + 0.5 * (weights - slow)
            weights = slow
        return weights

    return step


def agreement(weights: Tensor) -> Step:
    momentum = torch.zeros_like(weights)

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, momentum
        momentum = 0.9 * (momentum * gradient >= 0).double() * momentum + gradient
        weights = weights - 0.05 * momentum
        return weights

    return step


def adabelief(weights: Tensor) -> Step:
    expected, deviation, count = torch.zeros_like(weights), torch.zeros_like(weights), 0

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, expected, deviation, count
        count += 1
        expected = 0.9 * expected + 0.1 * gradient
        deviation = 0.999 * deviation + 0.001 * (gradient - expected) ** 2 + 1e-8
        weights = weights - 1e-2 * expected / (1 - 0.9**count) / ((deviation / (1 - 0.999**count)).sqrt() + 1e-8)
        return weights

    return step


def radam(weights: Tensor) -> Step:
    adam = Adam(weights)

    def step(gradient: Tensor) -> Tensor:
        first, _ = adam.moments(gradient)
        longest = 2 / (1 - 0.999) - 1
        length = longest - 2 * adam.step * 0.999**adam.step / (1 - 0.999**adam.step)
        if length > 5:
            share = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5
            first = first * share * (1 - 0.999**adam.step) ** 0.5 / (adam.second.sqrt() + 1e-8)
        adam.weights = adam.weights - 1e-2 * first
        return adam.weights

    return step


def amsgrad(weights: Tensor) -> Step:
    adam, largest = Adam(weights), torch.zeros_like(weights)

    def step(gradient: Tensor) -> Tensor:
        nonlocal largest
        first, _ = adam.moments(gradient)
        largest = torch.maximum(largest, adam.second)
        adam.weights = adam.weights - 1e-2 * first / (largest.sqrt() / (1 - 0.999**adam.step) ** 0.5 + 1e-8)
        return adam.weights

    return step


def lamb(weights: Tensor) -> Step:
    adam = Adam(weights)

    def step(gradient: Tensor) -> Tensor:
        first, second = adam.moments(gradient)
        direction = first / (second.sqrt() + 1e-6) + 0.01 * adam.weights
        adam.weights = adam.weights - 1e-2 * adam.weights.norm() / direction.norm() * direction
        return adam.weights

    return step


def rprop(weights: Tensor) -> Step:
    size, before = torch.full_like(weights, 0.01), torch.zeros_like(weights)

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, size, before
        agrees = gradient * before
        size = (size * (1 + (agrees > 0).double() * 0.2 - (agrees < 0).double() * 0.5)).clamp(1e-6, 50)
        weights, before = weights - size * gradient.sign(), gradient
        return weights

    return step


def adopt(weights: Tensor) -> Step:
    first, second, count = torch.zeros_like(weights), torch.zeros_like(weights), 0

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, first, second, count
        count += 1
        if count == 1:
            second = gradient**2
            return weights
        limit = count**0.25
        first = 0.9 * first + 0.1 * (gradient / second.sqrt().clamp(min=1e-6)).clamp(-limit, limit)
        second = 0.999 * second + 0.001 * gradient**2
        weights = weights - 1e-2 * first
        return weights

    return step


def mars(weights: Tensor) -> Step:
    adam, before = Adam(weights, 0.95, 0.99), weights

    def step(gradient: Tensor) -> Tensor:
        nonlocal before
        change = gradient - before if adam.step else 0
        corrected = gradient + 0.025 * 0.95 / (1 - 0.95) * change
        first, second = adam.moments(corrected / max(1.0, float(corrected.norm())))
        before = gradient
        adam.weights = (1 - 3e-3 * 0.01) * adam.weights - 3e-3 * first / (second.sqrt() + 1e-8)
        return adam.weights

    return step


def ademamix(weights: Tensor) -> Step:
    adam, slow = Adam(weights), torch.zeros_like(weights)

    def step(gradient: Tensor) -> Tensor:
        nonlocal slow
        first, second = adam.moments(gradient)
        progress = min(1.0, adam.step / 40)
        low, high = math.log(0.9), math.log(0.9999)
        decay = min(math.exp(low * high / ((1 - progress) * high + progress * low)), 0.9999)
        slow = decay * slow + (1 - decay) * gradient
        adam.weights = adam.weights - 1e-2 * (first + 5 * progress * slow) / (second.sqrt() + 1e-8)
        return adam.weights

    return step


def centred(weights: Tensor) -> Step:
    momentum = torch.zeros_like(weights)

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, momentum
        momentum = 0.9 * momentum + gradient - gradient.mean(1, keepdim=True)
        agrees = (momentum * gradient > 0).double()
        weights = weights - 0.05 * momentum * agrees / (agrees.mean() + 1e-3)
        return weights

    return step


def low_rank(weights: Tensor) -> Step:
    momentum, directions = torch.zeros_like(weights), torch.eye(2, weights.shape[1]).double()

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, momentum, directions
        momentum = 0.9 * momentum + gradient
        image = momentum @ directions.T
        directions = torch.linalg.inv(image.T @ image + torch.eye(2)) @ image.T @ momentum
        weights = weights - 0.005 * momentum @ directions.T @ directions
        return weights

    return step


def elastic(weights: Tensor) -> Step:
    average = weights.clone()

    def step(gradient: Tensor) -> Tensor:
        nonlocal weights, average
        average = 0.9 * average + 0.1 * weights
        weights = weights - 0.1 * (gradient + 0.5 * (weights - average))
        return weights

    return step


def scaled(weights: list[Tensor]) -> Steps:
    scale, count = torch.zeros(()).double(), 0

    def step(gradients: list[Tensor]) -> list[Tensor]:
        nonlocal weights, scale, count
        count += 1
        scale = 0.9 * scale + 0.1 * sum((gradient**2).sum() for gradient in gradients)
        length = (scale / (1 - 0.9**count)).sqrt() + 1e-8
        weights = [weight - 0.1 * gradient / length for weight, gradient in zip(weights, gradients, strict=True)]
        return weights

    return step


def each(make: Callable[[Tensor], Step]) -> Callable[[list[Tensor]], Steps]:
    """Tensors that do not know of one another."""

    def of_all(weights: list[Tensor]) -> Steps:
        steps = [make(weight) for weight in weights]
        return lambda gradients: [step(gradient) for step, gradient in zip(steps, gradients, strict=True)]

    return of_all


BY_HAND: Mapping[str, Callable[[list[Tensor]], Steps]] = MappingProxyType(
    {
        "scaled": scaled,
        **{
            item.__name__: each(item)
            for item in (
                lion, adafactor, shampoo, shampoo_roots, schedule_free, lookahead, agreement, adabelief, radam, amsgrad, lamb, rprop, adopt,
                mars, ademamix, centred, low_rank, elastic,
            )
        },
    }
)  # fmt: skip
