"""Specs with slow levels, for the tests of numeric evidence."""

LAYER = """
nlc: 1
name: Layer
dims: {d_model: 24, heads: 3, d_head: d_model / heads}
axes: [heads]
inputs: {x: {shape: [d_model], axes: []}}
hyperparameters: {rate: 0.05}
levels:
  project_q: {memory: 'matrix(d_model, d_model)', every: step}
  project_k: {use: project_q}
  project_v: {use: project_q}
  project_out: {use: project_q}
  memory:
    memory: matrix(d_head, d_head)
    keys: split(project_k(x), heads)
    values: split(project_v(x), heads)
    objective: dot
    optimizer: gradient_descent(1)
    every: token
outputs:
  y: project_out(join(memory(split(project_q(x), heads)), heads))
outer: {objective: task, optimizer: 'momentum(learning_rate = rate, decay = 0.9)'}
"""

PERIODS = """
nlc: 1
name: Periods
dims: {d: 6}
inputs: {x: [d]}
hyperparameters: {rate: 0.05}
levels:
  every_step: {memory: 'matrix(d, d)', every: step}
  summed: {memory: 'matrix(d, d)', every: 2 steps, optimizer: gradient_descent(rate)}
  averaged:
    memory: vector(d)
    every: 4 steps
    reduce: mean
    init: 10 * rate
    optimizer: heavy_ball(learning_rate = rate / sqrt(d), decay = 0.5)
  frozen: {memory: 'matrix(d, d)', every: never}
  memory:
    memory: matrix(d, d)
    keys: every_step(x)
    values: summed(x) + averaged
    objective: dot
    optimizer: gradient_descent(1)
    every: token
outputs:
  y: memory(frozen(x))
outer: {objective: task, optimizer: momentum(0.1)}
"""

GATED = """
nlc: 1
name: Gated
dims: {d_model: 24, heads: 3, d_head: d_model / heads}
axes: [heads]
inputs: {x: {shape: [d_model], axes: []}}
let:
  beta: sigmoid(split(gate @ x, heads))
levels:
  project: {memory: 'matrix(d_model, d_model)', every: step}
  network: {memory: 'mlp(d_model, d_head, d_model)', every: 2 steps}
  gate: {memory: 'matrix(heads, d_model)', every: step}
  bias: {memory: vector(d_model), every: step}
  memory:
    memory: matrix(d_head, d_head)
    keys: split(project(x) + bias, heads)
    values: split(network(x), heads)
    objective: l2
    retention: 1 - 0.1 * beta
    optimizer: gradient_descent(0.2 * beta)
    every: token
outputs:
  y: bias + join(memory(split(x, heads)), heads)
  rates: join(beta, heads)
  reads: memory(split(x, heads))
outer: {objective: task, optimizer: momentum(0.1)}
"""

RECURRENT = """
nlc: 1
name: Recurrent
dims: {d_model: 12, heads: 3, d_head: d_model / heads}
axes: [heads]
inputs: {x: {shape: [d_model], axes: []}, g: {shape: [], axes: [heads]}}
levels:
  outside: {memory: 'matrix(d_model, d_model)', every: step, objective: task}
  network: {memory: 'mlp(d_model, d_head, d_model)', every: 2 steps, objective: task, optimizer: momentum(0.05)}
  memory:
    memory: mlp(d_head, d_head, d_head)
    keys: l2_normalise(split(outside(x), heads))
    values: split(network(x), heads)
    objective: l2
    optimizer: momentum(learning_rate = 0.02 * g, decay = 0.5)
    every: token
outputs:
  y: outside(join(g * memory(split(x, heads)), heads))
"""

NESTED = """
nlc: 1
name: Nested
dims: {d: 6}
inputs: {x: [d]}
hyperparameters: {rate: 0.05}
levels:
  fast: {memory: 'matrix(d, d)', every: step, init: medium, reset: 2 steps}
  medium: {memory: 'matrix(d, d)', every: 2 steps, init: 0.5 * slow, reset: 4 steps}
  slow: {memory: 'matrix(d, d)', every: 4 steps}
  scale: {memory: vector(d), every: step, init: rate, reset: 3 steps}
outputs:
  y: fast(x) + medium(x) + scale * slow(x)
outer: {objective: task, optimizer: momentum(0.1)}
"""
