// The board: an image, and lines drawn on it by pointer or by keys.
class Board {
  // shape: of the model's images; ground: the colour of an empty one; changed(whole): called after
  // a change, whole at the end of a line.
  constructor(canvas, shape, ground, ink, changed) {
    [this.height, this.width, this.channels] = shape;
    Object.assign(this, {canvas, ground, ink, changed, lines: [], image: null, cursor: null, penDown: false});
    this.zoom = Math.max(1, Math.round(560 / Math.max(this.height, this.width)));
    this.paper = document.createElement("canvas");  // what is read: the visible one shows the cursor, too
    for (const one of [canvas, this.paper]) {
      one.width = this.width * this.zoom;
      one.height = this.height * this.zoom;
    }
    this.pen = this.width / 12;
    this.listen();
    this.paint();
  }

  // Show an image (uint8 pixels), or nothing.
  show(image) {
    Object.assign(this, {image, lines: [], penDown: false});
    this.paint();
    this.changed(true);
  }

  undo() {
    this.lines.pop();
    this.penDown = false;
    this.paint();
    this.changed(true);
  }

  get isDrawing() {
    return !this.image && this.lines.length > 0;
  }

  // The pixels that the model gets: each is the mean of its square on the board.
  pixels(centred) {
    if (this.image && !this.lines.length) return this.image;
    const placed = centred && this.isDrawing ? this.centred() : point => point;
    this.render(this.paper, placed);
    const pixels = this.read();
    return centred && this.isDrawing ? this.balanced(pixels) : pixels;
  }

  // As MNIST was made: the drawing fills a box of 20 x 20 ...
  centred() {
    const points = this.lines.flatMap(line => line.points), xs = points.map(point => point[0]), ys = points.map(point => point[1]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const extent = Math.max(right - left, bottom - top), scale = extent ? Math.min(8, (20 - this.pen) / extent) : 1;
    return ([x, y]) => [this.width / 2 + (x - (left + right) / 2) * scale, this.height / 2 + (y - (top + bottom) / 2) * scale];
  }

  // ... and its centre of mass lies in the middle.
  balanced(pixels) {
    let mass = 0, down = 0, across = 0;
    pixels.forEach((value, at) => {
      const weight = Math.abs(value - this.ground[0]);
      mass += weight;
      down += weight * Math.floor(at / this.width);
      across += weight * (at % this.width);
    });
    const moveDown = Math.round(this.height / 2 - down / mass), moveAcross = Math.round(this.width / 2 - across / mass);
    return pixels.map((_, at) => {
      const row = Math.floor(at / this.width) - moveDown, column = at % this.width - moveAcross;
      if (row < 0 || row >= this.height || column < 0 || column >= this.width) return this.ground[0];
      return pixels[row * this.width + column];
    });
  }

  read() {
    const {zoom, width, height, channels} = this, result = new Uint8Array(width * height * channels);
    const data = this.paper.getContext("2d", {willReadFrequently: true}).getImageData(0, 0, width * zoom, height * zoom).data;
    for (let at = 0; at < result.length; at++) {
      const pixel = Math.floor(at / channels), row = Math.floor(pixel / width), column = pixel % width;
      let sum = 0;
      for (let i = 0; i < zoom; i++) for (let j = 0; j < zoom; j++) {
        sum += data[((row * zoom + i) * width * zoom + column * zoom + j) * 4 + at % channels];
      }
      result[at] = Math.round(sum / zoom / zoom);
    }
    return result;
  }

  render(canvas, placed) {
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = `rgb(${this.ground})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    if (this.image) context.drawImage(pictureOf(this.image, this.width, this.height, this.channels), 0, 0, canvas.width, canvas.height);
    context.setTransform(this.zoom, 0, 0, this.zoom, 0, 0);
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = this.pen;
    for (const line of this.lines) {
      context.strokeStyle = line.colour;
      context.beginPath();
      line.points.map(placed).forEach(([x, y], at) => at ? context.lineTo(x, y) : context.moveTo(x, y));
      if (line.points.length === 1) context.lineTo(...placed(line.points[0]));
      context.stroke();
    }
    return context;
  }

  paint() {
    const context = this.render(this.canvas, point => point);
    if (!this.cursor) return;
    for (const [colour, thickness] of [["#000", 3.4], ["#fff", 1.6]]) {  // seen on every ground
      context.strokeStyle = colour;
      context.lineWidth = thickness / this.zoom * 2;
      context.beginPath();
      context.arc(...this.cursor, this.pen * (this.penDown ? 0.5 : 0.9), 0, 2 * Math.PI);
      context.stroke();
    }
  }

  begin(point) {
    this.lines.push({colour: this.ink, points: [point]});
  }

  extend(point) {
    this.lines[this.lines.length - 1].points.push(point);
    this.paint();
    this.changed(false);
  }

  listen() {
    const {canvas} = this;
    let pointer = null;
    const place = event => {
      const box = canvas.getBoundingClientRect(), inside = value => Math.min(1.1, Math.max(-0.1, value));
      return [inside((event.clientX - box.left) / box.width) * this.width, inside((event.clientY - box.top) / box.height) * this.height];
    };
    canvas.addEventListener("pointerdown", event => {
      if (pointer !== null || event.button !== 0) return;
      pointer = event.pointerId;
      canvas.setPointerCapture(pointer);
      Object.assign(this, {cursor: null, penDown: false});
      this.begin(place(event));
      this.paint();
      this.changed(false);
    });
    canvas.addEventListener("pointermove", event => {
      if (event.pointerId !== pointer) return;
      const parts = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const part of parts.length ? parts : [event]) this.lines[this.lines.length - 1].points.push(place(part));
      this.paint();
      this.changed(false);
    });
    const end = event => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      this.changed(true);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("focus", () => {
      if (!canvas.matches(":focus-visible")) return;
      this.cursor = this.cursor || [this.width / 2, this.height / 2];
      this.paint();
    });
    canvas.addEventListener("blur", () => {
      Object.assign(this, {cursor: null, penDown: false});
      this.paint();
    });
    canvas.addEventListener("keydown", event => this.press(event));
  }

  press(event) {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}, move = moves[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !move && event.key !== " ") return;
    event.preventDefault();
    const far = this.width / 28;
    this.cursor = this.cursor || [this.width / 2, this.height / 2];
    if (move) {
      this.cursor = [Math.min(this.width, Math.max(0, this.cursor[0] + far * move[0])), Math.min(this.height, Math.max(0, this.cursor[1] + far * move[1]))];
      if (this.penDown) this.extend(this.cursor);
    } else {
      this.penDown = !this.penDown;
      if (this.penDown) this.begin(this.cursor);
      this.changed(!this.penDown);
    }
    this.paint();
  }
}

// uint8 pixels as a canvas of their own size.
function pictureOf(pixels, width, height, channels) {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  Object.assign(canvas, {width, height});
  const picture = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    for (let c = 0; c < 3; c++) picture.data[4 * at + c] = pixels[at * channels + (channels === 1 ? 0 : c)];
    picture.data[4 * at + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}
