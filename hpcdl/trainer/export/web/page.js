// The page: the board, the answer with its bars, the heat map and the samples, around the worker.
const byId = id => document.getElementById(id);
const facts = JSON.parse(byId("facts").textContent), [HEIGHT, WIDTH, CHANNELS] = facts.shape;
const nameOf = number => facts.classes[number] || `class ${number}`;
const percent = share => share > 0.9995 && share < 1 ? "> 99.9 %" : share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
const SHOWN = 5;  // classes with bars
const scaled = pixels => Float32Array.from(pixels, level => Math.fround(level / 255));
const element = (kind, text = "", ...children) => {
  const made = document.createElement(kind);
  made.textContent = text;
  made.append(...children);
  return made;
};
function trouble(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = !text;
}

// The worker answers in the order of the questions; a question has a number.
let worker = null, workerStarted = null;
const started = new Promise(done => { workerStarted = done; });
const listeners = new Map();
let lastNumber = 0;
function startWorker(code) {
  worker = new Worker(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));
  worker.onerror = event => trouble(`This browser cannot run the model: ${event.message || "it allows no worker"}. Try a current Chrome, Edge, Firefox or Safari.`);
  worker.onmessage = ({data}) => {
    if (data.failed) trouble(`The model gave no answer: ${data.failed}`);
    else if (listeners.has(data.number)) listeners.get(data.number)(data);
  };
  workerStarted();
}
function ask(message, listener, transfer = []) {
  const number = message.load ? undefined : ++lastNumber;
  listeners.clear();
  listeners.set(number, listener);
  worker.postMessage({...message, number}, transfer);
}
const asked = message => new Promise(listener => ask(message, listener));

const board = new Board(byId("board"), facts.shape, facts.ground, facts.ink, changed);
let ready = false, busy = false, waiting = null, now = {};

function changed(whole) {
  if (board.lines.length || !board.image) press(null);
  if (whole) byId("notes").replaceChildren();
  if (ready) update(whole);
}
// The newest image is asked for; those that came while the worker was busy are left out.
function update(whole) {
  if (busy) {
    waiting = {whole: whole || Boolean(waiting && waiting.whole)};
    return;
  }
  busy = true;
  const pixels = board.pixels(!byId("centring").hidden && byId("centre").checked);
  ask({pixels: scaled(pixels)}, found => {
    const next = waiting;
    [busy, waiting, now] = [false, null, found];
    show(found, whole);
    if (next) update(next.whole);
    else look(pixels, found.probabilities);
  });
}

function show({probabilities, ms}, aloud) {
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]), [best] = order;
  byId("best").textContent = nameOf(best);
  byId("best").classList.toggle("long", nameOf(best).length > 12);
  byId("sure").textContent = percent(probabilities[best]);
  if (aloud) byId("live").textContent = `The answer: ${nameOf(best)}, ${percent(probabilities[best])}`;
  byId("bars").replaceChildren(...order.slice(0, SHOWN).map(number => barOf(number, probabilities[number])));
  byId("time").textContent = `One answer takes ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms here.`;
  byId("every").hidden = order.length <= SHOWN;
  if (byId("every").open) fillEvery(probabilities);
}
function barOf(number, share) {
  const bar = element("i");
  bar.style.width = `${100 * share}%`;
  const track = element("div", "", bar);
  track.className = "track";
  return element("li", "", element("bdi", nameOf(number)), element("span", percent(share)), track);
}
function fillEvery(probabilities) {
  const rows = Array.from(probabilities, (share, number) => element("li", "", element("bdi", nameOf(number)), element("span", percent(share))));
  byId("every").querySelector("ol").replaceChildren(...rows);
}

