// Runs the model and reads images next to the page, which stays alive meanwhile.
// Messages: {load}, {pixels}, {heat}, {file}.
let model = null, wanted = 0;
const channel = new MessageChannel();
const waiting = [];
channel.port1.onmessage = () => waiting.shift()();
// A pause in which messages come in. A timer would cost 4 ms each time.
const pause = () => new Promise(go => {
  waiting.push(go);
  channel.port2.postMessage(null);
});

// By how much the answer falls with a grey square over each part of the image: a fifth wide, half apart.
async function heat({number, pixels, shape, grey, best}) {
  const [height, width, channels] = shape, side = Math.max(2, Math.round(Math.min(height, width) / 5));
  const step = Math.max(1, Math.round(side / 2)), before = answer(model, pixels)[best];
  const falls = new Float32Array(height * width), times = new Float32Array(height * width), places = [];
  for (let row = -step; row < height; row += step) for (let column = -step; column < width; column += step) places.push([row, column]);
  for (const [done, [row, column]] of places.entries()) {
    const changed = pixels.slice(), each = [];
    for (let i = Math.max(0, row); i < Math.min(height, row + side); i++) for (let j = Math.max(0, column); j < Math.min(width, column + side); j++) {
      for (let c = 0; c < channels; c++) changed[(i * width + j) * channels + c] = grey[c];
      each.push(i * width + j);
    }
    const fall = before - answer(model, changed)[best];
    for (const place of each) {
      falls[place] += fall;
      times[place]++;
    }
    await pause();
    if (wanted !== number) return;
    if (done % 8 === 7) postMessage({number, progress: (done + 1) / places.length});
  }
  postMessage({number, heat: falls.map((fall, place) => fall / times[place])});
}

onmessage = async ({data}) => {
  try {
    if (data.load) {
      model = readModel(restored(data.load));
      postMessage({});
      return;
    }
    if (data.file) {
      const answered = read => data.port.postMessage(read);
      await readImage(data.file, data.shape).then(answered, () => answered({}));
      return;
    }
    wanted = data.number;
    if (data.heat) {
      await heat(data);
      return;
    }
    const began = performance.now(), probabilities = answer(model, data.pixels);
    postMessage({number: data.number, probabilities, ms: performance.now() - began});
  } catch (error) {
    postMessage({number: data.number, failed: String(error && error.message || error)});
  }
};
