// Convolutions and pooling: most of the work. Tensors are {shape, value}; steps give their options.
// NONE, RELU, RELU_N1_TO_1, RELU6, TANH of ActivationFunctionType
function activate(values, which) {
  const limits = {1: [0, Infinity], 2: [-1, 1], 3: [0, 6]}[which];
  if (limits) for (let at = 0; at < values.length; at++) values[at] = Math.min(limits[1], Math.max(limits[0], values[at]));
  if (which === 4) for (let at = 0; at < values.length; at++) values[at] = Math.tanh(values[at]);
  return values;
}

// rows x depth times (outputs x depth) transposed, plus bias. Blocks of 4 x 4 sums stay in registers.
function multiply(left, rows, depth, right, outputs, bias) {
  const result = new Float32Array(rows * outputs);
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    let output = 0;
    const p0 = row * depth, p1 = p0 + depth, p2 = p1 + depth, p3 = p2 + depth;
    for (; output + 4 <= outputs; output += 4) {
      const q0 = output * depth, q1 = q0 + depth, q2 = q1 + depth, q3 = q2 + depth;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
      for (let k = 0; k < depth; k++) {
        const x0 = left[p0 + k], x1 = left[p1 + k], x2 = left[p2 + k], x3 = left[p3 + k];
        const y0 = right[q0 + k], y1 = right[q1 + k], y2 = right[q2 + k], y3 = right[q3 + k];
        a0 += x0 * y0; a1 += x0 * y1; a2 += x0 * y2; a3 += x0 * y3;
        b0 += x1 * y0; b1 += x1 * y1; b2 += x1 * y2; b3 += x1 * y3;
        c0 += x2 * y0; c1 += x2 * y1; c2 += x2 * y2; c3 += x2 * y3;
        d0 += x3 * y0; d1 += x3 * y1; d2 += x3 * y2; d3 += x3 * y3;
      }
      let at = row * outputs + output;
      result[at] = a0; result[at + 1] = a1; result[at + 2] = a2; result[at + 3] = a3;
      at += outputs;
      result[at] = b0; result[at + 1] = b1; result[at + 2] = b2; result[at + 3] = b3;
      at += outputs;
      result[at] = c0; result[at + 1] = c1; result[at + 2] = c2; result[at + 3] = c3;
      at += outputs;
      result[at] = d0; result[at + 1] = d1; result[at + 2] = d2; result[at + 3] = d3;
    }
    for (let rest = row; rest < row + 4; rest++) dots(rest, output);
  }
  for (; row < rows; row++) dots(row, 0);
  function dots(one, output) {
    for (; output < outputs; output++) {
      let sum = 0;
      for (let k = 0, p = one * depth, q = output * depth; k < depth; k++) sum += left[p + k] * right[q + k];
      result[one * outputs + output] = sum;
    }
  }
  if (bias) for (let at = 0; at < result.length; at++) result[at] += bias[at % outputs];
  return result;
}

