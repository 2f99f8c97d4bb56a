// Values of cells: unpacked from the page, restored from integers, and turned into colours.

/** Return the bytes that stand in the page, compressed, as base64. */
async function unpack(text) {
  const binary = atob(text), packed = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) packed[i] = binary.charCodeAt(i);
  const stream = new DecompressionStream("deflate"), writer = stream.writable.getWriter();
  writer.write(packed);
  writer.close();
  return new Response(stream.readable).arrayBuffer();
}

/** All columns of the page; numbers are restored when a column is first asked for. */
class Columns {
  constructor(header, buffer) {
    this.header = header;
    this.buffer = buffer;
    this.n = header.n_cells;
    const { start, length } = header.names;
    this.names = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, header.start_of_bytes + start, length)));
    this.coordinates = header.coordinates.map((about) => this.numbers(about, { group: "Map" }));
    const values = header.values.map((about) => this.numbers(about));
    const residuals = header.residuals.map((about) => this.residual(about, values));
    this.values = [...values, ...residuals];
    this.classes = header.classes.map((about) => this.classOf(about));
    const all = [...this.classes, ...this.coordinates, ...this.values];
    this.byKey = new Map(all.map((column) => [column.key, column]));
  }

  codes({ bits, start }) {
    return bits === 16
      ? new Uint16Array(this.buffer, start, this.n)
      : new Uint8Array(this.buffer, this.header.start_of_bytes + start, this.n);
  }

  numbers(about, more = {}) {
    const column = { unit: "", note: "", ...about, ...more };
    column.key = column.group + " " + column.name;
    return once(column, () => {
      const codes = this.codes(about), missing = 2 ** about.bits - 1, values = new Float64Array(this.n);
      const step = (about.high - about.low) / (missing - 1);
      for (let i = 0; i < this.n; i++) values[i] = codes[i] === missing ? NaN : about.low + codes[i] * step;
      return values;
    });
  }

  classOf(about) {
    return { ...about, group: "Classes", unit: "", note: "", key: "Classes " + about.name, codes: this.codes(about) };
  }

  residual(about, values) {
    const [measured, predicted] = about.of.map((place) => values[place]);
    const column = { name: about.name, unit: about.unit, note: predicted.note, group: RESIDUALS, diverging: true };
    column.key = column.group + " " + column.name;
    return once(column, () => measured.values.map((value, i) => value - predicted.values[i]));
  }
}

const RESIDUALS = "Residuals, measured − predicted";

/** Give a column its `values`, computed once, and the `range` that its colours cover. */
function once(column, compute) {
  let values = null, range = null;
  Object.defineProperty(column, "values", { get: () => (values ??= compute()) });
  Object.defineProperty(column, "range", { get: () => (range ??= rangeOf(column)) });
  return column;
}

/** From the 1st to the 99th percentile, so that one odd cell does not take all colours; around zero for residuals. */
function rangeOf(column) {
  const known = Float64Array.from(column.values.filter((value) => !Number.isNaN(value))).sort();
  if (!known.length) return { low: 0, high: 0, least: 0, most: 0 };
  const at = (share) => known[Math.round(share * (known.length - 1))];
  const [least, most] = [known[0], known[known.length - 1]];
  let [low, high] = [at(0.01), at(0.99)];
  if (low === high) [low, high] = [least, most];
  if (column.diverging) [low, high] = [-1, 1].map((sign) => sign * Math.max(-low, high));
  return { low, high, least, most };
}

const titleOf = (column) => column.name + (column.unit ? ` (${column.unit})` : "");

/** Few digits, enough for a reader; a proper minus. */
function shown(value, digits = 4) {
  if (Number.isNaN(value)) return "not measured";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

/** Colours of a map of the header, [red, green, blue], without the end that vanishes on the background. */
function colourMap(header, diverging, dark) {
  const digits = header.maps[diverging ? "diverging" : "sequential"], map = [];
  for (let i = 0; i < digits.length; i += 6) map.push(rgbOf("#" + digits.slice(i, i + 6)));
  if (diverging) return map;
  return dark ? map.slice(Math.round(0.2 * map.length)) : map.slice(0, Math.round(0.93 * map.length));
}

const rgbOf = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));

/** Colours of all cells, three bytes each, and which of them have none to show. */
function coloursOf(columns, column, dark, faded) {
  const rgb = new Uint8Array(3 * columns.n), missing = new Uint8Array(columns.n);
  const paint = (i, colour) => rgb.set(colour, 3 * i);
  if (column.codes) {
    const palette = column.colors.map(rgbOf);
    for (let i = 0; i < columns.n; i++) paint(i, palette[column.codes[i]]);
    return { rgb, missing };
  }
  const map = colourMap(columns.header, column.diverging, dark), { low, high } = column.range, last = map.length - 1;
  for (let i = 0; i < columns.n; i++) {
    const value = column.values[i];
    missing[i] = Number.isNaN(value) ? 1 : 0;
    const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5;
    paint(i, missing[i] ? faded : map[Math.round(share * last)]);
  }
  return { rgb, missing };
}
