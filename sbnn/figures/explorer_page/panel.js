// A panel: cells as points on a canvas, found again by place, surrounded by a lasso, walked through by keyboard.

const CELL = 16; // of the grid in which cells are looked up, in CSS pixels
const REACH = 12; // a pointer this near a cell is on it

class Panel {
  /** `page` decides what happens: hover(cell), pick(cells, add), toggle(cell), clear(). */
  constructor(room, label, page, isMap) {
    Object.assign(this, { room, page, isMap });
    this.points = element("canvas", { className: "points", tabIndex: 0 });
    this.marks = element("canvas", { className: "marks" });
    this.tip = element("div", { className: "tip", hidden: true });
    // Pixels are written by the processor, into memory that it reads.
    for (const canvas of [this.points, this.marks]) canvas.getContext("2d", { willReadFrequently: true });
    this.points.setAttribute("role", "application");
    this.points.setAttribute("aria-roledescription", "cells");
    this.points.setAttribute("aria-describedby", "help");
    this.marks.setAttribute("aria-hidden", "true");
    room.append(this.points, this.marks, this.tip);
    this.name(label);
    this.listen();
  }

  name(label) {
    this.points.setAttribute("aria-label", label);
  }

  /** Choose what is drawn, place all cells, and draw. */
  show(across, up) {
    Object.assign(this, { across, up });
    this.place();
    this.draw();
  }

  /** Whether it was drawn for the width that it has. */
  fits() {
    return this.width === Math.max(200, this.room.clientWidth);
  }

  /** Compute where every cell lies, in CSS pixels, and the grid to find it again. */
  place() {
    const width = (this.width = Math.max(200, this.room.clientWidth));
    const most = window.innerWidth > 1100 ? window.innerHeight - 300 : window.innerHeight * 0.7;
    const height = (this.height = Math.round(Math.min(width, Math.max(330, most))));
    this.ratio = Math.max(1, Math.min(3, window.devicePixelRatio || 1));
    for (const canvas of [this.points, this.marks]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
      canvas.style.height = height + "px";
    }
    const n = this.page.columns.n;
    this.radius = Math.max(1.1, Math.min(4.5, (0.16 * Math.min(width, height)) / Math.sqrt(n) + 0.6));
    const pad = this.radius + 4;
    const box = this.isMap
      ? { left: pad, right: width - pad, top: pad, bottom: height - pad }
      : { left: 72, right: width - pad, top: pad, bottom: height - 46 };
    this.box = box;
    const [xs, ys] = [this.across.values, this.up.values];
    this.limits = [limitsOf(xs), limitsOf(ys)];
    const spans = this.limits.map(([low, high]) => high - low || 1);
    let scales = [(box.right - box.left) / spans[0], (box.bottom - box.top) / spans[1]];
    if (this.isMap) scales = scales.fill(Math.min(...scales)); // distances in the map are not distorted
    const middle = this.limits.map(([low, high]) => low / 2 + high / 2);
    const centre = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    this.project = (x, y) => [centre[0] + (x - middle[0]) * scales[0], centre[1] - (y - middle[1]) * scales[1]];
    this.px = new Float32Array(n);
    this.py = new Float32Array(n);
    for (let i = 0; i < n; i++) [this.px[i], this.py[i]] = this.project(xs[i], ys[i]); // NaN where one is missing
    this.fillGrid();
  }

  fillGrid() {
    this.columns = Math.ceil(this.width / CELL) + 1;
    const rows = Math.ceil(this.height / CELL) + 1, n = this.px.length;
    const where = new Int32Array(n), starts = new Int32Array(this.columns * rows + 1);
    for (let i = 0; i < n; i++) {
      where[i] = Number.isNaN(this.px[i] + this.py[i])
        ? -1
        : Math.floor(this.py[i] / CELL) * this.columns + Math.floor(this.px[i] / CELL);
      if (where[i] >= 0) starts[where[i] + 1]++;
    }
    for (let k = 0; k + 1 < starts.length; k++) starts[k + 1] += starts[k];
    const next = starts.slice(), sorted = new Int32Array(n);
    for (let i = 0; i < n; i++) if (where[i] >= 0) sorted[next[where[i]]++] = i;
    this.grid = { starts, sorted, rows };
  }

