// The operations of image classifiers, by their number in BuiltinOperator. Each takes tensors
// {shape, value}, the step with its options, and the shapes of its outputs.
const full = shape => shape.reduce((product, size) => product * size, 1);

// Element by element, with shapes that stretch as numpy's do.
function together(tensors, combine) {
  const ranks = Math.max(...tensors.map(tensor => tensor.shape.length));
  const shapes = tensors.map(tensor => [...Array(ranks - tensor.shape.length).fill(1), ...tensor.shape]);
  const shape = shapes[0].map((_, axis) => Math.max(...shapes.map(one => one[axis])));
  const value = new Float32Array(full(shape)), places = shapes.map(() => 0), index = shape.map(() => 0);
  const strides = shapes.map(one => one.map((size, axis) => size === 1 ? 0 : full(one.slice(axis + 1))));
  for (let at = 0; at < value.length; at++) {
    value[at] = combine(...tensors.map((tensor, which) => tensor.value[places[which]]));
    for (let axis = ranks - 1; axis >= 0; axis--) {
      strides.forEach((stride, which) => { places[which] += stride[axis]; });
      if (++index[axis] < shape[axis]) break;
      strides.forEach((stride, which) => { places[which] -= stride[axis] * shape[axis]; });
      index[axis] = 0;
    }
  }
  return {value, shape};
}
function pair([x, y], combine) {
  if (full(x.shape) !== full(y.shape) && y.value.length !== 1 && y.value.length !== x.shape[x.shape.length - 1]) return together([x, y], combine);
  if (x.shape.length < y.shape.length) return together([x, y], combine);
  const value = new Float32Array(x.value.length), size = y.value.length;
  for (let at = 0; at < value.length; at++) value[at] = combine(x.value[at], y.value[at % size]);
  return {value, shape: x.shape};
}
const both = combine => (inputs, step) => {
  const result = pair(inputs, combine);
  activate(result.value, step.byte(0));
  return result;
};
const compare = combine => inputs => pair(inputs, (x, y) => combine(x, y) ? 1 : 0);
const choose = ([condition, yes, no]) => together([condition, yes, no], (which, x, y) => which ? x : y);
const each = change => ([x], step) => ({value: Float32Array.from(x.value, one => change(one, step)), shape: x.shape});
const same = ([x], step, [shape]) => ({value: x.value, shape});
const sigmoid = x => 1 / (1 + Math.exp(-x));
// https://www.johndcook.com/blog/cpp_erf/: error below 1.5e-7
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - tail * Math.exp(-x * x));
}
const gelu = (x, step) => step.byte(0)
  ? 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
  : 0.5 * x * (1 + erf(x / Math.SQRT2));

// Collects the values of each place that stays when axes are left out.
const reduce = (start, add, end = sum => sum) => ([x, axes], step, [shape]) => {
  const left = Array.from(axes.value, axis => (axis + x.shape.length) % x.shape.length);
  const kept = x.shape.map((size, axis) => left.includes(axis) ? 1 : size), index = x.shape.map(() => 0);
  const value = new Float64Array(full(kept)).fill(start), many = x.value.length / value.length;
  const strides = kept.map((size, axis) => size === 1 ? 0 : full(kept.slice(axis + 1)));
  for (let at = 0; at < x.value.length; at++) {
    let to = 0;
    for (let axis = 0; axis < index.length; axis++) to += strides[axis] * index[axis];
    value[to] = add(value[to], x.value[at]);
    for (let axis = index.length - 1; axis >= 0 && ++index[axis] === x.shape[axis]; axis--) index[axis] = 0;
  }
  return {value: Float32Array.from(value, sum => end(sum, many)), shape};
};

