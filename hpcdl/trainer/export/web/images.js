// Images as training reads them: decoded, upright, grey or colour, and resized as tf.image.resize does.
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
// To the nearest whole number; a half goes to the even one, as tf.round has it.
function rounded(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || rest === 0.5 && below % 2 === 1 ? below + 1 : below;
}

// For each place of the result: the first source place, and the weights from there on.
// Linear; when it makes smaller, over a wider range (antialias=True).
function weightsOf(from, to) {
  const scale = from / to, reach = Math.max(scale, 1);
  return Array.from({length: to}, (_, place) => {
    const middle = (place + 0.5) * scale;
    const first = clamp(Math.ceil(middle - reach - 0.5), 0, from - 1), last = clamp(Math.floor(middle + reach - 0.5), first, from - 1);
    const weights = Array.from({length: last - first + 1}, (_, at) => Math.max(0, 1 - Math.abs(first + at + 0.5 - middle) / reach));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return [first, Float64Array.from(weights, weight => weight / sum)];
  });
}

// Rows of pixels come from `read(row)`: arrays of width x channels.
function resized(read, from, to, channels) {
  const [height, width] = from, [high, wide] = to;
  if (height === high && width === wide) return Uint8Array.from({length: high * wide * channels}, (_, at) => read(Math.floor(at / (wide * channels)))[at % (wide * channels)]);
  const across = weightsOf(width, wide), down = weightsOf(height, high), narrow = new Map();
  const result = new Uint8Array(high * wide * channels);
  const row = which => {
    if (!narrow.has(which)) {
      const source = read(which), line = new Float32Array(wide * channels);
      for (let column = 0; column < wide; column++) {
        const [first, weights] = across[column];
        for (let at = 0, from = first * channels; at < weights.length; at++) {
          for (let c = 0, to = column * channels; c < channels; c++) line[to++] += weights[at] * source[from++];
        }
      }
      narrow.set(which, line);
    }
    return narrow.get(which);
  };
  down.forEach(([first, weights], place) => {
    const sums = new Float32Array(wide * channels);
    for (let at = 0; at < weights.length; at++) {
      const line = row(first + at);
      for (let column = 0; column < line.length; column++) sums[column] += weights[at] * line[column];
    }
    sums.forEach((sum, column) => { result[place * wide * channels + column] = clamp(rounded(sum), 0, 255); });
    for (const which of narrow.keys()) if (which < first) narrow.delete(which);
  });
  return result;
}

// EXIF's orientation of a JPEG file, 1 to 8; 1 also where there is none.
function orientation(bytes) {
  const view = new DataView(bytes);
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return 1;
  try {
    for (let at = 2; view.getUint8(at) === 0xff && view.getUint8(at + 1) !== 0xda; at += 2 + view.getUint16(at + 2)) {
      if (view.getUint8(at + 1) !== 0xe1 || view.getUint32(at + 4) !== 0x45786966) continue;  // Exif
      const start = at + 10, little = view.getUint16(start) === 0x4949, table = start + view.getUint32(start + 4, little);
      for (let entry = 0; entry < view.getUint16(table, little); entry++) {
        const tag = table + 2 + 12 * entry;
        if (view.getUint16(tag, little) === 0x112) return clamp(view.getUint16(tag + 8, little), 1, 8);
      }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;  // a table that ends too early
  }
  return 1;
}

// An image file as pixels of the model's shape, and what there is to say about it.
async function readImage(file, shape) {
  const [height, width, channels] = shape, bytes = await file.arrayBuffer(), notes = [];
  const bitmap = await createImageBitmap(new Blob([bytes], {type: file.type}), {colorSpaceConversion: "none"});
  const isPng = new Uint8Array(bytes)[0] === 0x89;
  // In bands: some browsers have no canvas of a large photo's size
  const band = Math.max(1, Math.floor(4e6 / bitmap.width));
  const canvas = new OffscreenCanvas(bitmap.width, Math.min(band, bitmap.height));
  const context = canvas.getContext("2d", {willReadFrequently: true});
  let first = -1, data = null, seesThrough = false;
  const read = row => {
    if (first < 0 || row < first || row >= first + canvas.height) {
      first = Math.floor(row / band) * band;
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(bitmap, 0, -first);
      data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    }
    const line = new Uint8Array(bitmap.width * channels), start = (row - first) * bitmap.width * 4;
    for (let column = 0; column < bitmap.width; column++) {
      const at = start + 4 * column;
      if (data[at + 3] < 255) seesThrough = true;
      if (channels === 1) {
        line[column] = greyOf(data[at], data[at + 1], data[at + 2], isPng);
        continue;
      }
      line[3 * column] = data[at];
      line[3 * column + 1] = data[at + 1];
      line[3 * column + 2] = data[at + 2];
    }
    return line;
  };
  const pixels = resized(read, [bitmap.height, bitmap.width], [height, width], channels);
  const ratio = bitmap.width / bitmap.height / (width / height);
  if (orientation(bytes) > 1) notes.push("Turned upright, as its EXIF orientation says; so are images in training.");
  if (bitmap.width !== width || bitmap.height !== height) notes.push(`Resized from ${bitmap.width} × ${bitmap.height} to ${width} × ${height} pixels.`);
  if (ratio > 1.05 || ratio < 0.95) notes.push("It has another shape than the model's images, so it is squeezed, as in training.");
  if (bitmap.width < width && bitmap.height < height) notes.push("It is smaller than the model's images: enlarged, it is blurred.");
  if (seesThrough) notes.push("It has transparent parts: they count as black.");
  return {pixels, notes};
}

// As libjpeg and libpng make a grey image: one rounds, the other cuts.
function greyOf(red, green, blue, isPng) {
  const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
  return isPng ? Math.floor(grey + 1e-4) : Math.round(grey);
}