  /** Return the cell nearest to a place, -1 if there is none within reach. */
  nearest(x, y) {
    const { starts, sorted, rows } = this.grid;
    let best = -1, least = REACH * REACH;
    const [column, row] = [Math.floor(x / CELL), Math.floor(y / CELL)];
    for (let r = Math.max(0, row - 1); r <= Math.min(rows - 1, row + 1); r++) {
      for (let c = Math.max(0, column - 1); c <= Math.min(this.columns - 1, column + 1); c++) {
        const k = r * this.columns + c;
        for (let at = starts[k]; at < starts[k + 1]; at++) {
          const i = sorted[at], distance = (this.px[i] - x) ** 2 + (this.py[i] - y) ** 2;
          if (distance < least) [best, least] = [i, distance];
        }
      }
    }
    return best;
  }

  /** Draw all cells into the pixels of the canvas: some 50 000 discs take less than a tenth of a second. */
  draw() {
    const { page, ratio } = this, { width, height } = this.points, context = this.points.getContext("2d");
    const image = context.createImageData(width, height), pixels = image.data, theme = page.theme;
    new Uint32Array(pixels.buffer).fill(packedColour(theme.paper));
    const disc = discOf(this.radius * ratio), { rgb } = page.colours, faded = theme.faded;
    const some = page.selectedNumber > 0;
    for (const i of page.order) {
      const x = Math.round(this.px[i] * ratio), y = Math.round(this.py[i] * ratio);
      if (Number.isNaN(x + y)) continue;
      const pale = some && !page.selected[i];
      const red = pale ? faded[0] : rgb[3 * i], green = pale ? faded[1] : rgb[3 * i + 1];
      const blue = pale ? faded[2] : rgb[3 * i + 2];
      for (let k = 0; k < disc.cover.length; k++) {
        const u = x + disc.dx[k], v = y + disc.dy[k];
        if (u < 0 || v < 0 || u >= width || v >= height) continue;
        const at = 4 * (v * width + u), cover = disc.cover[k];
        pixels[at] += (red - pixels[at]) * cover;
        pixels[at + 1] += (green - pixels[at + 1]) * cover;
        pixels[at + 2] += (blue - pixels[at + 2]) * cover;
      }
    }
    context.putImageData(image, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.isMap) this.drawAxes(context, theme);
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.mark();
  }

