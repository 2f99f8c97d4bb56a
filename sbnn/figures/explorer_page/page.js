// The page: what is shown, what is selected, and the controls that change it.

const find = (id) => document.getElementById(id);

class Page {
  constructor(columns) {
    this.columns = columns;
    this.current = -1;
    this.selected = new Uint8Array(columns.n);
    this.selectedNumber = 0;
    this.shuffled = shuffle(columns.n);
    this.panels = [new Panel(find("map"), "Map", this, true), new Panel(find("scatter"), "Scatter", this, false)];
    this.fillControls();
    this.listen();
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
    this.showAll();
  }

  fillControls() {
    const { classes, coordinates, values } = this.columns;
    const groups = new Map([["Classes of cells", classes], ["Map", coordinates]]);
    for (const column of values) groups.set(column.group, [...(groups.get(column.group) ?? []), column]);
    for (const id of ["colour", "x", "y"]) {
      for (const [label, listed] of groups) {
        if (!listed.length || (id !== "colour" && listed === classes)) continue;
        const group = element("optgroup", { label });
        group.append(...listed.map((one) => element("option", { value: one.key, textContent: this.axisTitle(one) })));
        find(id).append(group);
      }
    }
    const named = values.filter((one) => one.group !== "Cells");
    find("names").append(...[...new Set(named.map((one) => one.name))].map((name) => element("option", { value: name })));
    const genes = values.filter((one) => one.group === "Genes");
    const features = values.filter((one) => one.group.startsWith("Features"));
    const first = (...choices) => choices.flat().find((one) => one).key;
    const ofCells = classes.filter((one) => one.name !== "in this fold");
    const family = classes.filter((one) => one.name === "family");
    find("colour").value = first(family, ofCells, features, classes, genes, values, coordinates);
    find("x").value = first(genes, features, coordinates);
    find("y").value = first(features, values.slice(1), coordinates[1]);
  }

  column(id) {
    return this.columns.byKey.get(find(id).value);
  }

  /** What an axis or a colour bar is of. */
  axisTitle(column) {
    const kind = column.group.startsWith("Features") ? column.group.split(", ")[1] : column.group === RESIDUALS ? "residual" : "";
    return (kind ? kind + " " : "") + titleOf(column);
  }

