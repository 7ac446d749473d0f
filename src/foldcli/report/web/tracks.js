// Plots along the sequence: pLDDT of every rank, coverage of the alignment, and the letters.

const LAYERS = ["--layer-1", "--layer-2", "--layer-3", "--layer-4", "--layer-5"];

function svg(name, attributes, parent) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

// An empty plot in a track: x counts residues, y goes from 0 to `top`; both have ticks, and dragging selects residues.
function plot(track, top, steps, label) {
  const drawing = svg("svg", { viewBox: `0 0 ${length} ${top}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  const marks = svg("g", { class: "marks" }, drawing);
  const at = (side, share, text) => {
    const tick = element("span", { className: side, textContent: text });
    tick.style[side === "x" ? "left" : "bottom"] = `${100 * share}%`;
    return tick;
  };
  const area = element("div", { className: "area" }, drawing);
  area.append(...steps.map((value) => at("y", value / top, value.toLocaleString("en"))));
  area.append(...ticks(10).map(([i, value]) => at("x", (i + 0.5) / length, value)));
  track.replaceChildren(area);
  const place = (event) => {
    const edges = drawing.getBoundingClientRect();
    return residueAt(event.clientX, edges.left, edges.width);
  };
  onDrag(drawing, place, (start, now) => select(ordered(start, now), ordered(start, now)));
  on("selection", () => mark(marks, top));
  return drawing;
}

function mark(marks, top) {
  marks.replaceChildren();
  const kinds = sameRange() ? ["aligned"] : ["aligned", "scored"];
  for (const kind of state.aligned ? kinds : []) {
    const [first, last] = state[kind];
    svg("rect", { x: first, width: last + 1 - first, y: 0, height: top, class: sameRange() ? "chosen" : kind }, marks);
  }
}

// A line from the start of each chain to its end.
function line(values) {
  const chains = data.chains.length ? data.chains : [["", 0, length - 1]];
  return chains.map(([, first, last]) => {
    const steps = values.slice(first, last + 1).map((value, k) => `L${first + k + 0.5} ${100 - value}`);
    return `M${first} ${100 - values[first]}${steps.join("")}L${last + 1} ${100 - values[last]}`;
  }).join("");
}

function drawBorders(drawing, top) {
  for (const [, first] of data.chains.slice(1)) svg("line", { x1: first, x2: first, y1: 0, y2: top, class: "border" }, drawing);
}

function drawConfidence() {
  const drawing = plot(byId("plddt"), 100, [0, 50, 70, 90], "pLDDT of each residue, one line for each prediction");
  for (const [low, high, fill] of data.bands) svg("rect", { x: 0, y: 100 - high, width: length, height: high - low, fill, class: "band" }, drawing);
  drawing.append(drawing.querySelector(".marks"));
  const lines = data.predictions.map(({ plddt }) => svg("path", { d: line(plddt) }, drawing));
  drawBorders(drawing, 100);
  on("rank", () => {
    lines.forEach((path, rank) => path.setAttribute("class", rank === state.rank ? "line" : "line other"));
    drawing.append(lines[state.rank]);
  });
}

function drawCoverage() {
  if (!data.coverage.length) {
    byId("coverage").replaceChildren(element("p", { className: "quiet", textContent: "No alignment: the sequence was folded alone." }));
    return;
  }
  const totals = data.residues.map((_, i) => data.coverage.reduce((sum, layer) => sum + layer[i], 0));
  const top = Math.max(...totals);
  const drawing = plot(byId("coverage"), top, [...new Set([0, Math.round(top / 2), top])], "Sequences that cover each residue, by their identity to the query");
  const below = new Array(length).fill(0);
  data.coverage.forEach((layer, k) => {
    const upper = layer.map((count, i) => `L${i} ${top - below[i] - count}L${i + 1} ${top - below[i] - count}`).join("");
    const lower = layer.map((_, i) => `L${i + 1} ${top - below[i]}L${i} ${top - below[i]}`).reverse().join("");
    svg("path", { d: `M0 ${top - below[0]}${upper}${lower}Z`, style: `fill: var(${LAYERS[k]})` }, drawing);
    layer.forEach((count, i) => { below[i] += count; });
  });
  drawing.append(drawing.querySelector(".marks"));
  drawBorders(drawing, top);
  byId("coverage-legend").append("identity to the query", ...data.identities.map((low, k) => {
    const patch = element("i", { className: "dot" });
    patch.style.background = `var(${LAYERS[k]})`;
    return element("span", {}, patch, low ? `≥ ${100 * low} %` : `< ${100 * data.identities[k - 1]} %`);
  }));
}

// Letters in groups of ten, each after the number of its first residue; those of each chain begin anew.
function drawLetters() {
  const letters = [...data.sequence].map((letter, i) => element("b", { textContent: letter, title: residue(i) }));
  for (const [, first, last] of data.chains.length ? data.chains : [["", 0, length - 1]]) {
    for (let start = first; start <= last; start += 10) {
      const group = letters.slice(start, Math.min(start + 10, last + 1));
      byId("letters").append(element("span", {}, element("small", { textContent: number(start) }), ...group));
    }
  }
  const places = new Map(letters.map((letter, i) => [letter, i]));
  const place = (event) => places.get(document.elementFromPoint(event.clientX, event.clientY));
  onDrag(byId("letters"), place, (start, now) => {
    if (start !== undefined && now !== undefined) select(ordered(start, now), ordered(start, now));
  });
  on("rank", () => letters.forEach((letter, i) => {
    const [low, , fill] = bandOf(prediction().plddt[i]);
    letter.style.background = fill;
    letter.classList.toggle("dark", low === 90);
  }));
  on("selection", () => letters.forEach((letter, i) => {
    const [aligned, scored] = [within(state.aligned, i), within(state.scored, i)];
    letter.classList.toggle("faded", Boolean(state.aligned) && !aligned && !scored);
  }));
}

drawConfidence();
drawCoverage();
drawLetters();