// Reads from x at a place for each place of the result.
function gather(x, shape, place) {
  const value = new Float32Array(full(shape)), index = shape.map(() => 0);
  const strides = x.shape.map((_, axis) => full(x.shape.slice(axis + 1)));
  for (let at = 0; at < value.length; at++) {
    let from = 0, inside = true;
    place(index).forEach((where, axis) => {
      inside = inside && where >= 0 && where < x.shape[axis];
      from += where * strides[axis];
    });
    if (inside) value[at] = x.value[from];
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
  return {value, shape};
}
function softmax([x], step, [shape]) {
  const size = x.shape[x.shape.length - 1], value = new Float32Array(x.value.length), beta = step.float ? step.float(0, 1) : 1;
  for (let first = 0; first < value.length; first += size) {
    const row = x.value.subarray(first, first + size), top = row.reduce((most, one) => Math.max(most, one), -Infinity);
    let sum = 0;
    for (let at = 0; at < size; at++) sum += Math.exp(beta * (row[at] - top));
    for (let at = 0; at < size; at++) value[first + at] = Math.exp(beta * (row[at] - top)) / sum;
  }
  return {value, shape};
}
function concatenate(inputs, step, [shape]) {
  const axis = (step.int(0) + shape.length) % shape.length, inner = inputs.map(x => full(x.shape.slice(axis)));
  const value = new Float32Array(full(shape)), outer = full(shape.slice(0, axis));
  for (let row = 0, to = 0; row < outer; row++) inputs.forEach((x, which) => {
    value.set(x.value.subarray(row * inner[which], (row + 1) * inner[which]), to);
    to += inner[which];
  });
  return {value: activate(value, step.byte(1)), shape};
}
function dense([x, kernel, bias], step, [shape]) {
  const [outputs, depth] = kernel.shape, rows = x.value.length / depth;
  return {value: activate(multiply(x.value, rows, depth, kernel.value, outputs, bias && bias.value), step.byte(0)), shape};
}
const padded = ([x, sizes], step, [shape]) => gather(x, shape, index => index.map((one, axis) => one - sizes.value[2 * axis]));
const stridedSlice = ([x, begin, , strides], step, [shape]) => {
  // A mask's bit says that a slice begins at the end that its direction asks for
  const first = Array.from(begin.value, (one, axis) => {
    if (step.int(0) >> axis & 1) return strides.value[axis] > 0 ? 0 : x.shape[axis] - 1;
    return one < 0 ? one + x.shape[axis] : one;
  });
  if (step.int(4) || step.int(2) || step.int(3)) throw Error("a slice that changes the number of axes");
  return gather(x, shape, index => index.map((one, axis) => first[axis] + one * strides.value[axis]));
};
const split = ([axis, x], step, shapes) => {
  const along = (axis.value[0] + x.shape.length) % x.shape.length;
  let first = 0;
  return shapes.map(shape => {
    const from = first;
    first += shape[along];
    return gather(x, shape, index => index.map((one, which) => which === along ? one + from : one));
  });
};

const operations = {
  0 /* ADD */: both((x, y) => x + y),
  1 /* AVERAGE_POOL_2D */: pool(false),
  2 /* CONCATENATION */: concatenate,
  3 /* CONV_2D */: convolve,
  4 /* DEPTHWISE_CONV_2D */: convolveEachChannel,
  9 /* FULLY_CONNECTED */: dense,
  14 /* LOGISTIC */: each(sigmoid),
  17 /* MAX_POOL_2D */: pool(true),
  18 /* MUL */: both((x, y) => x * y),
  19 /* RELU */: each(x => Math.max(0, x)),
  21 /* RELU6 */: each(x => Math.min(6, Math.max(0, x))),
  22 /* RESHAPE */: same,
  25 /* SOFTMAX */: softmax,
  28 /* TANH */: each(Math.tanh),
  34 /* PAD */: padded,
  36 /* GATHER */: ([x, rows], step, [shape]) => {
    const axis = (step.int(0) + x.shape.length) % x.shape.length;
    return gather(x, shape, index => index.map((one, which) => which === axis ? rows.value[one] : one));
  },
  39 /* TRANSPOSE */: ([x, order], step, [shape]) => gather(x, shape, index => x.shape.map((_, axis) => index[order.value.indexOf(axis)])),
  40 /* MEAN */: reduce(0, (sum, one) => sum + one, (sum, many) => sum / many),
  41 /* SUB */: both((x, y) => x - y),
  42 /* DIV */: both((x, y) => x / y),
  43 /* SQUEEZE */: same,
  45 /* STRIDED_SLICE */: stridedSlice,
  47 /* EXP */: each(Math.exp),
  49 /* SPLIT */: split,
  53 /* CAST */: same,
  55 /* MAXIMUM */: both(Math.max),
  57 /* MINIMUM */: both(Math.min),
  58 /* LESS */: compare((x, y) => x < y),
  59 /* NEG */: each(x => -x),
  61 /* GREATER */: compare((x, y) => x > y),
  62 /* GREATER_EQUAL */: compare((x, y) => x >= y),
  63 /* LESS_EQUAL */: compare((x, y) => x <= y),
  64 /* SELECT */: choose,
  65 /* SLICE */: ([x, begin], step, [shape]) => gather(x, shape, index => index.map((one, axis) => one + begin.value[axis])),
  70 /* EXPAND_DIMS */: same,
  73 /* LOG */: each(Math.log),
  74 /* SUM */: reduce(0, (sum, one) => sum + one),
  75 /* SQRT */: each(Math.sqrt),
  76 /* RSQRT */: each(x => 1 / Math.sqrt(x)),
  78 /* POW */: both(Math.pow),
  82 /* REDUCE_MAX */: reduce(-Infinity, Math.max),
  92 /* SQUARE */: each(x => x * x),
  98 /* LEAKY_RELU */: each((x, step) => x < 0 ? x * step.float(0) : x),
  99 /* SQUARED_DIFFERENCE */: both((x, y) => (x - y) ** 2),
  101 /* ABS */: each(Math.abs),
  105 /* REVERSE_V2 */: ([x, axes], step, [shape]) => {
    const turned = Array.from(axes.value, axis => (axis + shape.length) % shape.length);
    return gather(x, shape, index => index.map((one, axis) => turned.includes(axis) ? shape[axis] - 1 - one : one));
  },
  111 /* ELU */: each(x => x < 0 ? Math.expm1(x) : x),
  117 /* HARD_SWISH */: each(x => x * Math.min(6, Math.max(0, x + 3)) / 6),
  123 /* SELECT_V2 */: choose,
  150 /* GELU */: each(gelu),
};