  drawAxes(context, theme) {
    const { box, limits, project } = this;
    context.fillStyle = theme.ink;
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    const line = (...ends) => {
      context.beginPath();
      context.moveTo(ends[0], ends[1]);
      context.lineTo(ends[2], ends[3]);
      context.stroke();
    };
    const edge = [box.left - this.radius - 3, box.bottom + this.radius + 3];
    line(edge[0], box.top - 4, edge[0], edge[1]);
    line(edge[0], edge[1], box.right + 4, edge[1]);
    context.textAlign = "center";
    for (const tick of ticksOf(limits[0], (box.right - box.left) / 75)) {
      const [x] = project(tick, 0);
      line(x, edge[1], x, edge[1] + 4);
      context.fillText(shown(tick), x, edge[1] + 16);
    }
    context.textAlign = "right";
    for (const tick of ticksOf(limits[1], (box.bottom - box.top) / 50)) {
      const y = project(0, tick)[1];
      line(edge[0] - 4, y, edge[0], y);
      context.fillText(shown(tick), edge[0] - 7, y + 4);
    }
    context.textAlign = "center";
    context.fillText(fitted(context, this.page.axisTitle(this.across), box.right - box.left), (box.left + box.right) / 2, this.height - 5);
    context.save();
    context.translate(12, (box.top + box.bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(fitted(context, this.page.axisTitle(this.up), box.bottom - box.top), 0, 0);
    context.restore();
  }

  /** Draw the lasso and the ring around the current cell, over the points. */
  mark() {
    const context = this.marks.getContext("2d"), { theme, current } = this.page;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.strokeStyle = theme.ink;
    context.lineWidth = 1.5;
    if (this.lasso && this.lasso.length > 1) {
      context.setLineDash([5, 4]);
      context.beginPath();
      this.lasso.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
    const there = current >= 0 && !Number.isNaN(this.px[current] + this.py[current]);
    if (there) {
      for (const [colour, more] of [[theme.paperText, 3.2], [theme.ink, 4.7]]) {
        context.strokeStyle = colour;
        context.beginPath();
        context.arc(this.px[current], this.py[current], this.radius + more, 0, 2 * Math.PI);
        context.stroke();
      }
    }
  }

  /** Show what the page says of the current cell beside it; in one panel only. */
  tell(lines) {
    this.tip.hidden = !lines || Number.isNaN(this.px[this.page.current] + this.py[this.page.current]);
    if (this.tip.hidden) return;
    this.tip.replaceChildren(...lines.map((line, k) => element(k ? "div" : "b", { textContent: line })));
    const [x, y] = [this.px[this.page.current], this.py[this.page.current]];
    const right = x + 14 + this.tip.offsetWidth <= this.width;
    this.tip.style.left = Math.max(0, right ? x + 14 : x - 14 - this.tip.offsetWidth) + "px";
    this.tip.style.top = Math.max(0, Math.min(this.height - this.tip.offsetHeight, y - 12)) + "px";
  }

  listen() {
    const place = (event) => {
      const box = this.points.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.points.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.points.setPointerCapture(event.pointerId);
      this.lasso = [place(event)];
    });
    this.points.addEventListener("pointermove", (event) => {
      const here = place(event);
      if (!this.lasso) return this.page.hover(this.nearest(...here), this);
      this.lasso.push(here);
      this.mark();
    });
    this.points.addEventListener("pointerup", (event) => {
      const lasso = this.lasso ?? [];
      this.lasso = null;
      if (!lasso.length) return;
      const far = Math.max(...lasso.map(([x, y]) => Math.hypot(x - lasso[0][0], y - lasso[0][1])));
      const found = far < 5 ? [this.nearest(...lasso[0])].filter((cell) => cell >= 0) : this.inside(lasso);
      this.page.pick(found, event.shiftKey);
    });
    this.points.addEventListener("pointercancel", () => ((this.lasso = null), this.mark()));
    this.points.addEventListener("pointerleave", () => this.lasso || this.page.hover(-1, this));
    this.points.addEventListener("focus", () => {
      if (this.points.matches(":focus-visible")) this.page.hover(this.page.current < 0 ? this.central() : this.page.current, this);
    });
    this.points.addEventListener("blur", () => this.page.hover(-1, this));
    this.points.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { current } = this.page;
    if (steps[event.key]) this.page.hover(current < 0 ? this.central() : this.beside(current, ...steps[event.key]), this);
    else if ((event.key === "Enter" || event.key === " ") && current >= 0) this.page.toggle(current);
    else if (event.key === "Escape") this.page.clear();
    else return;
    event.preventDefault();
  }

  /** Return the cell nearest to another in a direction, or the same cell where there is none. */
  beside(cell, right, down) {
    let best = cell, least = Infinity;
    for (let i = 0; i < this.px.length; i++) {
      const [dx, dy] = [this.px[i] - this.px[cell], this.py[i] - this.py[cell]];
      const along = dx * right + dy * down, aside = Math.abs(dx * down) + Math.abs(dy * right);
      if (i !== cell && along > 0.25 && aside <= along && along + aside < least) [best, least] = [i, along + aside];
    }
    return best;
  }

  /** Return the cell in the middle, where the keyboard begins. */
  central() {
    let best = -1, least = Infinity;
    for (let i = 0; i < this.px.length; i++) {
      const distance = Math.hypot(this.px[i] - this.width / 2, this.py[i] - this.height / 2);
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  /** Return the cells inside a polygon, by the even-odd rule. */
  inside(polygon) {
    const found = [];
    for (let i = 0; i < this.px.length; i++) {
      let within = false;
      for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
        const [ax, ay] = polygon[a], [bx, by] = polygon[b];
        if (ay > this.py[i] !== by > this.py[i] && this.px[i] < ((bx - ax) * (this.py[i] - ay)) / (by - ay) + ax) {
          within = !within;
        }
      }
      if (within) found.push(i);
    }
    return found;
  }
}

/** Pixels of a disc around its centre, with how much of each is covered. */
function discOf(radius) {
  const disc = { dx: [], dy: [], cover: [] }, reach = Math.ceil(radius + 0.5);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(1, radius + 0.5 - Math.hypot(dx, dy));
      if (cover > 0.02) disc.dx.push(dx), disc.dy.push(dy), disc.cover.push(cover);
    }
  }
  return disc;
}

const packedColour = ([red, green, blue]) => new Uint32Array(new Uint8Array([red, green, blue, 255]).buffer)[0];

function limitsOf(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 0];
}

/** Round numbers within limits, about so many. */
function ticksOf([low, high], number) {
  const rough = (high - low) / Math.max(2, number);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/** The text, or its beginning if it is longer than there is room. */
function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  while (text && context.measureText(text + "…").width > room) text = text.slice(0, -1);
  return text + "…";
}

const element = (tag, properties) => Object.assign(document.createElement(tag), properties);