// What speaks for the answer: asked for when the image has not changed for a moment.
let lookLater = 0;
function look(pixels, probabilities) {
  clearTimeout(lookLater);
  const best = probabilities.indexOf(Math.max(...probabilities));
  byId("where").textContent = "Looking …";
  paintHeat(pixels, null);
  lookLater = setTimeout(() => {
    ask({heat: true, pixels: scaled(pixels), shape: facts.shape, grey: facts.grey, best}, found => {
      if (found.progress) byId("where").textContent = `Looking … ${Math.round(100 * found.progress)} %`;
      if (!found.heat) return;
      paintHeat(pixels, found.heat);
      const most = found.heat.reduce((top, fall) => Math.max(top, fall), -Infinity), before = probabilities[best];
      const text = most < 0.005
        ? "No part of the image decides alone: the answer stays, whichever is hidden."
        : `With its most important part hidden (${placeOf(found.heat)}), ${nameOf(best)} has ${percent(Math.max(0, before - most))} instead of ${percent(before)}.`;
      byId("where").textContent = text;
      byId("heat").setAttribute("aria-label", `Heat map over the image. ${text}`);
      document.body.dataset.heat = "done";
    });
  }, 150);
  delete document.body.dataset.heat;
}
function placeOf(heat) {
  const at = heat.indexOf(Math.max(...heat)), third = (value, size) => Math.min(2, Math.floor(3 * (value + 0.5) / size));
  const down = third(Math.floor(at / WIDTH), HEIGHT), across = third(at % WIDTH, WIDTH);
  if (down === 1 && across === 1) return "the middle";
  return [["top", "", "bottom"][down], ["left", "", "right"][across]].filter(Boolean).join(" ");
}
function paintHeat(pixels, heat) {
  const canvas = byId("heat"), context = canvas.getContext("2d");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const picture = context.createImageData(WIDTH, HEIGHT);
  const most = heat ? heat.reduce((top, fall) => Math.max(top, Math.abs(fall)), 0.02) : 1;
  for (let at = 0; at < WIDTH * HEIGHT; at++) {
    const [r, g, b] = [0, 1, 2].map(c => pixels[at * CHANNELS + (CHANNELS === 1 ? 0 : c)]);
    const grey = 24 + 0.8 * (0.299 * r + 0.587 * g + 0.114 * b), fall = heat ? heat[at] / most : 0;
    const colour = fall > 0 ? [255, 90, 31] : [61, 139, 255], share = 0.75 * Math.min(1, Math.abs(fall));
    colour.forEach((tone, c) => { picture.data[4 * at + c] = grey * (1 - share) + tone * share; });
    picture.data[4 * at + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

function press(chosen) {
  for (const button of byId("samples").children) button.setAttribute("aria-pressed", String(button === chosen));
}
// The worker reads it, for a large photo takes seconds. Of several, the last one counts.
let lastFile = null;
async function openFile(file) {
  lastFile = file;
  await started;
  const {port1, port2} = new MessageChannel();
  const read = new Promise(answered => { port1.onmessage = ({data}) => answered(data); });
  worker.postMessage({file, shape: facts.shape, port: port2}, [port2]);
  const {pixels, notes} = await read;
  if (file !== lastFile) return;
  if (!pixels) {
    trouble(`Cannot read ${file.name || "what was pasted"}: expected an image, a JPEG or PNG file. Choose another one.`);
    return;
  }
  trouble("");
  press(null);
  board.show(pixels);
  byId("notes").replaceChildren(...notes.map(note => element("li", note)));
}

byId("clear").onclick = () => board.show(null);
byId("undo").onclick = () => board.undo();
byId("choose").onclick = () => byId("file").click();
byId("file").onchange = event => {
  if (event.target.files[0]) openFile(event.target.files[0]);
  event.target.value = "";  // the same file may be chosen again
};
byId("centre").onchange = () => changed(true);
byId("colour").oninput = event => { board.ink = event.target.value; };
byId("centring").hidden = !facts.centred;
byId("colouring").hidden = CHANNELS === 1;
byId("colour").value = facts.ink;
byId("every").ontoggle = () => now.probabilities && fillEvery(now.probabilities);
document.body.classList.toggle("photos", WIDTH >= 64);
byId("every").querySelector("summary").textContent = `All ${facts.classes.length.toLocaleString("en")} classes`;
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file) openFile(file);
    else if (kind === "drop") trouble("What was dropped is not a file: expected an image, a JPEG or PNG file. Save it first, then choose it.");
  });
}
document.addEventListener("paste", event => {
  const file = [...event.clipboardData.files].find(one => one.type.startsWith("image/"));
  if (file) openFile(file);
});