  setTheme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    find("theme").textContent = dark ? "Light" : "Dark";
    find("theme").setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
    const style = getComputedStyle(document.documentElement), read = (name) => style.getPropertyValue(name).trim();
    this.dark = dark;
    this.theme = { paper: rgbOf(read("--paper")), paperText: read("--paper"), ink: read("--ink"), line: read("--line") };
    this.theme.faded = rgbOf(read("--faded"));
  }

  showAll() {
    const [map, scatter] = this.panels, [x, y] = [this.column("x"), this.column("y")];
    this.paint();
    find("scatter-title").textContent = capital(`${this.axisTitle(y)} against ${this.axisTitle(x)}`);
    find("map-title").textContent = `Map, coloured by ${this.axisTitle(this.column("colour"))}`;
    map.name(`${find("map-title").textContent}, ${this.columns.n} cells`);
    scatter.name(`${find("scatter-title").textContent}, ${this.columns.n} cells`);
    map.show(...this.columns.coordinates);
    scatter.show(x, y);
  }

  /** Compute the colours of all cells, and the order in which they are drawn: no class covers the others. */
  paint() {
    const column = this.column("colour");
    this.colours = coloursOf(this.columns, column, this.dark, this.theme.faded);
    this.setOrder();
    this.showLegend(column);
  }

  setOrder() {
    const level = (i) => (this.selected[i] ? 2 : this.colours.missing[i] ? 0 : 1);
    const levels = [[], [], []];
    for (const i of this.shuffled) levels[level(i)].push(i);
    this.order = Int32Array.from(levels.flat());
  }

  showLegend(column) {
    const legend = find("legend");
    legend.className = column.codes ? "classes" : "values";
    find("legend-title").textContent = capital(this.axisTitle(column));
    find("legend-note").textContent = column.note ?? "";
    legend.replaceChildren(...(column.codes ? this.classButtons(column) : this.colourBar(column)));
  }

  classButtons(column) {
    const numbers = new Int32Array(column.labels.length);
    for (const code of column.codes) numbers[code]++;
    return column.labels.map((label, code) => {
      const button = element("button", { type: "button", title: `Select the ${numbers[code]} cells of ${label}` });
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = column.colors[code];
      button.append(swatch, element("span", { textContent: label }));
      button.append(element("span", { className: "number", textContent: numbers[code] }));
      button.addEventListener("click", (event) => {
        const cells = [...column.codes.keys()].filter((i) => column.codes[i] === code);
        this.pick(cells, event.shiftKey);
      });
      return button;
    });
  }

  colourBar(column) {
    const { low, high, least, most } = column.range, bar = element("div", { className: "bar" });
    const map = colourMap(this.columns.header, column.diverging, this.dark);
    bar.style.background = `linear-gradient(to right, ${map.map((rgb) => `rgb(${rgb})`).join(", ")})`;
    const ticks = element("div", { className: "ticks" });
    const ends = [(least < low ? "≤ " : "") + shown(low, 3), shown(low / 2 + high / 2, 3), (most > high ? "≥ " : "") + shown(high, 3)];
    ticks.append(...ends.map((text) => element("span", { textContent: text })));
    const parts = [bar, ticks], lost = column.values.filter((value) => Number.isNaN(value)).length;
    if (lost) parts.push(element("p", { textContent: `Not measured: ${lost} cells (grey)` }));
    return parts;
  }

  /** Make a cell the current one, in both panels; what is known of it stands beside it in `panel`. */
  hover(cell, panel) {
    if (cell === this.current && cell < 0) return;
    this.current = cell;
    const lines = cell < 0 ? null : this.describe(cell);
    for (const one of this.panels) {
      one.mark();
      one.tell(one === panel ? lines : null);
    }
    find("status").textContent = lines && document.activeElement === panel.points ? lines.join(" · ") : "";
  }

  describe(cell) {
    const { classes, names } = this.columns;
    const values = [...new Set(["colour", "x", "y"].map((id) => this.column(id)))].filter((one) => !one.codes);
    return [
      names[cell],
      ...classes.map((one) => `${one.name}: ${one.labels[one.codes[cell]]}`),
      ...values.map((one) => `${this.axisTitle(one)}: ${shown(one.values[cell])}`),
    ];
  }

  pick(cells, add) {
    if (!add) this.selected.fill(0);
    for (const cell of cells) this.selected[cell] = 1;
    this.selectionChanged();
  }

  toggle(cell) {
    this.selected[cell] = 1 - this.selected[cell];
    this.selectionChanged();
  }

  clear() {
    this.pick([], false);
  }

  selectionChanged() {
    this.selectedNumber = this.selected.reduce((sum, one) => sum + one, 0);
    this.setOrder();
    this.panels.forEach((panel) => panel.draw());
    const number = this.selectedNumber;
    find("selection").textContent = number ? `${number} of ${this.columns.n} cells selected` : "No cell selected";
    find("csv").disabled = find("clear").disabled = !number;
  }

  /** The selected cells and what is shown of them, as CSV. */
  csv() {
    const { classes, coordinates, names } = this.columns;
    const shownNow = new Set([...coordinates, ...["colour", "x", "y"].map((id) => this.column(id)).filter((one) => !one.codes)]);
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const number = (value) => (Number.isNaN(value) ? "" : String(Number(value.toPrecision(7))));
    const rows = [["cell", ...classes.map((one) => one.name), ...[...shownNow].map((one) => this.axisTitle(one))]];
    for (let i = 0; i < this.columns.n; i++) {
      if (!this.selected[i]) continue;
      const labels = classes.map((one) => one.labels[one.codes[i]]);
      rows.push([names[i], ...labels, ...[...shownNow].map((one) => number(one.values[i]))]);
    }
    return rows.map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
  }

  download() {
    const address = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv;charset=utf-8" }));
    element("a", { href: address, download: "selected_cells.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  /** Show the gene or feature whose name was typed, or the only one that begins so. */
  search() {
    const asked = find("search").value.trim().toLowerCase();
    if (!asked) return;
    const named = this.columns.values.filter((one) => one.group !== "Cells");
    const begins = named.filter((one) => one.name.toLowerCase().startsWith(asked));
    const found = named.find((one) => one.name.toLowerCase() === asked) ??
      (new Set(begins.map((one) => one.name)).size === 1 ? begins[0] : null);
    find("status").textContent = found
      ? `${titleOf(found)} is shown as ${find("target").selectedOptions[0].textContent}`
      : `${begins.length ? "Several genes or features begin" : "No gene or feature begins"} with “${find("search").value}”`;
    if (!found) return;
    find(find("target").value).value = found.key;
    this.showAll();
  }

  listen() {
    for (const id of ["colour", "x", "y"]) find(id).addEventListener("change", () => this.showAll());
    find("controls").addEventListener("submit", (event) => (event.preventDefault(), this.search()));
    for (const id of ["search", "target"]) find(id).addEventListener("change", () => this.search());
    find("csv").addEventListener("click", () => this.download());
    find("clear").addEventListener("click", () => this.clear());
    let chosen = false; // a reader's choice outlasts that of the system
    const switchTo = (dark) => (this.setTheme(dark), this.showAll());
    find("theme").addEventListener("click", () => ((chosen = true), switchTo(!this.dark)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => chosen || switchTo(event.matches));
    let height = window.innerHeight;
    const fit = () => {
      if (this.panels.every((panel) => panel.fits()) && height === window.innerHeight) return;
      height = window.innerHeight;
      this.showAll();
    };
    window.addEventListener("resize", fit);
    new ResizeObserver(fit).observe(find("map")); // also when a hidden page is shown
  }
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Numbers below n in a random order that is the same every time. */
function shuffle(n) {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  let state = 12345;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

(async () => {
  try {
    const header = JSON.parse(find("header").textContent);
    const columns = new Columns(header, await unpack(find("content").textContent));
    window.explorer = new Page(columns); // for whoever wants to script it, and for tests
    window.explorer.selectionChanged();
    window.explorer.readyAfter = performance.now(); // milliseconds from the opening of the page
    document.body.dataset.ready = "true";
  } catch (error) {
    find("about").textContent = `The map cannot be drawn: ${error.message}. A browser of 2023 or later is needed.`;
    throw error;
  }
})();
