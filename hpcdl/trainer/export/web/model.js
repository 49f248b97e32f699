// Reads a .tflite file (a FlatBuffer) into tensors and steps. Fields have the numbers of schema.fbs.
function readModel(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const uint = at => view.getUint32(at, true);
  const int = at => view.getInt32(at, true);
  const field = (table, number) => {
    const form = table - int(table), entry = 4 + 2 * number;
    const inside = entry < view.getUint16(form, true) ? view.getUint16(form + entry, true) : 0;
    return inside && table + inside;
  };
  const follow = (table, number) => {
    const at = field(table, number);
    return at && at + uint(at);
  };
  const number = (table, which, standard, read) => {
    const at = table && field(table, which);
    return at ? read(at) : standard;
  };
  const count = vector => vector ? uint(vector) : 0;
  const list = (vector, read) => Array.from({length: count(vector)}, (_, place) => read(vector + 4 + 4 * place));
  const tables = vector => list(vector, at => at + uint(at));
  const ints = vector => list(vector, int);

  const model = uint(0), codes = tables(follow(model, 1)), buffers = tables(follow(model, 4));
  const graph = tables(follow(model, 2))[0];
  const readers = {
    0: [Float32Array, 4, at => view.getFloat32(at, true)],
    2: [Int32Array, 4, int],
    4: [Int32Array, 8, int],  // int64: sizes and axes are small numbers
    6: [Float32Array, 1, at => view.getUint8(at)],
  };
  const tensors = tables(follow(graph, 0)).map(table => {
    const shape = ints(follow(table, 0)), type = number(table, 1, 0, at => view.getInt8(at));
    const data = follow(buffers[number(table, 2, 0, uint)], 0);
    if (!count(data)) return {shape, value: null};
    const [Kind, size, read] = readers[type];
    const value = Kind.from({length: count(data) / size}, (_, place) => read(data + 4 + size * place));
    return {shape, value, constant: true};
  });
  const steps = tables(follow(graph, 3)).map(table => {
    const code = codes[number(table, 0, 0, uint)], options = follow(table, 4);
    return {
      code: Math.max(number(code, 0, 0, at => view.getInt8(at)), number(code, 3, 0, int)),
      inputs: ints(follow(table, 1)),
      outputs: ints(follow(table, 2)),
      byte: (which, standard = 0) => number(options, which, standard, at => view.getInt8(at)),
      int: (which, standard = 0) => number(options, which, standard, int),
      float: (which, standard = 0) => number(options, which, standard, at => view.getFloat32(at, true)),
    };
  });
  return {tensors, steps, input: ints(follow(graph, 1))[0], output: ints(follow(graph, 2))[0]};
}

// What the model answers for an image. Values that no later step reads are dropped.
function answer(model, pixels) {
  const {tensors, steps} = model;
  tensors[model.input].value = pixels;
  if (!model.lastUse) {
    model.lastUse = new Map();
    steps.forEach((step, place) => step.inputs.forEach(input => model.lastUse.set(input, place)));
  }
  steps.forEach((step, place) => {
    const inputs = step.inputs.map(input => input < 0 ? null : tensors[input]);
    const result = operations[step.code](inputs, step, step.outputs.map(output => tensors[output].shape));
    step.outputs.forEach((output, which) => Object.assign(tensors[output], Array.isArray(result) ? result[which] : result));
    for (const input of step.inputs) {
      if (input >= 0 && !tensors[input].constant && model.lastUse.get(input) === place) tensors[input].value = null;
    }
  });
  return tensors[model.output].value;
}

// Puts the rounded weights back into the file: see page_weights.py.
function restored({stored, fileBytes, layers}) {
  const total = read => layers.reduce((sum, layer) => sum + read(layer), 0);
  const file = stored.slice(0, fileBytes), view = new DataView(file.buffer);
  let shift = fileBytes, power = shift + total(layer => layer.rows);
  let upper = power + total(layer => layer.rows + layer.columns), bits = 8 * (upper + total(layer => layer.count));
  for (const {start, count, rows, columns, each} of layers) {
    for (let place = 0; place < count; place++) {
      const row = Math.floor(place / each) % rows, lower = stored[shift + row];
      let number = stored[upper++];
      for (let bit = 0; bit < lower; bit++, bits++) number = 2 * number + (stored[bits >> 3] >> 7 - (bits & 7) & 1);
      const size = 2 ** (stored[power + row] + stored[power + rows + place % columns] - 256);
      view.setFloat32(start + 4 * place, (number - 2 ** (lower + 7)) * size, true);
    }
    shift += rows;
    power += rows + columns;
  }
  return file;
}