function addSamples(packed) {
  const size = HEIGHT * WIDTH * CHANNELS, many = facts.labels.length, line = WIDTH * CHANNELS;
  const floats = new Float32Array(packed.slice(many * size).buffer), images = packed.slice(0, many * size);
  for (let at = 0; at < images.length; at++) if (at % line >= CHANNELS) images[at] += images[at - CHANNELS];
  return facts.labels.map((label, place) => {
    const pixels = images.slice(place * size, (place + 1) * size), button = element("button", "", pictureOf(pixels, WIDTH, HEIGHT, CHANNELS), element("span", nameOf(label)));
    button.type = "button";
    button.setAttribute("aria-label", `Test image ${place + 1}: ${nameOf(label)}`);
    button.onclick = () => {
      board.show(pixels);
      press(button);
    };
    byId("samples").append(button);
    const answers = first => floats.subarray((first + place) * facts.classes.length, (first + place + 1) * facts.classes.length);
    return {pixels, trained: answers(0), rounded: answers(many)};
  });
}
function mark(place, answered) {
  const button = byId("samples").children[place], note = element("span", `says ${answered}`);
  note.className = "wrong";
  button.append(note);
  button.setAttribute("aria-label", `${button.getAttribute("aria-label")}, but the model says ${answered}`);
}
// The samples' answers lie in the page, as TensorFlow gave them: the page checks itself.
async function check(samples) {
  const far = (a, b) => a.reduce((most, value, at) => Math.max(most, Math.abs(value - b[at]) || (value === b[at] ? 0 : Infinity)), 0);
  let worst = 0, arithmetic = 0, same = 0;
  const times = [], best = all => all.indexOf(Math.max(...all));
  for (const {pixels, trained, rounded: lite} of samples) {
    const {probabilities, ms} = await asked({pixels: scaled(pixels)});
    times.push(ms);
    worst = Math.max(worst, far(probabilities, trained));
    arithmetic = Math.max(arithmetic, far(probabilities, lite));
    same += best(probabilities) === best(trained);
    if (best(trained) !== facts.labels[times.length - 1]) mark(times.length - 1, nameOf(best(trained)));
  }
  Object.assign(document.body.dataset, {worst, arithmetic, ms: times.sort((a, b) => a - b)[times.length >> 1]});
  const digits = worst < 0.0001 ? "less than 0.0001" : worst.toFixed(4), {checked} = facts;
  byId("check").textContent = `Checked just now on the ${samples.length} images above: the largest difference of a probability to the trained model's is ${digits}; ${same} of ${samples.length} answers are the same. `
    + `The weights are rounded to fit into the page: on ${checked.images} test images the largest difference is ${checked.worst < 0.0001 ? "less than 0.0001" : checked.worst.toFixed(4)}, and ${checked.same} answers are the same.`;
  if (arithmetic > 0.001) trouble(`Do not trust these answers: this browser computes others than TensorFlow Lite, by up to ${arithmetic.toFixed(4)}.`);
}

async function start() {
  const extra = await inflated(byId("extra").textContent), engineEnd = 4 + new DataView(extra.buffer).getUint32(0, true);
  startWorker(new TextDecoder().decode(extra.subarray(4, engineEnd)));
  const stored = await inflated(byId("stored").textContent);
  await new Promise(loaded => ask({load: {stored, fileBytes: facts.fileBytes, layers: facts.layers}}, loaded, [stored.buffer]));
  const samples = addSamples(extra.slice(engineEnd));
  await check(samples);
  ready = true;
  if (board.lines.length || board.image || !samples.length) changed(true);
  else byId("samples").children[0].click();
  document.body.dataset.ready = "";
}
start().catch(error => trouble(`This page does not work in this browser: ${error.message}. Try a current Chrome, Edge, Firefox or Safari.`));