// Where a window of a convolution or pooling stands: Padding SAME (0) or VALID (1).
function windows(shape, step, height, width, dilation = [1, 1]) {
  const [, rows, columns] = shape, strides = [step.int(2, 1), step.int(1, 1)];
  const sizes = [(height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1];
  const along = (size, kernel, stride) => {
    if (step.byte(0) === 1) return [Math.ceil((size - kernel + 1) / stride), 0];
    const places = Math.ceil(size / stride);
    return [places, Math.max(0, (places - 1) * stride + kernel - size) >> 1];
  };
  const [high, top] = along(rows, sizes[0], strides[0]), [wide, left] = along(columns, sizes[1], strides[1]);
  return {high, wide, top, left, down: strides[0], right: strides[1]};
}

function convolve([image, kernel, bias], step) {
  const [, rows, columns, channels] = image.shape, [outputs, height, width, depth] = kernel.shape;
  const dilation = [step.int(5, 1), step.int(4, 1)], at = windows(image.shape, step, height, width, dilation);
  const groups = channels / depth, size = height * width * depth, part = outputs / groups;
  const value = new Float32Array(at.high * at.wide * outputs), whole = height * width === 1 && at.down === 1 && at.right === 1 && groups === 1;
  // A band of rows at a time: all patches of a large image would not fit
  const band = whole ? at.high : Math.max(1, Math.min(at.high, Math.floor(2e6 / (size * at.wide))));
  for (let group = 0; group < groups; group++) {
    for (let first = 0; first < at.high; first += band) {
      const high = Math.min(band, at.high - first);
      const patches = whole ? image.value : new Float32Array(high * at.wide * size);
      for (let i = 0, to = 0; !whole && i < high; i++) for (let j = 0; j < at.wide; j++) {
        for (let a = 0; a < height; a++) for (let b = 0; b < width; b++, to += depth) {
          const row = (first + i) * at.down - at.top + a * dilation[0], column = j * at.right - at.left + b * dilation[1];
          if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
          const from = (row * columns + column) * channels + group * depth;
          for (let c = 0; c < depth; c++) patches[to + c] = image.value[from + c];
        }
      }
      const weights = kernel.value.subarray(group * part * size, (group + 1) * part * size);
      const sums = multiply(patches, high * at.wide, size, weights, part, bias && bias.value.subarray(group * part, (group + 1) * part));
      for (let p = 0, to = first * at.wide * outputs + group * part; p < high * at.wide; p++, to += outputs) {
        value.set(sums.subarray(p * part, (p + 1) * part), to);
      }
    }
  }
  return {value: activate(value, step.byte(3)), shape: [1, at.high, at.wide, outputs]};
}

function convolveEachChannel([image, kernel, bias], step) {
  const [, rows, columns, channels] = image.shape, [, height, width, outputs] = kernel.shape, many = outputs / channels;
  const dilation = [step.int(6, 1), step.int(5, 1)], at = windows(image.shape, step, height, width, dilation);
  const value = new Float32Array(at.high * at.wide * outputs), from = image.value, weights = kernel.value;
  for (let i = 0, to = 0; i < at.high; i++) for (let j = 0; j < at.wide; j++, to += outputs) {
    if (bias) value.set(bias.value, to);
    for (let a = 0; a < height; a++) for (let b = 0; b < width; b++) {
      const row = i * at.down - at.top + a * dilation[0], column = j * at.right - at.left + b * dilation[1];
      if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
      const p = (row * columns + column) * channels, q = (a * width + b) * outputs;
      if (many === 1) for (let c = 0; c < outputs; c++) value[to + c] += from[p + c] * weights[q + c];
      else for (let c = 0; c < outputs; c++) value[to + c] += from[p + Math.floor(c / many)] * weights[q + c];
    }
  }
  return {value: activate(value, step.byte(4)), shape: [1, at.high, at.wide, outputs]};
}

const pool = largest => ([image], step) => {
  const [, rows, columns, channels] = image.shape, width = step.int(3, 1), height = step.int(4, 1);
  const at = windows(image.shape, step, height, width);
  const value = new Float32Array(at.high * at.wide * channels).fill(largest ? -Infinity : 0);
  for (let i = 0, to = 0; i < at.high; i++) for (let j = 0; j < at.wide; j++, to += channels) {
    let inside = 0;
    for (let a = 0; a < height; a++) for (let b = 0; b < width; b++) {
      const row = i * at.down - at.top + a, column = j * at.right - at.left + b;
      if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
      inside++;
      for (let c = 0, p = (row * columns + column) * channels; c < channels; c++) {
        value[to + c] = largest ? Math.max(value[to + c], image.value[p + c]) : value[to + c] + image.value[p + c];
      }
    }
    if (!largest) for (let c = 0; c < channels; c++) value[to + c] /= inside;
  }
  return {value: activate(value, step.byte(5)), shape: [1, at.high, at.wide, channels]};
};
